"""How the conformance kit drives a backend, and what it makes of the Events."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

from imagen_core.errors import Cancelled
from imagen_core.types import Event, Image, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from imagen_core.protocols import Backend
    from imagen_core.types import Request

POLL_SECONDS = 0.02
MEETING_SECONDS = 5.0


class Picture(NamedTuple):
    """A decoded picture, to be compared with another."""

    mime: str
    size: tuple[int, int]
    pixels: bytes


def drive(backend: Backend, request: Request) -> list[Event]:
    """Every Event of one request."""
    return list(backend.generate(request))


def images(events: Sequence[Event]) -> list[Image]:
    """The pictures among these Events; there is at least one."""
    found = [event for event in events if isinstance(event, Image)]
    assert found, "it ended without a picture: yield an Image, or raise an ImagenError"
    return found


def fractions(events: Sequence[Event]) -> list[float]:
    """How far it said to be, where it said so."""
    found = (event.fraction for event in events if isinstance(event, Progress))
    return [fraction for fraction in found if fraction is not None]


def decode(image: Image) -> Picture:
    """Read a picture to its last pixel."""
    from PIL import Image as Pillow

    try:
        with Pillow.open(BytesIO(image.data)) as picture:
            mime = Pillow.MIME.get(picture.format or "", "")
            pixels = picture.convert("RGBA").tobytes()
            return Picture(mime, picture.size, pixels)
    except Exception as error:
        raise AssertionError(
            f"Image.data ({len(image.data)} bytes, said to be {image.mime}) is no whole picture: "
            f"{error}; yield the bytes of the file as the server gives them"
        ) from error


def pictures(backend: Backend, request: Request) -> list[Picture]:
    """The decoded pictures of one request."""
    return [decode(image) for image in images(drive(backend, request))]


def failure(backend: Backend, request: Request) -> Exception | None:
    """What a request fails with; None if it succeeds."""
    try:
        drive(backend, request)
    except Exception as error:  # noqa: BLE001 - which kind it is, is the question
        return error
    return None


def at_once(backend: Backend, requests: Sequence[Request]) -> list[list[Event]]:
    """Drive these side by side: none goes on from its first Event before all have theirs."""
    barrier = threading.Barrier(len(requests), timeout=MEETING_SECONDS)

    def meet() -> None:
        try:
            barrier.wait()
        except threading.BrokenBarrierError:
            return  # it does one after the other, which mixes nothing, or one of them failed

    def work(request: Request) -> list[Event]:
        events: list[Event] = []
        try:
            for event in backend.generate(request):
                events.append(event)
                if len(events) == 1:
                    meet()
        except BaseException:
            barrier.abort()
            raise
        return events

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(work, requests))


def close_early(backend: Backend, request: Request, seconds: float) -> bool:
    """Take the first Event, then close the generator; whether that was done in time."""
    events = backend.generate(request)
    assert next(events, None) is not None, "it yields nothing, so it can't be closed half-way"
    errors: list[Exception] = []

    def close() -> None:
        try:
            with suppress(Cancelled):  # it says how that went
                events.close()
        except Exception as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    thread = threading.Thread(target=close, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    return not thread.is_alive()


def until(holds: Callable[[], bool], seconds: float) -> bool:
    """Whether this comes to hold in time."""
    end = time.monotonic() + seconds
    idle = threading.Event()
    while not (held := holds()) and time.monotonic() < end:
        idle.wait(POLL_SECONDS)
    return held
