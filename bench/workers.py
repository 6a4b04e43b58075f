"""Workers: jobs per second from the queue to the picture, and what an idle one asks."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

import imagen_supabase
from bench.cells import NONE, Table
from bench.environments import tell
from bench.processes import FakeProcess
from imagen_core import NewJob
from imagen_core.jobs import SqliteQueue
from imagen_core.testing import isolated_app

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from imagen_core import Queue

LOCAL, SHARED = "local", "supabase"
CREWS = ((1, 1), (1, 4), (4, 1))
"""So many processes, each with so many jobs at a time."""
JOBS, ROUNDS = 300, 3
QUICK_JOBS, QUICK_ROUNDS = 60, 1
CALM_SECONDS, IDLE_SECONDS = 30.0, 60.0
"""How long an idle worker is let alone before its requests are counted, and for how long then."""
IDLE_TARGET = 6.0
"""How many requests a minute an idle worker makes at most."""
OWNER = str(uuid4())
CONFIG = "backends:\n  mock: {type: mock, size: 16x16, steps: 1, delay_ms: 0}\n"


class Worked(NamedTuple):
    """One queue drained by one crew: jobs per second in each round, start-up included."""

    store: str
    processes: int
    concurrency: int
    rates: list[float]


class Works(NamedTuple):
    """All of it, and how many requests a minute an idle worker made."""

    worked: list[Worked]
    idle: float | None


class Rig(NamedTuple):
    """Where one round happens."""

    folder: Path
    server: FakeProcess
    key: str

    @property
    def environment(self) -> dict[str, str]:
        """What a worker needs, and nothing of whoever measures."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "IMAGEN_CONFIG": str(self.folder / "imagen.yaml"),
            "IMAGEN_OUTPUT_DIR": str(self.folder / "pictures"),
            "IMAGEN_DATA_DIR": str(self.folder / "data"),
            "IMAGEN_CACHE_DIR": str(self.folder.parent / "cache"),
            **self.project,
        }

    @property
    def project(self) -> dict[str, str]:
        """Which project it is, and whose jobs."""
        return {
            "IMAGEN_OWNER_USER_ID": OWNER,
            "SUPABASE_URL": self.server.url,
            "SUPABASE_SERVICE_KEY": self.key,
        }

    def fill(self, store: str, jobs: int) -> None:
        """Enqueue so many."""
        self.folder.mkdir(parents=True)
        (self.folder / "imagen.yaml").write_text(CONFIG)
        if store == LOCAL:
            with contextlib.closing(SqliteQueue(self.folder / "data")) as queue:
                _enqueue(queue, jobs)
            return
        plugins = {"supabase": imagen_supabase}
        app = isolated_app(self.folder, plugins=plugins, environment=self.project)
        with contextlib.closing(app), contextlib.closing(app.queue(SHARED)[1]) as queue:
            _enqueue(queue, jobs)

    def worker(self, store: str, *options: str) -> subprocess.Popen[bytes]:
        """A worker, which begins at once."""
        cloud = "--no-cloud" if store == LOCAL else ""
        words = ("worker", "--store", store, "--backends", "mock", *filter(None, (cloud, *options)))
        return subprocess.Popen(
            [sys.executable, "-m", "imagen_core", *words],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def measure(folder: Path, *, quick: bool) -> Works:
    """Drain both queues with each crew, in turns; then let a worker be idle."""
    jobs, rounds = (QUICK_JOBS, QUICK_ROUNDS) if quick else (JOBS, ROUNDS)
    tell("workers, from the queue to the picture ...")
    found = [Worked(store, *crew, []) for store in (LOCAL, SHARED) for crew in CREWS]
    with FakeProcess("bench.cloud") as server:
        key = server.ask_json("key")["key"]
        for number in range(rounds):
            for one in found if number % 2 else reversed(found):
                name = f"{number}-{one.store}-{one.processes}-{one.concurrency}"
                one.rates.append(_drained(Rig(folder / name, server, key), one, jobs))
        idle = None if quick else _idle(Rig(folder / "idle", server, key))
    return Works(found, idle)


def _drained(rig: Rig, crew: Worked, jobs: int) -> float:
    rig.fill(crew.store, jobs)
    started = time.monotonic()
    options = ("--drain", "--concurrency", str(crew.concurrency))
    workers = [rig.worker(crew.store, *options) for _ in range(crew.processes)]
    if any(worker.wait() for worker in workers):
        raise SystemExit(f"a worker on '{crew.store}' ended badly")
    seconds = time.monotonic() - started
    made = len(list((rig.folder / "pictures").glob("*.png")))
    if made != jobs:
        raise SystemExit(f"'{crew.store}': {made} pictures of {jobs} jobs")
    return jobs / seconds


def _idle(rig: Rig) -> float:
    """How many requests a minute it makes on the shared queue when nothing waits."""
    rig.fill(SHARED, 0)
    worker = rig.worker(SHARED)
    time.sleep(CALM_SECONDS)
    rig.server.ask("forget")
    time.sleep(IDLE_SECONDS)
    requests = float(rig.server.ask_json("count")["requests"])
    worker.terminate()
    worker.wait()
    return requests * 60 / IDLE_SECONDS


def _enqueue(queue: Queue, jobs: int) -> None:
    for number in range(jobs):
        payload = {"options": {"prompt": f"picture {number}"}}
        queue.enqueue(NewJob(backend="mock", payload=payload, owner=_owner(queue)))


def _owner(queue: Queue) -> str:
    return OWNER if queue.publishes else ""


def about() -> list[str]:
    """What was measured."""
    return [
        f"{JOBS} jobs, or {QUICK_JOBS} of a first look, are drained by `imagen worker --drain` "
        "with the mock backend: 16x16 pixels, no delay, sidecar and ledger as usual. The time is "
        "that of whole processes, their start included. On the shared queue, which is PostgreSQL "
        "and PostgREST behind a gateway in Python, each picture is uploaded, too.",
        f"An idle worker is let alone for {CALM_SECONDS:.0f} s, and its requests are counted for "
        f"{IDLE_SECONDS:.0f}.",
    ]


def tables(found: Works) -> list[Table]:
    """Jobs per second by queue and crew, and the requests of an idle worker."""
    rows = [
        (
            f"{one.store}, {_many(one.processes, 'process', 'processes')}, "
            f"{_many(one.concurrency, 'job', 'jobs')} at a time",
            f"{sorted(one.rates)[len(one.rates) // 2]:.0f}",
            f"{min(one.rates):.0f}..{max(one.rates):.0f}",
        )
        for one in found.worked
    ]
    return [
        Table("Workers: from the queue to the picture", _head(found.worked), rows),
        Table("Workers: idle", ("requests a minute", "target"), [_verdict(found.idle)]),
    ]


def raw(found: Works | None) -> Mapping[str, object] | None:
    """The numbers themselves."""
    return found and {"worked": [one._asdict() for one in found.worked], "idle": found.idle}


def _head(worked: Sequence[Worked]) -> tuple[str, ...]:
    return (f"queue ({len(worked[0].rates)} rounds)", "jobs/s", "min..max")


def _many(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"


def _verdict(idle: float | None) -> tuple[str, str]:
    if idle is None:
        return NONE, f"≤ {IDLE_TARGET:g}: not measured"
    return f"{idle:.0f}", f"≤ {IDLE_TARGET:g}: {'met' if idle <= IDLE_TARGET else 'MISSED'}"
