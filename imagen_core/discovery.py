"""Discovery: every installed plugin, loaded one by one, each isolated from the rest.

This is dear and happens once; afterwards the index (`index.py`) answers.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import msgspec

from imagen_core import known
from imagen_core.plugins import KINDS, Plugin, stdout_to_stderr
from imagen_core.specs import (
    BackendSpec,
    CallerSpec,
    CommandSpec,
    Spec,
    StepSpec,
    StoreSpec,
    Switch,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from importlib.metadata import EntryPoint

    from pluggy import PluginManager

GROUP = "imagen"
LOAD_SECONDS = 10.0
"""How long one plugin's import may take before the others go on without it."""

HOOKS: dict[str, type[Spec]] = {
    "imagen_backends": BackendSpec,
    "imagen_post_generate": StepSpec,
    "imagen_stores": StoreSpec,
    "imagen_callers": CallerSpec,
    "imagen_commands": CommandSpec,
}

# fmt: off
RESERVED_FLAGS = frozenset({
    "--backend", "--size", "--seed", "--steps", "--style", "--negative", "--count", "--image",
    "--param", "--output", "--dry-run", "--quiet", "--json", "--config", "--help",
})
# fmt: on
RESERVED_KEYS = frozenset({"dir", "naming", "ledger"})
SHAPES = {
    "key": re.compile("[a-z][a-z0-9_]*"),
    "env": re.compile("[A-Z][A-Z0-9_]*"),
    "on_flag": re.compile("(--[a-z][a-z0-9-]+)?"),
    "off_flag": re.compile("(--[a-z][a-z0-9-]+)?"),
}
"""What the fields of a Switch may look like: anything else would break every `generate`."""


def discover(
    environment: Mapping[str, str],
    *,
    trace: Callable[[str], None] | None = None,
    limit: float = LOAD_SECONDS,
) -> tuple[Plugin, ...]:
    """Load the core's own specs and every installed plugin; blocked ones are not imported."""
    found = [core(trace)]
    for plugin, entry in sorted(_entries(), key=lambda pair: (pair[0].name, pair[0].distribution)):
        if plugin.state == "broken" or entry is None:
            found.append(plugin)
        elif blocked_by := _blocked(plugin, environment):
            found.append(msgspec.structs.replace(plugin, state="blocked", problem=blocked_by))
        else:
            found.append(_load_in_time(plugin, entry, trace, limit))
    return tuple(found)


def core(trace: Callable[[str], None] | None = None) -> Plugin:
    """What the core itself gives."""
    from imagen_core import __version__, builtin

    plugin = Plugin(
        name="core",
        distribution=known.CORE,
        version=__version__,
        module=builtin.__name__,
        files=(builtin.__file__,),
    )
    return read_specs(plugin, builtin, trace)


def read_specs(
    plugin: Plugin, implementation: object, trace: Callable[[str], None] | None = None
) -> Plugin:
    """Call the hooks of one plugin in a manager of its own, so that no other is touched."""
    from pluggy import PluginManager

    from imagen_core import hookspecs

    manager = PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    if trace:
        _monitor(manager, plugin, trace)
    manager.register(implementation, name=plugin.name)
    manager.check_pending()
    _check_unmarked(implementation)
    hooks = tuple(name for name in HOOKS if getattr(manager.hook, name).get_hookimpls())
    found: dict[type[Spec], list[Spec]] = {kind: [] for kind in KINDS}
    for name in hooks:
        for result in getattr(manager.hook, name)():
            found[HOOKS[name]] += [_checked(spec, HOOKS[name], name) for spec in result]
    return msgspec.structs.replace(
        plugin,
        hooks=hooks,
        backends=tuple(found[BackendSpec]),
        steps=tuple(found[StepSpec]),
        stores=tuple(found[StoreSpec]),
        callers=tuple(found[CallerSpec]),
        commands=tuple(found[CommandSpec]),
    )


