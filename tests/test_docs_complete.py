"""The documentation is complete: whatever the code has is in its place on the page."""

from __future__ import annotations

import re
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, get_args

import click
import pytest

import imagen_core
from imagen_core import (
    background,
    checks,
    config,
    hookspecs,
    http,
    known,
    testing,
)
from imagen_core.app import App
from imagen_core.cli import Root
from imagen_core.errors import ERRORS
from imagen_core.mock import Fail, MockConfig
from imagen_core.terminal import Terminal
from imagen_core.testing.asking import Asking

if TYPE_CHECKING:
    from collections.abc import Iterator


DOCS = Path(__file__).parent.parent / "docs"


def text_of(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def section(name: str, heading: str) -> str:
    """What a page has under this heading, down to the next one that is as high."""
    text = text_of(name)
    start = text.index(f"\n{heading}\n") + 1
    level = heading.partition(" ")[0]
    end = re.search(rf"^{level} ", text[start + len(heading) :], re.MULTILINE)
    return text[start:][: len(heading) + end.start()] if end else text[start:]


def tables_in_a_paragraph(text: str) -> Iterator[str]:
    """Rows of a table right below a line of text, which is no table on the site."""
    before, code = "", False
    for line in text.splitlines():
        code ^= line.startswith("```")
        if not code and line.startswith("|") and before and not before.startswith("|"):
            yield line
        before = line


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_every_table_begins_after_an_empty_line(page: Path) -> None:
    assert [*tables_in_a_paragraph(page.read_text(encoding="utf-8"))] == []


def leaves(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that has no commands below it, with its path."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below
        yield from leaves(below, f"{path} {name}")


def options_of(command: click.Command, root: click.Group) -> set[str]:
    context = click.Context(command, parent=click.Context(root))
    params = command.get_params(context)
    return {
        name
        for param in params
        if isinstance(param, click.Option)
        for name in (*param.opts, *param.secondary_opts)
    }


def test_every_option_of_every_command_is_in_its_section(imagen_home: Path) -> None:
    del imagen_home
    root = Root(Terminal(environment={}))
    sections = {"imagen completion": "## Shell completion"}

    for path, command in leaves(root, "imagen"):
        heading = sections.get(path, "## " + " ".join(path.split()[:2]))
        described = section("usage.md", heading)
        missing = {o for o in options_of(command, root) if f"`{o}" not in described}
        assert missing - {"-h", "--help"} == set(), path
    for option in options_of(root, root):
        assert f"`{option}`" in section("usage.md", "## The commands")


@pytest.mark.parametrize("knob", config.KNOBS.values(), ids=lambda knob: knob.key)
def test_every_key_of_the_core_is_in_the_table_of_keys(knob: config.Knob) -> None:
    default = f"`{knob.default}`" if knob.default else "empty"

    assert f"| `{knob.key}` | `{knob.env}` | {default} |" in section(
        "configuration.md", "## The keys"
    )


def test_the_other_blocks_of_the_core_are_in_the_table_of_keys() -> None:
    keys = section("configuration.md", "## The keys")

    for key in {*config.CORE_KEYS} - {*config.KNOBS} - {"output"}:
        assert f"| `{key}` |" in keys


@pytest.mark.parametrize("key", known.SWITCHES)
def test_every_switch_is_in_the_table_of_switches(key: str) -> None:
    switch = known.SWITCHES[key]
    flags = ", ".join(f"`{flag}`" for flag in (switch.on_flag, switch.off_flag) if flag)
    rows = section("configuration.md", "## Switches").splitlines()

    [row] = [row for row in rows if row.startswith(f"| `output.{key}` |")]
    assert row.startswith(f"| `output.{key}` | `{switch.env}` | {flags} |")
    assert row.endswith(f"| {switch.distribution} |")


def test_every_switch_of_the_core_is_a_known_one(imagen_home: Path) -> None:
    switches = App.for_test(Terminal(environment={}), imagen_home).switches()

    assert {switch.key for switch in switches} <= set(known.SWITCHES)


def test_every_environment_variable_of_the_code_is_in_the_docs() -> None:
    sources = [*Path(imagen_core.__file__).parent.rglob("*.py")]
    found = {
        name
        for source in sources
        for name in re.findall(r"\b_?IMAGEN_[A-Z_]+\b", source.read_text(encoding="utf-8"))
    }
    found |= {"MAI_FROM_ID", "NO_COLOR", "TERM", *checks.VARIABLES}
    described = section("usage.md", "## Environment variables")

    assert {name for name in found if f"`{name}`" not in described} == set()


def test_every_hook_is_described_under_its_exact_signature() -> None:
    hooks = [name for name in vars(hookspecs) if name.startswith("imagen_")]
    described = section("plugins.md", "## The hooks")

    assert hooks
    for name in hooks:
        returns = getattr(hookspecs, name).__annotations__["return"]
        assert f"\n### `{name}() -> {returns}`\n" in described


def test_every_field_of_every_spec_is_described() -> None:
    text = text_of("plugins.md")

    for name in imagen_core.__all__:
        if name.endswith("Spec") or name in ("Switch", "Param", "Sample"):
            for field in getattr(imagen_core, name).__struct_fields__:
                assert re.search(rf"`{field}[`(=]|\b{field}=", text), f"{name}.{field}"


def test_every_public_name_is_in_the_table_of_names() -> None:
    text = text_of("plugins.md")
    names = text[text.index("## The public names") :]

    assert {name for name in imagen_core.__all__ if f"`{name}" not in names} == set()


def test_every_public_name_of_http_is_described() -> None:
    described = section("plugins.md", "## HTTP")
    public = {
        name
        for name, value in vars(http).items()
        if getattr(value, "__module__", "") in (http.__name__, background.__name__)
        and isinstance(value, (type, FunctionType))
        and not name.startswith("_")
    }

    assert {name for name in public if f"`{name}" not in described} == set()


def test_every_option_of_the_mock_is_described() -> None:
    described = section("backends.md", "## mock")
    keys = MockConfig.__struct_fields__

    assert {name for name in keys if f"| `{name}` |" not in described} == set()
    assert {name for name in get_args(Fail) if f"| `{name}` |" not in described} == {""}


def test_every_kind_of_error_is_in_the_tables_of_exit_codes() -> None:
    errors, usage = text_of("errors.md"), text_of("usage.md")

    for code, kind in ERRORS.items():
        retryable = "yes" if kind.retryable else "no"
        row = rf"^\| {kind.exit_code} \| \[`{code}`\]\(#{code}\) \| .* \| {retryable} \|$"
        assert re.search(row, errors, re.MULTILINE), code
        assert re.search(rf"^\| {kind.exit_code} \| .*`{code}`", usage, re.MULTILINE), code


def test_every_name_of_the_testing_kit_is_described() -> None:
    described = section("plugins.md", "## The testing kit")
    names = {*testing.__all__, "imagen_home", "imagen"}
    names |= {name for name in vars(Asking) if not name.startswith(("_", "ask", "needs"))}

    assert {name for name in names if f"`{name}`" not in described} == set()


def test_every_module_of_the_core_is_in_the_tree_of_the_architecture() -> None:
    tree = section("architecture.md", "## The tree")
    package = Path(imagen_core.__file__).parent
    modules = {path.name for path in package.iterdir() if not path.name.startswith(("_", "."))}

    assert {name for name in modules - {"py.typed"} if name not in tree} == set()
