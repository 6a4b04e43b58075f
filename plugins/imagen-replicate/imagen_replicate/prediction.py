"""A prediction as the API describes it; every field but id and status may be absent."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
ENDED = frozenset({"succeeded", "failed", "canceled", "aborted"})
MOST_IMAGES = 1000
LONGEST_RUN = 10**6
"""What is more than these is no count of pictures, and no time in seconds."""
KEPT = timedelta(hours=1)
"""How long Replicate keeps what a prediction made."""

_STEP = re.compile(r"\b(\d{1,4})/(\d{1,4})\b")
_SEED = re.compile(r"Using seed: (\d{1,20})")
_WITHHELD = re.compile(r"NSFW content detected in image", re.IGNORECASE)


class Prediction(Struct, frozen=True, kw_only=True):
    """What is known of a prediction now."""

    id: str
    status: str
    model: str = ""
    version: str = ""
    input: dict[str, Any] = {}
    outputs: tuple[str, ...] = ()
    error: str = ""
    logs: str = ""
    metrics: dict[str, Any] = {}
    created_at: str = ""
    started_at: str = ""
    completed_at: str = ""
    deadline: str = ""
    data_removed: bool = False

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in ENDED

    def is_there(self, wanted: float) -> bool:
        """Whether its pictures can be fetched; they may be there before the record says so."""
        return self.status == "succeeded" or (not self.ended and len(self.outputs) >= wanted)

    @property
    def started(self) -> bool:
        """Whether a machine worked on it, as far as the record tells."""
        return bool(self.started_at) or self.predict_time is not None

    @property
    def predict_time(self) -> float | None:
        """The seconds that it ran, if it is told."""
        found = self.metrics.get("predict_time")
        if not isinstance(found, int | float) or not 0 <= found <= LONGEST_RUN:
            return None
        return float(found)

    @property
    def image_count(self) -> int | None:
        """How many pictures were counted for the bill, if it is told."""
        found = self.metrics.get("image_count")
        return found if isinstance(found, int) and 0 < found <= MOST_IMAGES else None

    @property
    def seed(self) -> int | None:
        """The seed that was used, by its input or its logs."""
        sent = self.input.get("seed")
        if isinstance(sent, int) and not isinstance(sent, bool):
            return sent
        found = _SEED.search(self.logs)
        return int(found[1]) if found else None

    @property
    def step(self) -> tuple[int, int] | None:
        """The step that its progress bar is at, and the number of them."""
        found = _STEP.findall(self.logs)
        step, steps = map(int, found[-1]) if found else (0, 0)
        return (step, steps) if 0 < step <= steps else None

    @property
    def withheld(self) -> int:
        """How many pictures the safety filter is said to have kept back."""
        return len(_WITHHELD.findall(self.logs))

    @property
    def past_deadline(self) -> bool:
        """Whether it ended when its time was over."""
        deadline, end = moment_of(self.deadline), moment_of(self.completed_at)
        return bool(deadline and end and end >= deadline)

    @property
    def kept_until(self) -> str:
        """Until when its pictures can be fetched, in words."""
        moment = moment_of(self.completed_at) or moment_of(self.created_at)
        return f"{moment + KEPT:%H:%M:%S} UTC" if moment else "an hour after it was made"


def read_prediction(body: Any) -> Prediction | None:
    """The prediction that this JSON describes; None if it is none."""
    if not isinstance(body, dict):
        return None
    id, status = body.get("id"), body.get("status")
    if not (isinstance(id, str) and ID.fullmatch(id) and isinstance(status, str)):
        return None
    texts = ("model", "version", "error", "logs", "created_at", "started_at", "completed_at")
    return Prediction(
        id=id,
        status=status,
        input=_mapping(body.get("input")),
        metrics=_mapping(body.get("metrics")),
        outputs=tuple(_addresses(body.get("output"))),
        data_removed=body.get("data_removed") is True,
        **{name: _text(body.get(name)) for name in (*texts, "deadline")},
    )


def moment_of(text: str) -> datetime | None:
    """The instant of an ISO time with a zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _addresses(output: Any) -> Iterator[str]:
    """The addresses in an output, whatever its shape."""
    if isinstance(output, str):
        if output.startswith(("http://", "https://", "data:")):
            yield output
    elif isinstance(output, list):
        for item in output:
            yield from _addresses(item)
    elif isinstance(output, Mapping):
        for item in output.values():
            yield from _addresses(item)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ("" if value is None else str(value))
