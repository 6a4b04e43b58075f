"""Ctrl-C at every moment: the prediction is stopped, and it is said what that costs."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core import Cancelled, Event, Image
from replicate_fixtures import PAGE, begun, until_it_runs

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from imagen_replicate.testing import FakeReplicate


def close(events: Generator[Event, None, None]) -> Cancelled:
    with pytest.raises(Cancelled) as caught:
        events.close()
    return caught.value


def test_prediction_that_runs_is_stopped_and_charged(
    server: FakeReplicate, make: Any, ask: Any
) -> None:
    server.hold()
    events = make(wait=0).generate(ask())
    id = begun(events)
    until_it_runs(server)

    error = close(events)

    assert server.predictions[0].status == "canceled"
    assert str(error).startswith(f"cancelled; the prediction {id}: it had run for ")
    assert str(error).endswith(" s, which is charged")


def test_prediction_that_waits_is_stopped_for_nothing(
    server: FakeReplicate, make: Any, ask: Any
) -> None:
    server.hold("starting")
    events = make(wait=0).generate(ask())
    id = begun(events)

    error = close(events)

    assert str(error) == (
        f"cancelled; the prediction {id}: it had not started, which costs nothing"
    )


def test_create_that_is_on_its_way_is_waited_for_and_stopped(
    server: FakeReplicate, make: Any, ask: Any
) -> None:
    server.hold()
    events = make().generate(ask())
    next(events)
    until_it_runs(server)

    error = close(events)

    assert server.predictions[0].status == "canceled"
    assert f"the prediction {server.predictions[0].id}: it had run for" in str(error)


def test_create_whose_reply_is_lost_is_found_and_stopped(
    server: FakeReplicate, make: Any, ask: Any
) -> None:
    server.hold()
    server.accept_then("create", 502, body=PAGE)
    events = make().generate(ask())
    next(events)
    until_it_runs(server)

    error = close(events)

    assert server.predictions[0].status == "canceled"
    assert server.predictions[0].id in str(error)


def test_create_that_nobody_can_account_for_is_told(
    server: FakeReplicate, make: Any, ask: Any
) -> None:
    server.hang("create")
    server.refuse("list", 502, body=PAGE, times=9)
    events = make().generate(ask())
    next(events)

    error = close(events)

    assert "did not answer yet; then " in str(error)
    assert str(error).endswith("UTC may have been accepted, and billed")


def test_create_that_waits_for_its_turn_costs_nothing(
    server: FakeReplicate, make: Any, ask: Any
) -> None:
    server.refuse("create", 429, headers={"Retry-After": "30"})
    events = make().generate(ask())
    next(event for event in events if getattr(event, "message", "").startswith("trying"))

    events.close()

    assert server.predictions == []


def test_picture_that_is_made_can_be_had_later(server: FakeReplicate, make: Any, ask: Any) -> None:
    server.slow("file", 30)
    events = make().generate(ask())
    id = begun(events)
    while not server.downloads:
        next(events)

    error = close(events)

    assert f"'imagen replicate fetch {id}' gets it until" in str(error)


def test_stop_that_is_not_confirmed_is_told(server: FakeReplicate, make: Any, ask: Any) -> None:
    server.hold()
    server.refuse("cancel", 502, body=PAGE, times=99)
    events = make(wait=0).generate(ask())
    begun(events)

    error = close(events)

    assert "Replicate could not be told to stop it: it goes on to its end" in str(error)
    assert f"'imagen replicate fetch {server.predictions[0].id}' gets what it makes" in str(error)


def test_picture_in_hand_leaves_nothing_to_stop(server: FakeReplicate, make: Any, ask: Any) -> None:
    events = make().generate(ask(params={"num_outputs": 2}))
    next(event for event in events if isinstance(event, Image))

    error = close(events)

    assert "it was done before it could be stopped, and is billed" in str(error)
    assert [r for r in server.requests if r.path.endswith("/cancel")] == []


def test_interrupted_command_stops_the_prediction(
    server: FakeReplicate, configured: Any, tmp_path: Path
) -> None:
    configured()
    server.hold()
    words = ["generate", "a cat", "--output", str(tmp_path / "x.png")]
    process = subprocess.Popen(
        [sys.executable, "-m", "imagen_core", *words], stderr=subprocess.PIPE, text=True
    )
    until_it_runs(server)

    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=120)

    [made] = server.predictions
    assert process.returncode == 130
    assert made.status == "canceled"
    assert f"imagen: error: cancelled; the prediction {made.id}: it had run for" in told
    assert list(tmp_path.glob("*.png")) == []
