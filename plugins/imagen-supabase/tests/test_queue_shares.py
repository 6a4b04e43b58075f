"""What one user or one worker may do to all the others, and where that ends."""

from __future__ import annotations

import json
import math
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from imagen_core import CredentialsError, NewJob, Offer, UnavailableError
from supabase_servers import wait_until

pytestmark = pytest.mark.system

REQUEST = {"backend": "flux", "payload": {"prompt": "a cat"}}


def take(queue: Any, token: str = "") -> Any:
    token = token or str(uuid4())
    return queue.claim("w", token, backends={"flux": ""}, lease=60, deadline=600)


# More than one's share


def put_by(jobs: Any, owner: str, number: int) -> None:
    """So many jobs that this owner has asked for, and that were cancelled."""
    jobs.sql(
        """insert into imagen.jobs (id, owner_user_id, backend, payload, payload_version, priority,
            run_at, max_attempts, created_at, state, finished_at)
        select gen_random_uuid(), %s, 'flux', '{}', 1, 5, at, 3, at, 'cancelled', at
        from generate_series(1, %s), imagen.moment() at""",
        owner,
        number,
    )


def test_user_who_cancels_and_asks_again_comes_to_an_end(jobs: Any) -> None:
    owner = str(uuid4())
    put_by(jobs, owner, 999)
    with jobs.project.client("authenticated", owner) as client:
        codes = [client.post("/rpc/request_picture", json=REQUEST).status_code for _ in range(2)]
        refused = client.post("/rpc/request_picture", json=REQUEST)
        known = client.post("/rpc/request_picture", json={**REQUEST, "id": jobs.rows()[-1][0].hex})
        jobs.elapse(86401)
        tomorrow = client.post("/rpc/request_picture", json=REQUEST)

    assert codes == [200, 429]
    assert refused.json()["message"] == "you have asked for over 1000 jobs within a day"
    assert (known.json()["created"], tomorrow.status_code) == (False, 200)


def test_refused_requests_leave_nothing_behind(jobs: Any) -> None:
    owner = str(uuid4())
    put_by(jobs, owner, 1000)
    with jobs.project.client("authenticated", owner) as client:
        codes = {client.post("/rpc/request_picture", json=REQUEST).status_code for _ in range(5)}

    assert codes == {429}
    # Also a row that is taken back takes a number, and space until it is swept away.
    assert jobs.sql("select nextval('imagen.jobs_seq_seq') - max(seq) from imagen.jobs") == [(1,)]


def test_requests_at_once_keep_the_limit(jobs: Any) -> None:
    owner = str(uuid4())
    with jobs.project.client("authenticated", owner) as client, ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(client.post, "/rpc/request_picture", json=REQUEST) for _ in range(130)]
        codes = Counter(one.result().status_code for one in asked)

    assert codes == {200: 100, 429: 30}


def test_nobody_overtakes_those_who_name_no_priority(jobs: Any) -> None:
    with jobs.project.client("authenticated", uuid4()) as client:
        codes = [
            client.post("/rpc/request_picture", json={**REQUEST, "priority": one}).status_code
            for one in range(3, 11)
        ]

    assert codes == [400, 400, 200, 200, 200, 200, 200, 400]


# A worker that has gone astray

CLAIM = {"worker": "w", "backends": {"flux": ""}, "lease": 60, "deadline": 600}
SENSELESS: dict[str, dict[str, Any]] = {
    "no lease": {"lease": None},
    "negative lease": {"lease": -5},
    "lease for ever": {"lease": "Infinity"},
    "lease of no length": {"lease": "NaN"},
    "no deadline": {"deadline": None},
    "deadline of zero": {"deadline": 0},
    "deadline in centuries": {"lease": 1e10, "deadline": 1e10},
    "no token": {"token": None},
    "list of backends": {"backends": ["flux"]},
}


@pytest.mark.parametrize("arguments", SENSELESS.values(), ids=SENSELESS)
def test_claim_that_makes_no_sense_takes_no_job(jobs: Any, arguments: dict[str, Any]) -> None:
    jobs.queue().enqueue(NewJob(backend="flux", payload={}))
    with jobs.project.client("imagen_worker") as client:
        body = {**CLAIM, "token": str(uuid4()), **arguments}
        reply = client.post("/rpc/claim", json=body)

    assert (reply.status_code, reply.json()["code"]) == (400, "PT400")
    assert [row[1] for row in jobs.rows()] == ["queued"]


