"""Every call of the queue when its answer gets lost, and when nobody answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from imagen_core import Failure, ImagenError, NewJob, Offer, Progress, Status, UnavailableError
from imagen_supabase.problems import SetUpError
from imagen_supabase.queue import SupabaseQueue
from imagen_supabase.store import SupabaseStore
from imagen_supabase.testing import faults

pytestmark = [pytest.mark.system, pytest.mark.parametrize("cluster", ["system"], indirect=True)]

FAILURE = Failure(code="unavailable", message="busy", retryable=True)


class Hand(NamedTuple):
    """A queue with a job that waits, one that runs, one that failed, and one that was left."""

    queue: Any
    token: str
    running: str
    waiting: str
    failed: str
    fresh: NewJob

    def claim(self, token: str) -> Any:
        how = {"backends": {"flux": ""}, "lease": 60, "deadline": 600}
        return self.queue.claim("w", token, **how)


def begun(jobs: Any) -> Hand:
    """All of that, in an empty queue."""
    queue, token, other = jobs.queue(), str(uuid4()), str(uuid4())
    put = [queue.enqueue(NewJob(backend="flux", payload={}, priority=n)).id for n in range(4)]
    lapsed, failed, running, waiting = put
    hand = Hand(queue, token, running, waiting, failed, NewJob(backend="flux", payload={}, key="k"))
    assert hand.claim(str(uuid4())).id == lapsed
    assert hand.claim(other).id == failed
    queue.fail(failed, other, FAILURE, retry=False)
    jobs.elapse(30)
    assert hand.claim(token).id == running
    jobs.elapse(31)
    return hand


CALLS: dict[str, Callable[[Hand], Any]] = {
    "enqueue": lambda h: h.queue.enqueue(h.fresh).created,
    "claim": lambda h: h.claim("00000000-0000-4000-8000-000000000007").attempt,
    "heartbeat": lambda h: h.queue.heartbeat(
        h.running, h.token, lease=60, progress=Progress(step=1), checkpoint={"a": 1}
    ),
    "complete": lambda h: h.queue.complete(h.running, h.token, {"id": "r"}),
    "fail": lambda h: h.queue.fail(h.running, h.token, FAILURE, retry=False),
    "fail, and retry": lambda h: h.queue.fail(h.running, h.token, FAILURE, retry=True),
    "release": lambda h: h.queue.release(h.running, h.token),
    "cancel a waiting one": lambda h: h.queue.cancel(h.waiting),
    "cancel a running one": lambda h: h.queue.cancel(h.running),
    "retry": lambda h: h.queue.retry(h.failed),
    "rescue": lambda h: h.queue.rescue(),
    "prune": lambda h: h.queue.prune(others=0),
    "announce": lambda h: h.queue.announce("w", [Offer(backend="flux", resource="gpu")]),
    "get": lambda h: h.queue.get(h.running).state,
    "jobs": lambda h: len(h.queue.jobs()),
    "stats": lambda h: len(h.queue.stats()),
    "offers": lambda h: h.queue.offers(),
}
SECOND = {
    "enqueue": False,
    "complete": "already",
    **dict.fromkeys(("fail", "fail, and retry", "release"), "lost"),
    **dict.fromkeys(("rescue", "prune"), 0),
}
"""What the second of two calls says, where it is another thing than the first."""


def all_rows(jobs: Any) -> list[Any]:
    """What the tables have, but for ids and times."""
    found: list[Any] = jobs.sql(
        "select priority, key, state, attempt, crashes, worker, resource, cancel_requested,"
        " progress, checkpoint, result, jsonb_array_length(errors), lease_token is null,"
        " lease_expires_at is null, finished_at is null from imagen.jobs order by seq"
    )
    return found + jobs.sql("select backend, resource, worker from imagen.backends")


@pytest.mark.parametrize("name", CALLS)
def test_call_whose_answer_is_lost_is_repeated_and_acts_once(jobs: Any, name: str) -> None:
    first = CALLS[name](begun(jobs))
    once = all_rows(jobs)
    jobs.empty()
    again = begun(jobs)
    jobs.gateway.requests.clear()
    jobs.gateway.fail(faults.REPLY_LOST, method="POST", path="/rest/v1/rpc/")

    second = CALLS[name](again)

    one, other = jobs.gateway.requests
    assert one.body == other.body
    assert second == SECOND.get(name, first)
    assert all_rows(jobs) == once


def test_put_aside_whose_answer_is_lost_fails_one_job(jobs: Any) -> None:
    hand = begun(jobs)
    jobs.sql("update imagen.jobs set checkpoint = '7' where id = %s", hand.waiting)
    jobs.gateway.fail(faults.REPLY_LOST, method="POST", path="/rest/v1/rpc/put_aside")
    other = hand.queue.enqueue(hand.fresh).id

    job = hand.claim(str(uuid4()))

    assert job.id == other
    assert jobs.sql(
        "select jsonb_array_length(errors) from imagen.jobs where state = 'failed'"
    ) == [
        (1,),
        (1,),
    ]


# Nobody answers


def says(status: int, code: str, message: str = "no") -> faults.Fault:
    """PostgREST's word for a fault of the database."""
    return faults.say(status, {"code": code, "message": message, "details": None, "hint": None})


