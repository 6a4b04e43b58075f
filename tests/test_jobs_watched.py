"""`imagen jobs --watch`: a list that is drawn again in its place."""

from __future__ import annotations

import io
import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core.cli import run
from imagen_core.queueing import NewJob
from imagen_core.terminal import Terminal
from queues import opened, script, shared, shared_folder
from screens import Screen, screen_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    return screen_of(monkeypatch, 72, 10)


def test_watching_draws_in_place_until_ctrl_c_which_is_no_error(
    tmp_path: Path, imagen: Any, screen: Screen
) -> None:
    imagen("enqueue", "a cat", "--backend", "mock", app=shared(tmp_path))
    script(tmp_path, "", "no answer", "interrupt")
    out = io.StringIO()

    code = run(["jobs", "--watch"], terminal=Terminal(out, screen, {}), app=shared(tmp_path))

    assert (code, out.getvalue()) == (0, "")
    first, second, third = re.split(r"\r\x1b\[\d+A", screen.getvalue())
    assert "a cat" in first
    assert "imagen: no answer" in second
    assert "a cat" in second
    assert "no answer" not in third


def test_watched_list_fits_into_a_terminal_that_was_made_smaller(
    tmp_path: Path, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(shared_folder(tmp_path)) as queue:
        for _ in range(9):
            queue.enqueue(NewJob(backend="mock", payload={}))
    script(tmp_path, "", "interrupt")

    def size(_: int) -> os.terminal_size:
        return os.terminal_size((72, 5 if screen.getvalue() else 10))

    monkeypatch.setattr(os, "get_terminal_size", size)
    run(["jobs", "--watch"], terminal=Terminal(io.StringIO(), screen, {}), app=shared(tmp_path))

    first, second = re.split(r"\r\x1b\[\d+A", screen.getvalue())
    assert (first.count("mock"), second.count("mock")) == (7, 2)


@pytest.mark.parametrize("args", [(), ("--json",)])
def test_watching_without_a_terminal_is_refused(imagen: Any, args: tuple[str, ...]) -> None:
    done = imagen("jobs", "--watch", *args)

    assert done.exit_code == 2
    assert "--watch draws on a terminal" in done.err + done.out
