"""Not too fast: what the server asks one to wait, and all makings of a backend at one pace."""

from __future__ import annotations

import math
import random
import re
import threading
import time
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

    from imagen_core import Progress

LONGEST_WAIT = 60.0
REMEMBERED_SECONDS = 60.0
"""How long after a refusal creates keep the distance that was asked for."""
_SECONDS = re.compile(r"\b(?:in|resets in) ~?(\d+(?:\.\d+)?) ?s")


def asked_wait(response: httpx.Response, problem: Mapping[str, Any]) -> float | None:
    """The seconds that a refusal asks to wait, wherever it says so; None if it does not."""
    from imagen_core import http

    for found in (
        http.retry_after(response),
        problem.get("retry_after"),
        _told(str(problem.get("detail") or "")),
        _number(response.headers.get("ratelimit-reset", "")),
    ):
        if isinstance(found, int | float) and not isinstance(found, bool) and 0 <= found < 10**6:
            return float(found)
    return None


class Pace:
    """The pace of all creates of one backend: after a refusal they go one by one, spaced."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 0.0
        self._distance = 0.0
        self._until = 0.0

    def turn(self, who: str) -> Generator[Progress, None, None]:
        """Wait until this create may be sent."""
        from imagen_core import http

        while (left := self._take()) > 0:
            text = f"waiting {math.ceil(left)} s for the rate limit of {who}"
            yield from http.pause(left, text)

    def refused(self, wait: float) -> float:
        """A create was refused: nobody sends one for so long; returns how long exactly."""
        wait *= random.uniform(1.0, 1.1)
        with self._lock:
            now = time.monotonic()
            self._next = max(self._next, now + wait)
            self._distance, self._until = wait, now + wait + REMEMBERED_SECONDS
        return wait

    def _take(self) -> float:
        """The seconds to wait; 0 if the turn is taken, and then the next one comes later."""
        with self._lock:
            now = time.monotonic()
            if now < self._next:
                return self._next - now
            self._next = now + self._distance if now < self._until else 0.0
            return 0.0


def _told(detail: str) -> float | None:
    found = _SECONDS.search(detail)
    return float(found[1]) if found else None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
