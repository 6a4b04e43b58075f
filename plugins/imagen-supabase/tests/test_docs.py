"""The page about Supabase says what the code and the migrations do."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import imagen_supabase
from imagen_supabase.scripts import every_file, migrations

if TYPE_CHECKING:
    from collections.abc import Iterator

PLUGIN = Path(__file__).parent.parent
CODE = Path(imagen_supabase.__file__).parent
PAGE = (PLUGIN.parents[1] / "docs" / "supabase.md").read_text(encoding="utf-8")
TELLING = ("Error", "info", "warn", "tell")
"""How the names of what is called end, with a message first."""


def section(heading: str) -> str:
    """What the page has under this heading, down to the next one that is as high."""
    start = PAGE.index(f"\n{heading}\n") + 1
    end = re.search(r"^#{1,2} ", PAGE[start + len(heading) :], re.MULTILINE)
    return PAGE[start:][: len(heading) + end.start()] if end else PAGE[start:]


def messages_of_the_code() -> Iterator[str]:
    for path in sorted(CODE.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and _tells(node.func):
                yield from shown(node.args[0])
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "told":
                yield from shown(node.value)


def _tells(function: ast.expr) -> bool:
    name = ast.unparse(function)
    return name.endswith(TELLING) and name != "psycopg.Error"


def shown(value: ast.expr) -> Iterator[str]:
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value
    elif isinstance(value, ast.JoinedStr):
        parts = (str(p.value) if isinstance(p, ast.Constant) else "…" for p in value.values)
        yield "".join(parts)


def messages_of_the_migrations() -> Iterator[str]:
    for one in every_file().values():
        for text in re.findall(r"raise (?:exception|warning|notice) '((?:[^']|'')+)'", one.sql):
            yield text.replace("''", "'").replace("%", "…").removeprefix("imagen: ")


def documented() -> list[str]:
    return re.findall(r"^\| \d \| `(.+?)` \|", section("## When something goes wrong"), re.M)


def messages() -> set[str]:
    found = {*messages_of_the_code(), *messages_of_the_migrations()}
    return {text for text in found if len(text.strip("… :")) > 3}


def test_every_message_is_on_the_page() -> None:
    assert messages() - {*documented()} == set()


def test_every_message_on_the_page_is_said() -> None:
    of_the_database = {row for row in documented() if re.match(r"(….sql|can't read)", row)}

    assert {*documented()} - messages() == of_the_database


def test_every_migration_is_on_the_page() -> None:
    rows = re.findall(r"^\| `(\d+_\w+)` \|", section("## Migrations"), re.M)

    assert rows == [one.name for one in migrations()]


def test_every_table_is_in_the_table_of_rights() -> None:
    sql = "".join(one.sql for one in migrations())
    tables = re.findall(r"create (?:table if not exists|or replace view) (\S+)", sql)

    rows = re.findall(r"^\| `(\w+\.\w+)` \|", section("## Who may do what"), re.M)
    assert sorted(rows) == sorted(tables)


def test_links_of_the_readme_lead_somewhere() -> None:
    text = (PLUGIN / "README.md").read_text(encoding="utf-8")

    for path in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]+)?\)", text):
        assert (PLUGIN / path).is_file(), path
