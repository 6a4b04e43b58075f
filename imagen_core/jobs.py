"""The embedded queue: jobs in SQLite, for all processes of this machine."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Literal

from imagen_core.database import Database, DatabaseError
from imagen_core.errors import UsageError
from imagen_core.files import digest
from imagen_core.job_claims import (
    Claimant,
    begin,
    check_lengths,
    free_backends,
    lapsed,
    next_job,
    serve,
)
from imagen_core.job_rows import (
    LOADS,
    MIGRATIONS,
    glimpse,
    iso,
    job_of,
    listing,
    loads,
    offer_of,
    with_error,
)
from imagen_core.queueing import (
    DAY,
    IMAGE_SECONDS,
    OFFER_SECONDS,
    UNREADABLE,
    Beat,
    Completion,
    Ending,
    Enqueued,
    Job,
    JobError,
    Load,
    NewJob,
    Offer,
    Queue,
    State,
    backoff,
    encoded,
    legible,
)
from imagen_core.types import Failure, Status

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from imagen_core.types import Progress

FILE_NAME = "jobs.db"
IMAGES_AT_ONCE = 100
"""How many images one `prune` forgets at most: all the while nobody else can write."""
NEWER = "a newer imagen may have written it"
BUSY_SECONDS = 30.0
"""How long a call waits for the others: SQLite lets them in one by one, in no order."""

_BY_TOKEN = "select * from jobs where token = ? order by state = 'running' desc limit 1"
_HELD = "select * from jobs where id = ? and token = ? and state = 'running'"
_END = (
    "update jobs set state = ?, run_at = ?, attempt = ?, crashes = ?, errors = ?, "
    "finished_at = ?, lease_expires_at = null, deadline_at = null, "
    "progress = null where seq = ?"
)


class SqliteQueue(Queue):
    """A Queue in one file on a local disk.

    Each change is one transaction that holds the write lock from its beginning, and its time is
    taken when it has the lock. `clock` and `backoff` are for tests.
    """

    pace = 1.0

    def __init__(
        self,
        folder: Path,
        *,
        busy_seconds: float = BUSY_SECONDS,
        clock: Callable[[], float] = time.time,
        backoff: Callable[[int], float] = backoff,
    ) -> None:
        self.path = folder / FILE_NAME
        self.database = Database(self.path, MIGRATIONS, busy_seconds=busy_seconds)
        self._clock = clock
        self._backoff = backoff

    def enqueue(self, job: NewJob) -> Enqueued:
        """Put it there, unless it is there."""
        payload = encoded(job.payload)
        with self._change() as (connection, now):
            known = connection.execute(
                "select id, owner from jobs where owner = ? and key = ? "
                "union all select id, owner from jobs where id = ?",
                (job.owner, job.key, job.id),
            ).fetchone()
            if known:
                if known["owner"] != job.owner:
                    raise UsageError(f"the id {job.id} is that of another job")
                return Enqueued(id=known["id"], created=False)
            connection.execute(
                "insert into jobs (id, backend, payload, payload_version, priority, run_at, "
                "max_attempts, owner, key, created_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(job.id, job.backend, payload, job.payload_version, job.priority),
                    *(now + job.delay, job.max_attempts, job.owner, job.key or None, now),
                ),
            )
        return Enqueued(id=job.id, created=True)

    def claim(
        self, worker: str, token: str, *, backends: Mapping[str, str], lease: float, deadline: float
    ) -> Job | None:
        """Take the next job that one of these backends can do."""
        check_lengths(lease, deadline)
        by = Claimant(worker, token, lease, deadline)
        with self._change() as (connection, now):
            if known := connection.execute(_BY_TOKEN, (token,)).fetchone():
                running = known["state"] == "running"
                return self._readable(connection, known, now, worker) if running else None
            self._rescue(connection, now, 20)
            while found := next_job(connection, free_backends(connection, backends), now):
                # Looked at before it begins: one that can't be read does not use up the token.
                if self._readable(connection, found, now, worker):
                    serve(connection, found["owner"], now)
                    resource = backends[found["backend"]]
                    return job_of(begin(connection, found, by, now=now, resource=resource))
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
        check_lengths(lease)
        said = encoded(legible(progress)) if progress else None
        kept = None if checkpoint is None else encoded(checkpoint)
        with self._change() as (connection, now):
            held = connection.execute(_HELD, (job_id, token)).fetchone()
            if not held:
                return "lost"
            connection.execute(
                "update jobs set lease_expires_at = min(?, deadline_at), "
                "progress = coalesce(?, progress), checkpoint = coalesce(?, checkpoint) "
                "where seq = ?",
                (now + lease, said, kept, held["seq"]),
            )
            if held["deadline_at"] <= now:
                return "lost"
            return "cancel" if held["cancel_requested"] else "ok"

    def complete(self, job_id: str, token: str, result: Mapping[str, Any]) -> Completion:
        """It succeeded."""
        text = encoded(result)
        with self._change() as (connection, now):
            row = connection.execute("select * from jobs where id = ?", (job_id,)).fetchone()
            if not row:
                return "gone"
            if row["token"] != token:
                return "lost"
            if row["state"] != "running":
                return "already" if row["state"] == "succeeded" else "lost"
            connection.execute(
                "update jobs set state = 'succeeded', result = ?, finished_at = ?, "
                "lease_expires_at = null, deadline_at = null, progress = null where seq = ?",
                (text, now, row["seq"]),
            )
        return "ok"

    def fail(
        self, job_id: str, token: str, failure: Failure, *, retry: bool, after: float | None = None
    ) -> Ending:
        """The attempt failed."""
        with self._change() as (connection, now):
            row = connection.execute(_HELD, (job_id, token)).fetchone()
            if not row:
                return "lost"
            return self._fail(connection, row, now, failure, retry=retry, after=after)

    def release(self, job_id: str, token: str) -> Ending:
        """Give it back as if it had not been taken."""
        with self._change() as (connection, now):
            row = connection.execute(_HELD, (job_id, token)).fetchone()
            if not row:
                return "lost"
            state: Ending = "cancelled" if row["cancel_requested"] else "queued"
            finished = now if row["cancel_requested"] else None
            same = (row["attempt"] - 1, row["crashes"], row["errors"])
            connection.execute(_END, (state, now, *same, finished, row["seq"]))
            return state

    def cancel(self, job_id: str) -> State | Literal["requested", "gone"]:
        """Cancel it if it waits; ask for that if it runs."""
        with self._change() as (connection, now):
            connection.execute(
                "update jobs set cancel_requested = 1 where id = ? and state = 'running'",
                (job_id,),
            )
            connection.execute(
                "update jobs set state = 'cancelled', finished_at = ? "
                "where id = ? and state = 'queued'",
                (now, job_id),
            )
            state = _state(connection, job_id)
            return "requested" if state == "running" else state

    def retry(self, job_id: str) -> State | Literal["gone"]:
        """Queue one that failed or was cancelled."""
        with self._change() as (connection, now):
            connection.execute(
                "update jobs set state = 'queued', run_at = ?, attempt = 0, crashes = 0, "
                "finished_at = null, cancel_requested = 0 "
                "where id = ? and state in ('failed', 'cancelled')",
                (now, job_id),
            )
            return _state(connection, job_id)

    def rescue(self, limit: int = 20) -> int:
        """Take jobs from workers that were not heard of in time."""
        with self._change() as (connection, now):
            return self._rescue(connection, now, limit)

    def get(self, job_id: str) -> Job | None:
        """The job of that id."""
        rows = self.database.rows("select * from jobs where id = ?", (job_id,))
        return glimpse(rows[0]) if rows else None

    def jobs(
        self,
        *,
        states: Collection[State] = (),
        owner: str | None = None,
        backend: str = "",
        limit: int = 50,
        before: str = "",
    ) -> tuple[Job, ...]:
        """The latest first."""
        query, values = listing(
            states=states, owner=owner, backend=backend, limit=limit, before=before
        )
        return tuple(map(glimpse, self.database.rows(query, values)))

    def stats(self) -> tuple[Load, ...]:
        """How many there are, by backend."""
        now = self._clock()
        return loads(self.database.rows(LOADS, (now,)), now)

    def prune(
        self, *, succeeded: float = 30 * DAY, others: float = 90 * DAY, limit: int = 1000
    ) -> int:
        """Forget jobs that ended so many seconds ago, and offers of a week ago."""
        with self._change() as (connection, now):
            connection.execute("delete from offers where seen_at < ?", (now - OFFER_SECONDS,))
            connection.execute("delete from owners where served_at < ?", (now - OFFER_SECONDS,))
            connection.execute(
                "delete from images where rowid in "
                "(select rowid from images where put_at < ? limit ?)",
                (now - IMAGE_SECONDS, IMAGES_AT_ONCE),
            )
            return connection.execute(
                "delete from jobs where seq in (select seq from jobs where "
                "(state = 'succeeded' and finished_at < ?) or "
                "(state in ('failed', 'cancelled') and finished_at < ?) limit ?)",
                (now - succeeded, now - others, limit),
            ).rowcount

    def announce(self, worker: str, offers: Iterable[Offer]) -> None:
        """This worker serves these, as of now."""
        with self._change() as (connection, now):
            connection.executemany(
                "insert into offers values (?, ?, ?, ?, ?, ?) on conflict (backend, resource) "
                "do update set worker = excluded.worker, max_running = excluded.max_running, "
                "about = excluded.about, seen_at = excluded.seen_at",
                [
                    (
                        *(offer.backend, offer.resource, worker),
                        *(max(1, offer.max_running), encoded(offer.about), now),
                    )
                    for offer in offers
                ],
            )

    def offers(self) -> tuple[Offer, ...]:
        """What workers serve."""
        rows = self.database.rows("select * from offers order by backend, resource")
        return tuple(map(offer_of, rows))

    def put_image(self, data: bytes, *, owner: str) -> str:
        """Keep an input image for jobs of this owner."""
        sha256 = digest(data)
        with self._change() as (connection, now):
            connection.execute(
                "insert into images (owner, sha256, put_at, data) values (?, ?, ?, ?) "
                "on conflict (owner, sha256) do update set put_at = excluded.put_at",
                (owner, sha256, now, data),
            )
        return sha256

    def image(self, sha256: str, *, owner: str) -> bytes | None:
        """An input image of this owner."""
        query = "select data from images where owner = ? and sha256 = ?"
        rows = self.database.rows(query, (owner, sha256))
        return rows[0]["data"] if rows else None

    def status(self) -> Status:
        """Where it is, and whether it opens."""
        try:
            self.database.rows("select 1 from jobs limit 1")
        except DatabaseError as error:
            return Status(ok=False, text=str(error))
        return Status(ok=True, text=str(self.path))

    def close(self) -> None:
        """Give the file back."""
        self.database.close()

    @contextlib.contextmanager
    def _change(self) -> Iterator[tuple[sqlite3.Connection, float]]:
        """A transaction, and its time: not that of the call, which may have waited."""
        with self.database.write() as connection:
            yield connection, self._clock()

    def _readable(
        self, connection: sqlite3.Connection, row: sqlite3.Row, now: float, worker: str
    ) -> Job | None:
        """The job of this row; one that can't be read fails, and is none."""
        try:
            return job_of(row)
        except ValueError as error:
            failure = Failure(code=UNREADABLE, message=str(error), hint=NEWER)
            self._fail(connection, row, now, failure, retry=False, worker=worker)
            return None

    def _rescue(self, connection: sqlite3.Connection, now: float, limit: int) -> int:
        rows = connection.execute(
            "select * from jobs where state = 'running' and lease_expires_at < ? "
            "order by lease_expires_at limit ?",
            (now, limit),
        ).fetchall()
        for row in rows:
            self._fail(connection, row, now, lapsed(row, now), retry=True, crashes=1)
        return len(rows)

    def _fail(
        self,
        connection: sqlite3.Connection,
        row: sqlite3.Row,
        now: float,
        failure: Failure,
        *,
        retry: bool,
        after: float | None = None,
        crashes: int = 0,
        worker: str = "",
    ) -> Ending:
        attempt = row["attempt"]
        if row["cancel_requested"]:
            state: Ending = "cancelled"
        else:
            state = "queued" if retry and attempt < row["max_attempts"] else "failed"
        wait = self._backoff(attempt) if after is None else max(0.0, after)
        who = worker or row["worker"]
        error = JobError(at=iso(now), attempt=attempt, worker=who, failure=legible(failure))
        run_at, finished = (now + wait, None) if state == "queued" else (row["run_at"], now)
        counted = (attempt, row["crashes"] + crashes, with_error(row, error))
        connection.execute(_END, (state, run_at, *counted, finished, row["seq"]))
        return state


def _state(connection: sqlite3.Connection, job_id: str) -> State | Literal["gone"]:
    row = connection.execute("select state from jobs where id = ?", (job_id,)).fetchone()
    state: State | Literal["gone"] = row["state"] if row else "gone"
    return state
