"""Faults while a prompt is made: each ends in the picture, or in the right error."""

from __future__ import annotations

from typing import Any

import pytest

from imagen_comfyui.backend import Patience
from imagen_comfyui.testing import FakeComfyUI
from imagen_core import (
    Image,
    ImagenError,
    Progress,
    UnavailableError,
)
from works import until


def test_without_a_websocket_the_history_is_enough(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    server.refuse_sockets()

    assert len(images(make(), ask())) == 1


def test_silent_websocket_is_no_reason_to_wait(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    server.silence_sockets()

    assert len(images(make(), ask())) == 1


@pytest.mark.parametrize("after", [0, 1, 3, 8, 20])
def test_websocket_may_break_at_any_moment(
    server: FakeComfyUI, make: Any, ask: Any, after: int, run_beside: Any
) -> None:
    request = ask(steps=8)
    server.hold(step=4)
    thread, found = run_beside(make().generate(request))
    server.wait_for(request.id, "held")
    server.drop_sockets(after=after)
    server.release()
    thread.join(60)

    assert [type(event) for event in found if isinstance(event, Image | ImagenError)] == [Image]
    assert len(server.submits) == 1


def test_progress_goes_on_after_a_reconnect(make: Any, ask: Any, run_beside: Any) -> None:
    request = ask(steps=8)
    with FakeComfyUI(step_seconds=0.05) as server:
        server.hold(step=2)
        thread, found = run_beside(make(Patience(poll=30), url=server.url).generate(request))
        server.wait_for(request.id, "held")
        server.drop_sockets()
        server.wait_sockets(0)
        server.wait_sockets(1)
        # It looks once more then, and is not to find the run at its end.
        until(lambda: server.requests[-1].path.startswith("/history"))
        server.release()
        thread.join(60)

    steps = [e.step for e in found if isinstance(e, Progress) and e.step]
    assert steps[-1] == 8
    assert isinstance(found[-1], Image)


def test_socket_that_an_old_one_silenced_is_opened_again(
    server: FakeComfyUI, make: Any, ask: Any, run_beside: Any
) -> None:
    request = ask(steps=8)
    server.hold(step=2)
    thread, found = run_beside(make(Patience(poll=30, quiet=0.3)).generate(request))
    server.wait_for(request.id, "held")
    server.drop_sockets(late=True)
    server.wait_sockets(1)
    server.release()
    thread.join(60)

    assert isinstance(found[-1], Image)


def test_restart_in_the_middle_is_a_lost_prompt(
    server: FakeComfyUI, make: Any, ask: Any, drive: Any, run_beside: Any
) -> None:
    request = ask()
    server.hold(step=1)
    events = make(Patience(poll=0.001, offline=60)).generate(request)
    # Without the reply to its prompt it would rightly send it again.
    drive(events)
    server.wait_for(request.id, "held")
    thread, found = run_beside(events)
    server.restart()
    thread.join(60)

    assert isinstance(found[-1], UnavailableError)
    assert f"has lost the prompt {request.id}" in str(found[-1])
    assert len(server.submits) == 1


def test_restart_that_takes_a_while_is_a_lost_prompt(
    server: FakeComfyUI, make: Any, ask: Any, drive: Any
) -> None:
    request = ask()
    server.hold(step=1)
    events = make(Patience(poll=0.01, offline=30)).generate(request)
    drive(events)
    server.wait_for(request.id, "held")
    server.restart(down=True)
    for _ in range(20):
        next(events)
    server.up()

    with pytest.raises(UnavailableError, match="has lost the prompt"):
        list(events)


def test_server_that_stays_away_is_unavailable_with_the_hint(
    server: FakeComfyUI, make: Any, ask: Any, drive: Any
) -> None:
    server.hold(step=1)
    hasty = Patience(poll=0.001, offline=0.3)
    events = make(hasty, unreachable_hint="boot the box").generate(ask())
    drive(events)
    server.restart(down=True)

    with pytest.raises(UnavailableError, match="unreachable") as caught:
        list(events)

    assert caught.value.hint.startswith("boot the box; it may still make the prompt ")


def test_prompt_that_somebody_deletes_is_lost(
    server: FakeComfyUI, make: Any, ask: Any, drive: Any
) -> None:
    import httpx

    server.add_foreign()
    request = ask()
    events = make().generate(request)
    drive(events)
    httpx.post(f"{server.url}/queue", json={"delete": [request.id]}, timeout=60)

    with pytest.raises(UnavailableError, match="somebody deleted it"):
        list(events)


def test_place_in_the_queue_is_told(server: FakeComfyUI, make: Any, ask: Any) -> None:
    foreign = server.add_foreign()
    request = ask()
    events = make().generate(request)
    for event in events:
        if isinstance(event, Progress) and event.message:
            assert event.message == "waiting behind 1"
            break
    server.release(foreign)

    assert isinstance(list(events)[-1], Image)


def test_history_that_comes_late_is_waited_for(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    server.mute_history(2)

    assert len(images(make(Patience(poll=0.05)), ask())) == 1


def test_passing_faults_of_the_polls_are_borne(
    server: FakeComfyUI, make: Any, ask: Any, drive: Any
) -> None:
    server.hold(step=1)
    events = make().generate(ask())
    drive(events)
    server.fail("GET /queue", 503, times=5)
    server.drop_reply("GET /history", times=3)
    server.release()

    assert isinstance(list(events)[-1], Image)


def test_loader_that_says_nothing_for_long_is_waited_for(
    server: FakeComfyUI, make: Any, ask: Any, run_beside: Any
) -> None:
    request = ask()
    server.hold("UNETLoader", step=0)
    thread, found = run_beside(make(timeout=60).generate(request))
    server.wait_for(request.id, "held")
    server.release()
    thread.join(60)

    assert isinstance(found[-1], Image)


def test_run_without_any_progress_is_given_up_and_cancelled(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    request = ask()
    server.hold(step=1)

    with pytest.raises(UnavailableError, match=r"showed no progress for 0\.2 s") as caught:
        images(make(timeout=0.2), request)

    assert "timeout" in caught.value.hint
    server.wait_for(request.id, "interrupted")


def test_queue_that_stands_still_is_given_up_and_nobody_elses_prompt_touched(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    foreign = server.add_foreign()
    request = ask()

    with pytest.raises(UnavailableError, match="did not get on with its queue"):
        images(make(queue_timeout=0.2), request)

    assert (server.state(request.id), server.state(foreign)) == ("deleted", "running")
    assert server.interrupts == []
