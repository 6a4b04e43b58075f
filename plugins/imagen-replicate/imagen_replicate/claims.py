"""Whose prediction is whose: found again in the account's list after a reply was lost."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from imagen_replicate.prediction import Prediction, moment_of

if TYPE_CHECKING:
    from imagen_replicate.config import Reference


class Claims:
    """The predictions that belong to makings of this process, and the creates not answered yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: set[str] = set()
        self._open: Counter[str] = Counter()

    def sent(self, inputs: Mapping[str, Any]) -> None:
        """A create with these inputs is on its way."""
        with self._lock:
            self._open[_key(inputs)] += 1

    def answered(self, inputs: Mapping[str, Any], id: str = "") -> None:
        """Such a create has its reply, or will have none; `id` is the prediction that it made."""
        with self._lock:
            self._open[_key(inputs)] -= 1
            self._ids.update([id] if id else [])

    def undecided(self, inputs: Mapping[str, Any]) -> bool:
        """Whether a create with these inputs waits for its reply: its prediction is not free."""
        with self._lock:
            return self._open[_key(inputs)] > 0

    def adopt(
        self, inputs: Mapping[str, Any], candidates: Iterable[Prediction]
    ) -> Prediction | None:
        """The first of these that belongs to nobody, which is then taken.

        None as long as one of them may be that of a create which waits for its reply.
        """
        with self._lock:
            if self._open[_key(inputs)] > 0:
                return None
            found = next((one for one in candidates if one.id not in self._ids), None)
            self._ids.update([found.id] if found else [])
            return found


def candidates(
    found: Iterable[Prediction],
    reference: Reference,
    inputs: Mapping[str, Any],
    *,
    sent_at: datetime,
    earliest: datetime,
    default: Callable[[str], Any],
) -> list[Prediction]:
    """The predictions that this very request may have made, the nearest in time first.

    `default`: what the model uses for an input that was not sent, which may be shown as sent.
    """
    fit: list[tuple[float, Prediction]] = []
    for one in found:
        moment = moment_of(one.created_at)
        if moment and moment >= earliest and _fits(one, reference, inputs, default):
            fit.append((abs((moment - sent_at).total_seconds()), one))
    return [one for _, one in sorted(fit, key=lambda item: item[0])]


def _fits(
    found: Prediction,
    reference: Reference,
    inputs: Mapping[str, Any],
    default: Callable[[str], Any],
) -> bool:
    """Whether model and inputs are those that were sent. Images may be shown in another way."""
    if found.model.lower() != reference.model.lower():
        return False
    if reference.version and found.version not in ("hidden", reference.version):
        return False
    sent = all(_is_data(v) or found.input.get(k) == v for k, v in inputs.items())
    more = ((k, v) for k, v in found.input.items() if k not in inputs)
    return sent and all(value in (None, "***", default(key)) for key, value in more)


def _is_data(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return any(isinstance(one, str) and one.startswith("data:") for one in values)


def _key(inputs: Mapping[str, Any]) -> str:
    return json.dumps(inputs, sort_keys=True, default=str)
