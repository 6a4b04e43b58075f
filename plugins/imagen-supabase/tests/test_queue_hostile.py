"""What somebody who means harm may try with the queue, and what it comes to."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from imagen_core import NewJob, RejectedError

pytestmark = pytest.mark.system

REQUEST = {"backend": "flux", "payload": {"prompt": "a cat"}}


def take(queue: Any, token: str = "") -> Any:
    token = token or str(uuid4())
    return queue.claim("w", token, backends={"flux": ""}, lease=60, deadline=600)


EVIL = """
    create function pg_temp.evil() returns boolean language plpgsql as $$
    begin
        raise notice 'run as %', current_user;
        return true;
    end
    $$;
    grant execute on function pg_temp.evil to public;"""
"""What tells whose rights it has got."""
TYPES = ("uuid", "jsonb", "timestamptz", "text")


def test_types_of_the_caller_are_not_those_of_the_functions(jobs: Any) -> None:
    ran: list[str] = []
    claims = json.dumps({"role": "authenticated", "sub": str(uuid4())})
    with psycopg.connect(jobs.project.database.url(), autocommit=True) as connection:
        connection.add_notice_handler(lambda notice: ran.append(notice.message_primary or ""))
        connection.execute("select set_config('request.jwt.claims', %s, false)", [claims])
        connection.execute("set role authenticated")
        connection.execute(EVIL)
        for name in TYPES:
            domain = f"create domain pg_temp.{name} as pg_catalog.{name} check (pg_temp.evil())"
            connection.execute(domain)

        connection.execute("select imagen.request_picture('flux', '{}'::pg_catalog.jsonb)")

    assert "run as postgres" not in ran


# What a worker could not read


def nested(levels: int) -> str:
    return '{"a":' + "[" * (levels - 1) + "]" * (levels - 1) + "}"


ILLEGIBLE = {
    "deep": nested(34),
    "very deep": nested(5000),
    "many digits": '{"a": 1e5000}',
    "many digits below": '{"a": [{"b": -1e400}]}',
}
LEGIBLE = {
    "as deep as it may be": nested(32),
    "large": f'{{"a": {"9" * 299}}}',
    "small": '{"a": 1e-5000}',
}
JSON = {"Content-Type": "application/json"}


def asked(jobs: Any, payload: str) -> Any:
    with jobs.project.client("authenticated", uuid4()) as client:
        body = f'{{"backend": "flux", "payload": {payload}}}'
        return client.post("/rpc/request_picture", content=body, headers=JSON)


@pytest.mark.parametrize("payload", ILLEGIBLE.values(), ids=ILLEGIBLE)
def test_payload_that_would_stop_all_workers_is_refused(jobs: Any, payload: str) -> None:
    reply = asked(jobs, payload)

    assert (reply.status_code, reply.json()["code"]) == (400, "PT400")
    assert take(jobs.queue("imagen_worker")) is None


@pytest.mark.parametrize("payload", LEGIBLE.values(), ids=LEGIBLE)
def test_payload_that_workers_can_read_is_taken(jobs: Any, payload: str) -> None:
    assert asked(jobs, payload).status_code == 200

    assert take(jobs.queue("imagen_worker")).payload == json.loads(payload)


def test_deep_payload_is_refused_whoever_enqueues_it(jobs: Any) -> None:
    with pytest.raises(RejectedError, match="the payload has over 32 levels, or a number of"):
        jobs.queue().enqueue(NewJob(backend="flux", payload=json.loads(nested(40))))
