"""How jobs lie in SQLite: the tables, and a row as a Job."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from imagen_core.queueing import KEPT_ERRORS, Job, JobError, Load, Offer, State, encoded
from imagen_core.types import Progress

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterable

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
    create index jobs_token on jobs (token) where token is not null;
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
        put_at real not null,
        data blob not null,
        primary key (owner, sha256)
    );
    create index images_put on images (put_at)
    """,
)

_ERROR = msgspec.json.Decoder(JobError)
_PROGRESS = msgspec.json.Decoder(Progress)
_OBJECT = msgspec.json.Decoder(dict[str, Any])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_FAULTS = (msgspec.DecodeError, TypeError, ValueError, OverflowError, RecursionError)
"""What reading a row may raise that somebody else has written."""
LATEST = datetime.max.replace(tzinfo=UTC).timestamp() - 1


def job_of(row: sqlite3.Row) -> Job:
    """A row of the table as a Job; ValueError with the reason where that can't be."""
    try:
        return _job(row, _read)
    except _FAULTS as error:
        raise ValueError(f"the job {row['id']} can't be read: {error}") from error


def glimpse(row: sqlite3.Row) -> Job:
    """A row for those who only look at it: what can't be read of it is left out."""
    return _job(row, _read_if_possible)


def _job(row: sqlite3.Row, read: Callable[[Any, str, Any], Any]) -> Job:
    return Job(
        id=row["id"],
        backend=row["backend"],
        payload=read(_OBJECT, row["payload"], {}),
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
        # No more than something to look at, so it never stops a job.
        progress=_read_if_possible(_PROGRESS, row["progress"] or "null", None),
        checkpoint=read(_OBJECT, row["checkpoint"], {}),
        result=read(_OBJECT, row["result"], None) if row["result"] else None,
        errors=tuple(
            error for one in read(_LIST, row["errors"], []) if (error := read(_ERROR, one, None))
        ),
    )


def _read(decoder: Any, text: str, _: Any) -> Any:
    return decoder.decode(text)


def _read_if_possible(decoder: Any, text: str, otherwise: Any) -> Any:
    try:
        return decoder.decode(text)
    except _FAULTS:
        return otherwise


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


def listing(
    *, states: Collection[State], owner: str | None, backend: str, limit: int, before: str
) -> tuple[str, list[Any]]:
    """The query that finds these jobs, and its values."""
    conditions: list[str] = []
    values: list[Any] = []
    for condition, chosen in (
        (f"state in ({', '.join('?' * len(states))})", states),
        ("owner = ?", () if owner is None else (owner,)),
        ("backend = ?", (backend,) if backend else ()),
        ("seq < (select seq from jobs where id = ?)", (before,) if before else ()),
    ):
        if chosen:
            conditions.append(condition)
            values += chosen
    where = " and ".join(conditions) or "true"
    return f"select * from jobs where {where} order by seq desc limit ?", [*values, limit]


LOADS = """
    select backend, state = 'queued' and run_at > ? as later, state, count(*) as number,
    min(run_at) as since from jobs group by 1, 2, 3 order by 1
"""


def loads(rows: Iterable[sqlite3.Row], now: float) -> tuple[Load, ...]:
    """What the query LOADS found."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        load = found.setdefault(row["backend"], {})
        name = row["state"] if row["state"] != "queued" else "delayed"
        if row["state"] == "queued" and not row["later"]:
            name, load["waiting_seconds"] = "ready", now - row["since"]
        load[name] = row["number"]
    return tuple(Load(backend=backend, **load) for backend, load in found.items())


def with_error(row: sqlite3.Row, error: JobError) -> str:
    """The errors of a row with one more, as they are stored."""
    known = _read_if_possible(_LIST, row["errors"], [])
    return encoded([*known, error][-KEPT_ERRORS:])


def iso(seconds: float) -> str:
    """A time of the table for people and programs; nothing is later than the year 9999."""
    return datetime.fromtimestamp(min(seconds, LATEST), UTC).isoformat(timespec="milliseconds")


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else iso(seconds)
