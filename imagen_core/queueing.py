"""What a queue of jobs is: the structs that go in and come out, and the protocol Queue."""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, Protocol, TypeVar

import msgspec
from msgspec import Struct, field
from msgspec.structs import asdict, replace

from imagen_core.errors import UsageError
from imagen_core.types import Failure, Note, Output, Progress, Status, new_id

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
Beat = Literal["ok", "cancel", "lost"]
"""`cancel`: somebody wants it stopped. `lost`: it is another worker's by now, or its time is up."""
Completion = Literal["ok", "already", "lost", "gone"]
Ending = Literal["queued", "failed", "cancelled", "lost"]
Said = TypeVar("Said", Failure, Note, Output, Progress)

DAY = 86_400.0
KEPT_ERRORS = 20
LEASE_EXPIRED = "lease_expired"
DEADLINE = "deadline"
UNREADABLE = "unreadable"
"""The code of the failure of a job that the queue can't read."""
OFFER_SECONDS = 7 * DAY
"""How long it is remembered that a worker once offered a backend."""
IMAGE_SECONDS = 120 * DAY
"""How long an input image is kept after it was put there last."""
MAX_DELAY = 3650 * DAY
"""How far in the future a job may lie; what comes later has no date."""
IDLE_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""How long to wait after each question that was in vain; the queue's pace is the most."""


class NewJob(Struct, frozen=True, kw_only=True):
    """A job to be queued. Enqueued again, it is the same job: by its id, or its owner's key.

    `payload` is a JSON object that the queue does not look into. A lower `priority` (0 to 9) runs
    first; `delay` is in seconds.
    """

    backend: str
    payload: dict[str, Any]
    payload_version: int = 1
    id: str = field(default_factory=new_id)
    key: str = ""
    owner: str = ""
    priority: int = 5
    delay: float = 0.0
    max_attempts: int = 3

    def __post_init__(self) -> None:
        if not _is_uuid(self.id):
            raise UsageError(f"the id of a job is a UUID, not {self.id!r}")
        if not self.backend:
            raise UsageError("a job names its backend")
        if not 0 <= self.priority <= 9:
            raise UsageError(f"the priority of a job is 0 to 9, not {self.priority}")
        if not 1 <= self.max_attempts <= 20:
            raise UsageError(f"a job has 1 to 20 attempts, not {self.max_attempts}")
        if not (math.isfinite(self.delay) and 0 <= self.delay <= MAX_DELAY):
            told = f"the delay of a job is 0 to {MAX_DELAY:.0f} seconds, not {self.delay}"
            raise UsageError(told)


class Enqueued(Struct, frozen=True, kw_only=True):
    """The id under which it is queued, and whether it was not there before."""

    id: str
    created: bool


class JobError(Struct, frozen=True, kw_only=True):
    """How one attempt went wrong."""

    at: str
    attempt: int
    worker: str
    failure: Failure


class Job(Struct, frozen=True, kw_only=True):
    """A job as it is now. Times are by the database's clock: `2026-05-08T12:00:00.000+00:00`.

    A `queued` one with `run_at` in the future waits for that; `attempt` counts claims that were
    not given back, `crashes` those that were never heard of again. `started_at` is that of the
    first attempt, `errors` the latest last.
    """

    id: str
    backend: str
    payload: dict[str, Any]
    payload_version: int
    state: State
    priority: int
    attempt: int
    max_attempts: int
    created_at: str
    run_at: str
    key: str = ""
    owner: str = ""
    crashes: int = 0
    worker: str = ""
    resource: str = ""
    started_at: str | None = None
    finished_at: str | None = None
    lease_expires_at: str | None = None
    deadline_at: str | None = None
    cancel_requested: bool = False
    progress: Progress | None = None
    checkpoint: dict[str, Any] = {}
    result: dict[str, Any] | None = None
    errors: tuple[JobError, ...] = ()


class Offer(Struct, frozen=True, kw_only=True):
    """A backend that a worker serves.

    At most `max_running` jobs run on a `resource` at a time, by all workers and under all names;
    without one there is no such limit. `about` is for those who choose.
    """

    backend: str
    resource: str = ""
    max_running: int = 1
    about: dict[str, Any] = {}
    worker: str = ""
    seen_at: str = ""


class Load(Struct, frozen=True, kw_only=True):
    """The jobs of one backend. `waiting_seconds`: how long the oldest one has been ready."""

    backend: str
    ready: int = 0
    delayed: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    waiting_seconds: float = 0.0


