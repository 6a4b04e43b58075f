"""What is said of a database file that can't be used, and what to do about it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from imagen_core.database import DAMAGED, HINTS, PLACE, Database, DatabaseError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def refused(path: Path, *, size: int = 1) -> tuple[str, str]:
    """The message of a write that fails, without its path, and the hint."""
    with (
        contextlib.closing(Database(path, ("create table notes (text)",))) as database,
        pytest.raises(DatabaseError) as caught,
        database.write() as connection,
    ):
        connection.execute("insert into notes values (zeroblob(?))", (size,))
    return caught.value.message.removeprefix(f"{path}: "), caught.value.hint


def file_in_the_way(path: Path) -> str:
    path.parent.write_text("")
    return f"{path.parent} is no folder"


def link_to_nothing(path: Path) -> str:
    path.parent.symlink_to(path.parent.with_name("gone"))
    return f"{path.parent} is no folder"


def file_above(path: Path) -> str:
    path.parent.parent.write_text("")
    return "Not a directory"


def folder_of_that_name(path: Path) -> str:
    path.mkdir(parents=True)
    return "unable to open database file"


@pytest.mark.parametrize(
    "prepare", [file_in_the_way, link_to_nothing, file_above, folder_of_that_name]
)
def test_place_where_no_file_can_be_says_what_is_there(
    tmp_path: Path, prepare: Callable[[Path], str]
) -> None:
    path = tmp_path / "imagen" / "data" / "jobs.db"
    if prepare is not file_above:
        path.parent.parent.mkdir()
    told = prepare(path)

    assert refused(path) == (told, PLACE)


def test_folder_that_may_not_be_written_has_a_hint(read_only_folder: Path) -> None:
    assert refused(read_only_folder / "jobs.db") == ("unable to open database file", PLACE)


def test_file_that_is_no_database_is_to_be_moved_away(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    path.write_bytes(bytes(4096))

    assert refused(path) == ("file is not a database", DAMAGED)


def test_disk_that_takes_no_more_has_a_hint(
    tmp_path: Path, small_files: Callable[[int], None]
) -> None:
    small_files(100_000)

    assert refused(tmp_path / "jobs.db", size=1_000_000) == ("disk I/O error", HINTS["IOERR"])
