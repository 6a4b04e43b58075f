"""When to look what became of a prompt, what the looks say, and when enough is enough."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from imagen_core import RejectedError, UnavailableError, http

if TYPE_CHECKING:
    from imagen_comfyui.backend import Patience
    from imagen_comfyui.client import Call, Queue, Server
    from imagen_comfyui.config import ComfyConfig
    from imagen_comfyui.tracker import Tracker

FIRST_LOOK_SECONDS = 0.005
"""After the server has said that a run is over; then twice as long each time."""
LOST_LOOKS = 3
"""After how many looks in a row without a trace a prompt counts as lost."""


class Look:
    """Looks at the queue and the history, when it is time to."""

    def __init__(
        self, server: Server, prompt_id: str, *, tracker: Tracker, patience: Patience
    ) -> None:
        self.running = False
        self.ahead: tuple[str, ...] | None = None
        self._server = server
        self._tracker = tracker
        self._id = prompt_id
        self._patience = patience
        self._absent = 0
        self._soon = _doubling(FIRST_LOOK_SECONDS, patience.poll)
        self._answered = time.monotonic()
        self._next = self._answered + patience.poll
        self._hurried = False

    @property
    def told(self) -> str:
        """What there is to say of a prompt that waits for its turn."""
        return f"waiting behind {len(self.ahead)}" if self.ahead else ""

    def wait(self, longest: float) -> float:
        """How long to wait for a message before the next look."""
        return max(0.0, min(longest, self._next - time.monotonic()))

    def is_due(self) -> bool:
        """Whether it is time, or the server has just said that the run is over."""
        if self._tracker.ended and not self._hurried:
            self._hurried = True
            return True
        return time.monotonic() >= self._next

    def hurry(self) -> None:
        """Something may have been missed: look at once."""
        self._next = time.monotonic()

    def now(self) -> Call[dict[str, Any] | None]:
        """The entry in the history, or None; raises if the prompt is lost or nobody answers."""
        entry: dict[str, Any] | None = None
        try:
            entry = yield from self._ask()
        except (UnavailableError, RejectedError):
            if time.monotonic() - self._answered > self._patience.offline:
                raise
        else:
            self._answered = time.monotonic()
        pause = next(self._soon) if self._tracker.ended else self._patience.poll
        self._next = time.monotonic() + pause
        if entry is None and self._absent >= LOST_LOOKS:
            return self._lost()
        return entry

    def _ask(self) -> Call[dict[str, Any] | None]:
        """The entry in the history; before it, where the prompt stands in the queue.

        In this order: a prompt goes from the queue into the history, and never back.
        """
        if self._tracker.ended:
            found = yield from self._server.history(self._id, retry=http.ONCE)
            if found is not None:
                return found
        queue = yield from self._server.queue(retry=http.ONCE)
        entry = yield from self._server.history(self._id, retry=http.ONCE)
        self._note(queue)
        return entry

    def _note(self, queue: Queue) -> None:
        self.running, self.ahead = self._id in queue.running, None
        if self._id in queue.pending:
            before = queue.pending[: queue.pending.index(self._id)]
            self.ahead = (*queue.running, *before)
        self._absent = 0 if self.running or self.ahead is not None else self._absent + 1

    def _lost(self) -> dict[str, Any]:
        """What the socket told of a run that the history does not know; else an error."""
        if entry := self._tracker.entry():
            return entry
        raise UnavailableError(
            f"{self._server.who} has lost the prompt {self._id}: "
            "it was restarted, or somebody deleted it",
            hint="make it again",
        )


class Limits:
    """Ends a run that shows no sign of life: none in the queue, or none while it is made.

    Only a websocket shows that a run gets on; without one it has as long as one that waits.
    """

    def __init__(self, who: str, config: ComfyConfig) -> None:
        self._who = who
        self._timeout = config.timeout
        self._queue_timeout = config.queue_timeout
        self._sign: object = None
        self._since = time.monotonic()

    def check(self, *, running: bool, sees: bool, sign: object) -> None:
        """Raise if nothing has changed for too long."""
        now = time.monotonic()
        if (running, sign) != self._sign:
            self._sign, self._since = (running, sign), now
        limit, key = self._queue_timeout, "queue_timeout"
        if running and sees:
            limit, key = self._timeout, "timeout"
        if now - self._since <= limit:
            return
        what = "showed no progress" if running else "did not get on with its queue"
        raise UnavailableError(
            f"{self._who} {what} for {limit:g} s, and was given up",
            hint=f"look at the server, or set {key} in the instance's block",
        )


def _doubling(first: float, most: float) -> Iterator[float]:
    while True:
        yield min(first, most)
        first *= 2
