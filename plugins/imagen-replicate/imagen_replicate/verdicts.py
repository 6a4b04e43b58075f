"""What a prediction that ended without a picture stands for, and what a cancel costs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from imagen_core import ImagenError, RejectedError, UnavailableError
from imagen_replicate.problems import one_line

if TYPE_CHECKING:
    from imagen_replicate.prediction import Prediction

CODES_PAGE = "https://replicate.com/docs/reference/error-codes"


class Reading(NamedTuple):
    """A kind of failure by what its text says."""

    pattern: re.Pattern[str]
    kind: type[ImagenError]
    told: str
    hint: str


def _reading(pattern: str, kind: type[ImagenError], told: str, hint: str) -> Reading:
    return Reading(re.compile(pattern, re.IGNORECASE), kind, told, hint)


READINGS = (
    _reading(
        r"\bE005\b|nsfw|flagged as sensitive|safety|moderat|content policy|prohibited",
        RejectedError,
        "a safety filter refuses it",
        "change the prompt; another seed may do, too",
    ),
    _reading(
        r"\bE00[34]\b|high demand|temporarily unavailable|overloaded|try again later|timed out",
        UnavailableError,
        "the model's service is overloaded or down",
        "try again later",
    ),
    _reading(
        r"\bE00[12]\b",
        ImagenError,
        "Replicate's own account at the model's vendor does not work",
        "it is no fault of yours: take another model until that is mended",
    ),
    _reading(
        r"\bE1001\b|out of memory",
        ImagenError,
        "the model ran out of memory",
        "ask for a smaller size, or for fewer pictures",
    ),
    _reading(
        r"\bE006\b|invalid|validation|must be|not supported|unsupported|too (large|long|big)",
        RejectedError,
        "the model refuses the input",
        "change what it names",
    ),
)


def failure(found: Prediction, *, limit: float) -> ImagenError | None:
    """Why this prediction has no picture; None if it has one, or may still get it."""
    name = f"the prediction {found.id}"
    match found.status:
        case "failed":
            return _failed(found, name)
        case "aborted":
            told = f"{name} did not start within its time and was given up: {charge(found)}"
            return UnavailableError(told, hint=_time_hint(limit))
        case "canceled" if found.past_deadline:
            told = f"{name} ran out of its time and was stopped: {charge(found)}"
            return UnavailableError(told, hint=_time_hint(limit))
        case "canceled":
            return ImagenError(f"{name} was cancelled: {charge(found)}", hint="ask again")
        case "succeeded" if found.data_removed:
            told = f"the pictures of {name} were made, and removed by Replicate an hour later"
            return ImagenError(told, hint="they can't be fetched any more: make them again")
        case "succeeded" if not found.outputs:
            if found.withheld:
                told = f"{name} ended, but a safety filter kept all of it back"
                return RejectedError(told, hint="change the prompt; another seed may do, too")
            told = f"{name} ended, but it gave no picture"
            return RejectedError(told, hint=f"look at https://replicate.com/p/{found.id}")
    return None


def out_of_time(found: Prediction, *, limit: float, told: bool) -> ImagenError:
    """The error of a prediction that was given up after `limit` seconds."""
    if found.ended and found.status != "canceled" and (problem := failure(found, limit=limit)):
        return problem
    why = f"the prediction {found.id} was not done in {limit:g} s: {stopped(found, told=told)}"
    return UnavailableError(why, hint=_time_hint(limit))


def stopped(found: Prediction, *, told: bool) -> str:
    """How a prediction stands that was to stop, and what that costs.

    `told`: Replicate was told so, and understood.
    """
    later = f"'imagen replicate fetch {found.id}' gets what it makes"
    if found.status == "succeeded":
        return (
            "it was done before it could be stopped, and is billed; "
            f"'imagen replicate fetch {found.id}' gets it until {found.kept_until}"
        )
    if found.ended:
        return charge(found)
    if told:
        return (
            "Replicate was told to stop it and has not confirmed that yet: its run time may be "
            f"charged; {later}"
        )
    return (
        "Replicate could not be told to stop it: it goes on to its end, or until its time is over, "
        f"and is charged; {later}"
    )


def charge(found: Prediction) -> str:
    """What a prediction costs that ended early."""
    if found.predict_time is not None:
        return f"it had run for {found.predict_time:.3g} s, which is charged"
    if found.started:
        return "it had started, and its run time is charged"
    return "it had not started, which costs nothing"


def is_free(found: Prediction) -> bool:
    """Whether this ending surely costs nothing."""
    return found.status in ("aborted", "canceled") and not found.started


def _failed(found: Prediction, name: str) -> ImagenError:
    text = one_line(found.error) or "without a reason"
    for reading in _readings(text):
        return reading.kind(f"{name} failed: {reading.told}: {text}", hint=reading.hint)
    hint = f"'{CODES_PAGE}' explains the codes" if re.search(r"\bE\d{3,4}\b", text) else ""
    return ImagenError(f"{name} failed: {text}", hint=hint or "look at its logs on replicate.com")


def _readings(text: str) -> Iterator[Reading]:
    return (reading for reading in READINGS if reading.pattern.search(text))


def _time_hint(limit: float) -> str:
    return f"try again; 'timeout' in the block gives it more than {limit:g} s"
