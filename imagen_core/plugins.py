"""What the plugins give, by name: the one place that looks specs up, and decides on clashes."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from msgspec import Struct

from imagen_core import known
from imagen_core.errors import ImagenError, PluginError, told
from imagen_core.specs import (
    BackendSpec,
    CallerSpec,
    CommandSpec,
    SettingsSpec,
    Spec,
    StepSpec,
    StoreSpec,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK_ONE = "block one of them: IMAGEN_DISABLE_PLUGINS=NAME"

AnySpec = TypeVar("AnySpec", BackendSpec, StepSpec, StoreSpec, CallerSpec, CommandSpec)
State = Literal["ok", "broken", "blocked"]


class Plugin(Struct, frozen=True, kw_only=True):
    """One entry point: where it comes from, how loading it went, and what it gives."""

    name: str
    distribution: str
    version: str = ""
    module: str = ""
    state: State = "ok"
    problem: str = ""
    trace: str = ""
    hangs: bool = False
    load_ms: int = 0
    hooks: tuple[str, ...] = ()
    backends: tuple[BackendSpec, ...] = ()
    steps: tuple[StepSpec, ...] = ()
    stores: tuple[StoreSpec, ...] = ()
    callers: tuple[CallerSpec, ...] = ()
    commands: tuple[CommandSpec, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def specs(self) -> tuple[Spec, ...]:
        """All that it gives."""
        return (*self.backends, *self.steps, *self.stores, *self.callers, *self.commands)

    @property
    def settings(self) -> SettingsSpec | None:
        """Its top-level block of the configuration, if it has one."""
        return next((spec.settings for spec in self.specs if spec.settings), None)

    def __str__(self) -> str:
        return f"{self.name} ({self.distribution})"


class Clash(Struct, frozen=True, kw_only=True):
    """One name that several plugins claim."""

    kind: str
    name: str
    plugins: tuple[str, ...]
    core: bool

    def __str__(self) -> str:
        end = "; the built-in one is used" if self.core else ""
        return f"{' and '.join(self.plugins)} both give the {self.kind} '{self.name}'{end}"


KINDS: dict[type[Spec], tuple[str, str]] = {
    BackendSpec: ("backend type", "type"),
    StepSpec: ("step", "name"),
    StoreSpec: ("store", "name"),
    CallerSpec: ("caller", "name"),
    CommandSpec: ("command", "name"),
}


PLUGIN_NAME = "plugin name"


class Catalog:
    """What all plugins give, by name; the one place that decides about clashes."""

    def __init__(self, plugins: tuple[Plugin, ...]) -> None:
        self.plugins = plugins
        self._loaded: dict[str, Any] = {}

    def specs(self, kind: type[AnySpec]) -> Iterator[tuple[Plugin, AnySpec]]:
        """All specs of a kind with their plugins, the core's first."""
        return ((plugin, spec) for plugin, spec in self._specs(kind) if isinstance(spec, kind))

    def usable(self, kind: type[AnySpec]) -> dict[str, AnySpec]:
        """The specs of a kind by name, without those whose name or switch several plugins claim."""
        found = self._named(kind)
        if kind is StepSpec:
            for claims in self._switch_claims().values():
                for plugin, step in claims:
                    if plugin.distribution != known.CORE:
                        found.pop(step.name, None)
        return found

    def clashes(self, *kinds: type[Spec]) -> list[Clash]:
        """The names that more than one plugin claims, of these kinds or of all."""
        found = [clash for kind in kinds or KINDS for clash in self._clashes(kind)]
        if not kinds or StepSpec in kinds:
            found += self._switch_clashes()
        return found if kinds else [*self._name_clashes(), *found]

    def _named(self, kind: type[AnySpec]) -> dict[str, AnySpec]:
        clashing = {clash.name for clash in self._clashes(kind) if not clash.core}
        found: dict[str, AnySpec] = {}
        for _, spec in self.specs(kind):
            if (name := _name(spec)) not in clashing:
                found.setdefault(name, spec)
        return found

    def _clashes(self, kind: type[Spec]) -> list[Clash]:
        claims: dict[str, list[Plugin]] = {}
        for plugin, spec in self._specs(kind):
            claims.setdefault(_name(spec), []).append(plugin)
        return [
            _clash(KINDS[kind][0], name, plugins)
            for name, plugins in claims.items()
            if len(plugins) > 1
        ]

    def _name_clashes(self) -> list[Clash]:
        """The names of plugins, by which their settings are called, that several have."""
        claims: dict[str, list[Plugin]] = {}
        for plugin in self.plugins:
            if plugin.state == "ok":
                claims.setdefault(plugin.name, []).append(plugin)
        return [
            _clash(PLUGIN_NAME, n, plugins) for n, plugins in claims.items() if len(plugins) > 1
        ]

    def _switch_claims(self) -> dict[tuple[str, str], list[tuple[Plugin, StepSpec]]]:
        """What steps of different plugins both claim for their switches, by kind and name."""
        claims: dict[tuple[str, str], list[tuple[Plugin, StepSpec]]] = {}
        for step in self._named(StepSpec).values():
            for claim in _claimed(step):
                claims.setdefault(claim, []).append((self.owner(step), step))
        return {
            claim: steps
            for claim, steps in claims.items()
            if any(plugin is not steps[0][0] for plugin, _ in steps)
        }

    def _switch_clashes(self) -> list[Clash]:
        found: dict[tuple[str, ...], Clash] = {}
        for (kind, name), steps in self._switch_claims().items():
            plugins = list({id(plugin): plugin for plugin, _ in steps}.values())
            clash = _clash(kind, name, plugins)
            # A key in common mostly means a variable and flags in common; once is enough.
            found.setdefault(clash.plugins, clash)
        return list(found.values())

    def find(self, kind: type[AnySpec], name: str) -> AnySpec | None:
        """The spec of that name, None if nobody gives it; refuses a name that clashes."""
        for clash in self._clashes(kind):
            if clash.name == name and not clash.core:
                raise PluginError(str(clash), hint=BLOCK_ONE)
        return self.usable(kind).get(name)

    def owner(self, spec: Spec) -> Plugin:
        """The plugin that gave this spec."""
        return next(plugin for plugin in self.plugins if any(spec is s for s in plugin.specs))

    def _specs(self, kind: type[Spec]) -> Iterator[tuple[Plugin, Spec]]:
        for plugin in self.plugins:
            for spec in plugin.specs:
                if isinstance(spec, kind):
                    yield plugin, spec

    def settings(self) -> dict[str, SettingsSpec]:
        """Every top-level block that a plugin owns, by the plugin's name."""
        return {plugin.name: spec for plugin, spec in self.blocks()}

    def blocks(self) -> Iterator[tuple[Plugin, SettingsSpec]]:
        """Every plugin with a top-level block, without those whose name several plugins have."""
        clashing = {clash.name for clash in self._name_clashes()}
        for plugin in self.plugins:
            if plugin.settings is not None and plugin.name not in clashing:
                yield plugin, plugin.settings

    def block(self, name: str) -> tuple[Plugin, SettingsSpec]:
        """The plugin that owns the top-level block of that name; refuses one that clashes."""
        for plugin, spec in self.blocks():
            if plugin.name == name:
                return plugin, spec
        for clash in self._name_clashes():
            if clash.name == name:
                raise PluginError(str(clash), hint=f"{BLOCK_ONE}, by its distribution")
        raise PluginError(f"no plugin '{name}' has settings", hint="'imagen plugins' lists them")

    @contextlib.contextmanager
    def making(self, spec: Spec, what: str) -> Iterator[None]:
        """Blame the plugin of this spec for whatever its factory raises but imagen's errors."""
        try:
            yield
        except ImagenError:
            raise
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"the plugin {self.owner(spec)} cannot make {what}: {told(error)}",
                hint="this is a fault of that plugin; --debug shows the trace",
            ) from error

    def load(self, giver: Plugin | Spec, reference: str) -> Any:
        """The object behind a `module:attribute`; what goes wrong is the giver's PluginError."""
        try:
            if reference not in self._loaded:
                self._loaded[reference] = import_object(reference)
            return self._loaded[reference]
        except (Exception, SystemExit) as error:
            owner = giver if isinstance(giver, Plugin) else self.owner(giver)
            raise PluginError(
                f"the plugin {owner} cannot load {reference}: {type(error).__name__}: {error}",
                hint="'imagen plugins' lists what is installed; update or uninstall this one",
            ) from error


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send to stderr what a plugin prints while it loads, also what its C libraries print.

    The latter in the main thread alone: elsewhere a path might be printed meanwhile.
    """
    saved = -1
    if threading.current_thread() is threading.main_thread():
        with contextlib.suppress(OSError, ValueError, AttributeError):  # one of them is closed
            sys.stdout.flush()
            saved = os.dup(1)
            os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if saved >= 0:
            os.dup2(saved, 1)
            os.close(saved)


def import_object(reference: str) -> Any:
    """Import `module:attribute`; what a module prints while it loads goes to stderr."""
    import importlib

    module, _, attribute = reference.partition(":")
    with stdout_to_stderr():
        found: Any = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


def _clash(kind: str, name: str, plugins: list[Plugin]) -> Clash:
    core = plugins[0].distribution == known.CORE
    return Clash(kind=kind, name=name, plugins=tuple(str(p) for p in plugins), core=core)


def _claimed(step: StepSpec) -> Iterator[tuple[str, str]]:
    if switch := step.switch:
        yield "switch", switch.key
        yield "variable", switch.env
        for flag in (switch.on_flag, switch.off_flag):
            if flag:
                yield "flag", flag


def _name(spec: Spec) -> str:
    return str(getattr(spec, KINDS[type(spec)][1]))
