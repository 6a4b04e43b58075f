"""The embedded queue: the kit for queues, and what is SQLite's own."""

from __future__ import annotations

import contextlib
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from imagen_core import Failure, NewJob, UsageError
from imagen_core.database import DatabaseError
from imagen_core.job_claims import claim_query
from imagen_core.jobs import SqliteQueue
from imagen_core.ledger import Ledger
from imagen_core.queueing import backoff, longest_backoff
from imagen_core.testing import QueueConformance
from imagen_core.types import Progress, new_id
from queue_chaos import claim, put

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagen_core.testing.queue_claims import Elapse, Spoil


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

    @pytest.fixture(params=["payload", "checkpoint", "errors"])
    def spoil(self, request: pytest.FixtureRequest, queue: SqliteQueue) -> Spoil:
        return lambda job_id: spoil(queue, job_id, request.param)


FAILURE = Failure(code="unavailable", message="busy", retryable=True)


def spoil(queue: SqliteQueue, job_id: str, column: str, text: str = "{no JSON") -> None:
    with queue.database.write() as connection:
        connection.execute(f"update jobs set {column} = ? where id = ?", (text, job_id))


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("id", "no-uuid", "the id of a job is a UUID, not 'no-uuid'"),
        ("id", "00000000-0000-4000-8000-00000000000A", "the id of a job is a UUID"),
        ("backend", "", "a job names its backend"),
        ("priority", 10, "the priority of a job is 0 to 9, not 10"),
        ("max_attempts", 0, "a job has 1 to 20 attempts, not 0"),
        ("delay", -1.0, "the delay of a job is 0 to 315360000 seconds, not -1.0"),
        ("delay", float("nan"), "the delay of a job is 0 to 315360000 seconds, not nan"),
        ("delay", 1e10, "the delay of a job is 0 to 315360000 seconds, not 10000000000.0"),
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


@pytest.mark.parametrize("name", ["backend", "owner", "key"])
def test_text_that_is_none_is_refused(queue: SqliteQueue, name: str) -> None:
    with pytest.raises(UsageError, match="surrogates not allowed"):
        put(queue, **{name: "a file \udcff"})

    assert queue.jobs() == ()


@pytest.mark.parametrize("name", ["backend", "owner", "key"])
def test_nul_in_a_text_is_a_character(queue: SqliteQueue, name: str) -> None:
    job_id = put(queue, **{name: "a\0b"}, payload={"a\0": "\0"})
    put(queue, **{name: "a\0c"})

    [job] = (job for job in queue.jobs() if getattr(job, name) == "a\0b")

    assert (job.id, job.payload) == (job_id, {"a\0": "\0"})


def test_payload_that_is_too_deep_is_refused(queue: SqliteQueue) -> None:
    payload: dict[str, Any] = {}
    for _ in range(100_000):
        payload = {"deeper": payload}

    with pytest.raises(UsageError, match="can't be written into the queue"):
        put(queue, payload=payload)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e300])
def test_length_that_nothing_can_last_is_refused(queue: SqliteQueue, seconds: float) -> None:
    job_id = put(queue)

    for lease, deadline in ((seconds, 60), (60, seconds)):
        with pytest.raises(UsageError, match="is a number of seconds"):
            queue.claim("here", "t", backends={"flux": ""}, lease=lease, deadline=deadline)
    assert claim(queue, "t") == job_id
    with pytest.raises(UsageError, match="is a number of seconds"):
        queue.heartbeat(job_id, "t", lease=seconds)

    assert queue.complete(job_id, "t", {}) == "ok"


def test_backoff_grows_up_to_a_quarter_of_an_hour_however_often_it_was_in_vain() -> None:
    """Whoever waits for a queue that is out of reach comes to thousands."""
    longest = [longest_backoff(attempt) for attempt in (1, 2, 3, 5, 6, 7, 10_000)]

    assert longest == [5, 15, 45, 405, 900, 900, 900]
    assert 450 <= backoff(10_000) <= 900


