"""Checking a configuration as a whole: every problem at once, and what is only worth a warning."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from imagen_core import known
from imagen_core.blocks import convert, nearest, suggestion, unknown_key
from imagen_core.config import CORE_KEYS, KNOBS, Style
from imagen_core.errors import ConfigError, ConfigErrors, ImagenError, PluginError, told
from imagen_core.instances import AbsentError, absent, make_instance, spec_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from imagen_core.config import Settings
    from imagen_core.plugins import Catalog
    from imagen_core.protocols import Context
    from imagen_core.specs import Switch
    from imagen_core.yaml_file import Document, KeyPath


PREFIX = "IMAGEN_"
CHOOSING = ("IMAGEN_LOAD_PLUGINS", "IMAGEN_DISABLE_PLUGINS")
"""The variables that choose plugins."""
_TOKEN = re.compile(
    r"\b(r8_\w{20,}|sk-[\w-]{20,}|hf_\w{20,}|gh[pousr]_\w{20,}|sb_secret_\w{10,}"
    r"|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*)|(?<=://)[^/@\s]+(?=@)"
)


class Findings(NamedTuple):
    """What is wrong, and what is merely odd."""

    problems: list[ConfigError]
    warnings: list[ConfigError]

    def add(self, other: Findings) -> None:
        """Take over what another check found; what is told already is not told again."""
        for ours, theirs in zip(self, other, strict=True):
            told = {str(error) for error in ours}
            ours.extend(error for error in theirs if str(error) not in told)


def check_keys(settings: Settings, catalog: Catalog, switches: Iterable[Switch]) -> Findings:
    """What is wrong with the file as such, and the keys that belong to nobody.

    Those of the top level and of `output:`; what an absent plugin owns is a warning, and so is the
    name of a plugin that there is not in the variables that choose plugins.
    """
    document = settings.document
    findings = Findings(list(document.problems), [])
    plugins = {plugin.name: plugin for plugin in catalog.plugins}
    blocks = catalog.settings()
    for key in document.data:
        if key in CORE_KEYS or key in blocks:
            continue
        if key in known.SETTINGS:
            error = absent(catalog, known.SETTINGS[key])
            findings.warnings.append(_ignored(document, (key,), error))
        elif key in plugins:
            problem = document.problem((key,), f"the plugin {plugins[key]} gives no settings now")
            findings.warnings.append(problem)
        else:
            valid = [*CORE_KEYS, *blocks, *known.SETTINGS]
            findings.problems.append(unknown_key(document, (key,), valid))
    findings.add(_check_output(settings, catalog, switches))
    findings.warnings.extend(unknown_plugins(settings.environment, catalog))
    for key in ("styles", "backends"):
        _catch(findings.problems, settings.table, key)
    return findings


def check_everything(
    settings: Settings, catalog: Catalog, switches: Iterable[Switch], context: Context
) -> Findings:
    """All of it: keys, knobs, switches, styles, every block of every backend and plugin."""
    switches = list(switches)
    findings = check_keys(settings, catalog, switches)
    sound = not findings.problems
    for key in KNOBS:
        _catch(findings.problems, settings.knob, key)
    for switch in switches:
        _catch(findings.problems, settings.decide, switch)
    for name in _names(settings, "styles"):
        findings.problems.extend(convert(settings.document, ("styles", name), Style)[1])
    for name in _names(settings, "backends"):
        findings.add(check_instance(settings, catalog, name, context))
    _catch(findings.problems, settings.default_backend)
    findings.add(_check_blocks(settings, catalog, context if sound else None))
    findings.warnings.extend(token_warnings(settings.document))
    findings.warnings.extend(_unknown_variables(settings, switches))
    return findings


def check_instance(
    settings: Settings, catalog: Catalog, name: str, context: Context | None = None
) -> Findings:
    """The block of one backend instance; with a context also what the backend makes of it."""
    document, path = settings.document, ("backends", name)
    try:
        spec = spec_of(settings, catalog, name)
        struct = catalog.load(spec, spec.config)
        problems = convert(document, path, struct, leave=("type",))[1]
        if context and not problems:
            make_instance(settings, catalog, context, name)
        return Findings(problems, [])
    except ConfigErrors as errors:
        return Findings(list(errors.problems), [])
    except ConfigError as error:
        return Findings([error], [])
    except AbsentError as error:
        return Findings([], [_ignored(document, (*path, "type"), error)])
    except PluginError as error:
        problem = document.problem((*path, "type"), error.message, hint=error.hint)
        return Findings([problem], [])
    except ImagenError as error:
        return Findings([document.problem(path, str(error), hint=error.hint)], [])


def _check_output(settings: Settings, catalog: Catalog, switches: Iterable[Switch]) -> Findings:
    findings = Findings([], [])
    output = settings.raw(("output",))
    if output is None:
        return findings
    if not isinstance(output, dict):
        problem = settings.document.problem(
            ("output",), f"expected keys and values, got {output!r}"
        )
        return Findings([problem], [])
    valid = {"dir", "naming", *(switch.key for switch in switches)}
    for key in output:
        if key in valid:
            continue
        if key in known.SWITCHES:
            error = absent(catalog, known.SWITCHES[key].distribution)
            findings.warnings.append(_ignored(settings.document, ("output", key), error))
        else:
            valid_keys = valid | set(known.SWITCHES)
            findings.problems.append(unknown_key(settings.document, ("output", key), valid_keys))
    return findings


def _names(settings: Settings, key: str) -> list[str]:
    """What a table defines; nothing, if it is none, which is told already."""
    table = settings.raw((key,))
    return list(table) if isinstance(table, dict) else []


def _check_blocks(settings: Settings, catalog: Catalog, context: Context | None) -> Findings:
    """The plugins' own top-level blocks, and, with a context, what else their checks find."""
    findings = Findings([], [])
    for plugin, spec in catalog.blocks():
        try:
            struct = catalog.load(plugin, spec.config)
            problems = convert(settings.document, (plugin.name,), struct)[1]
            findings.problems.extend(problems)
            if spec.check and context and not problems:
                for text in catalog.load(plugin, spec.check)(context):
                    findings.warnings.append(ConfigError(text, file=settings.document.file))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin's check may raise anything
            findings.warnings.append(ConfigError(f"the plugin {plugin}: {told(error)}"))
    return findings


