"""The queue of jobs that all machines share: functions of the project's database, by its API."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import msgspec

from imagen_core import (
    DAY,
    UNREADABLE,
    Beat,
    Completion,
    Ending,
    Enqueued,
    Failure,
    ImagenError,
    Job,
    JobError,
    Load,
    Offer,
    Progress,
    Queue,
    State,
    Status,
    UsageError,
    image_header,
    legible,
    told,
)
from imagen_supabase.config import NOBODY, standing
from imagen_supabase.pictures import EXTENSIONS, storable
from imagen_supabase.problems import MissingError
from imagen_supabase.tables import INPUTS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from imagen_core import Context, NewJob
    from imagen_supabase.client import Project

PAGE = 200
SHARED = "shared"
"""The folder of the images of jobs that are nobody's."""

Row = dict[str, Any]


class SupabaseQueue(Queue):
    """A Queue in a Supabase project.

    Each call is one function of the database, and so one transaction; here is no more than their
    names. Each may be repeated, and is after a passing fault.
    """

    publishes = "cloud_sync"

    def __init__(self, context: Context) -> None:
        self._context = context

    def enqueue(self, job: NewJob) -> Enqueued:
        """Put it there, unless it is there."""
        about = msgspec.structs.asdict(job)
        made: Enqueued | None = self._call(
            "enqueue", Enqueued | None, **{**about, "owner": _owner(job.owner)}
        )
        if made is None:
            raise UsageError(f"the id {job.id} is that of another job")
        return made

    def claim(
        self, worker: str, token: str, *, backends: Mapping[str, str], lease: float, deadline: float
    ) -> Job | None:
        """Take the next job that one of these backends can do."""
        how = {"backends": backends, "lease": lease, "deadline": deadline}
        while row := self._call("claim", Row | None, worker=worker, token=token, **how):
            try:
                return _job(row)
            except ImagenError as error:
                if "id" not in row:  # it is no job at all
                    raise
                failure = Failure(code=UNREADABLE, message=str(error), hint=error.hint)
                self._call("put_aside", str, job=row["id"], token=token, failure=failure)
        return None

    def heartbeat(
        self,
        job_id: str,
        token: str,
        *,
        lease: float,
        progress: Progress | None = None,
        checkpoint: Mapping[str, Any] | None = None,
    ) -> Beat:
        """Hold it for longer, and write down how far it is."""
        held = {"job": _id(job_id), "token": token, "lease": lease}
        given = {"progress": progress and legible(progress), "checkpoint": checkpoint}
        told: Beat = self._call("heartbeat", Beat, **held, **given)
        return told

    def complete(self, job_id: str, token: str, result: Mapping[str, Any]) -> Completion:
        """It succeeded."""
        how = {"job": _id(job_id), "token": token, "result": result}
        told: Completion = self._call("complete", Completion, **how)
        return told

    def fail(
        self, job_id: str, token: str, failure: Failure, *, retry: bool, after: float | None = None
    ) -> Ending:
        """The attempt failed."""
        held = {"job": _id(job_id), "token": token, "failure": legible(failure)}
        told: Ending = self._call("fail", Ending, **held, retry=retry, after=after)
        return told

    def release(self, job_id: str, token: str) -> Ending:
        """Give it back as if it had not been taken."""
        told: Ending = self._call("release", Ending, job=_id(job_id), token=token)
        return told

    def cancel(self, job_id: str) -> State | Literal["requested", "gone"]:
        """Cancel it if it waits; ask for that if it runs."""
        kind = State | Literal["requested", "gone"]
        told: State | Literal["requested", "gone"] = self._call("cancel", kind, job=_id(job_id))
        return told

    def retry(self, job_id: str) -> State | Literal["gone"]:
        """Queue one that failed or was cancelled."""
        told: State | Literal["gone"] = self._call(
            "retry", State | Literal["gone"], job=_id(job_id)
        )
        return told

    def rescue(self, limit: int = 20) -> int:
        """Take jobs from workers that were not heard of in time."""
        return int(self._call("rescue", int, at_most=limit))

    def get(self, job_id: str) -> Job | None:
        """The job of that id."""
        row = self._call("get_job", Row | None, job=_id(job_id))
        return _glimpse(row) if row else None

    def jobs(
        self,
        *,
        states: Collection[State] = (),
        owner: str | None = None,
        backend: str = "",
        limit: int = 50,
        before: str = "",
    ) -> tuple[Job, ...]:
        """The latest first, page by page: one begins after the last job of the one before."""
        whose = None if owner is None else _id(owner)
        chosen = {"states": sorted(states), "whose": whose, "backend": backend}
        found: list[Job] = []
        while len(found) < limit:
            at_most = min(limit - len(found), PAGE)
            page = {"before": _id(before) if before else None, "at_most": at_most}
            rows = self._call("list_jobs", list[Row], **chosen, **page)
            found += map(_glimpse, rows)
            if len(rows) < at_most:
                break
            before = found[-1].id
        return tuple(found)

    def stats(self) -> tuple[Load, ...]:
        """How many there are, by backend."""
        return tuple(self._call("stats", list[Load]))

    def prune(
        self, *, succeeded: float = 30 * DAY, others: float = 90 * DAY, limit: int = 1000
    ) -> int:
        """Forget jobs that ended so many seconds ago. Input images stay: SQL can't remove them."""
        return int(self._call("prune", int, succeeded=succeeded, others=others, at_most=limit))

    def announce(self, worker: str, offers: Iterable[Offer]) -> None:
        """This worker serves these, as of now."""
        self._call("announce", int, worker=worker, offers=list(offers))

    def offers(self) -> tuple[Offer, ...]:
        """What workers serve."""
        return tuple(self._call("list_backends", list[Offer]))

    def put_image(self, data: bytes, *, owner: str) -> str:
        """Keep an input image for jobs of this owner; what is there already is the same."""
        header = image_header(data)
        if header is None or header.mime not in EXTENSIONS:
            raise UsageError("the input image is no PNG, JPEG or WebP")
        digest = sha256(data).hexdigest()
        place = f"{_owner(owner) or SHARED}/{digest}"
        self._project.upload(place, data, mime=header.mime, digest=digest, bucket=INPUTS)
        return digest

    def image(self, sha256: str, *, owner: str) -> bytes | None:
        """An input image of this owner; other bytes under that name are none."""
        place = f"{_id(owner) if owner else SHARED}/{sha256}"
        try:
            data = self._project.download(place, bucket=INPUTS)
        except MissingError:
            return None
        return data if _digest(data) == sha256 else None

    def status(self) -> Status:
        """Whether there are credentials; no network."""
        try:
            return standing(self._context)
        except ImagenError as error:
            return Status(ok=False, text=told(error))

    def close(self) -> None:
        """The project is the program's, which closes it."""

    @property
    def _project(self) -> Project:
        # The client takes longer to import than all the rest, and a status has no use for it.
        from imagen_supabase.client import connect

        return self._context.once(connect)

    def _call(self, function: str, kind: Any, /, **arguments: Any) -> Any:
        given = {name: value for name, value in arguments.items() if value is not None}
        return self._project.call(function, kind, **_plain(given))


