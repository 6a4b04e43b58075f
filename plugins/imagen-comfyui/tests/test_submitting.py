"""Faults while a prompt is sent: nothing is sent twice that may have been accepted."""

from __future__ import annotations

from typing import Any

import pytest

from imagen_comfyui.backend import Patience
from imagen_comfyui.testing import FakeComfyUI
from imagen_core import (
    RejectedError,
    UnavailableError,
)

FIVE_XX = [500, 502, 503, 504]


@pytest.mark.parametrize("status", FIVE_XX)
def test_one_5xx_at_submit_is_tried_again(
    server: FakeComfyUI, make: Any, ask: Any, images: Any, status: int
) -> None:
    server.fail("POST /prompt", status)

    assert len(images(make(), ask())) == 1
    assert len(server.submits) == 1


@pytest.mark.parametrize("status", FIVE_XX)
def test_two_5xx_at_submit_are_given_up(
    server: FakeComfyUI, make: Any, ask: Any, images: Any, status: int
) -> None:
    server.fail("POST /prompt", status, times=2)

    with pytest.raises(UnavailableError, match=f"answered {status}"):
        images(make(), ask())

    assert server.submits == []
    assert len([r for r in server.requests if (r.method, r.path) == ("POST", "/prompt")]) == 2


@pytest.mark.parametrize("status", [404, 408, 413, 422, 429])
def test_4xx_at_submit_is_never_tried_again(
    server: FakeComfyUI, make: Any, ask: Any, images: Any, status: int
) -> None:
    server.fail("POST /prompt", status, times=2)

    with pytest.raises((RejectedError, UnavailableError), match=f"answered {status}"):
        images(make(), ask())

    assert len([r for r in server.requests if (r.method, r.path) == ("POST", "/prompt")]) == 1


def test_5xx_after_accepting_is_looked_up_and_not_sent_again(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    server.fail("POST /prompt", 502, accept=True)

    assert len(images(make(), ask())) == 1
    assert len(server.submits) == 1


def test_lost_reply_is_looked_up_and_not_sent_again(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    server.drop_reply("POST /prompt")

    assert len(images(make(), ask())) == 1
    assert len(server.submits) == 1


def test_lost_request_is_sent_once_more(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    server.drop_request("POST /prompt")

    assert len(images(make(), ask())) == 1
    assert len(server.submits) == 1


def test_request_that_is_lost_twice_is_given_up(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    server.drop_request("POST /prompt", times=2)

    with pytest.raises(UnavailableError, match="broke off"):
        images(make(Patience(poll=0.001, offline=0.3)), ask())

    assert server.submits == []


def test_lost_reply_that_can_not_be_looked_up_names_the_prompt(
    server: FakeComfyUI, make: Any, ask: Any, run_beside: Any
) -> None:
    request = ask()
    server.hang("POST /prompt")
    thread, found = run_beside(make().generate(request))
    server.wait_hung()
    server.fail("GET /queue", 503, times=99)
    server.release()
    thread.join(60)

    assert isinstance(found[-1], UnavailableError)
    assert f"it may still make the prompt {request.id}" in found[-1].hint


def test_partly_accepted_prompt_is_refused_and_cancelled(
    server: FakeComfyUI, make: Any, ask: Any, tmp_path: Any, images: Any
) -> None:
    graph = tmp_path / "two.json"
    graph.write_text(TWO_OUTPUTS)
    request = ask()
    server.hold("EmptyImage", step=0)

    with pytest.raises(RejectedError, match=r"gone\.png"):
        images(make(workflow=str(graph)), request)

    server.wait_for(request.id, "interrupted")


TWO_OUTPUTS = """{
  "1": {"class_type": "EmptyImage", "inputs":
        {"width": 64, "height": 48, "batch_size": 1, "color": "${seed}"}},
  "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "${prompt}"}},
  "3": {"class_type": "LoadImage", "inputs": {"image": "gone.png"}},
  "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "b"}}
}"""