def unknown_plugins(environment: Mapping[str, str], catalog: Catalog) -> list[ConfigError]:
    """Names in the variables that choose plugins which no installed plugin has."""
    from imagen_core.discovery import listed

    names = {name for plugin in catalog.plugins for name in (plugin.name, plugin.distribution)}
    return [
        ConfigError(
            f"there is no plugin '{name}'",
            key=f"${variable}",
            hint=suggestion(name, names, "there are"),
        )
        for variable in CHOOSING
        for name in sorted(listed(environment.get(variable, "")) - names)
    ]


def _unknown_variables(settings: Settings, switches: Iterable[Switch]) -> list[ConfigError]:
    """Variables that are nearly imagen's: most likely misspelt. A plugin may have its own."""
    valid = {*VARIABLES, *(switch.env for switch in switches)}
    valid |= {switch.env for switch in known.SWITCHES.values()}
    ends = [name.removeprefix(PREFIX) for name in sorted(valid)]
    return [
        ConfigError(
            "imagen knows no such variable", key=f"${name}", hint=f"did you mean '{PREFIX}{near}'?"
        )
        for name in sorted(settings.environment)
        if name.startswith(PREFIX) and name not in valid
        if (near := nearest(name.removeprefix(PREFIX), ends))
    ]


def _ignored(document: Document, path: KeyPath, error: AbsentError) -> ConfigError:
    return document.problem(path, f"{error.message}; it is ignored", hint=error.hint)


def _catch(problems: list[ConfigError], check: Callable[..., object], *args: object) -> None:
    """Run a check; what it raises joins the problems, unless it is among them already."""
    try:
        check(*args)
    except ConfigErrors as several:
        found = several.problems
    except ConfigError as error:
        found = (error,)
    else:
        return
    told = {str(problem) for problem in problems}
    problems.extend(problem for problem in found if str(problem) not in told)


def token_warnings(document: Document) -> list[ConfigError]:
    """A warning for each value of the file that looks like a secret."""
    return [
        document.problem(
            path,
            "this looks like a token; put it in an environment variable",
            hint="name the variable here instead, for instance api_token_env: MY_TOKEN",
        )
        for path, value in _texts(document.data, ())
        if _TOKEN.search(value)
    ]


def masked(text: str) -> str:
    """The text with `***` in place of what looks like a token."""
    return _TOKEN.sub("***", text)


def _texts(value: object, path: KeyPath) -> Iterable[tuple[KeyPath, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))


VARIABLES = {
    **{knob.env: knob.help for knob in KNOBS.values()},
    "IMAGEN_CONFIG": "the configuration file",
    "IMAGEN_DATA_DIR": "the folder of the ledger, the queue and rescued pictures",
    "IMAGEN_CACHE_DIR": "the folder of the plugin index",
    "IMAGEN_LOAD_PLUGINS": "the only plugins to load, by name or distribution; empty: none",
    "IMAGEN_DISABLE_PLUGINS": "plugins not to load, by name or distribution",
    "IMAGEN_TRACE_PLUGINS": "1 prints each hook call",
    "IMAGEN_DEBUG": "1 shows traces, like --debug",
}
"""The core's environment variables, but for the switches'."""
