"""The page about the preview says what the code does."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import imagen_tmux
from imagen_tmux.settings import Protocol, TmuxSettings
from imagen_tmux.viewer import hold
from imagen_tmux.viewer.arguments import HELP, PROTOCOLS, VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

PLUGIN = Path(__file__).parent.parent
CODE = Path(imagen_tmux.__file__).parent
PAGE = (PLUGIN.parents[1] / "docs" / "preview.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    """What the page has under this heading, down to the next one that is as high."""
    start = PAGE.index(f"\n{heading}\n") + 1
    end = re.search(r"^## ", PAGE[start + len(heading) :], re.MULTILINE)
    return PAGE[start:][: len(heading) + end.start()] if end else PAGE[start:]


def messages() -> Iterator[str]:
    """What errors, problems of pictures and warnings of the configuration say."""
    for path in sorted(CODE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and _raises(node.func):
                yield from _text(node.args[0])
            elif isinstance(node, ast.keyword) and node.arg == "problem":
                yield from _text(node.value)
            if isinstance(node, ast.Yield) and path.stem == "settings" and node.value:
                yield from _text(node.value)


def _raises(function: ast.expr) -> bool:
    return ast.unparse(function) in ("ImagenError", "Misuse", "ValueError")


def _text(value: ast.expr) -> Iterator[str]:
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value
    elif isinstance(value, ast.JoinedStr):
        parts = []
        for part in value.values:
            named = (
                isinstance(part, ast.FormattedValue) and ast.unparse(part.value) == "PLACEHOLDER"
            )
            text = part.value if isinstance(part, ast.Constant) else "…"
            parts.append("{path}" if named else str(text))
        yield re.sub("(…[x]?)+", "…", "".join(parts))


def test_every_message_is_on_the_page_and_every_one_on_the_page_is_said() -> None:
    documented = set(re.findall(r"^\| `(.+?)` \|", section("## When something goes wrong"), re.M))
    said = {text.partition(";")[0] for text in messages() if text.strip("… :")}

    told_otherwise = {"--hold needs a terminal", "cannot print the picture: …"}
    assert said == documented - told_otherwise


def test_every_option_is_on_the_page() -> None:
    options = set(re.findall(r"--[a-z]+", HELP))

    assert {option for option in options if f"`{option}" not in section("## tmux-img")} == set()


def test_every_protocol_is_on_the_page() -> None:
    assert get_args(Protocol) == PROTOCOLS
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|", section("## How it is drawn"), re.M)

    assert ("auto", *rows) == PROTOCOLS


def test_every_key_of_the_block_is_on_the_page() -> None:
    described = section("## Settings")

    for name in TmuxSettings.__struct_fields__:
        assert f"| `tmux.{name}` |" in described
    assert f"`{VARIABLE}`" in described


def test_every_letter_that_does_something_is_on_the_page() -> None:
    described = section("## The window")
    letters = {
        key
        for keys in (hold.NEXT, hold.BEFORE, hold.FIRST, hold.LAST, hold.AGAIN)
        for key in keys
        if len(key) == 1 and key.isalpha()
    }

    assert {letter for letter in letters if f"`{letter}`" not in described} == set()


def test_every_key_is_in_the_help() -> None:
    words = set(re.findall(r"[\w-]+", HELP.partition("With --hold:")[2]))
    page = section("## The window")
    rows = re.findall(r"^\| (.+?) \| (?:the|draw|stop)", page, re.MULTILINE)
    keys = {key.strip(" `") for row in rows for key in row.split(",")}

    assert len(keys) > 15
    assert {key for key in keys if not set(key.split()) <= words} == set()


def test_links_of_the_readme_lead_somewhere() -> None:
    text = (PLUGIN / "README.md").read_text(encoding="utf-8")

    for path in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]+)?\)", text):
        assert (PLUGIN / path).is_file(), path
