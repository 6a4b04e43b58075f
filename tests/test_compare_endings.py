"""How a comparison ends: what is drawn, what is written down, and the exit code."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from imagen_core import compare, comparison

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL = ("--size", "48x32")


@pytest.fixture(autouse=True)
def config(imagen_home: Path) -> Path:
    folder = imagen_home / ".config"
    folder.mkdir(exist_ok=True)
    (folder / "imagen.yaml").write_text(
        "backends:\n  a: {type: mock}\n  b: {type: mock}\n  bad: {type: mock, fail: rejected}\n"
    )
    return folder


def folder_of(done: Any) -> Path:
    return Path(done.out.splitlines()[0]).parent


def shape(folder: Path) -> float:
    """How much wider than high the sheet is."""
    with Image.open(folder / "sheet.png") as sheet:
        return sheet.width / sheet.height


def test_columns_make_the_sheet_wide_or_high(imagen: Any) -> None:
    args = ("compare", "a cat", "--models", "a", "--seeds", "1..4", *SMALL, "--columns")
    row, column = folder_of(imagen(*args, "4")), folder_of(imagen(*args, "1"))

    assert shape(row) > 1 > shape(column)


def test_resumed_comparison_keeps_its_columns(imagen: Any) -> None:
    args = ("--models", "a", "--seeds", "1..3", *SMALL, "--columns", "1")
    folder = folder_of(imagen("compare", "a cat", *args))
    (folder / "sheet.png").unlink()

    imagen("compare", "--resume", str(folder), "--seeds", "4")

    assert shape(folder) < 1


def test_damaged_ledger_is_a_warning_that_changes_no_exit_code(
    imagen: Any, imagen_home: Path
) -> None:
    folder = folder_of(imagen("compare", "a cat", "--models", "a", "--seeds", "1", *SMALL))
    [ledger] = imagen_home.rglob("*.db")
    ledger.write_bytes(b"no database" * 1000)

    done = imagen("compare", "--resume", str(folder), "--seeds", "2")

    assert (done.exit_code, "ledger: " in done.err) == (0, True)


def test_nothing_is_made_where_the_state_can_not_be_written(
    imagen: Any, small_files: Callable[[int], None]
) -> None:
    folder = folder_of(imagen("compare", "a cat", "--models", "a", "--seeds", "1", *SMALL))
    before = {path: path.read_bytes() for path in folder.iterdir()}
    small_files((folder / "compare.json").stat().st_size)

    for _ in range(2):
        done = imagen("compare", "--resume", str(folder), "--seeds", "7", "--no-ledger")

        assert (done.exit_code, done.out) == (2, "")
        assert f"cannot write {folder}/compare.json: File too large" in done.err
        assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(("times", "exit_code"), [(1, 0), (99, 1)])
def test_state_that_was_written_in_the_end_is_no_failure(
    imagen: Any, monkeypatch: pytest.MonkeyPatch, times: int, exit_code: int
) -> None:
    calls = iter(range(99))

    def save(folder: Path, found: Any) -> None:
        if 0 < next(calls) <= times:  # the first is before anybody is asked
            raise OSError(28, "No space left on device")
        comparison.save(folder, found)

    monkeypatch.setattr(compare, "save", save)

    done = imagen("compare", "a cat", "--models", "a", *SMALL, "--no-ledger")

    assert done.exit_code == exit_code
    assert ("No space left on device" in done.err) == bool(exit_code)


def test_lock_that_can_not_be_opened_is_told(imagen: Any) -> None:
    folder = folder_of(imagen("compare", "a cat", "--models", "a", *SMALL))
    (folder / ".imagen-lock").unlink()
    (folder / ".imagen-lock").mkdir()

    done = imagen("compare", "--resume", str(folder))

    assert (done.exit_code, done.err.splitlines()[0]) == (
        2,
        f"imagen: error: cannot write {folder}/.imagen-lock: Is a directory",
    )


def test_file_where_the_folder_should_be_is_told_with_the_flag_of_compare(
    imagen: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")

    done = imagen("compare", "a", "--models", "a", *SMALL, "--output-dir", f"{tmp_path}/file/in")

    assert done.exit_code == 2
    assert "--output-dir" in done.err.splitlines()[1]


def test_second_ctrl_c_leaves_state_sheet_and_page_of_what_there_is(
    imagen: Any, monkeypatch: pytest.MonkeyPatch, imagen_home: Path
) -> None:
    """`a` is done and `b` in hand when it comes."""
    (imagen_home / ".config" / "imagen.yaml").write_text(
        "backends:\n  a: {type: mock}\n  b: {type: mock, delay_ms: 60000}\n"
    )

    class Hasty(compare.Comparing):
        def run(self, *args: Any) -> Any:
            for request, item in super().run(*args):
                yield request, item
                if any(cell.status == "done" for cell in self.comparison.cells):
                    os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(compare, "Comparing", Hasty)

    done = imagen("compare", "a cat", "--models", "a,b", "--seeds", "1", *SMALL)

    folder = folder_of(done)
    assert done.exit_code == 130
    assert [path.name for path in map(Path, done.out.splitlines())] == ["sheet.png", "index.html"]
    cells = json.loads((folder / "compare.json").read_text())["cells"]
    assert {cell["model"]: cell["status"] for cell in cells} == {"a": "done", "b": "waiting"}
    assert "a-1.png" in (folder / "index.html").read_text()
    assert f"imagen compare --resume {folder}" in done.err
