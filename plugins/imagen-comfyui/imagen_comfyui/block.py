"""The values that a block gives to its workflow, and all that is wrong with the block."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from imagen_comfyui.checks import check_prefix, check_size, placeholder_at
from imagen_comfyui.graph import placeholders
from imagen_comfyui.manifest import FILES, GIVEN, TYPES
from imagen_comfyui.values import declared
from imagen_core import ConfigError, ConfigErrors, Param, UsageError, check_param

if TYPE_CHECKING:
    from imagen_comfyui.config import ComfyConfig
    from imagen_comfyui.workflow import Workflow

_URL = re.compile(r"https?://[^/?#@\s]+(/[^?#@\s]*)?", re.IGNORECASE)
_SIZE = re.compile(r"([1-9]\d{0,5})x([1-9]\d{0,5})")
SIDES = ("width", "height")
_VARIABLE = re.compile(r"[A-Za-z_]\w*")


def check_server(config: ComfyConfig) -> Iterator[ConfigError]:
    """What is wrong with the keys that say where the server is, and who may ask it."""
    if problem := _url_problem(config.url):
        yield ConfigError(problem, key="url", hint="for instance http://127.0.0.1:8188")
    if config.api_key_env and not _VARIABLE.fullmatch(config.api_key_env):
        # It may well be the key itself.
        told = "expected the name of an environment variable"
        yield ConfigError(told, key="api_key_env", hint="for instance COMFY_KEY")


def settings(workflow: Workflow, config: ComfyConfig) -> dict[str, Any]:
    """The values of manifest and block, the block's first; raises all that is wrong with it."""
    params = {param.name: param for param in declared(workflow)}
    values = {name: p.default for name, p in params.items() if p.default is not None}
    for name, parameter in workflow.manifest.parameters.items():
        if name not in params and parameter.default is not None:
            params[name] = parameter.param(name)
            values[name] = parameter.default
    problems: list[ConfigError] = []
    for key, name, value in _given(config):
        try:
            values[name] = _checked(workflow, name, value, params=params, key=key)
        except UsageError as error:
            problems.append(ConfigError(error.message, key=key, hint=error.hint))
    problems += _size_problems(workflow, config, values)
    if problems:
        raise ConfigErrors.of(problems)
    return values


def _given(config: ComfyConfig) -> Iterator[tuple[str, str, Any]]:
    """What the block sets: the key, the placeholder or parameter behind it, and the value."""
    for name in (*GIVEN, *TYPES, *FILES):
        if (value := getattr(config, name)) is not None:
            yield name, name, value
    if match := _SIZE.fullmatch(config.size):
        yield "size", "width", int(match[1])
        yield "size", "height", int(match[2])
    for name, value in config.params.items():
        yield f"params.{name}", name, value


def _checked(
    workflow: Workflow, name: str, value: Any, *, params: Mapping[str, Param], key: str
) -> Any:
    """The value with its type; refused if the workflow has nothing that it could set."""
    used = placeholders(workflow.graph)
    if key.startswith("params."):
        if name not in params:
            listed = ", ".join(sorted(param.name for param in params.values() if param.listed))
            told = f"the workflow '{workflow.name}' has no such parameter"
            raise UsageError(told, hint=f"it has {listed}; or NODE.INPUT")
        if held := placeholder_at(workflow, name):
            told = f"this input is the placeholder ${{{held}}}"
            raise UsageError(told, hint=f"set {held} instead")
    elif name not in used:
        told = f"the workflow '{workflow.name}' has no placeholder ${{{name}}}"
        raise UsageError(told, hint=f"it has {', '.join(sorted(used))}")
    checked = check_param(params[name], value) if name in params else value
    if name == "filename_prefix":
        check_prefix(checked)
    return checked


def _size_problems(
    workflow: Workflow, config: ComfyConfig, values: Mapping[str, Any]
) -> Iterator[ConfigError]:
    if config.size and not _SIZE.fullmatch(config.size):
        told = f"expected WIDTHxHEIGHT, got '{config.size}'"
        yield ConfigError(told, key="size", hint="for instance 1024x768")
        return
    if config.size and (config.width or config.height):
        told = "this and width or height are one thing"
        yield ConfigError(told, key="size", hint="give only one of them")
    key = next((key for key in ("size", *SIDES) if getattr(config, key)), "")
    width, height = (values.get(side) or workflow.manifest.size.side(side) for side in SIDES)
    if not key:
        return
    try:
        check_size(workflow, width, height)
    except UsageError as error:
        yield ConfigError(error.message, key=key, hint=error.hint)


def _url_problem(url: str) -> str:
    """Why this is no address of a server; what may hold a secret is not repeated."""
    if any(mark in url for mark in "@?#"):
        return "expected http://HOST:PORT; a key belongs in a variable that api_key_env names"
    try:
        parts = urlsplit(url)
        sound = parts.hostname and ".." not in parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    return "" if sound and _URL.fullmatch(url) else f"expected http://HOST:PORT, got '{url}'"
