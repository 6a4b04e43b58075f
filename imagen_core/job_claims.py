"""Who gets which job in SQLite: the next one, and what its claim writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from imagen_core.errors import UsageError
from imagen_core.queueing import DAY, DEADLINE, LEASE_EXPIRED
from imagen_core.types import Failure

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Mapping

LONGEST = 8 * DAY
"""Of a lease or deadline."""

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
    select j.seq from heads
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


class Claimant(NamedTuple):
    """Who claims, and for how long."""

    worker: str
    token: str
    lease: float
    deadline: float


def check_lengths(*seconds: float) -> None:
    """UsageError unless each is a number of seconds that something can last."""
    for length in seconds:
        if not 0 < length <= LONGEST:
            raise UsageError(f"a lease or deadline is a number of seconds, not {length}")


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
    head = found.fetchone()
    if head is None:
        return None
    row: sqlite3.Row = connection.execute(
        "select * from jobs where seq = ?", (head["seq"],)
    ).fetchone()
    return row


def begin(
    connection: sqlite3.Connection, row: sqlite3.Row, by: Claimant, *, now: float, resource: str
) -> sqlite3.Row:
    """An attempt at that job; its row as it is now."""
    connection.execute(
        "update jobs set state = 'running', attempt = attempt + 1, token = ?, worker = ?, "
        "resource = ?, lease_expires_at = ?, deadline_at = ?, progress = null, "
        "started_at = coalesce(started_at, ?) where seq = ?",
        (
            *(by.token, by.worker, resource),
            *(now + min(by.lease, by.deadline), now + by.deadline, now, row["seq"]),
        ),
    )
    begun = connection.execute("select * from jobs where seq = ?", (row["seq"],))
    found: sqlite3.Row = begun.fetchone()
    return found


def serve(connection: sqlite3.Connection, owner: str, now: float) -> None:
    """Note that it was this owner's turn."""
    # Where the clock was set back, nobody has to wait until it is there again.
    connection.execute("update owners set served_at = ? where served_at > ?", (now, now))
    connection.execute(
        "insert into owners values (?, ?) "
        "on conflict (owner) do update set served_at = excluded.served_at",
        (owner, now),
    )


def lapsed(row: sqlite3.Row, now: float) -> Failure:
    """Why the worker of this row lost it."""
    if row["deadline_at"] <= now:
        told = f"the worker {row['worker']} had not finished when the time for the job was up"
        return Failure(code=DEADLINE, message=told, retryable=True)
    told = f"the worker {row['worker']} was not heard of in time"
    return Failure(code=LEASE_EXPIRED, message=told, retryable=True)
