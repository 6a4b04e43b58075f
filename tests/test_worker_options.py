"""What `imagen worker` refuses of its options, and what it makes of them."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core.cli.health import HealthFile
from queues import SharedQueue, shared

if TYPE_CHECKING:
    from pathlib import Path

DRAIN = ("worker", "--store", "local", "--drain")


def test_pipe_or_device_is_not_replaced_by_the_health_file(imagen: Any, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    done = imagen(*DRAIN, "--health-file", str(pipe))

    assert (done.exit_code, done.out) == (2, "")
    assert done.err == (
        f"imagen: error: {pipe} is not a regular file\n  hint: choose another --health-file\n"
    )
    assert pipe.is_fifo()


@pytest.mark.parametrize("text", ["precious\n", '{"at": 1}\n', "[1]"])
def test_file_of_somebody_else_is_not_replaced_by_the_health_file(
    imagen: Any, tmp_path: Path, text: str
) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text(text)

    done = imagen(*DRAIN, "--health-file", str(notes))

    assert (done.exit_code, done.out) == (2, "")
    assert f"imagen: error: {notes} is there, and is no health file\n" in done.err
    assert notes.read_text() == text


@pytest.mark.parametrize("text", ["", '{"at":"2026","pid":999999999,"jobs":[],"ended":0}\n'])
def test_health_file_of_a_worker_that_was_killed_is_taken_over(
    imagen: Any, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "health"
    file.write_text(text)

    done = imagen(*DRAIN, "--health-file", str(file))

    assert (done.exit_code, file.exists()) == (0, False)


def test_health_file_of_the_future_is_taken_over(imagen: Any, tmp_path: Path) -> None:
    file = tmp_path / "health"
    file.write_text(f'{{"at":"","pid":{os.getppid()},"jobs":[],"ended":0}}')
    os.utime(file, (time.time() + 3600,) * 2)

    assert imagen(*DRAIN, "--health-file", str(file)).exit_code == 0


def test_folder_is_no_health_file(imagen: Any, tmp_path: Path) -> None:
    done = imagen(*DRAIN, "--health-file", str(tmp_path))

    assert done.exit_code == 2
    assert f"cannot write the health file {tmp_path}: Is a directory" in done.err


def test_what_took_the_place_of_the_health_file_is_no_fault_in_the_end(tmp_path: Path) -> None:
    file = HealthFile(tmp_path / "health")
    (tmp_path / "health").mkdir()

    file.remove()

    assert (tmp_path / "health").is_dir()


@pytest.mark.parametrize("option", ["--grace", "--time-limit"])
def test_seconds_that_are_no_number_are_refused(imagen: Any, option: str) -> None:
    done = imagen(*DRAIN, option, "nan")

    assert (done.exit_code, done.out) == (2, "")
    assert f"imagen: error: Invalid value for '{option}': nan is not a number.\n" in done.err


def test_seconds_out_of_range_are_refused(imagen: Any) -> None:
    done = imagen(*DRAIN, "--grace", "inf")

    assert done.exit_code == 2
    assert "inf is not in the range" in done.err


def test_name_of_the_worker_is_one_line(imagen: Any) -> None:
    done = imagen(*DRAIN, "--name", " night\n shift ")

    assert done.exit_code == 0
    assert done.err == "imagen: worker night shift serves mock from 'local'\n"


def test_name_of_blanks_alone_is_none(imagen: Any) -> None:
    done = imagen(*DRAIN, "--name", "  ")

    assert done.err.startswith("imagen: worker ")
    assert f"-{os.getpid()} serves" in done.err


def test_queue_whose_pictures_nothing_publishes_is_not_served(
    imagen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SharedQueue, "publishes", "cloud_sync")

    done = imagen("worker", "--store", "shared", "--drain", app=shared(tmp_path))

    assert (done.exit_code, done.out) == (2, "")
    assert "cloud sync is off (no plugin has it that can be used)" in done.err


def test_health_file_of_a_worker_that_lives_is_left_to_it(imagen: Any, tmp_path: Path) -> None:
    path = tmp_path / "health"
    other = HealthFile(path)
    other.write((), 0)
    text = path.read_text().replace(f'"pid":{os.getpid()}', f'"pid":{os.getppid()}')
    path.write_text(text)

    done = imagen(*DRAIN, "--health-file", str(path))

    assert (done.exit_code, done.out) == (2, "")
    assert f"{path} is the health file of another worker, process {os.getppid()}" in done.err
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("name", "told"), [("\udcff", "is not valid UTF-8"), ("\x1b[31m", "has a control character")]
)
def test_name_that_is_no_text_is_refused(imagen: Any, name: str, told: str) -> None:
    done = imagen(*DRAIN, "--name", name)

    assert (done.exit_code, done.out) == (2, "")
    assert f"imagen: error: the name of the worker {told}" in done.err


def test_folder_that_cannot_be_made_is_told_without_a_flag_that_is_none(
    imagen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("IMAGEN_OUTPUT_DIR", str(tmp_path / "file" / "pictures"))

    done = imagen(*DRAIN)

    assert done.exit_code == 2
    assert "cannot make the folder" in done.err
    assert done.err.endswith("  hint: set output.dir\n")