@pytest.mark.parametrize("after", [1e300, float("inf")])
def test_pause_without_end_is_one_until_the_end_of_time(queue: SqliteQueue, after: float) -> None:
    job_id = put(queue)
    claim(queue, "t")

    assert queue.fail(job_id, "t", FAILURE, retry=True, after=after) == "queued"

    [job] = queue.jobs()
    assert job.run_at == "9999-12-31T23:59:59.000+00:00"


def test_what_a_worker_says_is_written_down_even_if_it_is_no_text(queue: SqliteQueue) -> None:
    job_id = put(queue)
    claim(queue, "t")

    progress = Progress(fraction=0.5, message="reading \udcff.png")
    assert queue.heartbeat(job_id, "t", lease=60, progress=progress) == "ok"
    seen = queue.get(job_id)
    failure = Failure(code="io", message="no such file: \udcff.png")
    assert queue.fail(job_id, "t", failure, retry=False) == "failed"

    dead = queue.get(job_id)
    assert seen is not None
    assert dead is not None
    assert seen.progress == replace(progress, message="reading ?.png")
    assert dead.errors[0].failure == replace(failure, message="no such file: ?.png")


def test_progress_that_cannot_be_read_stops_no_job(queue: SqliteQueue) -> None:
    job_id = put(queue)
    claim(queue, "t")
    spoil(queue, job_id, "progress", '{"fraction": "half"}')

    assert claim(queue, "t") == job_id
    assert queue.jobs()[0].progress is None


def test_owner_does_not_wait_for_a_clock_that_was_set_back(
    queue: SqliteQueue, clock: Clock
) -> None:
    clock.elapse(3600)
    put(queue, owner="first")
    assert claim(queue, "t1")
    clock.elapse(-3600)
    queue.complete(queue.jobs()[0].id, "t1", {})
    for _ in range(3):
        put(queue, owner="first")
        put(queue, owner="second")

    owners = {job.id: job.owner for job in queue.jobs()}
    got = []
    for number in range(6):
        job_id = claim(queue, f"token {number}")
        assert job_id is not None
        queue.complete(job_id, f"token {number}", {})
        got.append(owners[job_id])

    assert got == ["second", "first"] * 3


def test_local_store_has_a_queue_beside_the_ledger(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)

    with contextlib.closing(ledger.queue()) as queue:
        put(queue)

    assert [path.name for path in tmp_path.iterdir()] == ["jobs.db"]
    assert queue.status().text == str(tmp_path / "jobs.db")


def fill(queue: SqliteQueue, jobs: int, owners: int) -> None:
    """So many jobs that wait, of two backends and three priorities."""
    with queue.database.write() as connection:
        connection.executemany(
            "insert into jobs (id, backend, payload, payload_version, priority, run_at, "
            "max_attempts, owner, created_at) values (?, ?, '{}', 1, ?, ?, 3, ?, 1.0)",
            [
                (f"{n}-of-{jobs}", ("flux", "sdxl")[n % 2], n % 3, n / jobs, f"owner-{n % owners}")
                for n in range(jobs)
            ],
        )


def plan(queue: SqliteQueue) -> list[str]:
    rows = queue.database.rows(
        f"explain query plan {claim_query(2)}", ("flux", "sdxl", time.time())
    )
    return [row["detail"] for row in rows]


