"""A worker that comes to grief: run as a program, it drains a queue, and often dies on the way.

What befalls it depends on the seed, the job and the attempt alone, not on who is quick.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from imagen_core.jobs import SqliteQueue
from imagen_core.queueing import Job, NewJob, Queue
from imagen_core.types import Failure, new_id

LEASE = 0.6
LONG_LEASE = 60.0
"""Where nothing befalls a worker, it may be slow."""
BACKENDS = {"flux": "gpu", "sdxl": "gpu", "mock": ""}
FATES = ("kill", "kill late", "stop", "fail", "release", "repeat", "well")
WEIGHTS = (3, 3, 3, 8, 8, 15, 60)
CALM = 4
"""From this attempt on all goes well."""


HISTORY = """
    create table history (id, before, after, token, attempt, running);
    create trigger history after update of state on jobs begin
        insert into history select new.id, old.state, new.state, new.token, new.attempt,
            (select count(*) from jobs where state = 'running' and resource = 'gpu');
    end
"""
"""Writes each state of a job down, and how many run on its resource then, in one transaction."""
Worker = tuple[subprocess.Popen, Path]


def put(queue: Queue, **fields: Any) -> str:
    """A job for whoever serves flux, if the fields say nothing else."""
    return queue.enqueue(NewJob(**{"backend": "flux", "payload": {"number": 1}, **fields})).id


def claim(queue: Queue, token: str) -> str | None:
    """Take the next one of flux; its id."""
    job = queue.claim("here", token, backends={"flux": ""}, lease=60, deadline=600)
    return job.id if job else None


class Hand(NamedTuple):
    """A job in hand."""

    queue: SqliteQueue
    job: Job
    token: str
    lease: float

    def end(self, way: str) -> str:
        """Work on it until this happens, and what the queue says in the end."""
        job, token = self.job, self.token
        if way == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        released = job.checkpoint.get("released", 0)
        if way == "release":
            self.queue.heartbeat(
                job.id, token, lease=self.lease, checkpoint={"released": released + 1}
            )
            return self.queue.release(job.id, token)
        self.queue.heartbeat(job.id, token, lease=self.lease)
        if way == "fail":
            busy = Failure(code="unavailable", message="busy", retryable=True)
            return self.queue.fail(job.id, token, busy, retry=True, after=0.05)
        if way == "stop":
            tell(f"stopping: {job.id}")
            os.kill(os.getpid(), signal.SIGSTOP)
        said = self.queue.complete(job.id, token, {"token": token})
        if way == "kill late":
            os.kill(os.getpid(), signal.SIGKILL)
        if way == "repeat":
            said = self.queue.complete(job.id, token, {"token": "another"})
        return said


def fate(seed: int, number: int, attempt: int, released: int) -> str:
    """What happens to that attempt; without a seed nothing does."""
    if not seed or attempt >= CALM:
        return "well"
    return random.Random(f"{seed}:{number}:{attempt}:{released}").choices(FATES, WEIGHTS)[0]


def opened(folder: Path) -> SqliteQueue:
    return SqliteQueue(folder, backoff=lambda _: 0.05)


def drain(folder: Path, seed: int) -> None:
    queue, idle = opened(folder), threading.Event()
    lease = LEASE if seed else LONG_LEASE
    while any(load.ready + load.delayed + load.running for load in queue.stats()):
        token = new_id()
        worker = str(os.getpid())
        job = queue.claim(worker, token, backends=BACKENDS, lease=lease, deadline=600)
        if job:
            way = fate(seed, job.payload["number"], job.attempt, job.checkpoint.get("released", 0))
            said = Hand(queue, job, token, lease).end(way)
            tell(f"{way}: {said}")
        else:
            idle.wait(0.005)
    queue.close()


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Crew:
    """Workers as processes: who was killed is replaced, who is stopped goes on too late."""

    def __init__(self, queue: SqliteQueue, seed: int, size: int) -> None:
        self.queue = queue
        self.seed = seed
        self.killed = 0
        self._folder = queue.path.parent
        self._said: list[Path] = []
        self._workers = [self._worker() for _ in range(size)]

    def run(self, seconds: float) -> None:
        """Let them work until nothing is left to do."""
        end, tick = time.monotonic() + seconds, threading.Event()
        try:
            while self._workers:
                assert time.monotonic() < end, f"not done: {self.queue.stats()}"
                self._workers = [w for w in map(self._looked_after, self._workers) if w]
                self.queue.rescue()
                tick.wait(0.02)
        finally:
            for process, _ in self._workers:
                process.kill()
                process.wait()

    @property
    def said(self) -> list[str]:
        """All that they said."""
        return [line for file in self._said for line in file.read_text().splitlines()]

    def _worker(self) -> Worker:
        file = self._folder / f"worker-{len(self._said)}.txt"
        self._said.append(file)
        with file.open("w") as out:
            return subprocess.Popen(self.command, stdout=out), file

    @property
    def command(self) -> list[str]:
        """What a worker is."""
        return [sys.executable, __file__, str(self._folder), str(self.seed)]

    def _looked_after(self, worker: Worker) -> Worker | None:
        process, file = worker
        code = process.poll()
        if code is None:
            self._wake(process, file)
            return worker
        if code == -signal.SIGKILL:
            self.killed += 1
            return self._worker()
        assert code == 0, f"a worker ended with {code}"
        return None

    def _wake(self, process: subprocess.Popen, file: Path) -> None:
        """Let a stopped one go on, once its job is another one's."""
        last = (file.read_text().splitlines() or [""])[-1]
        if last.startswith("stopping: "):
            job = self.queue.get(last.removeprefix("stopping: "))
            if job and (job.state != "running" or job.worker != str(process.pid)):
                process.send_signal(signal.SIGCONT)


if __name__ == "__main__":
    drain(Path(sys.argv[1]), int(sys.argv[2]))
