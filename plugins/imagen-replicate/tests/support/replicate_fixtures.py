"""What the tests of the backend have in common."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Any

import pytest

from imagen_core import Accepted, Event, Image, ImagenError, InputImage
from imagen_replicate.testing import FakeReplicate

PAGE = "<html><head><title>502 Bad Gateway</title></head></html>"


def begun(events: Iterator[Event]) -> str:
    """Takes the Events up to the moment when the id is known."""
    return next(event.remote_id for event in events if isinstance(event, Accepted))


def pictures(events: Iterable[Event]) -> list[Image]:
    return [event for event in events if isinstance(event, Image)]


def until_failure(events: Iterator[Event]) -> tuple[list[Event], ImagenError]:
    """The Events that came, and the error that ended them."""
    happened: list[Event] = []
    try:
        for event in events:
            happened += [event]
    except ImagenError as error:
        return happened, error
    pytest.fail("it did not fail")


def failing(events: Iterator[Event], kind: type[ImagenError]) -> ImagenError:
    _, error = until_failure(events)
    assert type(error) is kind
    return error


def until(holds: Callable[[], Any]) -> None:
    """Wait for what a server does in its own time."""
    waiting, end = threading.Event(), time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end
        waiting.wait(0.01)


def until_it_runs(server: FakeReplicate) -> None:
    """Wait until the first prediction is charged for."""
    until(lambda: server.predictions and server.predictions[0].status == "processing")


def image_of(data: bytes, name: str = "in.png") -> InputImage:
    digest = sha256(data).hexdigest()
    return InputImage(name=name, mime="image/png", sha256=digest, size=len(data), data=data)