class Queue(Protocol):
    """Holds jobs for workers on any machine; threads may share it.

    A claim comes with a token that the worker makes, a UUID, and whatever else is done to the job
    has to show it. So every call can be repeated when its answer was lost. Only the database's
    clock counts. A job may be begun more than once, but it succeeds once.

    `pace`: so many seconds lie between two questions of one who waits for something, at least.
    `publishes`: the switch of the step that brings a picture to those who asked for it; with it
    a job succeeds only when its steps did, and without one it is enough that the picture is here.
    """

    pace: float = 10.0
    publishes: str = ""

    def enqueue(self, job: NewJob) -> Enqueued:
        """Put it there, unless it is there: one of this id, or of this owner and key."""
        ...

    def claim(
        self, worker: str, token: str, *, backends: Mapping[str, str], lease: float, deadline: float
    ) -> Job | None:
        """Take the next job that one of these backends can do, each with its resource or "".

        The job already running under this token, if there is one; a token that has ended its job
        gets no other. Else the lowest priority first, of those the owner with the fewest running,
        of those the one who was served longest ago. It is held for `lease` seconds, and for
        `deadline` however often it is renewed. Whatever others have left is rescued before. A job
        that can't be read fails, and the next one is taken.
        """
        ...

    def heartbeat(
        self,
        job_id: str,
        token: str,
        *,
        lease: float,
        progress: Progress | None = None,
        checkpoint: Mapping[str, Any] | None = None,
    ) -> Beat:
        """Hold it for `lease` seconds from now, up to its deadline, and write down what is given.

        A checkpoint is what the next attempt needs to go on; an empty one takes it back.
        """
        ...

    def complete(self, job_id: str, token: str, result: Mapping[str, Any]) -> Completion:
        """It succeeded, also if somebody wanted it cancelled. `already`: that was known.

        `gone`: there is no such job any more.
        """
        ...

    def fail(
        self, job_id: str, token: str, failure: Failure, *, retry: bool, after: float | None = None
    ) -> Ending:
        """The attempt failed; what the job is now.

        With `retry`, and attempts left, it waits for `after` seconds, or for a while that grows.
        One that somebody wanted cancelled is cancelled.
        """
        ...

    def release(self, job_id: str, token: str) -> Ending:
        """Give it back as if it had not been taken; the attempt does not count."""
        ...

    def cancel(self, job_id: str) -> State | Literal["requested", "gone"]:
        """Cancel it if it waits; ask for that if it runs. Else what it is."""
        ...

    def retry(self, job_id: str) -> State | Literal["gone"]:
        """Queue one that failed or was cancelled, with all its attempts anew. What it is now."""
        ...

    def rescue(self, limit: int = 20) -> int:
        """Take jobs from workers that were not heard of in time; how many."""
        ...

    def get(self, job_id: str) -> Job | None:
        """The job of that id."""
        ...

    def jobs(
        self,
        *,
        states: Collection[State] = (),
        owner: str | None = None,
        backend: str = "",
        limit: int = 50,
        before: str = "",
    ) -> tuple[Job, ...]:
        """The latest first, of these states (none: all), older than the one of the id `before`."""
        ...

    def stats(self) -> tuple[Load, ...]:
        """How many there are, by backend."""
        ...

    def prune(
        self, *, succeeded: float = 30 * DAY, others: float = 90 * DAY, limit: int = 1000
    ) -> int:
        """Forget jobs that ended so many seconds ago, and offers of a week ago; how many jobs.

        The key of a job that was forgotten can be used anew. Input images go in time, too, where
        the queue can see to that.
        """
        ...

    def announce(self, worker: str, offers: Iterable[Offer]) -> None:
        """This worker serves these, as of now."""
        ...

    def offers(self) -> tuple[Offer, ...]:
        """What workers serve, by backend and resource, and when they last said so."""
        ...

    def put_image(self, data: bytes, *, owner: str) -> str:
        """Keep an input image for jobs of this owner; its sha256, by which they name it."""
        ...

    def image(self, sha256: str, *, owner: str) -> bytes | None:
        """An input image of this owner, and of nobody else."""
        ...

    def status(self) -> Status:
        """Whether it can be used; no network."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


def pause(queue: Queue, idle: int) -> float:
    """How long to wait when it was in vain so often; never all who wait at once."""
    longest = min(IDLE_SECONDS[min(idle, len(IDLE_SECONDS) - 1)], queue.pace)
    return longest * random.uniform(1.0, 1.2)


def backoff(attempt: int) -> float:
    """The seconds to wait after that attempt: longer each time, and not all at once."""
    return random.uniform(0.5, 1.0) * longest_backoff(attempt)


def longest_backoff(attempt: int) -> float:
    """What `backoff` is at most; it is at least half of that."""
    return min(900.0, 5.0 * 3.0 ** min(attempt - 1, 5))


def legible(said: Said) -> Said:
    """What a worker says, with `?` in place of what is no text: it has to be written down."""
    texts = {name: value for name, value in asdict(said).items() if isinstance(value, str)}
    clean = {name: text.encode(errors="replace").decode() for name, text in texts.items()}
    return replace(said, **clean)


def encoded(value: Any) -> str:
    """A value as a queue stores it."""
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise UsageError(f"this can't be written into the queue: {error}") from error


def _is_uuid(text: str) -> bool:
    from uuid import UUID

    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