def _job(row: dict[str, Any]) -> Job:
    try:
        return msgspec.convert(row, Job)
    except msgspec.ValidationError as error:
        raise ImagenError(
            f"the job {row.get('id')} can't be read: {error}",
            hint="a newer imagen may have written it",
        ) from error


def _glimpse(row: Row) -> Job:
    """A row for those who only look at it: what can't be read of it is left out."""
    told = {**row, "errors": [one for one in _list(row.get("errors")) if _is(one, JobError)]}
    kinds = {"payload": Row, "checkpoint": Row, "progress": Progress | None, "result": Row | None}
    empty: Row = {"payload": {}, "checkpoint": {}, "progress": None, "result": None}
    return _job(told | {name: empty[name] for name in kinds if not _is(row.get(name), kinds[name])})


def _is(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _plain(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments as they go into JSON."""
    try:
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(arguments))
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"this can't be written into the queue: {error}") from error
    return storable(plain)


def _id(text: str) -> str:
    """An id as the database takes it; of what is none that of no job and of no user."""
    try:
        return str(UUID(text))
    except ValueError:
        return NOBODY


def _owner(text: str) -> str | None:
    if not text:
        return None
    if (known := _id(text)) == NOBODY:
        raise UsageError(
            f"the owner of a job is the id of a user, and not '{text}'",
            hint="select id, email from auth.users",
        )
    return known


def _digest(data: bytes) -> str:
    return sha256(data).hexdigest()
