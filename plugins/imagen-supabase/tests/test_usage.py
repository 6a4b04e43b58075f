"""What was spent: the rows that the step writes, and `imagen usage` on them."""

from __future__ import annotations

import json
import secrets
from contextlib import closing
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import pytest

import imagen_supabase
import supabase_paid
from imagen_core.testing import isolated_app
from imagen_supabase.testing import faults

pytestmark = [pytest.mark.system, pytest.mark.parametrize("cluster", ["system"], indirect=True)]

ALWAYS = 99


class Payer:
    """Somebody who makes pictures for money, under a name that nobody else has."""

    def __init__(self, imagen: Any, folder: Any, gateway: Any, environment: dict[str, str]) -> None:
        self.gateway = gateway
        self.caller = f"caller-{uuid4().hex[:8]}"
        self.environment = {**environment, "MAI_FROM_ID": self.caller}
        self._imagen = imagen
        self._folder = folder

    def run(self, *args: str, **block: Any) -> Any:
        return self._imagen(*args, app=self.app(**block))

    def app(self, **block: Any) -> Any:
        config = {
            "backends": {"p": {"type": "paid", **block}},
            "supabase": {"timeout": 1},
        }
        return isolated_app(
            self._folder,
            config=json.dumps(config),
            environment=self.environment,
            plugins={"supabase": imagen_supabase, "paid": supabase_paid},
        )

    def pay(self, *args: str, prompt: str = "a cat", **block: Any) -> Any:
        return self.run("generate", prompt, "--backend", "p", *args, **block)

    @property
    def rows(self) -> list[Any]:
        query = """select id, backend, model, seed, prompt_hash, latency_ms >= 0,
            cost_usd_estimate, caller from mai.imagen_usage where caller = %s
            order by created_at"""
        return list(self.gateway.project.database.run(query, self.caller))


@pytest.fixture
def payer(imagen: Any, tmp_path: Any, gateway: Any, cloud_environment: dict[str, str]) -> Payer:
    return Payer(imagen, tmp_path, gateway, cloud_environment)


def test_row_has_everything_but_the_prompt(payer: Payer) -> None:
    done = payer.pay("--seed", "7", "--json", usd=0.003, prompt="a secret cat")

    assert (done.exit_code, done.err) == (0, "")
    [row] = payer.rows
    digest = sha256(b"a secret cat").hexdigest()
    assert (*row[:6], float(row[6]), row[7]) == (
        UUID(done.json()[0]["id"]),
        "p",
        "paid-1",
        7,
        digest,
        True,
        0.003,
        payer.caller,
    )
    [request] = payer.gateway.requests
    assert b"secret" not in request.body
    assert request.headers["content-profile"] == "mai"


@pytest.mark.parametrize(
    ("block", "costs"),
    [
        ({"usd": None}, [None]),
        ({"usd": 0.000001}, [0.000001]),
        ({"usd": 0}, []),
        ({"usd": 0.5, "fails": "after"}, [0.5]),
        ({"usd": None, "fails": "after"}, [None]),
        ({"usd": 0, "fails": "after"}, []),
        ({"usd": None, "fails": "before"}, []),
    ],
    ids=str,
)
def test_row_is_written_for_what_was_or_may_have_been_paid(
    payer: Payer, block: dict[str, Any], costs: list[Any]
) -> None:
    payer.pay(**block)

    assert [cost if cost is None else float(cost) for *_, cost, _ in payer.rows] == costs


def test_caller_that_no_index_takes_is_told(payer: Payer) -> None:
    payer.caller = payer.environment["MAI_FROM_ID"] = secrets.token_hex(5000)

    done = payer.pay(usd=1)

    assert done.exit_code == 0
    assert "imagen: usage: Supabase at " in done.err
    assert "refuses the row: index row " in done.err


def test_row_is_written_with_the_cloud_switched_off(payer: Payer) -> None:
    payer.pay("--no-cloud", usd=1)

    assert len(payer.rows) == 1


def test_without_credentials_nothing_happens(payer: Payer) -> None:
    payer.environment = {}

    done = payer.pay(usd=1)

    assert (done.exit_code, done.err) == (0, "")


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("SUPABASE_SERVICE_KEY", "$SUPABASE_URL is set and $SUPABASE_SERVICE_KEY is not"),
        ("SUPABASE_URL", "$SUPABASE_SERVICE_KEY is set and $SUPABASE_URL is not"),
    ],
)
def test_half_of_the_credentials_is_told(payer: Payer, missing: str, told: str) -> None:
    del payer.environment[missing]

    done = payer.pay(usd=1)

    assert done.exit_code == 0
    assert done.err.startswith(f"imagen: usage: {told}; ")


def test_failed_write_is_told_and_made_up_for_by_a_push(payer: Payer) -> None:
    payer.gateway.fail(faults.DATABASE_DOWN, path="/rest/v1/imagen_usage", times=ALWAYS)

    done = payer.pay("--no-cloud", usd=0.25)

    assert done.exit_code == 0
    assert "imagen: usage: Supabase at 127.0.0.1:" in done.err
    assert done.err.count("\n") == 1
    assert payer.rows == []
    payer.gateway.mend()
    pushed = payer.run("cloud", "push")
    assert pushed.exit_code == 0
    assert pushed.err.splitlines() == [
        "imagen: owner_user_id is empty: usage alone is sent",
        "imagen: usage: 1 rows sent",
    ]
    assert len(payer.rows) == 1


