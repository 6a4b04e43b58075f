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

        def take() -> tuple[str, str] | None:
            token = new_id()
            job = queue.claim("w", token, backends={"flux": ""}, lease=LEASE, deadline=DEADLINE)
            return (job.id, token) if job else None

        yield Ends(take, lambda job: queue.complete(*job, RESULT))


@contextlib.contextmanager
def functions(url: str) -> Iterator[Ends]:
    """The functions of imagen's schema, without HTTP."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:

        def take() -> tuple[str, str] | None:
            token = new_id()
            given = [token, json.dumps({"flux": ""}), LEASE, DEADLINE]
            claim = "select imagen.claim('w', %s, %s, %s, %s)"
            [job] = connection.execute(claim, given).fetchone() or [None]
            return (job["id"], token) if job else None

        def finish(job: tuple[str, str]) -> None:
            complete = "select imagen.complete(%s, %s, %s)"
            connection.execute(complete, [*job, json.dumps(RESULT)])

        yield Ends(take, finish)


@contextlib.contextmanager
def rest(project: str) -> Iterator[Ends]:
    """The same functions, as a worker asks for them: by HTTP, with a key."""
    import httpx

    about = json.loads(project)
    head = {"Authorization": f"Bearer {about['key']}", "Content-Profile": "imagen"}
    with httpx.Client(base_url=about["rest"], headers=head, verify=False) as client:

        def ask(function: str, **given: Any) -> Any:
            return client.post(f"/rpc/{function}", json=given).raise_for_status().json()

        def take() -> tuple[str, str] | None:
            token = new_id()
            given = {"backends": {"flux": ""}, "lease": LEASE, "deadline": DEADLINE}
            job = ask("claim", worker="w", token=token, **given)
            return (job["id"], token) if job else None

        yield Ends(take, lambda job: ask("complete", job=job[0], token=job[1], result=RESULT))


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


WAYS = {way.__name__: way for way in (sqlite, functions, rest, skip_locked)}


def main(way: str, target: str) -> None:
    """Say `ready`, and drain when a line comes."""
    with WAYS[way](target) as ends:
        print("ready", flush=True)
        for _ in sys.stdin:
            print(json.dumps(drain(ends)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
