"""A worker in this process, on a queue that fails where a test wants it to."""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gated
from imagen_core.attempt import Report
from imagen_core.jobs import SqliteQueue
from imagen_core.testing import isolated_app
from imagen_core.worker import Terms, Watcher, Worker
from scripted import join_makings
from works import SECONDS, lapse, put, until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from imagen_core import Job

BACKENDS = {"gated": {"type": "gated"}}


class Unsteady(SqliteQueue):
    """Calls what it is told before it does something, or when that is done and not yet answered.

    Both get the number of the call, of those of its kind.
    """

    pace = 0.05

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, backoff=lambda _: 0.0)
        self.before: dict[str, Callable[[int], object]] = {}
        self.after: dict[str, Callable[[int], object]] = {}
        self.calls: Counter[str] = Counter()

    def _do(self, name: str, *args: Any, **given: Any) -> Any:
        self.calls[name] += 1
        number = self.calls[name]
        if name in self.before:
            self.before[name](number)
        answer = getattr(super(), name)(*args, **given)
        if name in self.after:
            self.after[name](number)
        return answer

    def claim(self, *args: Any, **given: Any) -> Any:
        return self._do("claim", *args, **given)

    def heartbeat(self, *args: Any, **given: Any) -> Any:
        return self._do("heartbeat", *args, **given)

    def complete(self, *args: Any, **given: Any) -> Any:
        return self._do("complete", *args, **given)

    def fail(self, *args: Any, **given: Any) -> Any:
        return self._do("fail", *args, **given)

    def release(self, *args: Any, **given: Any) -> Any:
        return self._do("release", *args, **given)

    def announce(self, *args: Any, **given: Any) -> Any:
        return self._do("announce", *args, **given)

    def image(self, *args: Any, **given: Any) -> Any:
        return self._do("image", *args, **given)


class Log(Watcher):
    """What a worker told."""

    def __init__(self) -> None:
        self.begun_ids: list[str] = []
        self.reports: list[tuple[str, Report]] = []
        self.warnings: list[str] = []

    def begun(self, job: Job) -> None:
        self.begun_ids.append(job.id)

    def ended(self, job: Job, report: Report) -> None:
        self.reports.append((job.id, report))

    def warned(self, text: str) -> None:
        self.warnings.append(text)


class Shift:
    """One worker after the other, each in a thread, on one queue."""

    def __init__(self, folder: Path, **plugins: object) -> None:
        (folder / "gates").mkdir()
        self._plugins = plugins
        self.folder = folder
        self.gates = gated.Gates(folder / "gates")
        self.queue = Unsteady(folder / "queue")
        self.log = Log()
        self.stop, self.hurry = threading.Event(), threading.Event()
        self._threads: list[threading.Thread] = []
        self.configure(BACKENDS)

    def configure(self, backends: Mapping[str, Mapping[str, Any]], **environment: str) -> None:
        """Serve these from now on; the plugins beside `gated` are those given at the beginning."""
        self.backends = backends
        self.app = isolated_app(
            self.folder,
            config=json.dumps({"backends": backends}),
            plugins={"gated": gated, **self._plugins},
            environment={gated.FOLDER: str(self.gates.folder), **environment},
        )

    def enqueue(self, *args: str, **fields: Any) -> str:
        return put(self.queue, *args, **fields)

    def job(self, job_id: str) -> Job:
        found = self.queue.get(job_id)
        assert found
        return found

    def worker(self, **terms: Any) -> Worker:
        """One that does nothing yet.

        While something moves it hears often of its job, however long its lease is.
        """
        given = {"name": "worker", "drain": True, "pause": 0.0, **terms}
        served = {name: self.app.instance(name).backend.resource or "" for name in self.backends}
        return Worker(
            self.app,
            self.queue,
            served,
            Terms(**given),
            pipeline=self.app.pipeline({}),
            ledger=self.app.ledger,
            target=self.app.target(flag=""),
            watcher=self.log,
        )

    def start(self, **terms: Any) -> Worker:
        """Begin to work."""
        worker = self.worker(**terms)
        thread = threading.Thread(target=worker.run, args=(self.stop, self.hurry))
        self._threads.append(thread)
        thread.start()
        return worker

    def work(self, **terms: Any) -> list[str]:
        """Work until it is over; how each attempt ended."""
        self.start(**terms)
        return self.join()

    def join(self) -> list[str]:
        for thread in self._threads:
            thread.join(2 * SECONDS)
            assert not thread.is_alive()
        self._threads.clear()
        return [report.result for _, report in self.log.reports]

    def reached(self, point: str) -> None:
        until(lambda: self.gates.seen(point))

    def steal(self, worker: Worker) -> None:
        """Let somebody else have what runs, as when a lease is over, and its worker know."""
        holds = [*worker._attempts]
        lapse(self.queue)
        until(lambda: all(hold.standing == "lost" for hold in holds))

    def overrun(self, worker: Worker) -> None:
        """Let the time of what runs be up."""
        for attempt in [*worker._attempts.values()]:
            attempt._begun -= worker._terms.limit

    def pictures(self) -> list[Path]:
        return sorted(self.app.target().folder.glob("*.png"))

    def close(self) -> None:
        self.stop.set()
        self.hurry.set()
        for file in self.gates.folder.glob("*.*"):
            file.unlink()
        self.join()
        join_makings()
        self.app.close()
        self.queue.close()
