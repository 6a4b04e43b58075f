"""The kit for steps: toys that do one thing wrong fail that check, good ones pass."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from imagen_core import (
    Context,
    Done,
    Note,
)
from imagen_core.app import App
from imagen_core.files import sidecar_path
from imagen_core.terminal import Terminal
from imagen_core.testing.step import Step, finished
from toys import ToySteps, check


def picture_of(done: Done) -> Path:
    return Path(done.paths[0])


def note(done: Done, context: Context, **fields: Any) -> list[Note]:
    """A good step, but for these fields of its note."""
    del context
    return [Note(**{"step": "toy", "text": f"seen {len(done.paths)}", **fields})]


def noting(**fields: Any) -> Step:
    return lambda done, context: note(done, context, **fields)


def spoil(done: Done, context: Context) -> list[Note]:
    with picture_of(done).open("ab") as file:
        file.write(b"seen")
    return note(done, context)


def lose_the_sidecar(done: Done, context: Context) -> list[Note]:
    sidecar_path(picture_of(done)).unlink()
    return note(done, context)


def collect(done: Done, context: Context) -> list[Note]:
    collected = context.paths.data / "collected"
    if collected.exists():
        return note(done, context, text="it is there already", warning=True)
    collected.write_bytes(picture_of(done).read_bytes())
    return note(done, context)


def mark_the_second_time(done: Done, context: Context) -> list[Note]:
    return spoil(done, context) if collect(done, context)[0].warning else []


def take_the_first(done: Done, context: Context) -> list[Note]:
    return note(done, context, text=done.runs[0].outputs[0].path)


def shout(done: Done, context: Context) -> list[Note]:
    os.write(1, b"done!\n")
    return note(done, context)


def check_step(name: str, step: Step, folder: Path, **fixtures: Any) -> None:
    done, failed = finished(folder), finished(folder, fail="unavailable")
    app = App.for_test(Terminal(), folder)
    usual = {"step": step, "context": app.context, "done": done, "failed": failed}
    check(ToySteps(), name, **usual, **fixtures)


BAD_STEPS: list[tuple[str, str, Step]] = [
    ("notes_are_its_own", "not of the step 'toy'", noting(step="other")),
    ("notes_are_its_own", "says nothing", noting(text="")),
    ("notes_are_its_own", "it gave 'done': yield Notes alone", lambda *_: ["done"]),
    ("picture_and_sidecar_stay_as_they_were", ".png: write", spoil),
    ("picture_and_sidecar_stay_as_they_were", ".png.json: write", lose_the_sidecar),
    ("twice_is_harmless", "it warns: it is there already", collect),
    ("twice_is_harmless", "it changes the picture", mark_the_second_time),
    ("run_without_a_picture_is_harmless", "gave IndexError", take_the_first),
    ("nothing_is_printed", "it prints", shout),
]  # fmt: skip


@pytest.mark.parametrize(("name", "told", "step"), BAD_STEPS)
def test_bad_step_fails_the_check(
    name: str, told: str, step: Step, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AssertionError) as caught:
        check_step(name, step, tmp_path, capfd=capfd)

    assert told in str(caught.value)


@pytest.mark.parametrize("step", [note, lambda *_: None], ids=["noting", "silent"])
@pytest.mark.parametrize("name", sorted({name for name, _, _ in BAD_STEPS}))
def test_good_step_passes_the_check(
    name: str, step: Step, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    check_step(name, step, tmp_path, capfd=capfd)


def test_warning_that_comes_each_time_is_no_new_one(tmp_path: Path) -> None:
    check_step("twice_is_harmless", noting(text="not configured", warning=True), tmp_path)
