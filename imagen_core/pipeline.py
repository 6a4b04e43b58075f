"""run() and each(): slots, cancelling, recording, steps. Knows no plugin, terminal or format."""

from __future__ import annotations

import threading
import time
from collections import deque
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from imagen_core import files
from imagen_core.errors import told
from imagen_core.making import RESCUE_FOLDER, Making
from imagen_core.specs import Phase
from imagen_core.types import Done, Event, Image, Note, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from imagen_core.ledger import Ledger
    from imagen_core.protocols import Instance
    from imagen_core.types import Request

SIDE_BY_SIDE = 4
"""How many makings run at once on backends that name no resource."""
GRACE_SECONDS = 10.0
"""How long a backend has to react to cancelling."""
TICK_SECONDS = 0.1
THREAD_NAME = "imagen-making"
JOIN_SECONDS = 1.0
"""How long a cancelled thread is waited for; one that hangs ends with the process."""

Item = Event | Run | Note


class Step(NamedTuple):
    """A step that is on, ready to run."""

    name: str
    phase: Phase
    run: Callable[[Done], Iterable[Note]]


class Pipeline:
    """Makes Runs of Requests and sees them through their steps."""

    def __init__(
        self,
        *,
        instance: Callable[[str], Instance],
        ledger: Ledger | None,
        data: Path,
        steps: Sequence[Step] = (),
        caller: str | None = None,
        on_error: Callable[[BaseException], None] = lambda error: None,  # noqa: ARG005
        grace: float = GRACE_SECONDS,
    ) -> None:
        self._instance = instance
        self._ledger = ledger
        self._ledger_problem = ""
        self._rescue = data / RESCUE_FOLDER
        self._steps = steps
        self._caller = caller
        self._on_error = on_error
        self._grace = grace

    def run(
        self, request: Request, target: files.Target, cancel: threading.Event | None = None
    ) -> Run:
        """Make one Request; returns a Run also when the backend failed."""
        done: Run | None = None
        notes: list[Note] = []
        for _, item in self.each([request], target, cancel or threading.Event()):
            if isinstance(item, Run):
                done = item
            elif isinstance(item, Note):
                notes.append(item)
        assert done is not None
        return _with(done, notes)

    def each(
        self, requests: Sequence[Request], target: files.Target, cancel: threading.Event
    ) -> Generator[tuple[Request, Item], None, None]:
        """Events as they happen, and each Run when its pictures and sidecars are on disk.

        Requests for one resource run one after the other, different resources side by side.
        After a Run come the Notes of its `publish` steps, which run when the next item is asked
        for. Setting `cancel` ends what is running; each Request has its Run all the same.
        """
        files.prepare(target)
        crew = _Crew(cancel, self._grace, finish=self._finish)
        for index, request in enumerate(requests):
            crew.add(self._making(request, target.nth(index)))
        crew.start()
        try:
            for making, event in crew.events():
                if event is not None:
                    yield making.run.request, event
                    continue
                for error in making.errors:
                    self._on_error(error)
                yield making.run.request, making.run
                for note in self._publish(making):
                    yield making.run.request, note
        except KeyboardInterrupt:
            crew.leave()
            raise
        finally:
            crew.stop()

    def show(self, runs: Sequence[Run], paths: Sequence[str]) -> list[Note]:
        """The steps that come once for a whole command."""
        return self._run_steps("show", Done(runs=tuple(runs), paths=tuple(paths)), self._on_error)

    def _making(self, request: Request, target: files.Target) -> Making:
        return Making(
            request,
            self._instance(request.backend),
            target,
            caller=self._caller,
            record=self._record,
            rescue=self._rescue,
        )

    def _finish(self, making: Making) -> None:
        """What comes between the last picture and the printed path, still in its thread."""
        notes = self._run_steps("record", _done(making.run), making.errors.append)
        making.note(*notes)
        if notes:
            self._record(making.run, finished=True)
        if problem := self._ledger_problem:
            self._ledger_problem = ""
            making.note(Note(step="ledger", text=problem, warning=True))

    def _publish(self, making: Making) -> Iterator[Note]:
        notes = self._run_steps("publish", _done(making.run), self._on_error)
        if notes:
            making.note(*notes)
            self._record(making.run, finished=True)
        yield from notes

    def _run_steps(
        self, phase: Phase, done: Done, on_error: Callable[[BaseException], None]
    ) -> list[Note]:
        notes: list[Note] = []
        for step in self._steps:
            if step.phase != phase:
                continue
            try:
                notes += map(_checked, step.run(done) or ())
            except (Exception, SystemExit) as error:  # noqa: BLE001 - steps are isolated
                on_error(error)
                notes.append(Note(step=step.name, text=told(error), warning=True))
        return notes

    def _record(self, run: Run, *, finished: bool) -> None:
        """Write it down. The ledger never costs a picture, whatever is wrong with it."""
        if self._ledger is None:
            return
        from imagen_core.database import DatabaseError

        try:
            self._ledger.record(run, finished=finished)
        except DatabaseError as error:
            # It may have taken seconds to find out: one try is enough for a whole command.
            self._ledger = None
            self._ledger_problem = f"{error}; nothing is recorded from here on"
        except Exception as error:  # noqa: BLE001 - metadata may hold what nobody can encode
            self._ledger_problem = f"{error}; this run is not recorded"


