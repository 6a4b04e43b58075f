"""One prediction, followed to its end, and stopped when it takes too long."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TYPE_CHECKING

from imagen_core import ImagenError, Progress, RejectedError, UnavailableError, http
from imagen_replicate import verdicts
from imagen_replicate.problems import Throttled

if TYPE_CHECKING:
    from imagen_replicate.client import Api, Call
    from imagen_replicate.prediction import Prediction

LOOK_SECONDS = 0.1
OFTEN_SECONDS = 5.0
"""So often, and for so long, it is looked at; after that every tenth of the time so far."""
SELDOM_SECONDS = 0.5
FEW_CALLS = 50
"""With fewer calls left than this, looks wait for more of them."""
SHOWN_SECONDS = 10.0
"""How long a prediction that was just made may be unknown to those who ask for it."""
DONE = 0.9
"""The part of the progress bar that the steps are; the rest is for the pictures."""

CANCEL_SECONDS = 4.0
"""How long stopping a prediction is tried; the one who asked waits no longer than ten."""
CANCEL_FAULTS = 2
PAUSE_SECONDS = 0.2


def follow(
    api: Api, made: Prediction, *, limit: float, wanted: float
) -> Generator[Progress, None, Prediction]:
    """Look at it until its pictures are there or it has ended; after `limit` seconds, stop it.

    Calls that fail do not matter as long as one works before the time is over.
    """
    started = time.monotonic()
    while not (made.ended or made.is_there(wanted)):
        elapsed = time.monotonic() - started
        if elapsed > limit:
            return (yield from _given_up(api, made, limit=limit))
        yield progress(made)
        yield from http.pause(_interval(api, elapsed))
        try:
            made = yield from api.prediction(made.id)
        except Throttled as error:
            yield from http.pause(min(error.wait or 1.0, max(limit - elapsed, 0)))
        except RejectedError:
            if elapsed > SHOWN_SECONDS:
                raise
        except UnavailableError:
            pass
    return made


def progress(made: Prediction) -> Progress:
    """How far it is, by its logs."""
    if made.status == "starting":
        return Progress(message="waiting for a machine")
    if (found := made.step) is None:
        return Progress()
    step, steps = found
    return Progress(fraction=step / steps * DONE, step=step, steps=steps)


def stopping(api: Api, id: str) -> Call[Prediction | None]:
    """Stop it, and see it end; returns the last that was heard of it, or None."""
    end = time.monotonic() + CANCEL_SECONDS
    last: Prediction | None = None
    faults, told = 0, False
    while faults < CANCEL_FAULTS and time.monotonic() < end:
        try:
            if told:
                last = yield from api.prediction(id)
            else:
                last = yield from api.cancel(id, seconds=CANCEL_SECONDS / 2)
                told = True
            if last.ended:
                return last
        except ImagenError:
            faults += 1
        yield from http.pause(PAUSE_SECONDS)
    return last


def _given_up(api: Api, made: Prediction, *, limit: float) -> Call[Prediction]:
    """Stop it; whatever was finished in the meantime is taken all the same."""
    last = (yield from stopping(api, made.id)) or made
    if last.status == "succeeded":
        return last
    raise verdicts.out_of_time(last, limit=limit)


def _interval(api: Api, elapsed: float) -> float:
    """How long until the next look."""
    usual = LOOK_SECONDS if elapsed < OFTEN_SECONDS else min(elapsed / 10, SELDOM_SECONDS)
    if api.limits and api.limits.remaining < FEW_CALLS:
        return max(usual, min(api.limits.reset, SELDOM_SECONDS * 4))
    return usual
