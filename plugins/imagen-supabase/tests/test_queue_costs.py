"""What it costs to ask the queue, however many jobs it has."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from imagen_core import NewJob
from supabase_plans import filled, nodes, plans

pytestmark = [pytest.mark.system, pytest.mark.parametrize("cluster", ["system"], indirect=True)]

WAITING = 20_000
HEADS = 40
"""How many different first jobs those have: by owner and priority."""
INDEXES = {"jobs_waiting_idx", "jobs_running_idx", "turns_pkey"}


def put(queue: Any, **fields: Any) -> str:
    job = NewJob(**{"backend": "flux", "payload": {"prompt": "a cat"}, **fields})
    return str(queue.enqueue(job).id)


def take(queue: Any, token: str) -> Any:
    return queue.claim("w", token, backends={"flux": ""}, lease=60, deadline=600)


@pytest.mark.parametrize("analyzed", [True, False], ids=["analyzed", "not analyzed"])
def test_claim_reads_the_heads_alone_however_many_wait(jobs: Any, analyzed: bool) -> None:
    jobs.sql(filled("flux"), WAITING)
    # Else the planner knows what a test before this one has left.
    forget = "delete from pg_statistic where starelid = 'imagen.jobs'::regclass"
    jobs.sql("analyze imagen.jobs" if analyzed else forget)

    found = plans(
        jobs.project.database,
        'select imagen.claim(\'w\', %s, \'{"flux": "", "sdxl": ""}\', 60, 600)',
        str(uuid4()),
    )

    [search] = [one["Plan"] for one in found if "with recursive heads" in one["Query Text"]]
    scans = [one for one in nodes(search) if one.get("Index Name") == "jobs_waiting_idx"]
    assert scans
    assert all(one["Actual Rows"] <= 1 for one in scans)
    assert {one["Index Name"] for one in nodes(search) if "Index Name" in one} == INDEXES
    assert not [one for one in nodes(search) if one["Node Type"] == "Seq Scan"]
    assert all(one["Actual Rows"] <= HEADS for one in nodes(search))
    assert search["Shared Hit Blocks"] + search["Shared Read Blocks"] < 8 * HEADS


def test_heartbeats_change_no_index_and_let_the_table_be_small(jobs: Any) -> None:
    token = str(uuid4())
    put(jobs.queue(), payload={"prompt": "a cat " * 200})
    job = take(jobs.queue(), token)
    count = """
        select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables
        where relid = 'imagen.jobs'::regclass"""
    beat = "select imagen.heartbeat(%s, %s, 60, %s, %s)"
    [before] = jobs.sql(count)

    with jobs.project.database.connect() as connection:
        for number in range(200):
            told = json.dumps({"step": number})
            assert connection.execute(beat, [job.id, token, told, told]).fetchall() == [("ok",)]
        connection.execute("select pg_stat_force_next_flush()")

    [after] = jobs.sql(count)
    updates, in_place = (one - other for one, other in zip(after, before, strict=True))
    assert updates >= 200
    assert updates - in_place <= 5
    [(size,)] = jobs.sql("select pg_relation_size('imagen.jobs')")
    assert size <= 4 * 8192


# Among many that have ended

ENDED = """
    insert into imagen.jobs
        (id, owner_user_id, backend, payload, payload_version, priority, run_at, max_attempts,
        created_at, state, finished_at, result)
    select gen_random_uuid(), owner, 'b' || n % 4, '{}', 1, 5, moment, 3, moment,
        case when n % 500 = 0 then 'failed' else 'succeeded' end, moment, to_jsonb(repeat('x', 900))
    from generate_series(1, 20000) n, imagen.moment() moment,
        lateral (select ('00000000-0000-4000-8000-' || lpad((n % 40)::text, 12, '0'))::uuid owner) o
    """
SOMEBODY = "00000000-0000-4000-8000-000000000007"
NOBODY = "00000000-0000-0000-0000-000000000000"
STRANGER = "3f1c6f0e-8a6b-4c1e-9a56-1f0a5f4f9a10"
LISTS = {
    "the latest": ("", 50),
    "failed": ("states => '{failed}'", 40),
    "failed, twice": ("states => '{failed,failed}'", 40),
    "waiting or running": ("states => '{queued,running}'", 0),
    "of a backend": ("backend => 'b1'", 50),
    "failed of a backend": ("backend => 'b0', states => '{failed}'", 40),
    "of no such backend": ("backend => 'b9'", 0),
    "of an owner": (f"whose => '{SOMEBODY}'", 50),
    "of nobody": (f"whose => '{NOBODY}'", 0),
    "of a stranger": (f"whose => '{STRANGER}'", 0),
    "after one that is unknown": (f"before => '{STRANGER}'", 0),
}


def among_many(jobs: Any) -> Any:
    jobs.sql(ENDED)
    jobs.sql("vacuum analyze imagen.jobs")
    return jobs.project.database


@pytest.mark.parametrize(("asked", "number"), LISTS.values(), ids=LISTS)
def test_list_reads_no_more_than_it_gives(jobs: Any, asked: str, number: int) -> None:
    call = f"select jsonb_array_length(imagen.list_jobs({asked}))"

    found = plans(among_many(jobs), call)

    assert jobs.sql(call) == [(number,)]
    scans = [one for plan in found for one in nodes(plan["Plan"]) if "Index Name" in one]
    assert not [
        one for plan in found for one in nodes(plan["Plan"]) if one["Node Type"] == "Seq Scan"
    ]
    assert all(one["Actual Rows"] * one["Actual Loops"] <= 200 for one in scans)
    assert all(one.get("Rows Removed by Filter", 0) <= 200 for one in scans)


def test_counts_read_the_index_and_not_the_jobs(jobs: Any) -> None:
    put(jobs.queue(), backend="b1")
    put(jobs.queue(), backend="b2", delay=60)

    found = plans(among_many(jobs), "select imagen.stats()")

    scans = [one for plan in found for one in nodes(plan["Plan"]) if "Scan" in one["Node Type"]]
    assert {one["Node Type"] for one in scans if one.get("Relation Name") == "jobs"} == {
        "Index Only Scan"
    }
    loads = [
        (load.backend, load.ready, load.delayed, load.succeeded) for load in jobs.queue().stats()
    ]
    assert loads == [("b0", 0, 0, 4960), ("b1", 1, 0, 5000), ("b2", 0, 1, 5000), ("b3", 0, 0, 5000)]
