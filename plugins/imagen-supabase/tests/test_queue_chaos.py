"""Real workers on a real database, whatever befalls either: each job is done and seen once."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4, uuid5

import pytest

from imagen_core import NewJob
from supabase_chaos import HISTORY, RESOURCES, ForgetfulGateway, Storm
from supabase_servers import Project, migrate_all

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.system, pytest.mark.parametrize("cluster", ["system"], indirect=True)]

JOBS = 300
WORKERS = 6
SEED = 20261129
SECONDS = 900
"""How long it may take on a busy machine; it takes about 30."""


@pytest.fixture
def storm_project(cluster: Any, database: Any) -> Any:
    """A project of which the database may be restarted, with nothing else in it."""
    setting = f"alter role authenticator in database {database.name} set pgrst.db_schemas"
    database.run(f"{setting} = 'public'")
    database.run(f"alter database {database.name} set synchronous_commit = on")
    migrate_all(database.url())
    database.run(HISTORY)
    return Project(database, cluster.postgrest(database))


def test_each_job_is_done_and_seen_once_whatever_befalls_workers_and_database(
    cluster: Any, storm_project: Any, imagen_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, owner = storm_project.database, str(uuid4())
    mock = {"type": "mock", "size": "32x24", "steps": 2, "delay_ms": 100}
    config = imagen_home / "storm.yaml"
    backends = dict.fromkeys(RESOURCES, mock)
    config.write_text(json.dumps({"backends": backends, "supabase": {"timeout": 3}}))
    with ForgetfulGateway(storm_project) as gateway:
        for name, value in {
            "IMAGEN_CONFIG": str(config),
            "SUPABASE_URL": gateway.url,
            "SUPABASE_SERVICE_KEY": gateway.token("imagen_worker"),
            "IMAGEN_CLOUD_SYNC": "on",
        }.items():
            monkeypatch.setenv(name, value)
        ids = _enqueue(database, owner)

        storm = Storm(database, SEED, WORKERS)
        storm.run(SECONDS, cluster.restart)

        objects = gateway.objects
        lost = gateway.lost

    rows = database.run("select id::text, state, attempt, crashes, errors, result from imagen.jobs")
    assert Counter(row[1] for row in rows) == {"succeeded": JOBS}
    assert {row[0] for row in rows} == ids
    for id, _, attempt, crashes, errors, _ in rows:
        assert attempt == len(errors) + 1
        assert storm.kills[UUID(id)] <= crashes <= len(errors)
    seen = database.run("select id::text, after, running from public.history")
    assert [row[1] for row in seen].count("succeeded") == JOBS
    assert max(row[2] for row in seen) == 1
    pictures = database.run(
        "select id, run_id, owner_user_id::text, storage_path, sha256 from imagen.images"
    )
    assert {row[0] for row in pictures} == {uuid5(UUID(id), "0") for id in ids}
    assert {row[2] for row in pictures} == {owner}
    assert sorted(row[3] for row in pictures) == sorted(objects)
    assert len(objects) == JOBS
    assert sum(storm.kills.values()) >= 8
    assert storm.stops >= 5
    for function in ("claim", "heartbeat", "complete", "announce"):
        assert lost[f"/rest/v1/rpc/{function}"], function


def _enqueue(database: Any, owner: str) -> set[str]:
    """Put all jobs there; their ids."""
    jobs = [
        NewJob(backend=name, payload={"options": {"prompt": f"number {number}"}, "caller": "storm"})
        for number in range(JOBS // 10)
        for name in ("plain",) * 8 + ("flux", "sdxl")
    ]
    with database.connect() as connection:
        connection.cursor().executemany(
            "select imagen.enqueue(%s, %s, %s::jsonb, owner => %s, max_attempts => 20)",
            [(job.id, job.backend, json.dumps(job.payload), owner) for job in jobs],
        )
    return {job.id for job in jobs}
