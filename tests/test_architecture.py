"""The layers of docs/architecture.md, read from the syntax trees."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import imagen_core

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(imagen_core.__file__).parent
ROOT = PACKAGE.parent
LAYERS = (
    ("errors",),
    ("types",),
    ("specs", "queueing", "protocols"),
    (
        "hookspecs",
        "yaml_file",
        "background",
        "blocks",
        "config",
        "files",
        "database",
        "glyphs",
        "header",
        "http",
        "known",
        "mock_art",
        "mock_letters",
        "png",
        "png_stream",
        "script",
        "sound",
        "thumbnail",
        "unifont",
    ),
    (
        *("ledger", "jobs", "job_rows", "job_claims", "sidecar", "comparison", "report"),
        *("mock", "sheet", "sheet_plan", "usage"),
    ),
    (
        "plugins",
        "discovery",
        "builtin",
        "resolve",
        "making",
        "crew",
        "rows",
        "wildcards",
        "payload",
        "hold",
        "leftovers",
    ),
    ("pipeline", "index", "instances", "checks", "sample"),
    (
        "compare",
        "cells",
        "stock",
        "overview",
        "batch",
        "batch_state",
        "attempt",
        "worker",
        "drafting",
        "enqueuing",
        "tally",
    ),
    ("app", "context"),
    ("terminal", "board"),
    ("cli",),
)
"""A module imports from earlier groups, and from those of its own group."""

ROOMS = {
    "click": {"cli", "terminal"},
    "sqlite3": {"database"},
    "PIL": {
        *("sheet", "sound", "mock", "mock_art", "mock_letters", "testing"),
        *("glyphs", "png_stream", "thumbnail", "unifont"),
    },
    "httpx": {"http"},
    "yaml": {"yaml_file"},
    "pluggy": {"hookspecs", "discovery"},
}
"""Where a library may be imported at all."""

MODULES = sorted(PACKAGE.rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").glob("*/imagen_*/**/*.py"))
EVERYTHING = [*MODULES, *PLUGINS]


def room(path: Path) -> str:
    """The module, or the subpackage, that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Each import with whether it is only for type checkers."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.unparse(branch.test)
        for node in ast.walk(branch)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            yield name, id(node) in typing_only


def layer(name: str) -> int:
    return next(number for number, group in enumerate(LAYERS) if name in group)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_imports_only_from_its_left(path: Path) -> None:
    own = room(path)
    if own in ("__init__", "__main__", "testing"):
        return
    for name, typing_only in imports(path):
        parts = name.split(".")
        if parts[0] != "imagen_core" or typing_only or parts[1] == "__version__":
            continue
        assert layer(parts[1]) <= layer(own), f"{own} imports {name}"


@pytest.mark.parametrize("library", ROOMS)
def test_library_is_imported_in_its_room_alone(library: str) -> None:
    users = {
        room(path)
        for path in MODULES
        for name, typing_only in imports(path)
        if name.partition(".")[0] == library and not typing_only
    }

    assert users <= ROOMS[library]


def test_printing_is_the_terminals() -> None:
    found = [
        f"{path.name}:{node.lineno}"
        for path in MODULES
        if room(path) != "terminal"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "click.echo")
    ]

    assert found == []


def test_plugins_do_not_print() -> None:
    found = [
        f"{path.name}:{node.lineno}"
        for path in PLUGINS
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "click.echo")
    ]

    assert found == []


def test_core_names_no_plugin_but_in_known() -> None:
    names = ("comfyui", "replicate", "supabase", "tmux")
    found = [
        (path.name, name)
        for path in MODULES
        if room(path) != "known"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for name in names
        if name in node.value.lower() and "\n" not in node.value
    ]

    assert [(file, name) for file, name in found if room_of(file) != "testing"] == []


def room_of(file: str) -> str:
    return next(room(path) for path in MODULES if path.name == file)


def test_plugins_import_the_public_names_alone() -> None:
    allowed = {"imagen_core", "imagen_core.http", "imagen_core.testing"}
    for path in (ROOT / "plugins").rglob("*.py"):
        own = path.relative_to(ROOT / "plugins").parts[0].replace("-", "_")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                name = node.module
                if name.startswith("imagen_core"):
                    assert name in allowed, f"{path} imports {name}"
                elif name.startswith("imagen_") and "tests" not in path.parts:
                    assert name.startswith((own, "imagen_workflows")), f"{path} imports {name}"


def test_known_agrees_with_the_core() -> None:
    from imagen_core import builtin, known, ledger

    core = {name for name, what in known.COMMANDS.items() if what.distribution == known.CORE}
    inner = {"__init__", "shared", "telling", "options", "plan"}
    inner |= {
        "compare_plan",
        "compare_run",
        "batch_run",
        "rowing",
        "waiting",
        "jobs_shown",
        "health",
    }
    files = {path.stem for path in (PACKAGE / "cli").glob("*.py")} - inner
    assert core == files
    assert {spec.name for spec in builtin.imagen_commands()} == core
    for switch in (builtin.SIDECAR, ledger.SWITCH):
        known_switch = known.SWITCHES[switch.key]
        assert known_switch == (known.CORE, switch.env, switch.on_flag, switch.off_flag)
    types = {name for name, where in known.BACKEND_TYPES.items() if where == known.CORE}
    assert types == {spec.type for spec in builtin.imagen_backends()}


def test_known_agrees_with_the_first_party_plugins() -> None:
    from importlib import import_module

    from imagen_core import known
    from imagen_core.discovery import read_specs
    from imagen_core.plugins import Plugin

    for file in sorted((ROOT / "plugins").glob("*/pyproject.toml")):
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        name = project["name"]
        [(plugin, module)] = project["entry-points"]["imagen"].items()
        found = read_specs(Plugin(name=plugin, distribution=name), import_module(module))
        commands = {key for key, what in known.COMMANDS.items() if what.distribution == name}
        types = {key for key, owner in known.BACKEND_TYPES.items() if owner == name}
        switches = {key for key, what in known.SWITCHES.items() if what.distribution == name}

        assert {spec.name: spec.help for spec in found.commands} == {
            key: known.COMMANDS[key].help for key in commands
        }
        assert {spec.type for spec in found.backends} == types
        assert {spec.switch.key for spec in found.steps if spec.switch} == switches
        assert bool(found.settings) == (found.name in known.SETTINGS)


def test_functions_and_files_are_short() -> None:
    long_functions = [
        f"{path.name}:{node.lineno} {node.name}"
        for path in EVERYTHING
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= 50
    ]
    long_files = [
        path.name for path in EVERYTHING if len(path.read_text(encoding="utf-8").splitlines()) > 400
    ]

    assert (long_functions, long_files) == ([], [])
