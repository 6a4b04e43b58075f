"""The queue, the history, and the thread that runs what is queued."""

from __future__ import annotations

import contextlib
import itertools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imagen_comfyui.testing.execution import AbandonedError, Execution
from imagen_comfyui.testing.schema import JSON

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable

    from imagen_comfyui.testing.graph import Graph
    from imagen_comfyui.testing.site import Site


@dataclass(eq=False)
class Run:
    """A prompt on its way through the server."""

    number: float
    prompt_id: str
    graph: Graph
    extra_data: JSON
    outputs: list[str]
    stops: bool = False
    """Whether it stops at its first node, as foreign prompts do."""
    interrupted: bool = False
    held: bool = False
    released: bool = False
    results: JSON = field(default_factory=dict)
    messages: list[tuple[str, JSON]] = field(default_factory=list)

    @property
    def client_id(self) -> str | None:
        """The client that gets the events."""
        return self.extra_data.get("client_id")

    @property
    def item(self) -> list[Any]:
        """The run as `/queue` and `/history` show it."""
        return [self.number, self.prompt_id, self.graph, self.extra_data, self.outputs]

    @property
    def outcome(self) -> str:
        """How it ended: success, error or interrupted."""
        return self.messages[-1][0].removeprefix("execution_")


class Engine:
    """What a server process has in memory; a restart begins with a new one."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.pending: list[Run] = []
        self.running: Run | None = None
        self.ended: dict[str, Run] = {}
        self.finished_at: dict[str, float] = {}
        self.cache: dict[str, JSON | None] = {}
        self.client_id: str | None = None
        """The client of the run that runs, or that ran last."""
        self.last_node: str | None = None
        self.aborted = False
        self._deleted: set[str] = set()
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    @property
    def remaining(self) -> int:
        """How many runs are in the queue, with the one that runs."""
        return len(self.pending) + (self.running is not None)

    def start(self) -> None:
        """Starts the thread."""
        self._thread = self.site.threads.start(self._work, name="executor")

    def stop(self) -> None:
        """Abandons whatever runs, as a crash would, and waits for the thread to end."""
        with self.site.lock:
            self.aborted = True
            self.site.lock.notify_all()
        if self._thread is not None:
            self._thread.join()

    def submit(self, make: Callable[[int], Run]) -> Run:
        """Queues the run made with the next number."""
        with self.site.lock:
            run = make(next(self._numbers))
            self._deleted.discard(run.prompt_id)
            self.pending.append(run)
            self.pending.sort(key=lambda one: one.number)
            self._changed()
            return run

    def delete(self, prompt_ids: Iterable[str]) -> bool:
        """Takes runs out of the queue that do not run yet, and tells whether there were any."""
        wanted = set(prompt_ids)
        with self.site.lock:
            gone = [run for run in self.pending if run.prompt_id in wanted]
            for run in gone:
                self.pending.remove(run)
                self._deleted.add(run.prompt_id)
            if gone:
                self._changed()
            return bool(gone)

    def clear(self) -> None:
        """Takes all runs out of the queue that do not run yet."""
        with self.site.lock:
            self._deleted |= {run.prompt_id for run in self.pending}
            self.pending.clear()
            self._changed()

    def interrupt(self, prompt_id: str | None) -> bool:
        """Interrupts what runs, if it is that prompt or any is meant."""
        with self.site.lock:
            hit = self.running is not None and prompt_id in (None, self.running.prompt_id)
            if self.running is not None and hit:
                self.running.interrupted = True
                self.site.lock.notify_all()
            return hit

    def state(self, prompt_id: str) -> str:
        """Tells where a prompt is, or how it ended."""
        with self.site.lock:
            if self.running is not None and self.running.prompt_id == prompt_id:
                return "running"
            if any(run.prompt_id == prompt_id for run in self.pending):
                return "pending"
            if prompt_id in self.ended:
                return self.ended[prompt_id].outcome
            return "deleted" if prompt_id in self._deleted else "unknown"

    def look(self, prompt_id: str) -> Run | None:
        """Looks for a run that has ended, which is in vain while the history is muted."""
        with self.site.lock:
            script = self.site.script
            if prompt_id in self.ended and script.muted:
                script.muted -= 1
                return None
            return self.ended.get(prompt_id)

    def release(self, prompt_id: str | None) -> None:
        """Lets a run go on to its end, or all that stopped somewhere or would at the start."""
        with self.site.lock:
            for run in [*self.pending, *([self.running] if self.running else [])]:
                if prompt_id in (None, run.prompt_id):
                    run.released = True
            self.site.lock.notify_all()

    def hold(self, run: Run) -> None:
        """Stops a run until it is released or interrupted."""
        with self.site.lock:
            run.held = True
            self.site.lock.notify_all()
            self.site.lock.wait_for(lambda: run.released or run.interrupted or self.aborted)
            run.held = False
            self.check()

    def pause(self, seconds: float) -> None:
        """Lets time pass, which an interrupt does not shorten."""
        if seconds:
            with self.site.lock:
                self.site.lock.wait_for(lambda: self.aborted, timeout=seconds)
        self.check()

    def check(self) -> None:
        """Raises if the process is gone by now."""
        if self.aborted:
            raise AbandonedError

    def finish(self, run: Run) -> None:
        """Moves a run from the queue to the history, and says so."""
        with self.site.lock:
            self.check()
            self.ended[run.prompt_id] = run
            self.finished_at[run.prompt_id] = time.monotonic()
            self.running = self.last_node = None
            self._changed()
            if run.client_id is not None:
                data = {"node": None, "prompt_id": run.prompt_id}
                self.site.hub.send("executing", data, run.client_id)

    def status(self) -> JSON:
        """The data of a status event."""
        return {"status": {"exec_info": {"queue_remaining": self.remaining}}}

    def welcome(self, client_id: str) -> list[tuple[str, JSON]]:
        """What a client hears that connects: where it left off, if its run runs."""
        events: list[tuple[str, JSON]] = [("status", {**self.status(), "sid": client_id})]
        if self.client_id == client_id and self.last_node is not None:
            events.append(("executing", {"node": self.last_node}))
        return events

    def _changed(self) -> None:
        self.site.hub.send("status", self.status())
        self.site.lock.notify_all()

    def _work(self) -> None:
        while (run := self._next()) is not None:
            with contextlib.suppress(AbandonedError):
                Execution(self, run).play()

    def _next(self) -> Run | None:
        with self.site.lock:
            self.site.lock.wait_for(lambda: self.pending or self.aborted)
            if self.aborted:
                return None
            self.running = self.pending.pop(0)
            self.client_id = self.running.client_id
            self._changed()
            return self.running
