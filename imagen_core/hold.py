"""A job in hand: its lease renewed from a thread, and whether it is still ours."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from imagen_core.errors import ImagenError, RejectedError, UsageError
from imagen_core.queueing import backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from imagen_core.queueing import Beat, Job, Queue
    from imagen_core.types import Progress

T = TypeVar("T")

Standing = Literal["ours", "unsure", "lost", "over"]
"""`unsure`: for too long nobody could say; another worker may have it by now."""

RETRY_SECONDS = 10.0
DOUBT_SECONDS = 1.0
"""How long one who has slept may wait to hear whether a job is still his."""
THREAD_NAME = "imagen-hold"


class Hold:
    """Holds one claimed job for its worker, until it is ended or lost.

    Beside the worker's own thread there is one that beats; only the monotonic clock counts here.
    `woken` is called, from either, when something happened that the worker should look at, and
    `warned` with what is wrong, once for as long as it lasts.
    """

    def __init__(
        self,
        queue: Queue,
        job: Job,
        token: str,
        *,
        lease: float,
        claimed_at: float,
        woken: Callable[[], object],
        warned: Callable[[str], object],
    ) -> None:
        self.job = job
        self.wants_cancel = False
        self._problem = ""
        self._queue = queue
        self._token = token
        self._lease = lease
        self._woken = woken
        self._warned = warned
        self._good = claimed_at
        self._doubted = 0.0
        self._lock = threading.Lock()
        self._heard = threading.Condition()
        self._calling = threading.Lock()
        self._standing: Standing = "ours"
        self._leaving = threading.Event()
        self._changed = threading.Event()
        self._progress: Progress | None = None
        self._thread = threading.Thread(target=self._keep, name=THREAD_NAME, daemon=True)

    def start(self) -> None:
        """Begin to renew the lease."""
        self._thread.start()

    @property
    def standing(self) -> Standing:
        """Whose it is, as far as that is known."""
        with self._lock:
            if self._standing == "ours" and time.monotonic() > self._good + 0.75 * self._lease:
                return "unsure"
            return self._standing

    def tell(self, progress: Progress) -> None:
        """Let the next beat say how far it is."""
        self._progress = progress
        self._changed.set()

    def keep(self, checkpoint: Mapping[str, Any]) -> None:
        """Write down at once what the next attempt needs; as often as it takes."""
        self._answered(lambda: self._beat(checkpoint))

    def is_sure(self) -> bool:
        """Whether it is ours at this moment; waits for an answer."""
        return self._answered(self._beat) in ("ok", "cancel")

    def is_lost(self) -> bool:
        """Whether it is surely not ours any more; waits once where nobody has said for long."""
        end = time.monotonic() + DOUBT_SECONDS
        while self.standing == "unsure" and self._good != self._doubted:
            if time.monotonic() > end:
                self._doubted = self._good
            self._changed.set()
            with self._heard:
                self._heard.wait(DOUBT_SECONDS / 10)
        return self.standing in ("lost", "over")

    def end(self, call: Callable[[str, str], T]) -> T | None:
        """Make the call that ends the job, until it is answered; None if nobody waits for that.

        The lease is renewed meanwhile. A beat that comes behind the call finds it lost, which
        says nothing of the call. Raises what would be the same if it was asked again.
        """
        with self._lock:
            if self._standing in ("lost", "over"):
                return None
            self._standing = "over"
        try:
            found = self._answered(lambda: call(self.job.id, self._token), ending=True)
        except BaseException:
            with self._lock:
                self._standing = "ours"  # to be ended in another way
            raise
        self.leave()
        return found

    def leave(self) -> None:
        """Wait for no answer any longer."""
        self._leaving.set()
        self._changed.set()

    def _answered(self, call: Callable[[], T], *, ending: bool = False) -> T | None:
        """What it gives, asked again after faults that pass; None if nobody waits any longer."""
        attempt = 0
        while ending or self.standing in ("ours", "unsure"):
            try:
                return call()
            except (UsageError, RejectedError):
                raise
            except ImagenError as error:
                self._note(str(error))
            attempt += 1
            if self._leaving.wait(min(RETRY_SECONDS, backoff(attempt) / 5)):
                return None
        return None

    def _keep(self) -> None:
        while not self._leaving.is_set():
            self._pause()
            if self._leaving.is_set():
                return
            try:
                if self._beat() == "lost":
                    return
            except ImagenError as error:
                self._note(str(error))
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a queue may raise anything
                self._note(f"{type(error).__name__}: {error}")

    def _pause(self) -> None:
        """Wait until the next beat is due: sooner where the queue likes to hear of progress."""
        pause = self._lease / 6 * random.uniform(0.8, 1.0)
        until = time.monotonic() + pause
        soon = time.monotonic() + min(pause, self._queue.pace)
        while not self._leaving.is_set() and (left := until - time.monotonic()) > 0:
            self._changed.wait(left)
            if self._changed.is_set():
                self._changed.clear()
                until = min(until, soon)

    def _beat(self, checkpoint: Mapping[str, Any] | None = None) -> Beat:
        # One at a time: a beat that was under way must not come behind a checkpoint.
        with self._calling:
            sent = time.monotonic()
            answer = self._queue.heartbeat(
                self.job.id,
                self._token,
                lease=self._lease,
                progress=self._progress,
                checkpoint=checkpoint,
            )
            with self._lock:
                if answer != "lost":
                    self._good = max(self._good, sent)
                elif self._standing != "over":
                    self._standing = "lost"
                self.wants_cancel = self.wants_cancel or answer == "cancel"
                self._problem = ""
        with self._heard:
            self._heard.notify_all()
        if answer != "ok":
            self._woken()
        return answer

    def _note(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            self._warned(problem)
