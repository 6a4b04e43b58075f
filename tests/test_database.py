"""The SQLite file: shared by many, brought forward, and refused with a reason."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from imagen_core import UnavailableError, UsageError
from imagen_core.database import Database, DatabaseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

V1 = "create table notes (text text not null); create index notes_text on notes (text)"
V2 = "alter table notes add column stars integer not null default 3"


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Database]]:
    with contextlib.ExitStack() as stack:

        def open_it(*migrations: str, busy_seconds: float = 0.1) -> Database:
            path = tmp_path / "deep" / "x.db"
            database = Database(path, migrations or (V1,), busy_seconds=busy_seconds)
            stack.callback(database.close)
            return database

        yield open_it


def add(database: Database, text: str) -> None:
    with database.write() as connection:
        connection.execute("insert into notes (text) values (?)", (text,))


def texts(database: Database) -> list[str]:
    return [row["text"] for row in database.rows("select text from notes order by rowid")]


def test_file_and_folder_are_made_at_first_use_alone(opened: Callable[..., Database]) -> None:
    database = opened()
    assert not database.path.parent.exists()

    add(database, "one")

    assert texts(database) == ["one"]


def test_file_is_in_wal_mode_and_syncs_every_commit(opened: Callable[..., Database]) -> None:
    database = opened()

    found = [database.rows(f"pragma {name}")[0][0] for name in ("journal_mode", "synchronous")]

    assert found == ["wal", 2]


def test_newer_schema_brings_the_file_forward_and_keeps_its_rows(
    opened: Callable[..., Database],
) -> None:
    old = opened(V1)
    add(old, "kept")
    old.close()

    new = opened(V1, V2)

    assert [tuple(row) for row in new.rows("select text, stars from notes")] == [("kept", 3)]
    assert new.rows("pragma user_version")[0][0] == 2


def test_migration_that_fails_leaves_the_file_as_it_was(opened: Callable[..., Database]) -> None:
    old = opened(V1)
    add(old, "kept")
    old.close()

    with pytest.raises(DatabaseError, match="no such table: nowhere"):
        texts(opened(V1, f"{V2}; insert into nowhere values (1)"))

    assert [tuple(row) for row in old.rows("select * from notes")] == [("kept",)]
    assert old.rows("pragma user_version")[0][0] == 1


def test_file_of_a_newer_imagen_is_refused_with_what_to_do(
    opened: Callable[..., Database],
) -> None:
    new = opened(V1, V2)
    add(new, "kept")
    new.close()

    with pytest.raises(DatabaseError) as caught:
        texts(opened(V1))

    assert caught.value.message == (
        f"{new.path} was written by a newer imagen (schema 2, this one knows 1)"
    )
    assert caught.value.hint == "update imagen-core"
    assert texts(new) == ["kept"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"this is no database, but long enough to look at it" * 100, "file is not a database"),
        (b"SQLite format 3\0" + bytes(4080), "file is not a database"),
    ],
    ids=["text", "damaged header"],
)
def test_file_that_is_no_database_is_told_and_left_alone(
    opened: Callable[..., Database], content: bytes, told: str
) -> None:
    database = opened()
    database.path.parent.mkdir()
    database.path.write_bytes(content)

    with pytest.raises(DatabaseError) as caught:
        texts(database)

    assert caught.value.message == f"{database.path}: {told}"
    assert database.path.read_bytes() == content


def test_file_that_is_damaged_further_down_is_told(opened: Callable[..., Database]) -> None:
    database = opened()
    for number in range(500):
        add(database, f"{number}" * 50)
    database.close()
    data = database.path.read_bytes()
    database.path.write_bytes(data[:4096] + b"\xa5" * (len(data) - 4096))

    with pytest.raises(DatabaseError, match="malformed"):
        texts(database)


def test_file_that_somebody_else_holds_is_told_after_the_time_out(
    opened: Callable[..., Database],
) -> None:
    database, other = opened(), opened()
    add(database, "mine")

    with other.write(), pytest.raises(UnavailableError) as caught:
        add(database, "too late")
    add(database, "in time")

    assert caught.value.message == f"{database.path}: database is locked"
    assert isinstance(caught.value, DatabaseError)
    assert texts(database) == ["mine", "in time"]


def test_closing_waits_for_nobody_who_waits_for_others(opened: Callable[..., Database]) -> None:
    database, other = opened(busy_seconds=600), opened()
    add(database, "mine")
    locked = threading.Event()
    caught: list[BaseException] = []

    def late() -> None:
        try:
            with database.write():
                pass
        except DatabaseError as error:
            caught.append(error)

    waiting = threading.Thread(target=late)
    with other.write(), mock.patch.object(time, "sleep", side_effect=lambda _: locked.set()):
        waiting.start()
        locked.wait()
        database.close()
        waiting.join()

    assert [str(error) for error in caught] == [f"{database.path}: database is locked"]
    assert texts(database) == ["mine"]


def test_reader_is_not_stopped_by_a_writer(opened: Callable[..., Database]) -> None:
    database, other = opened(), opened()
    add(database, "before")

    with other.write() as connection:
        connection.execute("insert into notes (text) values ('unseen')")
        assert texts(database) == ["before"]


def test_new_file_that_is_locked_in_its_first_moment_is_waited_for(
    opened: Callable[..., Database],
) -> None:
    database = opened(busy_seconds=30)
    database.path.parent.mkdir()
    blocker = sqlite3.connect(database.path, isolation_level=None, check_same_thread=False)
    blocker.execute("begin exclusive")
    release = threading.Timer(0.05, blocker.close)

    release.start()
    add(database, "after")
    release.join()

    assert texts(database) == ["after"]


def test_exception_inside_a_transaction_undoes_it(opened: Callable[..., Database]) -> None:
    database = opened()

    def interrupted() -> None:
        with database.write() as connection:
            connection.execute("insert into notes (text) values ('half')")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    add(database, "whole")
    assert texts(database) == ["whole"]


@pytest.mark.parametrize("obstacle", ["folder is a file", "file is a folder"])
def test_place_that_cannot_be_written_is_told(
    opened: Callable[..., Database], obstacle: str
) -> None:
    database = opened()
    if obstacle == "folder is a file":
        database.path.parent.write_text("in the way")
    else:
        database.path.mkdir(parents=True)

    with pytest.raises(DatabaseError) as caught:
        add(database, "x")

    assert caught.value.message.startswith(f"{database.path}: ")


def test_read_only_folder_is_told(read_only_folder: Path) -> None:
    database = Database(read_only_folder / "x.db", (V1,))

    with pytest.raises(DatabaseError, match="unable to open database file"):
        add(database, "x")


def test_disk_that_is_full_is_told_and_a_later_write_succeeds(tmp_path: Path) -> None:
    script = f"""
        import resource, signal
        from pathlib import Path
        from imagen_core.database import Database, DatabaseError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        database = Database(Path({str(tmp_path / "x.db")!r}), ("create table t (x)",))
        def add(size):
            with database.write() as connection:
                connection.execute("insert into t values (zeroblob(?))", (size,))
        add(10)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
        try:
            add(5_000_000)
        except DatabaseError as error:
            print(error.code)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        add(20)
        print([row[0] for row in database.rows("select length(x) from t")])
        database.close()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )

    assert done.stdout == "failed\n[10, 20]\n"