@pytest.mark.parametrize("lease", [None, 0, -5, "NaN", "Infinity"])
def test_heartbeat_without_a_length_changes_nothing(jobs: Any, lease: Any) -> None:
    queue, token = jobs.queue(), str(uuid4())
    queue.enqueue(NewJob(backend="flux", payload={}))
    job = take(queue, token)
    with jobs.project.client("imagen_worker") as client:
        body = {"job": job.id, "token": token, "lease": lease}
        reply = client.post("/rpc/heartbeat", json=body)

    assert (reply.status_code, reply.json()["code"]) == (400, "PT400")
    assert queue.get(job.id).lease_expires_at == job.lease_expires_at


@pytest.mark.parametrize("after", [1e12, 1e308, math.inf, math.nan])
def test_wait_that_has_no_date_is_a_long_one(jobs: Any, after: float) -> None:
    queue, token = jobs.queue(), str(uuid4())
    queue.enqueue(NewJob(backend="flux", payload={}))
    job = take(queue, token)
    failure = json.dumps({"code": "unavailable", "message": "busy"})

    call = "select imagen.fail(%s, %s, %s, true, %s)"
    assert jobs.sql(call, job.id, token, failure, after) == [("queued",)]

    waits = "select round(extract(epoch from run_at - now()) / 86400)::integer from imagen.jobs"
    assert jobs.sql(waits) == [(3650,)]


@pytest.mark.parametrize("ages", [{"others": 0}, {"succeeded": -1}, {"succeeded": 0, "others": 0}])
def test_worker_does_not_wipe_out_the_history(jobs: Any, ages: dict[str, float]) -> None:
    put_by(jobs, str(uuid4()), 3)
    jobs.elapse(1)

    with pytest.raises(CredentialsError, match="workers forget no job sooner than after 30 days"):
        jobs.queue("imagen_worker").prune(**ages)

    assert len(jobs.rows()) == 3
    assert jobs.queue("imagen_worker").prune() == 0
    assert jobs.queue().prune(**{"others": 0, **ages}) == 3


def taken(queue: Any) -> Any:
    try:
        return take(queue)
    except UnavailableError:
        return None


CLAIM_IN_SQL = "select imagen.claim('w', gen_random_uuid(), '{\"flux\": \"\"}', 60, 600)"


def announced(queue: Any) -> bool:
    try:
        queue.announce("other", [Offer(backend="flux")])
    except UnavailableError:
        return False
    return True


def test_client_that_is_stuck_in_a_claim_keeps_nobody_waiting_for_long(jobs: Any) -> None:
    queue = jobs.queue()
    for _ in range(2):
        queue.enqueue(NewJob(backend="flux", payload={}))
    with closing(jobs.project.database.connect()) as stuck:
        stuck.execute("begin")
        stuck.execute(CLAIM_IN_SQL)

        with pytest.raises(psycopg.errors.LockNotAvailable):
            jobs.sql(CLAIM_IN_SQL)
        wait_until(lambda: taken(queue))

    assert sorted(row[5] for row in jobs.rows()) == ["", "w"]
    [[settings]] = jobs.sql("select proconfig from pg_proc where oid = 'imagen.claim'::regproc")
    assert "lock_timeout=1s" in settings


STUCK = {
    "cancel": "select imagen.cancel(id) from imagen.jobs",
    "announce": "select imagen.announce('w', %s)",
    "prune": "select imagen.prune()",
}


@pytest.mark.parametrize("call", STUCK.values(), ids=STUCK)
def test_client_that_is_stuck_in_another_call_is_cut_off(jobs: Any, call: str) -> None:
    queue, offers = jobs.queue(), json.dumps([{"backend": "flux", "resource": "", "about": {}}])
    owner = str(uuid4())
    queue.enqueue(NewJob(backend="flux", payload={}, owner=owner))
    jobs.sql("insert into imagen.turns values (%s, now() - interval '8 days')", owner)
    with closing(jobs.project.database.connect()) as stuck:
        stuck.execute("begin")
        stuck.execute(call, [offers] if "%s" in call else None)

        wait_until(lambda: taken(queue))
        wait_until(lambda: announced(queue))

    assert [one.worker for one in queue.offers()] == ["other"]
