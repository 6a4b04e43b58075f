"""A worker: claims jobs for what is free here, and sees each to its end."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import shutil
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from imagen_core.attempt import Attempt, Report
from imagen_core.errors import CredentialsError, ImagenError, UnavailableError, told
from imagen_core.files import prepare
from imagen_core.hold import Hold, clock
from imagen_core.queueing import Offer, pause
from imagen_core.types import new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from imagen_core.files import Target
    from imagen_core.ledger import Ledger
    from imagen_core.pipeline import Pipeline
    from imagen_core.protocols import App
    from imagen_core.queueing import Job, Queue
    from imagen_core.types import Param

LEASE_SECONDS = 60.0
PAUSE_SECONDS = 60.0
ANNOUNCE_SECONDS = 600.0
PRUNE_SECONDS = 3600.0
LAST_SECONDS = 5.0
"""How long what was told to stop may take for it."""
OVERTIME_SECONDS = 15.0
"""How much later the queue takes a job away whose time was up."""
TICK_SECONDS = 0.25
LEAST_BYTES = 64 * 2**20
"""With less room on the disk nothing is begun: what comes of it may be paid for."""
LOOPBACK = ("localhost", "::1", "0.0.0.0")


class Terms(NamedTuple):
    """How a worker works. `most`: so many jobs, 0 for no limit; `drain`: until none is ready.

    `pause`: how long what could not be published waits; it is made, and so it can. `announce`:
    how often it says what it serves.
    """

    name: str
    concurrency: int = 1
    most: int = 0
    drain: bool = False
    grace: float = 30.0
    limit: float = 3600.0
    lease: float = LEASE_SECONDS
    pause: float = PAUSE_SECONDS
    announce: float = ANNOUNCE_SECONDS


class Watcher:
    """Is told what a worker does, from its main thread; each method does nothing."""

    def begun(self, job: Job) -> None:
        """A job was claimed."""

    def ended(self, job: Job, report: Report) -> None:
        """An attempt is over."""

    def warned(self, text: str) -> None:
        """Something is not as it should be, and the worker goes on."""

    def lives(self, jobs: tuple[Job, ...]) -> None:
        """It is alive, and these are in hand; told all the time."""


class Claim:
    """One job that is asked for, however often; `is_open`: it may be here, and nobody knows."""

    def __init__(self) -> None:
        self.token = new_id()
        self.sent_at = 0.0
        self.is_open = False

    def sent(self) -> None:
        """It is asked for; a lease may have begun then."""
        if not self.is_open:
            self.is_open, self.sent_at = True, clock()


class Worker:
    """Claims in one thread, works on each job in another, and looks after all from `run`."""

    def __init__(
        self,
        app: App,
        queue: Queue,
        backends: Mapping[str, str],
        terms: Terms,
        *,
        pipeline: Pipeline,
        ledger: Ledger | None,
        target: Target,
        watcher: Watcher,
    ) -> None:
        self._app = app
        self._queue = queue
        self._backends = backends
        self._terms = terms
        self._pipeline = pipeline
        self._ledger = ledger
        self._target = target
        self._watcher = watcher
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._attempts: dict[Hold, Attempt] = {}
        self._busy: dict[Hold, str] = {}
        self._over = 0
        self._announced = time.monotonic()
        # One that drains may not live for as long as others wait.
        self._pruned = -math.inf if terms.drain else self._announced
        self._room = threading.Condition()
        self._claimer = threading.Thread()
        self._ending = False
        self.unanswered = 0
        self._fault: ImagenError | None = None
        self._stop = threading.Event()

    def run(self, stop: threading.Event, hurry: threading.Event) -> None:
        """Work until there is enough, or `stop` is set; then end, at once if `hurry` is set, too.

        What can't be begun raises; later faults are told, and waited for. A queue that refuses a
        claim for its key will go on doing so: that sets `stop`, and raises in the end.
        """
        self._stop = stop
        self._announce()
        self._claimer = threading.Thread(
            target=self._claim, args=(stop,), name="imagen-claims", daemon=True
        )
        self._claimer.start()
        self._work(stop, hurry)
        if self._fault:
            raise self._fault

    def _work(self, stop: threading.Event, hurry: threading.Event) -> None:
        stopped = 0.0
        while True:
            self._take(TICK_SECONDS)
            if stop.is_set():
                with self._room:
                    self._room.notify()
                stopped = stopped or time.monotonic()
                if hurry.is_set() or time.monotonic() > stopped + self._terms.grace:
                    self._stop_all()
                    return
            if not self._claimer.is_alive() and not self._attempts and self._inbox.empty():
                return
            for attempt in [*self._attempts.values()]:
                self._look_after(attempt)
            self._watcher.lives(tuple(attempt.job for attempt in self._attempts.values()))

    def _take(self, seconds: float) -> None:
        """Do what the other threads have left to do."""
        with contextlib.suppress(Empty):
            self._inbox.get(timeout=seconds)()
            while True:
                self._inbox.get_nowait()()

    def _look_after(self, attempt: Attempt) -> None:
        hold, late = attempt.hold, attempt.seconds > self._terms.limit
        standing = hold.standing
        if hold.wants_cancel:
            attempt.stop("cancel")
        elif standing in ("unsure", "lost"):
            attempt.doubt()
        elif late:
            attempt.stop("deadline")
        if late and standing == "lost":
            # What still goes on here is another's by now, who would miss it.
            self._end(attempt, Report("lost"))

    # What comes of claiming, in a thread of its own, since the queue may be slow to answer.

    def _claim(self, stop: threading.Event) -> None:
        claim, idle, problem = Claim(), 0, ""
        taken = 0
        # What may have been given without an answer is asked for once more before the end.
        while not (is_last := stop.is_set()) or claim.is_open:
            wait, over = 0.0, self._over
            try:
                self._see_to_queue()
                found = self._claimed(claim, begin=not is_last)
            except CredentialsError as error:
                self._leave(error)
                return
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a queue may raise anything
                if told(error) != problem:
                    problem = told(error)
                    self._tell(problem)
                # The answer may have been lost: the same token gets the same job.
                idle, wait = idle + 1, pause(self._queue, idle + 1)
            else:
                # What was answered is over, also if a job had this token and was taken away.
                claim, problem = Claim(), ""
                if found:
                    idle, taken = 0, taken + 1
                elif self._terms.drain and not self._busy and self._over == over:
                    return
                else:
                    wait = pause(self._queue, idle)
                    idle += 1
            if is_last or (self._terms.most and taken >= self._terms.most):
                return
            with self._room:
                if self._room.wait_for(lambda: stop.is_set() or self._over != over, wait):  # noqa: B023
                    idle = 0  # what has ended may have stood in the way

    def _see_to_queue(self) -> None:
        """Say what is served, and let old jobs be forgotten, when that is due."""
        now = time.monotonic()
        try:
            if now > self._announced + self._terms.announce:
                self._announced = now
                self._announce()
            if now > self._pruned + PRUNE_SECONDS:
                self._pruned = now
                self._queue.prune()
        except CredentialsError as error:
            self._tell(told(error))

    def _claimed(self, claim: Claim, *, begin: bool) -> bool:
        terms, free = self._terms, self._free()
        if len(self._busy) >= terms.concurrency or not free:
            return False
        if begin:
            _check_room(self._target)
        claim.sent()
        job = self._queue.claim(
            terms.name,
            claim.token,
            backends=free,
            lease=terms.lease,
            deadline=terms.limit + OVERTIME_SECONDS,
        )
        if job is None:
            return False
        hold = Hold(
            *(self._queue, job, claim.token),
            lease=terms.lease,
            claimed_at=claim.sent_at,
            woken=self._wake,
            warned=lambda problem: self._tell(f"job {job.id}: {problem}"),
        )
        hold.start()
        with self._room:
            self._busy[hold] = job.resource
        self._inbox.put(lambda: self._begin(hold, begin=begin))
        return True

    def _free(self) -> dict[str, str]:
        """The backends that nothing here stands in the way of."""
        busy = {resource for resource in [*self._busy.values()] if resource}
        return {name: resource for name, resource in self._backends.items() if resource not in busy}

    def _announce(self) -> None:
        self._queue.announce(self._terms.name, self._offers())

    def _offers(self) -> list[Offer]:
        offers = []
        for name, resource in self._backends.items():
            instance = self._app.instance(name)
            about = instance.backend.about
            said = {
                "type": instance.type,
                "model": about.model,
                "honours": sorted(about.honours),
                "size": about.size,
                "steps": about.steps,
                "params": _params(about.params),
            }
            offers.append(Offer(backend=name, resource=resource, about=said))
        return offers

    # What comes of attempts, in the main thread.

    def _begin(self, hold: Hold, *, begin: bool) -> None:
        attempt = Attempt(
            self._app,
            self._queue,
            hold,
            pipeline=self._pipeline,
            ledger=self._ledger,
            target=self._target,
            pause=self._terms.pause,
        )
        self._attempts[hold] = attempt
        self._watcher.begun(hold.job)
        begin = begin and not self._ending
        self._see_to(attempt, attempt.run if begin else attempt.release)

    def _see_to(self, attempt: Attempt, ending: Callable[[], Report | None]) -> None:
        """Let this be how it ends, in a thread of its own."""

        def work() -> None:
            report = ending()
            self._inbox.put(lambda: self._end(attempt, report))

        name = f"imagen-job-{attempt.job.id[:8]}"
        try:
            threading.Thread(target=work, name=name, daemon=True).start()
        except RuntimeError as error:  # there are as many threads as this system allows
            self._leave(UnavailableError(f"the worker can't go on: {error}"))
            attempt.hand_over()
            self._end(attempt, attempt.release())

    def _leave(self, error: ImagenError) -> None:
        """End as at the first signal, and raise this then: nothing gets better by going on."""
        self._fault = self._fault or error
        self._stop.set()

    def _end(self, attempt: Attempt, report: Report | None) -> None:
        if report is None or self._attempts.pop(attempt.hold, None) is None:
            return
        with self._room:
            self._over += 1  # before there is room: who sees that knows why
            self._busy.pop(attempt.hold, None)
            self._room.notify()
        self.unanswered += report.result == "unanswered"
        self._watcher.ended(attempt.job, report._replace(seconds=attempt.seconds))

    def _stop_all(self) -> None:
        """Give back what is in hand: what can't stop by itself in time is released as it is."""
        self._ending = True
        for attempt in self._attempts.values():
            if not attempt.is_left_elsewhere:
                attempt.stop("release")
        self._take_until(lambda: not self._is_stopping())
        for attempt in [*self._attempts.values()]:
            attempt.hand_over()  # one try each
            if attempt.hold.standing != "over":
                self._see_to(attempt, attempt.release)
        self._take_until(lambda: not self._attempts)
        for attempt in [*self._attempts.values()]:
            self._end(attempt, Report("unanswered"))

    def _take_until(self, over: Callable[[], bool]) -> None:
        until = time.monotonic() + LAST_SECONDS
        while time.monotonic() < until and not over():
            self._take(TICK_SECONDS)

    def _is_stopping(self) -> bool:
        """Whether anything may still end by itself, or be claimed."""
        waits = any(not attempt.is_left_elsewhere for attempt in self._attempts.values())
        return waits or self._claimer.is_alive() or not self._inbox.empty()

    def _wake(self) -> None:
        self._inbox.put(lambda: None)

    def _tell(self, text: str) -> None:
        self._inbox.put(lambda: self._watcher.warned(text))


def _params(params: tuple[Param, ...] | None) -> list[dict[str, str]] | None:
    """What a job may set, for those who choose; None if only the server knows."""
    if params is None:
        return None
    return [
        {"name": param.name, "type": param.type, "help": param.help}
        for param in params
        if param.listed and not param.local
    ]


def worker_name() -> str:
    """Who this worker is, for those who look at the jobs."""
    return f"{platform.node() or 'unknown'}-{os.getpid()}"


def _check_room(target: Target) -> None:
    """Refuse to make, and to pay for, what could be written nowhere."""
    prepare(target)
    free = shutil.disk_usage(target.folder).free
    if free < LEAST_BYTES:
        raise UnavailableError(
            f"there is no room in {target.folder}: {free // 2**20} MiB are left",
            hint="nothing is claimed until there is",
        )


def shared_resource(resource: str | None) -> str:
    """The name of a resource that other machines can't mistake for one of theirs."""
    host = urlsplit(resource).hostname if resource and "://" in resource else resource
    if host in LOOPBACK or (host or "").startswith("127."):
        return f"{resource} at {platform.node() or 'unknown'}"
    return resource or ""