@pytest.mark.parametrize("analysed", [False, True])
def test_claim_looks_at_no_more_than_the_heads(queue: SqliteQueue, analysed: bool) -> None:
    fill(queue, 20_000, 7)
    if analysed:
        with queue.database.write() as connection:
            connection.execute("analyze")

    steps = plan(queue)

    assert {step for step in steps if "jobs_waiting" in step} == {
        "SEARCH jobs USING INDEX jobs_waiting (backend=?)",
        "SEARCH n USING INDEX jobs_waiting (backend=? AND owner=? AND priority>?)",
        "SEARCH n USING INDEX jobs_waiting (backend=? AND owner>?)",
    }
    # What runs is little, and has an index of its own; what is sorted are the heads.
    scanned = [step for step in steps if step.startswith("SCAN jobs")]
    assert scanned == ["SCAN jobs USING INDEX jobs_running"]
    sorted_by = [step for step in steps if "TEMP B-TREE" in step]
    assert sorted_by == ["USE TEMP B-TREE FOR GROUP BY", "USE TEMP B-TREE FOR ORDER BY"]
    assert steps.index("USE TEMP B-TREE FOR ORDER BY") > steps.index("MATERIALIZE heads")


def test_claim_takes_as_many_steps_of_many_jobs_as_of_few(queue: SqliteQueue) -> None:
    counts = []
    for jobs in (200, 20_000):
        fill(queue, jobs, 7)
        # A handler that gives something true would stop the statement.
        steps: list[None] = []
        with queue.database.write() as connection:
            connection.set_progress_handler(partial(steps.append, None), 1)
        assert claim(queue, f"token of {jobs}")
        counts.append(len(steps))

    assert counts[1] < 1.2 * counts[0]


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


WRITTEN = [
    ("payload", "[1]"),
    ("payload", "[" * 100_000),
    ("checkpoint", "{no JSON"),
    ("errors", '[{"at": 1}]'),
    ("errors", "null"),
    ("result", "7"),
]
"""What a newer imagen may write, or somebody by hand."""


@pytest.mark.parametrize(("column", "text"), WRITTEN)
def test_who_looks_at_a_job_gets_what_can_be_read(
    queue: SqliteQueue, column: str, text: str
) -> None:
    job_id = put(queue, payload={"number": 1}, owner="me")
    before = queue.get(job_id)
    assert before is not None
    spoil(queue, job_id, column, text)

    seen = queue.get(job_id)

    assert queue.jobs() == (seen,)
    nothing: dict[str, Any] = {"payload": {}, "checkpoint": {}, "errors": (), "result": None}
    assert seen == replace(before, **{column: nothing[column]})


def test_job_that_cannot_be_read_uses_up_no_token_and_no_turn(queue: SqliteQueue) -> None:
    job_id = put(queue, owner="me")
    spoil(queue, job_id, "payload")
    assert claim(queue, "t") is None
    dead = queue.get(job_id)
    others, mine = put(queue, owner="you"), put(queue, owner="me")

    assert claim(queue, "t") == others, "nobody was served yet, so the older one comes first"
    assert claim(queue, "u") == mine

    assert dead is not None
    assert (dead.state, dead.attempt, dead.errors[0].worker) == ("failed", 0, "here")


@pytest.mark.parametrize(("column", "text"), WRITTEN)
def test_running_job_that_became_unreadable_ends(
    queue: SqliteQueue, column: str, text: str
) -> None:
    job_id, next_id = put(queue), put(queue)
    assert claim(queue, "t") == job_id
    spoil(queue, job_id, column, text)

    assert claim(queue, "t") is None
    assert claim(queue, "t") is None, "the token has had its job"

    dead = queue.get(job_id)
    assert dead is not None
    [error] = dead.errors
    assert (dead.state, error.failure.code, error.worker) == ("failed", "unreadable", "here")
    assert error.failure.message.startswith(f"the job {job_id} can't be read: ")
    assert claim(queue, "u") == next_id


@pytest.mark.parametrize(("column", "text"), WRITTEN)
def test_unreadable_job_of_a_dead_worker_is_rescued(
    queue: SqliteQueue, clock: Clock, column: str, text: str
) -> None:
    job_id, other = put(queue, max_attempts=1), put(queue)
    assert claim(queue, "t") == job_id
    spoil(queue, job_id, column, text)
    clock.elapse(61)

    assert claim(queue, "u") == other

    job = queue.get(job_id)
    assert job is not None
    assert job.state == "failed"
    assert job.errors[-1].failure.code == "lease_expired"
