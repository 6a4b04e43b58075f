"""Cancelling ends the own prompt, and nobody else's."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from imagen_comfyui.looks import Limits
from imagen_comfyui.testing import FakeComfyUI
from imagen_comfyui.watch import THREAD_NAME
from imagen_core import ImagenError, Progress, UnavailableError, http


@pytest.mark.parametrize("step", [0, 1])
def test_closing_interrupts_the_own_prompt(
    server: FakeComfyUI, make: Any, ask: Any, step: int, drive: Any
) -> None:
    request = ask()
    server.hold(step=step)
    events = make().generate(request)
    drive(events)
    server.wait_for(request.id, "held")
    events.close()

    assert server.state(request.id) == "interrupted"
    assert server.interrupts == [request.id]


def test_closing_takes_a_waiting_prompt_out_of_the_queue(
    server: FakeComfyUI, make: Any, ask: Any, drive: Any
) -> None:
    foreign = server.add_foreign()
    request = ask()
    events = make().generate(request)
    drive(events)
    events.close()

    assert (server.state(request.id), server.state(foreign)) == ("deleted", "running")
    assert server.interrupts == []


def test_closing_while_the_prompt_is_sent_cancels_it_when_it_arrives(
    server: FakeComfyUI, make: Any, ask: Any
) -> None:
    request = ask()
    server.hold(step=1)
    server.delay("POST /prompt", 0.5)
    events = make().generate(request)
    for _ in events:
        if any((r.method, r.path) == ("POST", "/prompt") for r in server.requests):
            break
    events.close()

    assert server.state(request.id) in ("interrupted", "deleted")


def test_closing_when_the_server_is_gone_says_so(
    server: FakeComfyUI, make: Any, ask: Any, drive: Any
) -> None:
    server.hold(step=1)
    events = make().generate(ask())
    drive(events)
    server.restart(down=True)

    with pytest.raises(ImagenError, match="may still make the prompt"):
        events.close()


def test_interrupting_at_the_server_is_an_error(
    server: FakeComfyUI, make: Any, ask: Any, drive: Any
) -> None:
    import httpx

    request = ask()
    server.hold(step=1)
    events = make().generate(request)
    drive(events)
    server.wait_for(request.id, "held")
    httpx.post(f"{server.url}/interrupt", json={"prompt_id": request.id}, timeout=60)

    with pytest.raises(ImagenError, match="somebody interrupted it"):
        list(events)


def test_closing_while_a_failed_run_is_being_cancelled_cancels_it(
    server: FakeComfyUI, make: Any, ask: Any, drive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ask()
    given_up: list[bool] = []

    def give_up(*_: object, **__: object) -> None:
        given_up.append(True)
        server.delay("GET /queue", 0.5)
        raise UnavailableError("given up")

    server.hold(step=1)
    events = make().generate(request)
    drive(events)
    server.wait_for(request.id, "held")
    monkeypatch.setattr(Limits, "check", give_up)
    while not given_up:
        next(events)
    events.close()

    server.wait_for(request.id, "interrupted")


def test_fault_of_imagens_own_leaves_nothing_at_the_server(
    server: FakeComfyUI, make: Any, ask: Any, drive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ask()
    server.hold(step=1)
    events = make().generate(request)
    drive(events)
    server.wait_for(request.id, "held")
    monkeypatch.setattr(Limits, "check", None)
    with pytest.raises(TypeError):
        list(events)

    server.wait_for(request.id, "interrupted")


def test_prompt_that_arrives_after_it_was_given_up_is_cancelled(
    server: FakeComfyUI, make: Any, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ask()
    monkeypatch.setattr(http, "TIMEOUT", 0.2)
    server.hold(step=1)
    server.drop_request("POST /prompt")
    server.delay("POST /prompt", 1.0)

    with pytest.raises(UnavailableError) as caught:
        list(make().generate(request))

    server.wait_for(request.id, "interrupted")
    assert "may still make" not in caught.value.hint


def test_socket_that_hangs_while_it_is_opened_holds_up_no_cancelling(
    server: FakeComfyUI, make: Any, ask: Any
) -> None:
    server.hang("GET /ws")
    events = make().generate(ask())
    next(event for event in events if isinstance(event, Progress))
    server.wait_hung()
    events.close()

    assert THREAD_NAME in {thread.name for thread in threading.enumerate()}
    server.release()
