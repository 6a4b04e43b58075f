"""One way to open an SQLite file: many processes at once, versioned, closed on purpose."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

from imagen_core.errors import ImagenError, UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

BUSY_SECONDS = 5.0
BUSY_LOOK = 0.004
"""How long SQLite itself waits."""
PAUSE = 0.001
"""How long we wait before it is asked again."""
PLACE = "look at what lies there and who may write it; IMAGEN_DATA_DIR names another folder"
DAMAGED = "it is damaged: move it away, and a new one is made"
HINTS = {
    "NOTADB": DAMAGED,
    "CORRUPT": DAMAGED,
    "FULL": "make room on the disk, and try again",
    "IOERR": "look at the disk that it is on, which may be full or broken",
    "CANTOPEN": PLACE,
    "READONLY": PLACE,
    "PERM": PLACE,
}
"""What to do about SQLite's errors, by the first word of their name."""
T = TypeVar("T")


class DatabaseError(ImagenError):
    """The database can't be used: corrupt, from a newer imagen, not writable, or locked."""


class LockedError(DatabaseError, UnavailableError):
    """Others have written for longer than anybody waits."""


class Database:
    """A connection that threads may share, opened at first use.

    `migrations` are the schema's history: the n-th brings version n-1 to version n.
    """

    def __init__(
        self, path: Path, migrations: Sequence[str], *, busy_seconds: float = BUSY_SECONDS
    ) -> None:
        self.path = path
        self._migrations = migrations
        self._busy_seconds = busy_seconds
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._opened = (0, 0)
        self._closing = False

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction that holds the write lock from its beginning."""
        with self._using() as connection, self._transaction(connection):
            yield connection

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """What a query finds."""
        with self._using() as connection:
            return self._patiently(lambda: connection.execute(query, values).fetchall())

    def close(self) -> None:
        """Give the file back; who waits for others in it gives up."""
        self._closing = True
        with self._lock:
            self._closing = False
            if self._connection:
                self._connection.close()
                self._connection = None

    @contextlib.contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._leave_if_replaced()
                self._connection = self._connection or self._open()
                yield self._connection
            except (sqlite3.Error, OSError) as error:
                told = f"{self.path}: {_reason(error)}"
                if _is_locked(error):
                    raise LockedError(told, hint="another process writes; try again") from error
                raise DatabaseError(told, hint=_hint(error)) from error
            except (UnicodeEncodeError, OverflowError) as error:
                raise UsageError(f"{self.path} can't hold such a value: {error}") from error

    def _leave_if_replaced(self) -> None:
        """Let go of a file that was deleted, or put back from a copy: others use the new one."""
        if self._connection and not self._connection.in_transaction:
            with contextlib.suppress(OSError):
                if _identity(self.path) == self._opened:
                    return
            self.close()

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self.path,
            timeout=BUSY_LOOK,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.row_factory = sqlite3.Row
            self._patiently(lambda: connection.execute("pragma journal_mode=wal"))
            connection.execute("pragma synchronous=full")
            self._migrate(connection)
            self._opened = _identity(self.path)
        except BaseException:
            connection.close()
            raise
        return connection

    def _patiently(self, call: Callable[[], T]) -> T:
        """Do it as soon as the others let us.

        SQLite itself looks less and less often the longer it waits, and so never gets its turn
        where many write. And it does not wait at all for the switch to WAL.
        """
        deadline = time.monotonic() + self._busy_seconds
        while True:
            try:
                return call()
            except sqlite3.OperationalError as error:
                if not _is_locked(error) or self._closing or time.monotonic() > deadline:
                    raise
            time.sleep(PAUSE)

    @contextlib.contextmanager
    def _transaction(self, connection: sqlite3.Connection) -> Iterator[None]:
        if connection.in_transaction:
            raise sqlite3.ProgrammingError("a change within a change")
        try:
            # In here: Ctrl-C while it waits for the lock is noticed as soon as it has the lock.
            self._patiently(lambda: connection.execute("begin immediate"))
            yield
            connection.execute("commit")
        except BaseException:
            if connection.in_transaction:
                # SQLite has rolled back already where the disk is full.
                connection.execute("rollback")
            raise

    def _migrate(self, connection: sqlite3.Connection) -> None:
        newest = len(self._migrations)
        if self._patiently(lambda: _version(connection)) == newest:
            return
        with self._transaction(connection):
            version = _version(connection)
            if version > newest:
                raise DatabaseError(
                    f"{self.path} was written by a newer imagen (schema {version}, "
                    f"this one knows {newest})",
                    hint="update imagen-core",
                )
            for migration in self._migrations[version:]:
                for statement in migration.split(";"):
                    connection.execute(statement)
            connection.execute(f"pragma user_version={newest}")


def _reason(error: Exception) -> str:
    if isinstance(error, FileExistsError):  # which only making its folder raises
        return f"{error.filename} is no folder"
    return str(getattr(error, "strerror", None) or error)


def _hint(error: Exception) -> str:
    if isinstance(error, OSError):
        return PLACE
    _, _, name = getattr(error, "sqlite_errorname", "").partition("_")
    return HINTS.get(name.partition("_")[0], "")


def _is_locked(error: Exception) -> bool:
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("pragma user_version").fetchone()[0])
