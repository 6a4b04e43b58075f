"""The page about Replicate says what the code does: keys, fields, and every message."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import pytest

import imagen_replicate
from imagen_replicate import catalogue
from imagen_replicate.config import ReplicateConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

PLUGIN = Path(__file__).parent.parent
DOCS = PLUGIN.parents[1] / "docs"
CODE = Path(imagen_replicate.__file__).parent
PAGE = (DOCS / "replicate.md").read_text(encoding="utf-8")
OWN = ("told", "why")
"""Names of variables that hold what an error says."""


def section(heading: str) -> str:
    """What the page has under this heading, down to the next one that is as high."""
    start = PAGE.index(f"\n{heading}\n") + 1
    level = heading.partition(" ")[0]
    end = re.search(rf"^#{{1,{len(level)}}} ", PAGE[start + len(heading) :], re.MULTILINE)
    return PAGE[start:][: len(heading) + end.start()] if end else PAGE[start:]


def first_cells(table: str) -> set[str]:
    rows = re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def test_every_key_of_the_block_is_in_its_table() -> None:
    assert first_cells(section("### The block")) == {*ReplicateConfig.__struct_fields__}


@pytest.mark.parametrize("key", ["api_token_env", "api_url", "wait"])
def test_default_in_the_table_is_the_blocks(key: str) -> None:
    assert f"| `{key}` | `{getattr(ReplicateConfig(model='a/b'), key)}` |" in PAGE


def test_limits_in_the_table_are_the_catalogues(make: Any) -> None:
    known = catalogue.known()
    schnell, dev = (known[f"black-forest-labs/flux-{n}"].seconds for n in ("schnell", "dev"))
    other = make(model="a/b").limit

    assert f"{schnell:g} for flux-schnell, {dev:g} for flux-dev, {other:g} for a model" in PAGE


def test_every_kind_of_hardware_is_named() -> None:
    named = ", ".join(f"`{name}`" for name in sorted(catalogue.hardware(), key=_price))

    assert named in section("### The block")


def _price(name: str) -> float:
    order = {"a100_80gb": 0.0014, "h100": 0.0015}
    return order.get(name, catalogue.hardware()[name].usd)


def test_every_key_of_the_metadata_is_in_its_table(make: Any, ask: Any, images: Any) -> None:
    [image] = images(make(model="black-forest-labs/flux-dev"), ask())

    assert set(image.metadata) <= first_cells(section("## What the sidecar tells")) | {"asked_size"}


def test_number_of_models_is_that_of_the_catalogue() -> None:
    changes = (DOCS.parent / "CHANGELOG.md").read_text(encoding="utf-8")

    assert f"lists {len(catalogue.known())} models" in changes


# Messages


def texts(function: ast.FunctionDef) -> Iterator[str]:
    """What the errors of a function say, with … for what differs."""
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and node.args and _is_error(node.func):
            yield from shown(node.args[0])
        elif _says(node, function):
            yield from shown(node.value)


def _says(node: ast.AST, function: ast.FunctionDef) -> TypeGuard[ast.Assign | ast.Return]:
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0]) in OWN
    return isinstance(node, ast.Return) and function.name.endswith("_problem")


def _is_error(function: ast.expr) -> bool:
    name = ast.unparse(function).rpartition(".")[2]
    errors = ("Error", "Throttled", "Cancelled", "kind")
    return name.endswith(errors) and name not in ("AssertionError", "ValueError", "_AgainError")


def shown(value: ast.expr | None) -> Iterator[str]:
    if isinstance(value, ast.IfExp):
        yield from shown(value.body)
        yield from shown(value.orelse)
    elif isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value
    elif isinstance(value, ast.JoinedStr):
        parts = (str(p.value) if isinstance(p, ast.Constant) else "…" for p in value.values)
        yield re.sub("…+", "…", "".join(parts))


def messages() -> set[str]:
    found = set()
    for path in sorted(CODE.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                found |= {text for text in texts(node) if len(text.strip("… ")) > 5}
    return found


def documented() -> list[str]:
    rows = re.findall(r"^\| \d+ \| `(.+?)` \|", section("## When something goes wrong"), re.M)
    return [re.sub(r"\s*…+\s*", "…", row) for row in rows]


def pattern(text: str) -> str:
    return ".*".join(map(re.escape, re.sub(r"\s*…+\s*", "…", text).split("…")))


def test_every_message_is_on_the_page() -> None:
    rows = documented()

    missing = [m for m in messages() if not any(_meets(m, row) for row in rows)]

    assert sorted(missing) == []


def test_every_message_on_the_page_is_said() -> None:
    said = messages()

    assert [row for row in documented() if not any(_meets(m, row) for m in said)] == []


def _meets(message: str, row: str) -> bool:
    """Whether one of both, with its gaps, reads as the other one."""
    plain = re.sub(r"\s*…+\s*", "…", message)
    return bool(re.search(pattern(row), plain) or re.search(pattern(message), row))


# The plugin's own page


def test_links_of_the_readme_lead_somewhere() -> None:
    text = (PLUGIN / "README.md").read_text(encoding="utf-8")

    for path in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]+)?\)", text):
        assert (PLUGIN / path).is_file(), path


@pytest.mark.parametrize(
    "page", [PLUGIN / "README.md", DOCS / "replicate.md"], ids=lambda p: p.name
)
def test_configuration_of_the_page_validates(
    page: Path, imagen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEN_LOAD_PLUGINS", "replicate")
    blocks = re.findall(r"^```yaml\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
    file = tmp_path / "imagen.yaml"
    file.write_text(blocks[0])

    done = imagen("config", "validate", "--config", str(file))

    assert done.err == f"imagen: {file} is fine\n"