def _checked(spec: object, kind: type[Spec], hook: str) -> Spec:
    if not isinstance(spec, kind):
        raise TypeError(f"{hook} gave a {type(spec).__name__}, expected {kind.__name__}")
    try:
        # A struct's own __init__ checks no types; the way through JSON does.
        checked = msgspec.json.decode(msgspec.json.encode(spec), type=kind)
    except msgspec.ValidationError as error:
        raise TypeError(f"{hook} gave a bad {kind.__name__}: {error}") from error
    switch = checked.switch if isinstance(checked, StepSpec) else None
    if switch and (problem := _switch_problem(switch)):
        raise TypeError(f"{hook} gave a bad Switch: {problem}")
    return checked


def _switch_problem(switch: Switch) -> str:
    """What makes this switch unusable, or an empty string."""
    for field, shape in SHAPES.items():
        if not shape.fullmatch(value := getattr(switch, field)):
            return f"the {field} '{value}' does not look like {shape.pattern}"
    flags = {switch.on_flag, switch.off_flag} - {""}
    if switch.key in RESERVED_KEYS or flags & RESERVED_FLAGS:
        taken = sorted(flags & RESERVED_FLAGS) or [f"output.{switch.key}"]
        return f"{taken[0]} is imagen's own"
    if switch.on_flag and switch.on_flag == switch.off_flag:
        return f"{switch.on_flag} cannot turn it both on and off"
    for key, other in known.SWITCHES.items():
        shared = {switch.env, *flags} & {other.env, other.on_flag, other.off_flag}
        if key != switch.key and shared:
            return f"{min(shared)} belongs to the switch '{key}' of {other.distribution}"
    return ""


def _check_unmarked(implementation: object) -> None:
    """Refuse a function that is named like a hook, or nearly, and lacks the marker."""
    import difflib

    for name in dir(implementation):
        value = getattr(implementation, name)
        if name.startswith(f"{GROUP}_") and callable(value) and not hasattr(value, "imagen_impl"):
            if name in HOOKS:
                raise TypeError(f"the hook {name} lacks its @hookimpl marker")
            if close := difflib.get_close_matches(name, HOOKS, n=1, cutoff=0.8):
                raise TypeError(f"unknown hook {name}; did you mean {close[0]}?")


def _monitor(manager: PluginManager, plugin: Plugin, trace: Callable[[str], None]) -> None:
    def before(hook: str, *_: object) -> None:
        trace(f"{plugin}: calling {hook}")

    def after(outcome: Any, hook: str, *_: object) -> None:
        trace(f"{plugin}: {hook} -> {outcome.excinfo or outcome.get_result()}")

    manager.add_hookcall_monitoring(before, after)


def _load_in_time(
    plugin: Plugin, entry: EntryPoint, trace: Callable[[str], None] | None, limit: float
) -> Plugin:
    """Load one plugin in a thread, so that one that hangs at import stops nobody."""
    import contextlib
    import threading

    result: list[Plugin] = []
    started = time.monotonic()

    def work() -> None:
        # Whatever gets here would be printed as the trace of a thread.
        with contextlib.suppress(BaseException):
            result.append(_load(plugin, entry, trace))

    thread = threading.Thread(target=work, daemon=True)
    with stdout_to_stderr():
        thread.start()
        thread.join(limit)
    loaded = result[0] if result else _given_up(plugin, entry, limit, hangs=thread.is_alive())
    return msgspec.structs.replace(loaded, load_ms=round((time.monotonic() - started) * 1000))


def _given_up(plugin: Plugin, entry: EntryPoint, limit: float, *, hangs: bool) -> Plugin:
    import sys

    late = f"its import had not finished after {limit:g} s"
    top = entry.module.partition(".")[0]
    parts = [name for name in list(sys.modules) if str(name).startswith(f"{top}.")]
    return msgspec.structs.replace(
        plugin,
        state="broken",
        hangs=hangs,
        problem=late if hangs else "its import failed, and so did telling why",
        files=tuple(sorted({*plugin.files, *_module_files(top, *parts)})),
    )


