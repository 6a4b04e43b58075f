"""The embedded queue between processes: killed, stopped, many at once."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from imagen_core import Failure, Offer
from imagen_core.testing.driving import until
from queue_chaos import FATES, HISTORY, Crew, claim, opened, put

if TYPE_CHECKING:
    from pathlib import Path

    from imagen_core.jobs import SqliteQueue

pytestmark = pytest.mark.system

FAILURE = Failure(code="unavailable", message="busy", retryable=True)
SECONDS = 120.0
"""How long a test waits for other processes at most; usually they take a moment."""


def test_worker_that_is_killed_between_claim_and_complete_loses_its_job(tmp_path: Path) -> None:
    script = f"""
        import os, signal
        from pathlib import Path
        from imagen_core.jobs import SqliteQueue
        queue = SqliteQueue(Path({str(tmp_path)!r}))
        queue.claim("doomed", "old", backends={{"flux": ""}}, lease=0.3, deadline=60)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    with contextlib.closing(opened(tmp_path)) as queue:
        job_id = put(queue)
        dead = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
        assert dead.returncode == -signal.SIGKILL
        assert until(lambda: claim(queue, "new") == job_id, SECONDS)

        taken = queue.get(job_id)
        said = [
            queue.heartbeat(job_id, "old", lease=60),
            queue.complete(job_id, "old", {"by": "old"}),
            queue.fail(job_id, "old", FAILURE, retry=False),
            queue.release(job_id, "old"),
        ]

        assert said == ["lost"] * 4
        assert queue.get(job_id) == taken
        assert taken is not None
        assert (taken.worker, taken.attempt, taken.crashes) == ("here", 2, 1)
        assert queue.complete(job_id, "new", {}) == "ok"


def test_many_processes_do_each_job_once(tmp_path: Path) -> None:
    with contextlib.closing(opened(tmp_path)) as queue:
        for number in range(100):
            put(queue, payload={"number": number})
        crew = Crew(queue, 0, 4)
        crew.run(SECONDS)

        assert crew.said == ["well: ok"] * 100
        assert Counter(job.state for job in queue.jobs(limit=1000)) == {"succeeded": 100}


JOBS = 300
SEED = 8


def test_jobs_succeed_once_whatever_befalls_their_workers(tmp_path: Path) -> None:
    """Each state that a job was ever in is written down by a trigger, in the same transaction."""
    with contextlib.closing(opened(tmp_path)) as queue:
        offered = [Offer(backend=name, resource="gpu", max_running=2) for name in ("flux", "sdxl")]
        queue.announce("here", offered)
        with contextlib.closing(sqlite3.connect(queue.path)) as connection:
            connection.executescript(HISTORY)
        put_all(queue)
        crew = Crew(queue, SEED, 6)

        crew.run(4 * SECONDS)

        jobs = queue.jobs(limit=2 * JOBS)
        rows = [tuple(row) for row in queue.database.rows("select * from history")]
        sound = queue.database.rows("pragma integrity_check")[0][0]

    claims = Counter(row[0] for row in rows if row[2] == "running")
    tokens = {row[0]: row[3] for row in rows if row[2] == "succeeded"}
    told = Counter(crew.said)
    assert [job.state for job in jobs] == ["succeeded"] * JOBS
    assert [row[2] for row in rows].count("succeeded") == JOBS == len(tokens)
    assert all(job.result == {"token": tokens[job.id]} for job in jobs)
    assert sum(claims.values()) == sum(job.attempt for job in jobs) + told["release: queued"]
    assert all(len(job.errors) == job.attempt - 1 for job in jobs)
    assert max(row[5] for row in rows) == 2
    assert sound == "ok"
    assert {line.partition(":")[0] for line in told} >= {*FATES} - {"kill", "kill late"}
    assert told["stop: ok"] == 0
    assert crew.killed > 10


def put_all(queue: SqliteQueue) -> None:
    for number in range(JOBS):
        put(
            queue,
            backend=("flux", "sdxl", "mock")[number % 3],
            payload={"number": number},
            priority=number % 4,
            owner=f"owner-{number % 5}",
            max_attempts=20,
        )