def test_row_that_is_refused_does_not_keep_the_others_back(payer: Payer) -> None:
    for usd in (0.25, 0.5):
        payer.gateway.fail(faults.DATABASE_DOWN, path="/rest/v1/imagen_usage", times=ALWAYS)
        payer.pay(usd=usd)
        payer.gateway.mend()
    check = f"check (caller <> '{payer.caller}' or cost_usd_estimate < 0.4)"
    payer.gateway.project.database.run(f"alter table mai.imagen_usage add constraint few {check}")

    pushed = payer.run("cloud", "push")

    payer.gateway.project.database.run("alter table mai.imagen_usage drop constraint few")
    assert pushed.exit_code == 1
    assert "imagen: usage: 1 rows sent" in pushed.err
    assert "refuses the row: new row for relation" in pushed.err
    assert [float(cost) for *_, cost, _ in payer.rows] == [0.25]


def test_fault_of_usage_keeps_no_picture_back(payer: Payer) -> None:
    payer.environment["IMAGEN_OWNER_USER_ID"] = str(uuid4())
    payer.gateway.fail(faults.FORBIDDEN, path="/rest/v1/imagen_usage", times=ALWAYS)
    payer.pay("--no-cloud", usd=1, prompt=f"a cat {uuid4().hex}")

    pushed = payer.run("cloud", "push")

    assert pushed.exit_code == 3
    assert "imagen: pictures: 1 sent, 0 there already" in pushed.err


def test_reply_that_was_lost_leaves_one_row(payer: Payer) -> None:
    payer.gateway.fail(faults.REPLY_LOST, path="/rest/v1/imagen_usage", times=1)

    done = payer.pay(usd=1)

    assert done.err == ""
    assert len(payer.rows) == 1


# Reading


def add(payer: Payer, *, count: int, usd: str, model: str = "m", since: str = "2031-01-01") -> None:
    query = """insert into mai.imagen_usage
        (id, created_at, backend, model, prompt_hash, latency_ms, cost_usd_estimate, caller)
        select gen_random_uuid(), %s::timestamptz + n * interval '1 second', 'p', %s,
        repeat('a', 64), 10, %s::numeric, %s from generate_series(1, %s) n"""
    values = (f"{since}T00:00:00Z", model, usd, payer.caller, count)
    payer.gateway.project.database.run(query, *values)


@pytest.fixture
def later(payer: Payer) -> Any:
    """A time that no other test writes usage in; its rows are taken away afterwards."""
    yield "2031-01-01"
    query = "delete from mai.imagen_usage where caller = %s"
    payer.gateway.project.database.run(query, payer.caller)


def test_usage_reads_the_project_when_it_is_configured(payer: Payer, later: str) -> None:
    add(payer, count=2, usd="0.000001")

    [found] = payer.run("usage", "--since", later, "--json").json()

    assert found["store"] == "supabase"
    assert found["total"] == {
        "week": "",
        "backend": "",
        "model": "",
        "caller": None,
        "count": 2,
        "mean_latency_ms": 10,
        "cost_usd": 0.000002,
        "unknown": 0,
    }
    assert [group["week"] for group in found["groups"]] == ["2031-W01"]


def test_usage_goes_beyond_the_rows_that_a_server_gives_at_once(payer: Payer, later: str) -> None:
    add(payer, count=2345, usd="0.000001")

    [found] = payer.run("usage", "--since", later, "--json").json()

    assert (found["total"]["count"], found["total"]["cost_usd"]) == (2345, 0.002345)


def test_row_that_comes_between_two_pages_is_not_counted_twice(payer: Payer, later: str) -> None:
    add(payer, count=1500, usd="1")
    with closing(payer.app()) as app:
        _, store = app.store("supabase")
        rows = store.usage(later, everything=False)
        first = [next(rows).id for _ in range(1000)]
        add(payer, count=1, usd="1")  # before all that come

        rest = [row.id for row in rows]

    assert len(set(first + rest)) == len(first + rest) == 1500


def test_since_is_a_date_in_utc_and_inclusive(payer: Payer, later: str) -> None:
    add(payer, count=1, usd="1", since="2031-05-07")
    payer.gateway.project.database.run(
        "update mai.imagen_usage set created_at = '2031-05-08T01:59:59+02:00' where caller = %s",
        payer.caller,
    )
    add(payer, count=1, usd="2", since="2031-05-08")

    [found] = payer.run("usage", "--since", "2031-05-08", "--json").json()

    assert found["total"]["cost_usd"] == 2
    assert later


def test_local_store_is_asked_on_request(payer: Payer) -> None:
    payer.pay(usd=0.5)

    found = payer.run("usage", "--store", "local", "--raw").out.splitlines()

    assert [line.split("\t")[6] for line in found[1:]] == ["0.500000", "0.500000"]


@pytest.mark.parametrize(
    ("fault", "code", "told"),
    [
        (faults.EXPIRED_KEY, 3, "refuses it: JWT expired"),
        (faults.UNAVAILABLE, 5, "answered 503: name resolution failed"),
        (faults.page(200), 4, "answers in another way than Supabase does"),
    ],
    ids=str,
)
def test_store_that_does_not_answer_is_an_error(
    payer: Payer, fault: Any, code: int, told: str
) -> None:
    payer.gateway.fail(fault, times=ALWAYS)

    done = payer.run("usage")

    assert (done.exit_code, done.out) == (code, "")
    assert told in done.err


def test_plugins_tell_whether_the_store_is_configured(payer: Payer) -> None:
    there = payer.run("plugins").err
    payer.environment = {}
    absent = payer.run("plugins").err

    assert f"imagen: store supabase: {payer.gateway.url}\n" in there
    assert (
        "imagen: store supabase: not configured (set SUPABASE_URL and SUPABASE_SERVICE_KEY)\n"
        in absent
    )
