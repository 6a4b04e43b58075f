"""The crew of a pipeline: threads that drive makings, one resource after the other."""

from __future__ import annotations

import threading
import time
from collections import deque
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from msgspec.structs import replace

from imagen_core.types import Event, Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imagen_core.making import Making

SIDE_BY_SIDE = 4
"""How many makings run at once on backends that name no resource."""
GRACE_SECONDS = 10.0
"""How long a backend has to react to cancelling."""
TICK_SECONDS = 0.1
THREAD_NAME = "imagen-making"
JOIN_SECONDS = 1.0
"""How long a cancelled thread is waited for; one that hangs ends with the process."""


class Crew:
    """The threads that drive makings: one a resource, a few for those without one."""

    def __init__(
        self,
        cancel: threading.Event,
        grace: float,
        *,
        finish: Callable[[Making], None],
        enough: Callable[[int], bool],
    ) -> None:
        self._cancel = cancel
        self._grace = grace
        self._finish = finish
        self._enough = enough
        self._failed: list[Making] = []
        self._lanes: dict[str | None, deque[Making]] = {}
        self._queue: SimpleQueue[tuple[Making, Event | None]] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._open: dict[Making, None] = {}
        self._deadline = 0.0

    def add(self, making: Making) -> None:
        """Put a making at the end of its resource's lane."""
        self._lanes.setdefault(making.resource, deque()).append(making)
        self._open[making] = None

    def start(self) -> None:
        """Begin."""
        for resource, lane in self._lanes.items():
            for _ in range(1 if resource is not None else min(SIDE_BY_SIDE, len(lane))):
                thread = threading.Thread(
                    target=self._work, args=(lane,), name=THREAD_NAME, daemon=True
                )
                self._threads.append(thread)
                thread.start()

    def events(self) -> Iterator[tuple[Making, Event | None]]:
        """What happens, in order; None says that a making is over."""
        while self._open:
            try:
                making, event = self._queue.get(timeout=TICK_SECONDS)
            except Empty:
                if self._overdue():
                    yield from self._give_up(self._grace)
                continue
            if making in self._open:
                if event is None:
                    del self._open[making]
                yield making, event

    def stop(self) -> None:
        """End what is still running."""
        if self._open:
            self._cancel.set()
            for _ in self.events():
                pass
        for thread in self._threads:
            thread.join(JOIN_SECONDS if self._cancel.is_set() else None)

    def leave(self) -> None:
        """End at once, and wait for nobody: what still runs ends with the process."""
        self._cancel.set()
        for _ in self._give_up(0):
            pass
        self._threads.clear()

    def _overdue(self) -> bool:
        """Whether the grace after cancelling is over."""
        if not self._cancel.is_set():
            return False
        self._deadline = self._deadline or time.monotonic() + self._grace
        return time.monotonic() > self._deadline

    def _give_up(self, seconds: float) -> Iterator[tuple[Making, Event | None]]:
        for lane in self._lanes.values():
            lane.clear()
        for making in [*self._open]:
            del self._open[making]
            making.give_up(seconds)
            self._finish(making)
            yield making, None

    def _work(self, lane: deque[Making]) -> None:
        while True:
            try:
                making = lane.popleft()
            except IndexError:
                return
            try:
                if self._cancel.is_set() or self._enough(len(self._failed)):
                    making.give_up(0)
                else:
                    making.drive(partial(self._emit, making), self._cancel)
                    self._failed += [making] if making.run.failure else []
                self._finish(making)
            finally:
                self._queue.put((making, None))

    def _emit(self, making: Making, event: Event) -> None:
        if isinstance(event, Image):
            # It is on disk; its bytes would only pile up where the consumer is slow.
            event = replace(event, data=b"")
        self._queue.put((making, event))