def test_closed_database_opens_again(opened: Callable[..., Database]) -> None:
    database = opened()
    database.close()
    add(database, "one")
    database.close()
    database.close()

    assert texts(database) == ["one"]


def test_threads_share_one_connection(opened: Callable[..., Database]) -> None:
    database = opened()

    def work(name: str) -> None:
        for number in range(50):
            add(database, f"{name}{number}")

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(texts(database)) == sorted(f"{name}{n}" for name in "abcd" for n in range(50))


def test_many_processes_that_start_at_once_lose_no_row(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    script = f"""
        import os
        from pathlib import Path
        from imagen_core.database import Database
        database = Database(Path({str(path)!r}), ({V1!r}, {V2!r}), busy_seconds=60)
        for number in range(25):
            with database.write() as connection:
                connection.execute("insert into notes (text) values (?)", (f"{{os.getpid()}}",))
        database.close()
    """
    crowd = [subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)]) for _ in range(8)]

    assert [process.wait() for process in crowd] == [0] * 8
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found = connection.execute("select text, count(*) from notes group by text").fetchall()
    assert sorted(found) == sorted((str(process.pid), 25) for process in crowd)


def test_interrupt_while_waiting_for_the_lock_gives_it_back(
    opened: Callable[..., Database],
) -> None:
    database, other = opened(busy_seconds=30), opened()
    add(database, "first")
    begun: SimpleQueue[str] = SimpleQueue()
    locked = threading.Event()
    main = threading.get_ident()
    with database.write() as connection:
        connection.set_trace_callback(begun.put)
    begun.get()

    def interrupt() -> None:
        with other.write():
            locked.set()
            assert begun.get() == "begin immediate"
            # Python hears of it when the statement of the main thread has ended.
            signal.pthread_kill(main, signal.SIGINT)

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    locked.wait()
    with pytest.raises(KeyboardInterrupt):
        add(database, "interrupted")
    interrupting.join()

    add(other, "last")
    add(database, "and on")

    assert texts(other) == ["first", "last", "and on"]


def test_change_within_a_change_is_refused_and_harms_no_other(
    opened: Callable[..., Database],
) -> None:
    database = opened()

    with database.write() as connection:
        connection.execute("insert into notes (text) values ('outer')")
        with pytest.raises(DatabaseError, match="a change within a change"):
            add(database, "inner")
        connection.execute("insert into notes (text) values ('more')")

    assert texts(database) == ["outer", "more"]


def test_file_that_was_deleted_is_made_anew(opened: Callable[..., Database]) -> None:
    database, other = opened(), opened()
    add(database, "lost")
    for path in database.path.parent.iterdir():
        path.unlink()

    add(database, "found")

    assert texts(other) == texts(database) == ["found"]


def test_file_that_was_put_back_from_a_copy_is_the_one(opened: Callable[..., Database]) -> None:
    database = opened()
    add(database, "old")
    database.close()
    copy = database.path.with_name("copy")
    copy.write_bytes(database.path.read_bytes())
    add(database, "new")
    for path in database.path.parent.glob("x.db-*"):
        path.unlink()
    copy.rename(database.path)

    assert texts(database) == ["old"]


@pytest.mark.parametrize("value", ["no \udcff text", 2**70])
def test_value_that_sqlite_cannot_hold_is_told(
    opened: Callable[..., Database], value: str | int
) -> None:
    database = opened()

    with pytest.raises(UsageError, match="can't hold such a value"):
        database.rows("select ?", (value,))
