"""Configured backends: which spec a block stands for, and the backend made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen_core import known
from imagen_core.blocks import suggestion
from imagen_core.config import INSTANCE_NAME, MOCK
from imagen_core.errors import ConfigError, ConfigErrors, PluginError, UsageError
from imagen_core.protocols import Instance
from imagen_core.specs import BackendSpec

if TYPE_CHECKING:
    from imagen_core.config import Settings
    from imagen_core.plugins import Catalog
    from imagen_core.protocols import Backend, Context


class AbsentError(PluginError):
    """Something first-party is named whose distribution is not there, or not usable."""


def spec_of(settings: Settings, catalog: Catalog, name: str) -> BackendSpec:
    """The spec that an instance's block names; raises what is wrong with the block's type."""
    document, path = settings.document, ("backends", name)
    block = settings.raw(path)
    if block is None and name == MOCK:
        block = {"type": MOCK}
    if not INSTANCE_NAME.fullmatch(name):
        raise document.problem(path, "a name has letters, digits, '.', '_' and '-' alone")
    if not isinstance(block, dict):
        raise document.problem(path, f"expected keys and values, got {block!r}")
    kind = block.get("type")
    if not isinstance(kind, str):
        message = "is missing" if kind is None else f"expected text, got {kind!r}"
        hint = f"one of {', '.join(catalog.usable(BackendSpec))}"
        raise document.problem((*path, "type"), message, hint=hint)
    spec = catalog.find(BackendSpec, kind)
    if spec is not None:
        return spec
    if distribution := known.BACKEND_TYPES.get(kind):
        raise absent(catalog, distribution)
    hint = suggestion(kind, catalog.usable(BackendSpec), "installed are")
    hint = "; ".join(filter(None, (hint, unusable(catalog))))
    raise document.problem((*path, "type"), f"unknown type '{kind}'", hint=hint)


def unusable(catalog: Catalog) -> str:
    """Which plugins are there and can't be used, any of which may have what is looked for."""
    found = [f"{plugin} is {plugin.state}" for plugin in catalog.plugins if plugin.state != "ok"]
    return f"{', '.join(found)}: see 'imagen plugins'" if found else ""


def absent(catalog: Catalog, distribution: str) -> AbsentError:
    """What is to be said of something whose first-party distribution can't give it now."""
    for plugin in catalog.plugins:
        if plugin.distribution == distribution and plugin.state != "ok":
            message = f"comes with {distribution}, which is {plugin.state}"
            return AbsentError(message, hint="'imagen plugins' says why")
    message = f"comes with {distribution}, which is not installed"
    return AbsentError(message, hint=f"pip install {distribution}")


def make_instance(settings: Settings, catalog: Catalog, context: Context, name: str) -> Instance:
    """The configured backend of that name; `mock` is there without configuration."""
    if name not in settings.instances():
        hint = suggestion(name, settings.instances(), "there are")
        raise UsageError(f"there is no backend '{name}'", hint=hint)
    try:
        spec = spec_of(settings, catalog, name)
    except AbsentError as error:
        message = f"the type of the backend '{name}' {error.message}"
        raise AbsentError(message, hint=error.hint) from None
    struct = catalog.load(spec, spec.config)
    config = settings.block(("backends", name), struct, leave=("type",))
    create = catalog.load(spec, spec.create)
    with catalog.making(spec, f"a backend of type '{spec.type}'"):
        try:
            backend: Backend = create(config, context)
            # What it says of itself is part of being made: nobody has to guard against it later.
            about, _ = backend.about, backend.resource
            _check_size(about.size)
        except ConfigError as error:
            raise placed(error, settings, name) from error
    return Instance(name, spec.type, backend)


def _check_size(size: str) -> None:
    """The size that is taken where nobody asks for one is such as somebody may ask for."""
    from imagen_core.resolve import parse_size

    try:
        if size:
            parse_size(size)
    except UsageError as error:
        raise ConfigError(error.message, key="size", hint="for instance 1024x768") from error


def placed(error: ConfigError, settings: Settings, name: str) -> ConfigError:
    """What a backend finds wrong with its block, with the file and the line of its key."""
    if isinstance(error, ConfigErrors):
        return ConfigErrors.of([placed(problem, settings, name) for problem in error.problems])
    if error.file:
        return error
    path = ("backends", name, *filter(None, error.key.split(".")))
    return settings.document.problem(path, error.message, hint=error.hint)
