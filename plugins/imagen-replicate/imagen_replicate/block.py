"""All that is wrong with a block, found without asking anybody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from imagen_core import ConfigError, ConfigErrors, UsageError, check_param, suggestion
from imagen_replicate import catalogue
from imagen_replicate.inputs import check_steps

if TYPE_CHECKING:
    from imagen_replicate.config import ReplicateConfig
    from imagen_replicate.model import Model

_MODEL = re.compile(r"\w[\w.-]*/\w[\w.-]*(:\w[\w.-]*)?", re.ASCII)
_TOKEN = re.compile(r"(r8|hf|sk|ghp)_?-?\w{16,}", re.ASCII)
LARGEST_SIDE = 16_384
_SIZE = re.compile(r"[1-9]\d{0,4}[xX][1-9]\d{0,4}")
_URL = re.compile(r"https?://[^/?#@\s]+(/[^?#@\s]*)?", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def check_block(config: ReplicateConfig, model: Model | None) -> None:
    """Raise everything that is wrong with the block; `model` None: its inputs are not known."""
    problems = [*_server_problems(config), *_model_problems(config)]
    if model:
        problems += [*_hardware_problems(config, model), *_input_problems(config, model)]
    if problems:
        raise ConfigErrors.of(problems)


def _server_problems(config: ReplicateConfig) -> Iterator[ConfigError]:
    if problem := _url_problem(config.api_url):
        yield ConfigError(problem, key="api_url", hint="for instance https://api.replicate.com/v1")
    variables = {"api_token_env": config.api_token_env}
    variables |= {f"secrets.{name}": variable for name, variable in config.secrets.items()}
    for key, variable in variables.items():
        if not _VARIABLE.fullmatch(variable) or _TOKEN.fullmatch(variable):
            # It may well be the token itself.
            told = "expected the name of an environment variable"
            yield ConfigError(told, key=key, hint="for instance REPLICATE_API_TOKEN")


def _model_problems(config: ReplicateConfig) -> Iterator[ConfigError]:
    if not _MODEL.fullmatch(config.model):
        hint = suggestion(config.model, catalogue.known(), "for instance")
        hint = hint if hint.startswith("did") else "for instance black-forest-labs/flux-schnell"
        told = f"expected owner/name or owner/name:version, got '{config.model}'"
        yield ConfigError(told, key="model", hint=hint)
    sides = config.size.lower().split("x")
    if config.size and not (_SIZE.fullmatch(config.size) and max(map(int, sides)) <= LARGEST_SIDE):
        told = f"expected WIDTHxHEIGHT, got '{config.size}'"
        yield ConfigError(told, key="size", hint="for instance 1024x768")
    if config.hardware and config.hardware not in (rates := catalogue.hardware()):
        told = f"there is no price for '{config.hardware}'"
        yield ConfigError(
            told, key="hardware", hint=suggestion(config.hardware, rates, "there are")
        )


def _hardware_problems(config: ReplicateConfig, model: Model) -> Iterator[ConfigError]:
    known = catalogue.known().get(config.reference.model)
    if config.hardware and known and known.prices:
        told = f"{model.name} has a price of its own"
        yield ConfigError(told, key="hardware", hint="leave it out")


def _input_problems(config: ReplicateConfig, model: Model) -> Iterator[ConfigError]:
    params, flags = {param.name: param for param in model.params()}, model.flags()
    for key, name in [
        *((f"params.{name}", name) for name in config.params),
        *((f"secrets.{name}", name) for name in config.secrets),
    ]:
        if name in flags:
            instead = _KEYS.get(flags[name], "leave it out here")
            told = f"this is {flags[name]}"
            yield ConfigError(told, key=key, hint=instead)
        elif name not in params:
            told = f"{model.name} has no such input"
            yield ConfigError(told, key=key, hint=suggestion(name, params, "it has"))
        elif key.startswith("secrets."):
            continue
        elif model.inputs[name].secret:
            told = "a secret does not belong into the file"
            yield ConfigError(told, key=key, hint=f"name its variable: secrets: {{{name}: …}}")
        else:
            try:
                check_param(params[name], config.params[name])
            except UsageError as error:
                yield ConfigError(error.message, key=key, hint=error.hint)
    if config.default_steps is not None:
        try:
            check_steps(model, config.default_steps)
        except UsageError as error:
            yield ConfigError(error.message, key="default_steps", hint=error.hint)


_KEYS = {"--steps": "default_steps in the block", "--size": "size in the block"}


def _url_problem(url: str) -> str:
    """Why this is no address of a server; what may hold a secret is not repeated."""
    if any(mark in url for mark in "@?#"):
        return "expected https://HOST/v1; the token belongs in the variable of api_token_env"
    try:
        parts = urlsplit(url)
        sound = parts.hostname and ".." not in parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not (sound and _URL.fullmatch(url)):
        return f"expected https://HOST/v1, got '{url}'"
    if parts.scheme.lower() == "http" and (parts.hostname or "").endswith("replicate.com"):
        return "the token would go there unencrypted: expected https://"
    return ""