class _Crew:
    """The threads that drive makings: one a resource, a few for those without one."""

    def __init__(
        self, cancel: threading.Event, grace: float, *, finish: Callable[[Making], None]
    ) -> None:
        self._cancel = cancel
        self._grace = grace
        self._finish = finish
        self._lanes: dict[str | None, deque[Making]] = {}
        self._queue: SimpleQueue[tuple[Making, Event | None]] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._open: list[Making] = []
        self._deadline = 0.0

    def add(self, making: Making) -> None:
        self._lanes.setdefault(making.resource, deque()).append(making)
        self._open.append(making)

    def start(self) -> None:
        for resource, lane in self._lanes.items():
            for _ in range(1 if resource is not None else min(SIDE_BY_SIDE, len(lane))):
                thread = threading.Thread(
                    target=self._work, args=(lane,), name=THREAD_NAME, daemon=True
                )
                self._threads.append(thread)
                thread.start()

    def events(self) -> Iterator[tuple[Making, Event | None]]:
        """What happens, in order; None says that a making is over."""
        while self._open:
            try:
                making, event = self._queue.get(timeout=TICK_SECONDS)
            except Empty:
                if self._overdue():
                    yield from self._give_up(self._grace)
                continue
            if making in self._open:
                if event is None:
                    self._open.remove(making)
                yield making, event

    def stop(self) -> None:
        """End what is still running."""
        if self._open:
            self._cancel.set()
            for _ in self.events():
                pass
        for thread in self._threads:
            thread.join(JOIN_SECONDS if self._cancel.is_set() else None)

    def leave(self) -> None:
        """End at once, and wait for nobody: what still runs ends with the process."""
        self._cancel.set()
        for _ in self._give_up(0):
            pass
        self._threads.clear()

    def _overdue(self) -> bool:
        """Whether the grace after cancelling is over."""
        if not self._cancel.is_set():
            return False
        self._deadline = self._deadline or time.monotonic() + self._grace
        return time.monotonic() > self._deadline

    def _give_up(self, seconds: float) -> Iterator[tuple[Making, Event | None]]:
        for lane in self._lanes.values():
            lane.clear()
        while self._open:
            making = self._open.pop(0)
            making.give_up(seconds)
            self._finish(making)
            yield making, None

    def _work(self, lane: deque[Making]) -> None:
        while True:
            try:
                making = lane.popleft()
            except IndexError:
                return
            try:
                if self._cancel.is_set():
                    making.give_up(0)
                else:
                    making.drive(partial(self._emit, making), self._cancel)
                self._finish(making)
            finally:
                self._queue.put((making, None))

    def _emit(self, making: Making, event: Event) -> None:
        if isinstance(event, Image):
            # It is on disk; its bytes would only pile up where the consumer is slow.
            event = replace(event, data=b"")
        self._queue.put((making, event))


def _checked(note: object) -> Note:
    if not isinstance(note, Note):
        raise TypeError(f"it gave a {type(note).__name__}, which is no Note")
    return note


def _done(run: Run) -> Done:
    return Done(runs=(run,), paths=tuple(output.path for output in run.outputs))


def _with(run: Run, notes: Iterable[Note]) -> Run:
    return replace(run, notes=(*run.notes, *notes))
