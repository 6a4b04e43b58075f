"""Workers of the queues, each a process: it takes jobs and finishes them until there are none."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from imagen_core.jobs import SqliteQueue
from imagen_core.types import new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imagen_core.queueing import Queue

RESULT = {"id": "r", "outputs": [{"path": "cat.png", "sha256": "0" * 64}], "cost": None}
LEASE, DEADLINE = 60.0, 3600.0


class Ends(NamedTuple):
    """How a job is taken, if there is one, and how it is finished."""

    take: Callable[[], Any]
    finish: Callable[[Any], object]


@contextlib.contextmanager
def sqlite(folder: str) -> Iterator[Ends]:
    """The embedded queue of imagen."""
    with contextlib.closing(SqliteQueue(Path(folder))) as queue:
        yield _of_imagen(queue)


def _of_imagen(queue: Queue) -> Ends:
    """Any queue of imagen: one on a server needs no more than this."""

    def take() -> tuple[str, str] | None:
        token = new_id()
        job = queue.claim("w", token, backends={"flux": ""}, lease=LEASE, deadline=DEADLINE)
        return (job.id, token) if job else None

    return Ends(take, lambda job: queue.complete(*job, RESULT))


@contextlib.contextmanager
def skip_locked(url: str) -> Iterator[Ends]:
    """The least that a queue on PostgreSQL can do, in the way of pgmq: no owner, no token."""
    import psycopg

    taking = """
        with next as (
            select id from jobs where state = 'queued' and run_at <= clock_timestamp()
            order by priority, run_at, id limit 1 for update skip locked
        )
        update jobs set state = 'running', attempt = attempt + 1,
            lease_expires_at = clock_timestamp() + interval '60 s'
        from next where jobs.id = next.id returning jobs.id, jobs.payload
    """
    finishing = """
        update jobs set state = 'succeeded', result = %s, lease_expires_at = null
        where id = %s and state = 'running'
    """
    with psycopg.connect(url, autocommit=True) as connection:
        yield Ends(
            lambda: connection.execute(taking).fetchone(),
            lambda job: connection.execute(finishing, [json.dumps(RESULT), job[0]]),
        )


def drain(ends: Ends) -> dict[str, Any]:
    """Take and finish until there is nothing left."""
    claims = []
    begun = time.monotonic()
    while True:
        started = time.perf_counter()
        if not (job := ends.take()):
            break
        claims.append(time.perf_counter() - started)
        ends.finish(job)
    return {"begun": begun, "ended": time.monotonic(), "jobs": len(claims), "claims": claims}


WAYS = {way.__name__: way for way in (sqlite, skip_locked)}


def main(way: str, target: str) -> None:
    """Say `ready`, and drain when a line comes."""
    with WAYS[way](target) as ends:
        print("ready", flush=True)
        for _ in sys.stdin:
            print(json.dumps(drain(ends)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
