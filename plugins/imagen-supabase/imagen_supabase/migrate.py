"""What a database has of the migrations, and how it gets the rest: once, whole, one at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from imagen_core import ImagenError
from imagen_supabase.postgres import driver, failure, open_database
from imagen_supabase.scripts import LOCK, Migration, Statement, noting, statements

if TYPE_CHECKING:
    from psycopg import Connection, Error
    from psycopg.errors import Diagnostic

    from imagen_supabase.postgres import Place

WAIT_SECONDS = 60
"""How long to wait for another who migrates, or for whoever holds a table."""
OWN = "imagen: "
"""How the messages begin that a migration has for its reader."""

State = Literal["applied", "changed", "missing", "unknown"]


class Entry(NamedTuple):
    """A line of the database's history."""

    checksum: str
    applied_at: datetime


class Standing(NamedTuple):
    """How a migration stands in a database; `unknown` is one that only the database knows."""

    name: str
    state: State
    applied_at: datetime | None = None


class Remark(NamedTuple):
    """What a migration has to say."""

    text: str
    is_warning: bool


class Outcome(NamedTuple):
    """What became of one migration: applied just now, or there since an earlier time."""

    name: str
    applied: bool
    since: datetime
    changed: bool
    remarks: tuple[Remark, ...]


class Migrator:
    """Reads and writes the history of one database. Make it with `migrating`."""

    def __init__(self, connection: Connection[Any], place: Place) -> None:
        self._connection = connection
        self.place = place
        self._remarks: list[Remark] = []
        connection.add_notice_handler(self._note)

    def standings(self, known: Iterable[Migration]) -> list[Standing]:
        """How each of these stands, and what else the database has."""
        there = self.history()
        found = [_standing(one, there.pop(one.name, None)) for one in known]
        rest = (Standing(name, "unknown", entry.applied_at) for name, entry in there.items())
        return found + sorted(rest)

    def history(self) -> dict[str, Entry]:
        """What was applied; empty before the first migration."""
        psycopg = driver()
        try:
            return self._history()
        except psycopg.Error as error:
            problem = failure(error, self.place, doing="can't read the history of migrations")
        raise problem

    def _history(self) -> dict[str, Entry]:
        query = "select to_regclass('imagen.schema_migrations') is not null"
        if self._connection.execute(query).fetchall() == [(False,)]:
            return {}
        rows = self._connection.execute(
            "select name, checksum, applied_at from imagen.schema_migrations order by name"
        )
        return {name: Entry(checksum, at.astimezone(UTC)) for name, checksum, at in rows}

    def apply(
        self,
        migration: Migration,
        *,
        again: bool = False,
        wait: float = WAIT_SECONDS,
        tell: Callable[[str], object] = str,
    ) -> Outcome:
        """Apply it if it is missing, all of it or nothing. Only one migrates at a time.

        `again`: also if it is not missing, which makes anew what was changed since. `tell` gets a
        line when somebody else holds things up; `wait` is in seconds.
        """
        psycopg = driver()
        self._remarks = []
        statement: Statement | None = None
        try:
            with self._connection.transaction():
                self._lock(wait, tell)
                earlier = self._history().get(migration.name)
                applied = earlier is None or again
                if applied:
                    for statement in statements(migration.sql):
                        self._connection.execute(statement.text.encode())
                    self._connection.execute(noting(migration).encode())
                entry = self._history()[migration.name]
            changed = entry.checksum != migration.checksum
            remarks = tuple(self._remarks)
            return Outcome(migration.name, applied, entry.applied_at, changed, remarks)
        except psycopg.Error as error:
            problem = self._failure(error, migration, statement)
        raise problem

    def _lock(self, wait: float, tell: Callable[[str], object]) -> None:
        # The transaction's, not the session's: a pooler hands sessions around.
        self._connection.execute(f"set local lock_timeout = {int(wait * 1000)}".encode())
        query = f"select pg_try_advisory_xact_lock({LOCK})".encode()
        if self._connection.execute(query).fetchall() == [(False,)]:
            tell("somebody else is migrating this database: waiting")
            self._connection.execute(f"select pg_advisory_xact_lock({LOCK})".encode())

    def _failure(
        self, error: Error, migration: Migration, statement: Statement | None
    ) -> ImagenError:
        line = _line(error.diag, statement) if statement else 1
        return failure(error, self.place, doing=f"{migration.name}.sql:{line}")

    def _note(self, notice: Diagnostic) -> None:
        text = notice.message_primary or ""
        if text.startswith(OWN):
            warning = notice.severity_nonlocalized == "WARNING"
            self._remarks.append(Remark(self.place.scrubbed(text.removeprefix(OWN)), warning))


@contextmanager
def migrating(url: str) -> Iterator[Migrator]:
    """Opens the database, and closes it."""
    with open_database(url) as (connection, place):
        yield Migrator(connection, place)


def _standing(migration: Migration, entry: Entry | None) -> Standing:
    if entry is None:
        return Standing(migration.name, "missing")
    state: State = "applied" if entry.checksum == migration.checksum else "changed"
    return Standing(migration.name, state, entry.applied_at)


def _line(diagnostic: Diagnostic, statement: Statement) -> int:
    """The line of the file that the server means."""
    if diagnostic.statement_position:
        before = int(diagnostic.statement_position) - 1
        return statement.line + statement.text.count("\n", 0, before)
    inside = re.search(r"inline_code_block line (\d+)", diagnostic.context or "")
    if inside:
        begin = statement.text.count("\n", 0, statement.text.index("$"))
        return statement.line + begin + int(inside[1]) - 1
    return statement.line