def _load(plugin: Plugin, entry: EntryPoint, trace: Callable[[str], None] | None) -> Plugin:
    import sys

    before = set(sys.modules)
    files = set(plugin.files)
    try:
        files.update(_module_files(entry.module.partition(".")[0]))
        loaded = read_specs(plugin, entry.load(), trace)
    except BaseException as error:  # noqa: BLE001 - sys.exit at import, too, must stop nobody
        import traceback

        files.update(_traceback_files(error))
        text = _clean(str(error))
        problem = text if isinstance(error, TypeError) else f"{type(error).__name__}: {text}"
        loaded = msgspec.structs.replace(
            plugin,
            state="broken",
            problem=" ".join(problem.split()),
            trace=_clean("".join(traceback.format_exception(error))),
        )
    files.update(_module_files(*(set(sys.modules) - before)))
    return msgspec.structs.replace(loaded, files=tuple(sorted(files)))


def _module_files(*names: str) -> Iterator[str]:
    """The source files of these modules, of those that have one; nothing is imported."""
    for name in names:
        try:
            origin = _origin(name)
        except BaseException:  # noqa: BLE001 - what stands in sys.modules may do anything
            continue
        if origin and isinstance(origin, str):
            yield origin


def _origin(name: str) -> object:
    import importlib.util
    import sys

    module = sys.modules.get(name)
    if module is None and "." not in name:
        spec = importlib.util.find_spec(name)
        return spec.origin if spec else None
    return getattr(module, "__file__", None)


def _clean(text: str) -> str:
    """Text that can be printed and encoded, whatever a plugin put into it."""
    return text.encode(errors="backslashreplace").decode()


def _traceback_files(error: BaseException) -> Iterator[str]:
    if isinstance(error, SyntaxError) and error.filename:
        yield error.filename
    trace = error.__traceback__
    while trace:
        yield trace.tb_frame.f_code.co_filename
        trace = trace.tb_next


def _blocked(plugin: Plugin, environment: Mapping[str, str]) -> str:
    """Which variable blocks this plugin, or an empty string."""
    names = {plugin.name, plugin.distribution}
    allowed = environment.get("IMAGEN_LOAD_PLUGINS")
    if allowed is not None and not names & listed(allowed):
        return "IMAGEN_LOAD_PLUGINS does not list it"
    if names & listed(environment.get("IMAGEN_DISABLE_PLUGINS", "")):
        return "IMAGEN_DISABLE_PLUGINS lists it"
    return ""


def listed(text: str) -> set[str]:
    """The names in a variable that chooses plugins."""
    return {name.strip() for name in text.split(",")} - {""}


def _entries() -> Iterator[tuple[Plugin, EntryPoint | None]]:
    """Every entry point of every distribution; one with damaged metadata is a broken plugin."""
    import importlib.metadata

    seen: set[str] = set()
    for distribution in importlib.metadata.distributions():
        path = str(getattr(distribution, "_path", ""))
        files = (f"{path}/entry_points.txt",)
        name = path.replace("\\", "/").rpartition("/")[2].rpartition("-")[0].rpartition("-")[0]
        try:
            text = distribution.read_text("entry_points.txt") or ""
        except Exception:  # noqa: BLE001 - unreadable, and so nobody's plugin
            continue
        if f"[{GROUP}]" not in text.replace(" ", ""):
            continue
        try:
            name = distribution.metadata["Name"] or name
            if name in seen:
                continue
            seen.add(name)
            version = distribution.version or ""
            entries = [entry for entry in distribution.entry_points if entry.group == GROUP]
            if not all(entry.name and entry.value for entry in entries):
                raise ValueError("an entry point without a name or a value")
        except Exception as error:  # noqa: BLE001 - damaged metadata raises nearly anything
            problem = _clean(f"its metadata is damaged: {type(error).__name__}: {error}")
            yield (
                Plugin(name=name, distribution=name, state="broken", problem=problem, files=files),
                None,
            )
            continue
        for entry in entries:
            yield (
                Plugin(
                    name=entry.name,
                    distribution=name,
                    version=version,
                    module=entry.value,
                    files=files,
                ),
                entry,
            )
