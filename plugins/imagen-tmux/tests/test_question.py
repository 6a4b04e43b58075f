"""A program that is asked something has a time limit, and so has what is said of a picture."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from imagen_tmux.question import LONGEST, Question
from imagen_tmux.viewer.caption import TEXT_LENGTH, caption, cut, width


def test_a_program_that_closes_its_output_and_goes_on_is_ended_in_time() -> None:
    question = Question(["sh", "-c", "exec >&- 2>&-; exec sleep 100000"], os.environ)

    assert question.answer(0.2) is None

    with pytest.raises(ProcessLookupError):
        os.kill(question._process, 0)


def test_an_answer_that_is_there_counts_however_late_it_is_read() -> None:
    question = Question(["sh", "-c", "echo out"], os.environ)
    os.waitid(os.P_PID, question._process, os.WEXITED | os.WNOWAIT)

    assert question.answer(0) == (0, "out\n", "")


def test_how_it_ended_and_what_it_said_is_told() -> None:
    answer = Question(["sh", "-c", "echo out; echo err >&2; exit 3"], os.environ).answer(30)

    assert answer == (3, "out\n", "err\n")


def test_of_an_endless_answer_the_beginning_is_kept() -> None:
    many = "head -c 30000000 /dev/zero | tr '\\0' x"

    answer = Question(["sh", "-c", many], os.environ).answer(120)

    assert answer is not None
    assert answer.out == "x" * LONGEST
    assert Question(["sh", "-c", "exec yes"], os.environ).answer(0.3) is None


@pytest.mark.parametrize(
    ("facts", "details"),
    [
        ({"latency_ms": 2345}, "2.3 s"),
        ({"latency_ms": 59_949}, "59.9 s"),
        ({"latency_ms": 59_999}, "1 min 0 s"),
        ({"latency_ms": 119_999}, "2 min 0 s"),
        ({"latency_ms": 10**400}, None),
        ({"latency_ms": True}, ""),
        ({"seed": True}, ""),
        ({"seed": 0}, "seed 0"),
    ],
)
def test_details_are_said_as_they_are(
    facts: dict[str, object], details: str | None, tmp_path: Path
) -> None:
    (tmp_path / "a.png.json").write_text(json.dumps(facts))

    [_, said] = caption(str(tmp_path / "a.png"), (0, 0), (1, 1))

    assert details is None or said == details


def test_a_prompt_of_megabytes_costs_no_time(tmp_path: Path) -> None:
    (tmp_path / "a.png.json").write_text(json.dumps({"prompt": "a cat\n" * 400_000}))
    begun = time.process_time()

    [prompt, _] = caption(str(tmp_path / "a.png"), (0, 0), (1, 1))

    assert time.process_time() - begun < 0.3
    assert prompt.startswith("a cat a cat")
    assert len(prompt) <= TEXT_LENGTH


def test_marks_without_a_width_are_cut_too() -> None:
    text = "a" + "\u0301" * 300_000

    assert len(cut(text, 80)) < 1000
    assert width(cut("\u732b\u0301" * 300, 10)) <= 10
