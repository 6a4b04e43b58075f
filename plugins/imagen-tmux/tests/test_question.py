"""A program that is asked something has a time limit, and so has what is said of a picture."""

from __future__ import annotations

import os
import time

from imagen_tmux.question import LONGEST, Question
from imagen_tmux.viewer.caption import cut, width


def test_a_program_that_closes_its_output_and_goes_on_is_ended_in_time() -> None:
    begun = time.monotonic()

    answer = Question(["sh", "-c", "exec >&- 2>&-; exec sleep 30"], os.environ).answer(0.2)

    assert answer is None
    assert time.monotonic() - begun < 10


def test_how_it_ended_and_what_it_said_is_told() -> None:
    answer = Question(["sh", "-c", "echo out; echo err >&2; exit 3"], os.environ).answer(30)

    assert answer == (3, "out\n", "err\n")


def test_of_an_endless_answer_the_beginning_is_kept() -> None:
    begun = time.monotonic()
    many = "head -c 30000000 /dev/zero | tr '\\0' x"

    answer = Question(["sh", "-c", many], os.environ).answer(30)

    assert answer is not None
    assert answer.out == "x" * LONGEST
    assert time.monotonic() - begun < 10
    assert Question(["sh", "-c", "exec yes"], os.environ).answer(0.3) is None
    assert time.monotonic() - begun < 15


def test_marks_without_a_width_are_cut_too() -> None:
    text = "a" + "\u0301" * 300_000

    assert len(cut(text, 80)) < 1000
    assert width(cut("\u732b\u0301" * 300, 10)) <= 10
