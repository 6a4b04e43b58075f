"""Real workers, killed and stopped at any moment: each job is done once, and seen once."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import gated
from queue_chaos import HISTORY
from worker_chaos import Storm

if TYPE_CHECKING:
    from works import Works

pytestmark = pytest.mark.system

JOBS = 300
WORKERS = 6
SEED = 20261129
SECONDS = 600
"""How long it may take on a busy machine; it takes about 20."""
MOCK = {"type": "mock", "size": "32x24", "steps": 2, "delay_ms": 500}


def test_each_job_has_one_picture_whatever_befalls_its_workers(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = {"type": "gated", "card": "gpu"}
    works.configure({"plain": MOCK, "flux": card, "sdxl": card})
    for name, value in {
        "IMAGEN_CONFIG": str(works.folder / "c.yaml"),
        "PYTHONPATH": str(works.site.folder),
        gated.FOLDER: str(works.gates.folder),
    }.items():
        monkeypatch.setenv(name, value)
    works.queue.stats()
    with contextlib.closing(sqlite3.connect(works.queue.path)) as connection:
        connection.executescript(HISTORY)
    ids = [
        works.enqueue(name, f"number {number}", max_attempts=20)
        for number in range(JOBS // 10)
        for name in ("plain",) * 8 + ("flux", "sdxl")
    ]

    storm = Storm(works.queue, SEED, WORKERS)
    storm.run(SECONDS)

    jobs = {job.id: job for job in works.queue.jobs(limit=2 * JOBS)}
    rows = [tuple(row) for row in works.queue.database.rows("select * from history")]
    assert [job.errors for job in jobs.values() if job.state != "succeeded"] == []
    assert Counter(job.state for job in jobs.values()) == {"succeeded": JOBS}
    assert [row[2] for row in rows].count("succeeded") == JOBS
    assert max(row[5] for row in rows) == 1
    for job in jobs.values():
        assert job.attempt == job.crashes + 1 == len(job.errors) + 1
        assert job.crashes >= storm.kills[job.id]
    assert (storm.killed, storm.stops) >= (10, 5)
    pictures = sorted(works.out.glob("*.png"))
    assert len(pictures) == JOBS
    found = {}
    for path in pictures:
        sidecar = json.loads(Path(f"{path}.json").read_text())
        assert sidecar["sha256"] == sha256(path.read_bytes()).hexdigest()
        found[sidecar["id"]] = str(path)
    told = {
        id: [kept["path"] for kept in (job.result or {})["outputs"]] for id, job in jobs.items()
    }
    assert told == {id: [found[id]] for id in ids}
    assert not (works.data / "rescued").exists()
    assert {run.id: run.failure for run in works.runs()} == dict.fromkeys(ids)