PASSING = {
    "connection dropped": faults.DROPPED,
    "gateway down": faults.UNAVAILABLE,
    "no connection": faults.DATABASE_DOWN,
    "PGRST001": says(503, "PGRST001"),
    "PGRST002": says(503, "PGRST002", "Could not query the database for the schema cache"),
    "PGRST003": says(504, "PGRST003", "Timed out acquiring connection from connection pool."),
    "shut down": says(503, "57P01", "terminating connection due to administrator command"),
    "shut down, as 500": says(500, "57P01"),
    "starting": says(503, "57P03", "the database system is starting up"),
    "too many": says(503, "53300", "too many connections"),
    "time-out of a statement": faults.INTERNAL_ERROR,
    "page of a proxy": faults.page(502),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_passing_fault_is_waited_for(jobs: Any, fault: Any) -> None:
    queue = jobs.queue()
    jobs.gateway.fail(fault, path="/rest/v1/rpc/", times=2)

    assert queue.stats() == ()

    assert len(jobs.gateway.requests) == 3


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_fault_that_stays_is_told_as_such_and_asked_about_again(jobs: Any, fault: Any) -> None:
    queue = jobs.queue()
    jobs.gateway.fail(fault, path="/rest/v1/rpc/", times=3)

    with pytest.raises(UnavailableError) as caught:
        queue.stats()

    assert caught.value.retryable
    assert queue.stats() == (), "a lease does not wait until half a minute is over"


def test_database_that_was_restarted_is_found_again(jobs: Any) -> None:
    queue = jobs.queue()
    queue.enqueue(NewJob(backend="flux", payload={}))
    ended = jobs.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where application_name ~ 'PostgREST' and datname = current_database()"
    )

    assert ended
    assert [load.ready for load in queue.stats()] == [1]


def test_refused_connection_is_told_as_such(jobs: Any) -> None:
    queue = jobs.queue(SUPABASE_URL="http://127.0.0.1:9")

    with pytest.raises(UnavailableError, match=r"Supabase at 127\.0\.0\.1:9"):
        queue.stats()


@pytest.mark.parametrize(
    "body", ["a page", {"id": 1}, [1], 7], ids=["text", "object", "list", "number"]
)
@pytest.mark.parametrize("name", ["stats", "cancel a waiting one", "offers", "jobs"])
def test_answer_that_is_none_of_a_queue_is_told_as_such(jobs: Any, name: str, body: Any) -> None:
    job_id = str(uuid4())
    fresh = NewJob(backend="flux", payload={})
    hand = Hand(jobs.queue(), job_id, job_id, job_id, job_id, fresh)
    jobs.gateway.fail(faults.say(200, body), path="/rest/v1/rpc/", times=3)

    with pytest.raises(UnavailableError, match="answers in another way than Supabase does"):
        CALLS[name](hand)


@pytest.mark.parametrize("status", [200, 404])
def test_page_of_a_proxy_does_not_fail_a_job_that_is_done(jobs: Any, status: int) -> None:
    hand = begun(jobs)
    jobs.gateway.fail(faults.page(status), path="/rest/v1/rpc/complete")

    assert hand.queue.complete(hand.running, hand.token, {"id": "r"}) == "ok"


def test_claim_that_gives_no_job_is_told_as_such(jobs: Any) -> None:
    queue = jobs.queue()
    jobs.gateway.fail(faults.say(200, {"status": "ok"}), path="/rest/v1/rpc/claim")

    with pytest.raises(ImagenError, match="can't be read"):
        queue.claim("w", str(uuid4()), backends={}, lease=1, deadline=1)


def test_project_without_the_queue_is_told_what_to_do(jobs: Any) -> None:
    jobs.gateway.fail(says(404, "PGRST202", "Could not find the function imagen.stats"))

    with pytest.raises(SetUpError) as caught:
        jobs.queue().stats()

    assert "'imagen supabase migrate' makes what is missing" in caught.value.hint


def test_status_asks_nobody(jobs: Any) -> None:
    queue = jobs.queue()

    assert queue.status() == Status(ok=True, text=jobs.gateway.url)
    assert not jobs.queue(SUPABASE_SERVICE_KEY="").status().ok
    assert jobs.gateway.requests == []


def test_store_has_the_queue_and_says_what_brings_pictures_to_their_owners(jobs: Any) -> None:
    queue = SupabaseStore(jobs.queue()._context).queue()

    assert isinstance(queue, SupabaseQueue)
    assert (queue.publishes, queue.pace) == ("cloud_sync", 10.0)


def test_times_are_written_as_those_of_every_queue(jobs: Any) -> None:
    queue = jobs.queue()
    job = queue.get(queue.enqueue(NewJob(backend="flux", payload={})).id)

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", job.created_at)
