"""What `imagen enqueue --wait` does: it follows jobs to their end, and tells of them."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec.structs import replace

from imagen_core.cli.shared import end
from imagen_core.cli.telling import Telling
from imagen_core.errors import Cancelled, ImagenError, UnavailableError, UsageError
from imagen_core.leftovers import is_there
from imagen_core.queueing import pause
from imagen_core.types import Failure, Progress, Run

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from imagen_core.app import App
    from imagen_core.enqueuing import Intake
    from imagen_core.queueing import Job
    from imagen_core.types import Output

AT_ONCE = 200
"""How many jobs are asked for before the others have to wait for the next time."""
NAMED = 5
"""How many ids are told of jobs that are left."""
SEEN_SECONDS = 1200.0
"""A worker says what it serves every ten minutes; one that was not heard of twice is gone."""
SILENCE_SECONDS = 60.0
"""When so long nothing was new, a worker may have died, or there is none."""
ENDED = ("succeeded", "failed", "cancelled")


class Awaited(NamedTuple):
    """A job that is waited for; `row` 0: it is of no file."""

    id: str
    backend: str
    row: int = 0

    @property
    def about(self) -> dict[str, object]:
        """What a program is told of it."""
        return {"job": self.id, **({"row": self.row} if self.row else {})}


class Waiting:
    """Asks how jobs are until all are over, or `stop` is set."""

    def __init__(
        self, app: App, intake: Intake, jobs: list[Awaited], stop: threading.Event
    ) -> None:
        self._app = app
        self._console = app.console
        self._intake = intake
        self._queue = intake.queue
        self._jobs = jobs
        self._open = deque(jobs)
        self._bar = app.console.bar(len(jobs))
        self._telling = Telling(app)
        self._stop = stop
        self._failures: list[Failure] = []
        self._seen: dict[str, tuple[object, ...]] = {}
        self._due: dict[str, str] = {}
        self._silent: set[str] = set()
        self._problem = ""

    def run(self) -> None:
        """Wait, and end with the exit code of all together."""
        idle, news_at = 0, time.monotonic()
        self._look()
        if not self._stop.is_set():
            self._tell_what_is_waited_for()
        while self._open and not self._stop.is_set():
            self._stop.wait(pause(self._queue, idle))
            idle = 0 if self._look() else idle + 1
            if not idle or time.monotonic() > news_at + SILENCE_SECONDS:
                news_at = time.monotonic()
                if idle:
                    self._break_silence()
        self._bar.hide()
        if self._open:
            raise self._interrupted()
        end(self._app, self._failures, len(self._jobs))

    def _tell_what_is_waited_for(self) -> None:
        """Say which jobs are open, and which of them nobody seems to serve."""
        if self._open and not self._console.quiet:
            which = f"the job {self._jobs[0].id} is" if len(self._jobs) == 1 else "the jobs are"
            self._console.info(f"waiting: {which} in the queue '{self._intake.store}'")
        recent = (datetime.now(UTC) - timedelta(seconds=SEEN_SECONDS)).isoformat()
        try:
            offers = self._intake.offers
        except UnavailableError:
            return
        for name in dict.fromkeys(job.backend for job in self._open if self._is_queued(job.id)):
            if name not in offers or offers[name].seen_at < recent:
                self._console.warn(f"no worker serves '{name}' now; what is queued waits for one")

    def _break_silence(self) -> None:
        """Free what a dead worker holds, which no other one may be there for, and say so once."""
        if self._problem:
            return
        with contextlib.suppress(ImagenError):
            self._queue.rescue()
        now = datetime.now(UTC).isoformat()
        due = (job for job in self._open if self._is_queued(job.id) and self._due[job.id] < now)
        waits = {job.backend for job in due}
        for name in sorted(waits - self._silent):
            self._console.warn(
                f"no worker has taken a job of '{name}' for a minute; "
                "'imagen jobs stats' tells who served it last"
            )
        self._silent |= waits

    def _is_queued(self, job_id: str) -> bool:
        return self._seen.get(job_id, ("",))[0] == "queued"

    def _look(self) -> bool:
        """Ask for as many as may be asked for at once; whether anything is new."""
        news = False
        for _ in range(min(AT_ONCE, len(self._open))):
            if self._stop.is_set():
                break
            awaited = self._open[0]
            try:
                job = self._queue.get(awaited.id)
            except UnavailableError as error:
                if str(error) != self._problem:
                    self._console.warn(f"{error}; it is waited for")
                self._problem = str(error)
                return False
            self._problem = ""
            self._open.popleft()
            if job and job.state not in ENDED:
                self._open.append(awaited)
            news |= self._take(awaited, job)
        return news

    def _take(self, awaited: Awaited, job: Job | None) -> bool:
        """Show how a job is now; whether that is new."""
        if job is None:
            told = f"the job {awaited.id} is gone from the queue"
            self._fail(awaited, Failure(code=ImagenError.code, message=told))
        elif job.state == "succeeded":
            self._succeed(awaited, job)
        elif job.state == "failed":
            self._fail(awaited, last_failure(job))
        elif job.state == "cancelled":
            told = f"the job {job.id} was cancelled"
            self._fail(awaited, Failure(code=Cancelled.code, message=told))
        else:
            return self._follow(job)
        return True

    def _follow(self, job: Job) -> bool:
        waits = job.state == "queued"
        progress = Progress(message="waiting for a worker") if waits else job.progress
        self._bar.take(job.id, progress or Progress(message="at work"))
        seen = (job.state, job.attempt, job.progress)
        before = self._seen.get(job.id)
        self._seen[job.id], self._due[job.id] = seen, job.run_at
        if waits and job.errors and before and before[0] == "running" and not self._console.quiet:
            self._console.info(f"{last_failure(job).message}; the job {job.id} is tried again")
        return seen != before

    def _succeed(self, awaited: Awaited, job: Job) -> None:
        try:
            run = msgspec.convert(job.result, Run)
        except msgspec.ValidationError as error:
            told = f"the result of the job {job.id} can't be read: {error}"
            self._fail(awaited, Failure(code=ImagenError.code, message=told))
            return
        self._bar.finish(job.id)
        self._telling.run(self._seen_from_here(run, job), awaited.about)

    def _seen_from_here(self, run: Run, job: Job) -> Run:
        """The Run with the address of each picture that is on another machine."""
        urls = [note.url for note in run.notes if note.url]
        if len(urls) < len(run.outputs):
            urls = []  # which picture each is of, nobody can tell
        outputs: list[Output] = []
        for index, output in enumerate(run.outputs):
            path = output.path
            if not is_there(_path(path), output):
                path = urls[index] if urls else path
                if not urls:
                    self._console.warn(f"{path} is where {job.worker or 'its worker'} has put it")
            outputs.append(replace(output, path=path))
        return replace(run, outputs=tuple(outputs))

    def _fail(self, awaited: Awaited, failure: Failure) -> None:
        self._bar.finish(awaited.id)
        self._failures.append(failure)
        place = f"row {awaited.row}: " if awaited.row else ""
        about = {"id": awaited.id, "backend": awaited.backend, **awaited.about}
        self._telling.failure(failure, about, place=place)

    def _interrupted(self) -> Cancelled:
        still = set(self._open)
        left = [job.id for job in self._jobs if job in still]
        number = f"{len(left)} job{' is' if len(left) == 1 else 's are'}"
        ids = " ".join(left[:NAMED]) + " …" * (len(left) > NAMED)
        return Cancelled(
            f"no longer waiting; {number} in the queue still",
            hint=f"'imagen jobs cancel {ids}' cancels; 'imagen jobs' lists what there is",
        )


def last_failure(job: Job) -> Failure:
    """Why the last attempt at it went wrong."""
    if job.errors:
        return job.errors[-1].failure
    return Failure(code=UsageError.code, message=f"the job {job.id} failed, and nobody says why")


def _path(path: str) -> Path:
    from pathlib import Path

    return Path(path)
