"""The live lines of several makings, as they stand on a terminal."""

from __future__ import annotations

import re
from io import StringIO
from typing import TYPE_CHECKING

import pytest

from imagen_core import Progress
from imagen_core.board import Board
from imagen_core.script import columns, cut
from imagen_core.terminal import Terminal
from imagen_core.types import Failure, Run
from screens import Screen, screen_of
from scripted import request

if TYPE_CHECKING:
    from imagen_core import ImagenError

WIDE, HIGH = 30, 6


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    return screen_of(monkeypatch, WIDE, HIGH)


def board(screen: Screen, *names: str) -> Board:
    return Board(Terminal(StringIO(), screen, {"NO_COLOR": "1"}), {name: name for name in names})


def lines(screen: Screen) -> list[str]:
    """What stands there after all that was drawn: each drawing goes up over the one before."""
    last = re.split(r"\r\x1b\[\d+A", screen.getvalue())[-1]
    return re.sub(r"\x1b\[[0-9;]*[A-Z]", "", last).splitlines()


def ended(error: ImagenError | None = None) -> Run:
    failure = Failure.of(error) if error else None
    return Run(id="1", started_at="", request=request(), latency_ms=1250, failure=failure)


def test_each_making_has_a_line_in_their_order(screen: Screen) -> None:
    shown = board(screen, "a 1", "long 2")
    shown.finish("long 2", ended())
    shown.take("a 1", Progress(step=3, steps=4))
    shown.draw()

    assert lines(screen)[0].startswith(" a 1     step 3/4  0.")
    assert lines(screen)[1] == " long 2  done in 1.2 s"


def test_line_is_never_wider_than_the_terminal(screen: Screen) -> None:
    shown = board(screen, "模型 1", "flux 2")
    shown.take("模型 1", Progress(message="正在绘制一只坐在窗边的猫和它的影子"))
    shown.take("flux 2", Progress(message="drawing " * 20))
    shown.draw()

    assert [columns(line) <= WIDE for line in lines(screen)] == [True, True]
    assert [columns(cut(line, 9)) for line in lines(screen)] == [9, 9]
    assert "正在" in lines(screen)[0]


def test_what_runs_or_failed_comes_first_where_there_is_no_room(screen: Screen) -> None:
    from imagen_core import UnavailableError

    shown = board(screen, *(f"m {n}" for n in range(9)))
    for number in range(5):
        shown.finish(f"m {number}", ended())
    shown.finish("m 5", ended(UnavailableError("away")))
    shown.take("m 8", Progress(step=1, steps=2))
    shown.draw()

    assert [line[:4] for line in lines(screen)] == [" m 5", " m 6", " m 7", " m 8"]
    assert "failed: away" in lines(screen)[0]


def test_second_drawing_covers_the_first_and_hiding_takes_it_away(screen: Screen) -> None:
    shown = board(screen, "a 1", "b 2")
    shown.draw()
    shown.draw()
    shown.hide()

    assert screen.getvalue().count("\r\x1b[2A") == 2
    assert screen.getvalue().endswith("\r\x1b[2A\x1b[J")
