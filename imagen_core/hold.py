"""A job in hand: its lease renewed from a thread, and whether it is still ours."""

from __future__ import annotations

import contextlib
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


class EndedError(Exception):
    """Another thread ends this job already, and says how."""


def clock() -> float:
    """Seconds that also pass while the machine sleeps, where there is a clock for them."""
    try:
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    except (AttributeError, OSError):  # not on every system
        return time.monotonic()


class Hold:
    """Holds one claimed job for its worker, until it is ended or lost.

    Beside the worker's own thread there is one that beats; only `clock` counts here. `woken` is
    called, from either, when something happened that the worker should look at, and `warned` with
    what is wrong, once for as long as it lasts.
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
        self._unsaid: Mapping[str, Any] | None = None
        self._thread = threading.Thread(target=self._keep, name=THREAD_NAME, daemon=True)

    def start(self) -> None:
        """Begin to renew the lease; at once, if it may be over by now."""
        if self.standing == "unsure":
            self._changed.set()
        self._thread.start()

    @property
    def standing(self) -> Standing:
        """Whose it is, as far as that is known."""
        with self._lock:
            if self._standing == "ours" and clock() > self._good + 0.75 * self._lease:
                return "unsure"
            return self._standing

    def tell(self, progress: Progress) -> None:
        """Let the next beat say how far it is."""
        self._progress = progress
        self._changed.set()

    def owe(self, checkpoint: Mapping[str, Any]) -> None:
        """Write down what the next attempt needs, at the next beat and before the end at least."""
        self._unsaid = checkpoint
        self._changed.set()

    def keep(self, checkpoint: Mapping[str, Any]) -> None:
        """The same at once, and until it is written down or nobody waits for that."""
        self.owe(checkpoint)
        self._answered(self._beat)

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

        What is owed to the next attempt goes first. The lease is renewed meanwhile. A beat that
        comes behind the call finds it lost, which says nothing of the call. Raises what would be
        the same if it was asked again, and `EndedError` where another thread ends it.
        """
        with self._lock:
            if self._standing == "over":
                raise EndedError
            if self._standing == "lost":
                return None
            self._standing = "over"

        def told() -> T:
            if self._unsaid is not None:
                with contextlib.suppress(UsageError, RejectedError):  # it will never be taken
                    self._beat()
                self._unsaid = None
            return call(self.job.id, self._token)

        try:
            found = self._answered(told, ending=True)
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
        """What it gives, asked again after faults that pass; None if nobody waits any longer.

        Who is told to leave in between asks once more.
        """
        attempt = 0
        while ending or self.standing in ("ours", "unsure"):
            is_last = self._leaving.is_set()
            try:
                return call()
            except (UsageError, RejectedError):
                raise
            except ImagenError as error:
                self._note(str(error))
            if is_last:
                return None
            attempt += 1
            self._leaving.wait(min(RETRY_SECONDS, backoff(attempt) / 5))
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

    def _beat(self) -> Beat:
        # One checkpoint at a time, lest an earlier one come behind a later one; what only renews
        # the lease may hang without keeping a checkpoint waiting.
        owes = self._unsaid is not None
        with self._calling if owes else contextlib.nullcontext():
            checkpoint, sent = self._unsaid if owes else None, clock()
            answer = self._queue.heartbeat(
                self.job.id,
                self._token,
                lease=self._lease,
                progress=self._progress,
                checkpoint=checkpoint,
            )
            with self._lock:
                if owes and self._unsaid is checkpoint:
                    self._unsaid = None
                if answer != "lost":
                    self._good = max(self._good, sent)
                elif self._standing != "over":
                    self._standing = "lost"
                self.wants_cancel = self.wants_cancel or answer == "cancel"
                if self._standing != "over":
                    self._problem = ""  # else it is that of the call which ends the job
        with self._heard:
            self._heard.notify_all()
        if answer != "ok":
            self._woken()
        return answer

    def _note(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            self._warned(problem)
