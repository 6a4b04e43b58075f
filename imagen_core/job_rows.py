"""How jobs lie in SQLite: the tables, the claim, and a row as a Job."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from imagen_core.errors import ImagenError, UsageError
from imagen_core.queueing import DEADLINE, KEPT_ERRORS, LEASE_EXPIRED, Job, JobError, Offer
from imagen_core.types import Failure, Progress

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Mapping

MIGRATIONS = (
    """
    create table jobs (
        seq integer primary key,
        id text not null unique,
        backend text not null,
        resource text not null default '',
        payload text not null,
        payload_version integer not null,
        state text not null default 'queued'
            check (state in ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
        priority integer not null check (priority between 0 and 9),
        run_at real not null,
        attempt integer not null default 0 check (attempt >= 0),
        max_attempts integer not null check (max_attempts between 1 and 20),
        crashes integer not null default 0,
        token text,
        worker text not null default '',
        lease_expires_at real,
        deadline_at real,
        cancel_requested integer not null default 0,
        owner text not null,
        key text,
        progress text,
        checkpoint text not null default '{}',
        result text,
        errors text not null default '[]',
        created_at real not null,
        started_at real,
        finished_at real,
        check ((state = 'running') = (lease_expires_at is not null)),
        check ((state in ('succeeded', 'failed', 'cancelled')) = (finished_at is not null))
    );
    create unique index jobs_key on jobs (owner, key) where key is not null;
    create index jobs_waiting on jobs (backend, owner, priority, run_at, seq)
        where state = 'queued';
    create index jobs_running on jobs (resource) where state = 'running';
    create index jobs_token on jobs (token) where state = 'running';
    create index jobs_finished on jobs (state, finished_at) where finished_at is not null;
    create table offers (
        backend text not null,
        resource text not null,
        worker text not null,
        max_running integer not null check (max_running > 0),
        about text not null,
        seen_at real not null,
        primary key (backend, resource)
    );
    create table owners (
        owner text primary key,
        served_at real not null
    );
    create table images (
        owner text not null,
        sha256 text not null,
        data blob not null,
        put_at real not null,
        primary key (owner, sha256)
    )
    """,
)

_NEXT = """
    with recursive
    served (backend) as (values {backends}),
    heads (seq) as (
        select (
            select seq from jobs where state = 'queued' and backend = served.backend
            order by owner, priority, run_at, seq limit 1
        ) from served
        union all
        select coalesce(
            (
                select n.seq from jobs n where n.state = 'queued' and n.backend = j.backend
                and n.owner = j.owner and n.priority > j.priority
                order by n.priority, n.run_at, n.seq limit 1
            ), (
                select n.seq from jobs n where n.state = 'queued' and n.backend = j.backend
                and n.owner > j.owner
                order by n.owner, n.priority, n.run_at, n.seq limit 1
            )
        ) from heads join jobs j on j.seq = heads.seq
    ),
    busy (owner, running) as (select owner, count(*) from jobs where state = 'running' group by 1)
    select j.seq, j.backend, j.owner from heads
    join jobs j on j.seq = heads.seq
    left join busy on busy.owner = j.owner
    left join owners on owners.owner = j.owner
    where j.run_at <= ?
    order by j.priority, coalesce(busy.running, 0), coalesce(owners.served_at, 0), j.run_at, j.seq
    limit 1
"""
"""The next job of these backends.

For each backend, owner and priority only the first one is looked at, which the index gives; so
it takes as long with a million waiting as with a few.
"""

_ERRORS = msgspec.json.Decoder(tuple[JobError, ...])
_PROGRESS = msgspec.json.Decoder(Progress)
_OBJECT = msgspec.json.Decoder(dict[str, Any])


def free_backends(connection: sqlite3.Connection, backends: Mapping[str, str]) -> list[str]:
    """Those of the backends whose resource has room; one that nobody announced has it for one."""
    running = dict(
        connection.execute(
            "select resource, count(*) from jobs where state = 'running' group by resource"
        ).fetchall()
    )
    limits = dict(
        connection.execute("select resource, min(max_running) from offers group by 1").fetchall()
    )
    return [
        backend
        for backend, resource in backends.items()
        if not resource or running.get(resource, 0) < limits.get(resource, 1)
    ]


def claim_query(backends: int) -> str:
    """What finds the next job of so many backends; its values are these, and the time."""
    return _NEXT.format(backends=", ".join(["(?)"] * backends))


def next_job(
    connection: sqlite3.Connection, backends: Collection[str], now: float
) -> sqlite3.Row | None:
    """The job that one of these backends should do now."""
    if not backends:
        return None
    found = connection.execute(claim_query(len(backends)), (*backends, now))
    row: sqlite3.Row | None = found.fetchone()
    return row


def lapsed(row: sqlite3.Row, now: float) -> Failure:
    """Why the worker of this row lost it."""
    if row["deadline_at"] <= now:
        told = f"the worker {row['worker']} had not finished when the time for the job was up"
        return Failure(code=DEADLINE, message=told, retryable=True)
    told = f"the worker {row['worker']} was not heard of in time"
    return Failure(code=LEASE_EXPIRED, message=told, retryable=True)


def job_of(row: sqlite3.Row) -> Job:
    """A row of the table as a Job."""
    try:
        return _job(row)
    except msgspec.DecodeError as error:
        raise ImagenError(
            f"the job {row['id']} can't be read: {error}",
            hint="a newer imagen may have written it",
        ) from error


def _job(row: sqlite3.Row) -> Job:
    return Job(
        id=row["id"],
        backend=row["backend"],
        payload=_OBJECT.decode(row["payload"]),
        payload_version=row["payload_version"],
        state=row["state"],
        priority=row["priority"],
        attempt=row["attempt"],
        max_attempts=row["max_attempts"],
        created_at=iso(row["created_at"]),
        run_at=iso(row["run_at"]),
        key=row["key"] or "",
        owner=row["owner"],
        crashes=row["crashes"],
        worker=row["worker"],
        resource=row["resource"],
        started_at=_iso(row["started_at"]),
        finished_at=_iso(row["finished_at"]),
        lease_expires_at=_iso(row["lease_expires_at"]),
        deadline_at=_iso(row["deadline_at"]),
        cancel_requested=bool(row["cancel_requested"]),
        progress=_PROGRESS.decode(row["progress"]) if row["progress"] else None,
        checkpoint=_OBJECT.decode(row["checkpoint"]),
        result=_OBJECT.decode(row["result"]) if row["result"] else None,
        errors=_ERRORS.decode(row["errors"]),
    )


def offer_of(row: sqlite3.Row) -> Offer:
    """A row of the table as an Offer."""
    return Offer(
        backend=row["backend"],
        resource=row["resource"],
        max_running=row["max_running"],
        about=_OBJECT.decode(row["about"]),
        worker=row["worker"],
        seen_at=iso(row["seen_at"]),
    )


def with_error(row: sqlite3.Row, error: JobError) -> str:
    """The errors of a row with one more, as they are stored."""
    known: list[Any] = msgspec.json.decode(row["errors"])
    return encoded([*known, error][-KEPT_ERRORS:])


def encoded(value: Any) -> str:
    """A value as it is stored."""
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"this can't be written into the queue: {error}") from error


def iso(seconds: float) -> str:
    """A time of the table for people and programs."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else iso(seconds)
