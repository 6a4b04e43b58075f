"""Cancelling ends the own prompt, and nobody else's."""

from __future__ import annotations

from typing import Any

import pytest

from imagen_comfyui.testing import FakeComfyUI
from imagen_core import (
    ImagenError,
)


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
    httpx.post(f"{server.url}/interrupt", json={"prompt_id": request.id})

    with pytest.raises(ImagenError, match="somebody interrupted it"):
        list(events)
