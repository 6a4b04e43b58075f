"""The migrations as files: plain SQL, ordered by the number in each name."""

from __future__ import annotations

import re
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from imagen_core import UsageError, suggestion

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LOCK = int.from_bytes(b"imagen", "big")
"""The key of the advisory lock that whoever migrates holds."""
DOWN = ".down"
TOKEN = re.compile(
    r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|(\$(?:[a-z_]\w*)?\$).*?\1|;",
    re.DOTALL | re.IGNORECASE,
)
"""What may have a semicolon in it that ends nothing, or the semicolon that ends a statement."""
LEADING = re.compile(r"(?:\s+|--[^\n]*|/\*.*?\*/)*", re.DOTALL)


class Migration(NamedTuple):
    """One file. Applied twice it changes nothing."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """What tells one version of the file from another."""
        return sha256(self.sql.encode()).hexdigest()

    @property
    def is_down(self) -> bool:
        """Whether it takes back the migration of the same name."""
        return self.name.endswith(DOWN)


class Statement(NamedTuple):
    """One statement of a file, and the line on which it begins."""

    line: int
    text: str


@cache
def every_file() -> dict[str, Migration]:
    """All files by name, reversals too, in their order."""
    folder = files("imagen_supabase") / "migrations"
    found = [
        Migration(path.name.removesuffix(".sql"), path.read_text(encoding="utf-8"))
        for path in folder.iterdir()
        if path.name.endswith(".sql")
    ]
    return {one.name: one for one in sorted(found, key=_order)}


def _order(migration: Migration) -> tuple[int, str]:
    return int(migration.name.partition("_")[0]), migration.name


def migrations() -> tuple[Migration, ...]:
    """What a database should have, oldest first."""
    return tuple(one for one in every_file().values() if not one.is_down)


def named(names: Iterable[str]) -> tuple[Migration, ...]:
    """The files of these names, in the order given; a number, or a name without it, will do."""
    return tuple(_named(name.removesuffix(".sql")) for name in names)


def _named(name: str) -> Migration:
    if "://" in name:
        raise UsageError(
            "a database URL is no name of a migration",
            hint="put it into SUPABASE_DB_URL, or behind --db-url",
        )
    for one in every_file().values():
        number, _, rest = one.name.partition("_")
        short = f"{number}{DOWN}" if one.is_down else number
        if name in (one.name, short, rest):
            return one
    known = suggestion(name, every_file(), "there are")
    raise UsageError(f"there is no migration '{name}'", hint=known)


def script(chosen: Iterable[Migration]) -> str:
    """These migrations as SQL that anybody can run: all of it or nothing, noted in the history."""
    begin = ("begin;", f"select pg_advisory_xact_lock({LOCK});")
    parts = (f"-- {one.name}\n\n{one.sql.rstrip()}\n\n{noting(one)}" for one in chosen)
    return "\n\n".join([*begin, *parts, "commit;"])


def noting(migration: Migration) -> str:
    """The SQL that writes into the history that this was done."""
    if migration.is_down:
        name = migration.name.removesuffix(DOWN)
        return f"delete from imagen.schema_migrations where name = '{name}';"
    return (
        "insert into imagen.schema_migrations (name, checksum)\n"
        f"values ('{migration.name}', '{migration.checksum}')\n"
        "on conflict (name) do update set checksum = excluded.checksum, applied_at = now()\n"
        "where schema_migrations.checksum <> excluded.checksum;"
    )


def statements(sql: str) -> Iterator[Statement]:
    """The statements one by one, so that an error can be told with its line."""
    ends = [match.end() for match in TOKEN.finditer(sql) if match[0] == ";"]
    for begin, end in zip([0, *ends], [*ends, len(sql)], strict=True):
        leading = LEADING.match(sql, begin, end)
        start = leading.end() if leading else begin
        if text := sql[start:end].strip():
            yield Statement(sql.count("\n", 0, start) + 1, text)
