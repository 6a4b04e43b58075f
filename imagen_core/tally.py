"""The tally of a batch: how many are made, how quickly, and what they cost so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagen_core.types import Run

MINUTE, HOUR = 60, 3600


class Tally:
    """Counts what a command makes of `total` makings, of which some were done before."""

    def __init__(
        self, total: int, skipped: int = 0, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.total = total
        self.skipped = skipped
        self.done = 0
        self.adopted = 0
        """How many an earlier command made, and did not note."""
        self.failed = 0
        self.usd = 0.0
        self.unknown = 0
        """How many may have cost something, and nobody knows what."""
        self._before = 0
        self._clock = clock
        self._began = self._making = clock()

    @property
    def left(self) -> int:
        """How many are not finished yet."""
        return self.total - self.skipped - self.done - self.adopted - self.failed

    @property
    def seconds(self) -> float:
        """How long it has been at it."""
        return self._clock() - self._began

    def begin(self) -> None:
        """The first one is made from now on; what was adopted until then took its own time."""
        self._making = self._clock()

    def take(self, run: Run, *, adopted: bool = False) -> None:
        """Count a Run that is over; one that is `adopted` says nothing of how quickly it goes."""
        if run.failure:
            self.failed += 1
        elif adopted:
            self.adopted += 1
        else:
            self.done += 1
        self._before += adopted
        self.spend(run)

    def spend(self, run: Run) -> None:
        """Count what a Run cost, whatever became of it."""
        if run.cost:
            self.usd += run.cost.usd
        elif run.remote_id or not run.failure:
            self.unknown += 1

    def progress(self) -> str:
        """Rate, remaining time and cost so far, for a bar."""
        finished = self.done + self.adopted + self.failed - self._before
        if not finished:
            return ""
        each = (self._clock() - self._making) / finished
        rate = f"{1 / each:.1f}/s" if 0 < each < 1 else f"{each:.1f} s each"
        return f"{rate}, {duration(each * self.left)} left, {cost(self.usd, self.unknown)}"

    def summary(self) -> str:
        """What it came to, in one line."""
        parts = [f"{self.done} made", f"{self.failed} failed", f"{self.skipped} skipped"]
        parts += [f"{self.adopted} adopted"] if self.adopted else []
        parts += [f"{self.left} left"] if self.left else []
        return f"{', '.join(parts)}; {cost(self.usd, self.unknown)}; {duration(self.seconds)}"


def cost(usd: float, unknown: int) -> str:
    """A sum of costs, with how many are not in it since nobody knows them."""
    known = f"{usd:.4f}".rstrip("0").rstrip(".")
    return f"{known} USD and {unknown} of unknown cost" if unknown else f"{known} USD"


def duration(seconds: float) -> str:
    """A time as people say it: `4.2 s`, `1:05 min`, `2:03:40 h`."""
    if seconds < MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), MINUTE)
    if seconds < HOUR:
        return f"{minutes}:{rest:02} min"
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02} h"
