"""Workers with a short lease, which somebody kills, or stops for longer than that."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from imagen_core import Job
from imagen_core.app import App
from imagen_core.jobs import SqliteQueue
from imagen_core.terminal import Terminal
from imagen_core.worker import Terms, Watcher, Worker
from queue_chaos import Crew, Worker as Process

LEASE = 1.5
TROUBLES = ("kill",) * 16 + ("stop",) * 10
TROUBLE_SECONDS = 0.35
"""How long nothing happens to anybody after something happened to one."""
SPARED = 8
"""From this attempt on a job is left in peace: it has twenty, and may be the last one there is."""


class Storm(Crew):
    """In which order it happens depends on the seed, and to whom on who is quick."""

    def __init__(self, queue: SqliteQueue, seed: int, size: int) -> None:
        self.kills: Counter[str] = Counter()
        """How often a job was in the hands of a worker that was killed."""
        self.stops = 0
        self._dice = random.Random(seed)
        self._troubles = self._dice.sample(TROUBLES, len(TROUBLES))
        self._stopped: dict[int, float] = {}
        self._calm_until = time.monotonic() + 1.0
        super().__init__(queue, seed, size)

    @property
    def command(self) -> list[str]:
        """What a worker is."""
        return [sys.executable, __file__]

    def _looked_after(self, worker: Process) -> Process | None:
        process, _ = worker
        now = time.monotonic()
        if process.pid in self._stopped:
            if now > self._stopped[process.pid]:
                del self._stopped[process.pid]
                process.send_signal(signal.SIGCONT)
        elif now > self._calm_until and process.poll() is None and self._may_befall(process):
            self._calm_until = now + TROUBLE_SECONDS * self._dice.uniform(0.5, 1.5)
            if self._troubles and self._befallen(process, self._troubles[-1]):
                self._troubles.pop()
        return super()._looked_after(worker)

    def _may_befall(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether it has something in hand, and none of that has been through so much already."""
        jobs = self._job_of(process)
        return bool(jobs) and all(job.attempt < SPARED for job in jobs)

    def _befallen(self, process: subprocess.Popen[bytes], trouble: str) -> bool:
        """Kill or stop it; whether that could be done."""
        if trouble == "kill":
            process.kill()
            process.wait()
            self.kills.update(job.id for job in self._job_of(process))
            return True
        if not stopped(process, self.queue.path.parent):
            return False
        self.stops += 1
        self._stopped[process.pid] = time.monotonic() + LEASE * self._dice.uniform(0.7, 2)
        return True

    def _job_of(self, process: subprocess.Popen[bytes]) -> list[Job]:
        running = self.queue.jobs(states=["running"])
        return [job for job in running if job.worker == str(process.pid)]


def stopped(process: subprocess.Popen[Any], data: Path) -> bool:
    """Stop it, but for one that holds a lock, which would stop all the others, too."""
    process.send_signal(signal.SIGSTOP)
    if all(map(is_free, (data / "jobs.db", data / "ledger.db"))):
        return True
    process.send_signal(signal.SIGCONT)
    return False


def is_free(path: Path) -> bool:
    """Whether nobody holds the lock of this database."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=0.2)) as file:
        try:
            file.execute("begin immediate")
        except sqlite3.OperationalError:
            return False
        return True


class Watch(Watcher):
    """Ends its worker when nothing is left to do for anybody."""

    def __init__(self, queue: SqliteQueue, stop: threading.Event) -> None:
        self._queue, self._stop = queue, stop

    def lives(self, jobs: tuple[Job, ...]) -> None:
        """Look whether something is left."""
        if not jobs and not any(x.ready + x.delayed + x.running for x in self._queue.stats()):
            self._stop.set()


def work(lease: float = LEASE) -> None:
    app = App(Terminal())
    queue = SqliteQueue(app.paths.data, backoff=lambda _: 0.05)
    names = app.instances()
    stop = threading.Event()
    worker = Worker(
        app,
        queue,
        {name: app.instance(name).backend.resource or "" for name in names},
        Terms(str(os.getpid()), lease=lease, concurrency=2),
        pipeline=app.pipeline({}),
        ledger=app.ledger,
        target=app.target(),
        watcher=Watch(queue, stop),
    )
    worker.run(stop, threading.Event())
    queue.close()
    app.close()


if __name__ == "__main__":
    work(*map(float, sys.argv[1:]))
