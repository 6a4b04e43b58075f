"""The embedded queue: the kit for queues, and what is SQLite's own."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core import Failure, ImagenError, NewJob, Offer, Queue, UsageError
from imagen_core.database import DatabaseError
from imagen_core.job_rows import claim_query
from imagen_core.jobs import SqliteQueue
from imagen_core.ledger import Ledger
from imagen_core.testing import QueueConformance
from imagen_core.testing.driving import until
from imagen_core.types import new_id
from queue_chaos import FATES, HISTORY, Crew, opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagen_core.testing.queue_claims import Elapse


class Clock:
    """The time of now, and what was let pass."""

    def __init__(self) -> None:
        self.passed = 0.0

    def __call__(self) -> float:
        return time.time() + self.passed

    def elapse(self, seconds: float) -> None:
        self.passed += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(tmp_path: Path, clock: Clock) -> Iterator[SqliteQueue]:
    with contextlib.closing(SqliteQueue(tmp_path / "data", clock=clock)) as queue:
        yield queue


class TestSqliteQueue(QueueConformance):
    module = "imagen_core"

    @pytest.fixture
    def queue(self, queue: SqliteQueue) -> SqliteQueue:
        return queue

    @pytest.fixture
    def elapse(self, clock: Clock) -> Elapse:
        return clock.elapse


FAILURE = Failure(code="unavailable", message="busy", retryable=True)
SECONDS = 60.0
"""How long a test waits for other processes at most; usually they take a moment."""


def put(queue: Queue, **fields: Any) -> str:
    return queue.enqueue(NewJob(**{"backend": "flux", "payload": {"number": 1}, **fields})).id


def claim(queue: Queue, token: str) -> str | None:
    job = queue.claim("here", token, backends={"flux": ""}, lease=60, deadline=600)
    return job.id if job else None


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("id", "no-uuid", "the id of a job is a UUID, not 'no-uuid'"),
        ("id", "00000000-0000-4000-8000-00000000000A", "the id of a job is a UUID"),
        ("backend", "", "a job names its backend"),
        ("priority", 10, "the priority of a job is 0 to 9, not 10"),
        ("max_attempts", 0, "a job has 1 to 20 attempts, not 0"),
        ("delay", -1.0, "the delay of a job is a number of seconds, not -1.0"),
        ("delay", float("inf"), "the delay of a job is a number of seconds, not inf"),
    ],
)
def test_job_that_makes_no_sense_is_refused(field: str, value: Any, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        NewJob(**{"backend": "flux", "payload": {}, field: value})

    assert caught.value.message.startswith(told)


def test_payload_that_is_no_json_is_refused(queue: SqliteQueue) -> None:
    with pytest.raises(UsageError, match="can't be written into the queue"):
        put(queue, payload={"prompt": object()})

    assert queue.jobs() == ()


def test_local_store_has_a_queue_beside_the_ledger(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)

    with contextlib.closing(ledger.queue()) as queue:
        put(queue)

    assert [path.name for path in tmp_path.iterdir()] == ["jobs.db"]
    assert queue.status().text == str(tmp_path / "jobs.db")


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


def test_claim_looks_at_no_more_than_the_heads(queue: SqliteQueue) -> None:
    plan = [
        row["detail"]
        for row in queue.database.rows(
            f"explain query plan {claim_query(2)}", ("flux", "sdxl", time.time())
        )
    ]

    steps = [step for step in plan if " jobs" in step or step.startswith("SEARCH n")]
    assert {step for step in steps if "jobs_waiting" in step} == {
        "SEARCH jobs USING INDEX jobs_waiting (backend=?)",
        "SEARCH n USING INDEX jobs_waiting (backend=? AND owner=? AND priority>?)",
        "SEARCH n USING INDEX jobs_waiting (backend=? AND owner>?)",
    }
    # What runs is little, and has an index of its own.
    assert [s for s in steps if "jobs_waiting" not in s] == ["SCAN jobs USING INDEX jobs_token"]


def test_claim_that_finds_nothing_writes_nothing(queue: SqliteQueue) -> None:
    put(queue, backend="sdxl")
    log = queue.path.with_name("jobs.db-wal")
    before = log.read_bytes()

    assert [claim(queue, new_id()) for _ in range(3)] == [None] * 3

    assert log.read_bytes() == before


def test_queue_of_a_newer_imagen_is_refused(queue: SqliteQueue) -> None:
    put(queue)
    with queue.database.write() as connection:
        connection.execute("pragma user_version=99")
    queue.close()

    with pytest.raises(DatabaseError, match=r"written by a newer imagen \(schema 99"):
        claim(queue, new_id())


def test_queue_that_somebody_holds_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    with (
        contextlib.closing(SqliteQueue(tmp_path, busy_seconds=0.05)) as queue,
        contextlib.closing(SqliteQueue(tmp_path)) as other,
    ):
        job_id = put(queue)

        with other.database.write(), pytest.raises(DatabaseError) as caught:
            claim(queue, "t")

        assert caught.value.message == f"{queue.path}: database is locked"
        assert claim(queue, "t") == job_id


def test_file_that_is_no_queue_is_told_and_left_alone(queue: SqliteQueue) -> None:
    content = b"this is no database, but long enough to look at it" * 100
    queue.path.parent.mkdir()
    queue.path.write_bytes(content)

    with pytest.raises(DatabaseError) as caught:
        put(queue)

    assert caught.value.message == f"{queue.path}: file is not a database"
    assert not queue.status().ok
    assert queue.path.read_bytes() == content


def test_job_that_cannot_be_read_is_named(queue: SqliteQueue) -> None:
    job_id = put(queue)
    with queue.database.write() as connection:
        connection.execute("""update jobs set progress = '{"fraction": "half"}'""")

    with pytest.raises(ImagenError) as caught:
        queue.get(job_id)

    assert caught.value.message.startswith(f"the job {job_id} can't be read:")
    assert caught.value.hint == "a newer imagen may have written it"
