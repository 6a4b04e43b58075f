"""What websocket messages come to, odd ones included."""

from __future__ import annotations

import json
from typing import Any

import pytest

from imagen_comfyui.tracker import Tracker
from imagen_core import Preview, Progress

OWN = "00000000-0000-4000-8000-000000000001"
OTHER = "00000000-0000-4000-8000-000000000002"
JPEG = b"\xff\xd8\xff picture"
GRAPH: Any = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {}},
    "2": {"class_type": "KSampler", "inputs": {"latent_image": ["1", 0]}, "_meta": {"title": "S"}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0]}},
    "4": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["2", 0]}},
}


def message(kind: str, prompt_id: str | None = OWN, **data: Any) -> str:
    owner = {"prompt_id": prompt_id} if prompt_id else {}
    return json.dumps({"type": kind, "data": {**data, **owner}})


def frame(kind: int, number: int, data: bytes) -> bytes:
    return kind.to_bytes(4, "big") + number.to_bytes(4, "big") + data


def described(data: bytes, **about: Any) -> bytes:
    text = json.dumps({"prompt_id": OWN, "image_type": "image/jpeg", "node_id": "2", **about})
    return frame(4, len(text), text.encode() + data)


def take(tracker: Tracker, *messages: str | bytes) -> list[Any]:
    return [event for one in messages for event in tracker.take(one)]


@pytest.fixture
def tracker() -> Tracker:
    return Tracker(GRAPH, OWN)


def test_sampling_is_most_of_a_run(tracker: Tracker) -> None:
    found = take(
        tracker,
        message("execution_start"),
        message("executing", node="1"),
        message("executing", node="2"),
        message("progress", node="2", value=1, max=2),
        message("progress", node="2", value=2, max=2),
    )

    assert [(round(e.fraction, 4), e.message, e.step, e.steps) for e in found] == [
        (0.0, "CheckpointLoaderSimple", None, None),
        (0.0475, "S", None, None),
        (0.4275, "S", 1, 2),
        (0.8075, "S", 2, 2),
    ]


def test_cached_nodes_count_as_done(tracker: Tracker) -> None:
    found = take(
        tracker,
        message("execution_cached", nodes=["1", "2", "nothing"]),
        message("executing", node="3"),
    )

    assert [round(event.fraction, 4) for event in found] == [0.855]


def test_what_is_of_another_prompt_is_nothing(tracker: Tracker) -> None:
    found = take(
        tracker,
        message("execution_start", OTHER),
        message("progress", OTHER, node="2", value=1, max=2),
        message("executing", OTHER, node=None),
        message("execution_error", OTHER),
        described(JPEG, prompt_id=OTHER),
        frame(1, 1, JPEG),
    )

    assert (found, tracker.ended, tracker.heard) == ([], False, 0)


@pytest.mark.parametrize(
    "last",
    [
        message("execution_success"),
        message("execution_error", exception_message="x"),
        message("execution_interrupted"),
        message("executing", node=None),
    ],
)
def test_end_of_a_run_is_seen(tracker: Tracker, last: str) -> None:
    take(tracker, last)

    assert tracker.ended


def test_preview_of_either_kind_is_passed_on(tracker: Tracker) -> None:
    found = take(tracker, message("executing", node="2"), frame(1, 1, JPEG), described(JPEG))

    assert found[1:] == [Preview(data=JPEG, mime="image/jpeg")] * 2


def test_picture_of_a_websocket_output_is_kept_and_no_preview(tracker: Tracker) -> None:
    png = b"\x89PNG picture"

    found = take(tracker, described(png, node_id="4", image_type="image/png"))
    found += take(tracker, message("executing", node="4"), frame(1, 2, png))

    assert tracker.pictures == [png, png]
    assert [type(event) for event in found] == [Progress]


def test_history_is_known_from_the_events_of_a_run_that_succeeded(tracker: Tracker) -> None:
    image = {"filename": "a.png", "subfolder": "", "type": "output"}
    take(tracker, message("executed", node="3", output={"images": [image]}))
    assert tracker.entry() == {}

    take(tracker, message("execution_success"))

    assert tracker.entry()["outputs"] == {"3": {"images": [image]}}


@pytest.mark.parametrize(
    "odd",
    [
        "",
        "no json",
        "[]",
        '{"type": "progress"}',
        '{"type": "progress", "data": []}',
        '{"type": 5, "data": {}}',
        message("progress", node="2", value=None, max=None),
        message("progress", node="2", value=1, max=0),
        message("progress", node="2", value="1", max="2"),
        message("execution_cached", nodes=None),
        message("brand_new_event", node="2"),
        message("status", None, status={"exec_info": {"queue_remaining": 1}}),
        b"",
        b"\0",
        frame(3, 5, b"text"),
        frame(99, 1, JPEG),
        frame(4, 5, b"no js"),
        frame(4, 10**9, b""),
        frame(1, 7, JPEG),
    ],
    ids=map(str, range(19)),
)
def test_odd_message_is_nothing(tracker: Tracker, odd: str | bytes) -> None:
    take(tracker, message("executing", node="2"))

    assert take(tracker, odd) == []
    assert not tracker.ended


def test_number_that_no_float_holds_is_no_progress(tracker: Tracker) -> None:
    assert take(tracker, message("progress", node="2", value=1, max=10**400)) == []
