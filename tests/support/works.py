"""Worker processes on the embedded queue, with a hand on what stops them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gated
from imagen_core import NewJob, Options
from imagen_core.jobs import SqliteQueue
from imagen_core.ledger import Ledger
from imagen_core.payload import payload
from imagen_core.testing.driving import until as comes_true
from sites import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from imagen_core import Job, Run

SECONDS = 120
"""For whatever is waited for; a machine that is busy with other tests is slow."""


def until(holds: Callable[[], Any]) -> None:
    """Wait until it holds, which it has to."""
    assert comes_true(lambda: bool(holds()), SECONDS)


def put(queue: SqliteQueue, backend: str = "gated", prompt: str = "a cat", **fields: Any) -> str:
    """A job for a picture; the fields are those of the job, or of its Options."""
    given = {name: fields.pop(name) for name in Options.__struct_fields__ if name in fields}
    asked = payload(Options(prompt=prompt, **given), fields.pop("caller", ""))
    return queue.enqueue(NewJob(backend=backend, payload=asked, **fields)).id


def lapse(queue: SqliteQueue) -> None:
    """Let the time of all leases be over, and no heartbeat come between."""
    with queue._change() as (connection, now):
        connection.execute("update jobs set lease_expires_at = 0 where state = 'running'")
        queue._rescue(connection, now, 20)


def line_with(text: str, process: subprocess.Popen[str]) -> str:
    """The next line on stderr that says so; all before it are lost."""
    assert process.stderr
    for line in process.stderr:
        if text in line:
            return line
    raise AssertionError(f"it ended without saying '{text}'")


class Works:
    """A queue, worker processes on this and on other machines, and what they leave."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.site = Site(folder / "site", home)
        self.site.install("gated", Path(gated.__file__).read_text())
        (folder / "gates").mkdir()
        self.gates = gated.Gates(folder / "gates")
        self.folder = folder
        self.data = home / "data"
        self.out = home / "output"
        self.queue = SqliteQueue(self.data, backoff=lambda _: 0.0)
        self._workers: list[subprocess.Popen[str]] = []
        self.configure({"gated": {"type": "gated"}})

    def configure(self, backends: Mapping[str, Mapping[str, Any]]) -> None:
        (self.folder / "c.yaml").write_text(json.dumps({"backends": backends}))

    def enqueue(self, *args: str, **fields: Any) -> str:
        return put(self.queue, *args, **fields)

    def job(self, job_id: str) -> Job:
        found = self.queue.get(job_id)
        assert found
        return found

    def machine(self, name: str) -> dict[str, str]:
        """The variables of another machine, of which only the queue is the same."""
        data = self.folder / name / "data"
        data.mkdir(parents=True)
        (data / "jobs.db").symlink_to(self.queue.path)
        return {
            "IMAGEN_DATA_DIR": str(data),
            "IMAGEN_CACHE_DIR": str(data / "cache"),
            "IMAGEN_OUTPUT_DIR": str(self.folder / name / "output"),
        }

    def start(self, *args: str, **environment: str) -> subprocess.Popen[str]:
        """A worker, that has not done anything yet."""
        command = [sys.executable, "-m", "imagen_core", "worker", "--store", "local", *args]
        return self.launch(command, **environment)

    def launch(self, command: list[str], **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env={
                **os.environ,
                "PYTHONPATH": str(self.site.folder),
                "PYTHONUNBUFFERED": "1",
                "IMAGEN_CONFIG": str(self.folder / "c.yaml"),
                gated.FOLDER: str(self.gates.folder),
                **environment,
            },
        )
        self._workers.append(process)
        return process

    def once(self, *args: str, **environment: str) -> list[dict[str, Any]]:
        """What a worker says that takes one job, and has to end well."""
        process = self.start("--once", "--json", *args, **environment)
        out, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, err
        return [json.loads(line) for line in out.splitlines()]

    def reached(self, point: str) -> None:
        """Wait until something came to that point."""
        until(lambda: self.gates.seen(point))

    def kill(self, process: subprocess.Popen[str]) -> None:
        """Kill it, and let its lease be over."""
        process.kill()
        process.communicate(timeout=SECONDS)
        assert process.returncode == -signal.SIGKILL
        self.lapse()

    def lapse(self) -> None:
        """Let the time of all leases be over, and the jobs be ready at once."""
        lapse(self.queue)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Meanwhile nobody can write to the queue: a worker waits, and waits."""
        connection = sqlite3.connect(self.queue.path, isolation_level=None, timeout=SECONDS)
        connection.execute("begin immediate")
        try:
            yield
        finally:
            connection.close()

    def pictures(self, out: Path | None = None) -> list[Path]:
        """What is in the folder: each picture has its sidecar, and nothing else is there."""
        found = {path.name for path in (out or self.out).glob("*")}
        made = sorted(name for name in found if not name.endswith(".json"))
        assert found == {*made, *(f"{name}.json" for name in made)}
        return [(out or self.out) / name for name in made]

    def begun(self, job_id: str) -> Run | None:
        """What is written down of it, finished or not."""
        with contextlib.closing(Ledger(self.data)) as ledger:
            return ledger.get(job_id)

    def runs(self) -> list[Run]:
        """What the ledger of this machine has."""
        with contextlib.closing(Ledger(self.data)) as ledger:
            return list(ledger.runs())

    def close(self) -> None:
        for process in self._workers:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            process.kill()
            for said in process.communicate(timeout=SECONDS):
                sys.stdout.write(said)  # for whoever reads of a test that failed
        self.queue.close()
