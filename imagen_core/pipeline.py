"""run() and each(): slots, cancelling, recording, steps. Knows no plugin, terminal or format."""

from __future__ import annotations

import threading
from copy import copy
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from imagen_core import files
from imagen_core.crew import GRACE_SECONDS, Crew
from imagen_core.errors import told
from imagen_core.making import RESCUE_FOLDER, Making
from imagen_core.specs import Phase
from imagen_core.types import Done, Event, Note, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from imagen_core.ledger import Ledger
    from imagen_core.protocols import Instance
    from imagen_core.types import Request

Item = Event | Run | Note


class Step(NamedTuple):
    """A step that is on, ready to run; `switch`: the key of what turned it on."""

    name: str
    phase: Phase
    run: Callable[[Done], Iterable[Note]]
    switch: str = ""


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
        owner: str = "",
        on_error: Callable[[BaseException], None] = lambda error: None,  # noqa: ARG005
        grace: float = GRACE_SECONDS,
    ) -> None:
        self._instance = instance
        self._ledger = ledger
        self._ledger_problem = ""
        self.rescue = data / RESCUE_FOLDER
        self._steps = steps
        self._caller = caller
        self._owner = owner
        self._is_lost: Callable[[], bool] = lambda: False
        self._on_error = on_error
        self._grace = grace

    def on_behalf(self, caller: str | None, owner: str, is_lost: Callable[[], bool]) -> Pipeline:
        """The same for makings that somebody else asked for, and may own.

        `is_lost`: whether another process sees to them by now, and so what they come to.
        """
        other = copy(self)
        other._caller, other._owner, other._is_lost = caller, owner, is_lost
        return other

    def problems(self, run: Run, switch: str) -> list[str]:
        """What the steps of this switch had to warn of."""
        names = {step.name for step in self._steps if step.switch == switch}
        return [note.text for note in run.notes if note.warning and note.step in names]

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
        self,
        requests: Sequence[Request],
        target: files.Target | Callable[[Request], files.Target],
        cancel: threading.Event,
        *,
        enough: Callable[[int], bool] = lambda failed: False,  # noqa: ARG005
        load: Callable[[Request], Request] = lambda request: request,
        settled: Callable[[Run], None] = lambda run: None,  # noqa: ARG005
    ) -> Generator[tuple[Request, Item], None, None]:
        """Events as they happen, and each Run when its pictures and sidecars are on disk.

        Requests for one resource run one after the other, different resources side by side.
        After a Run come the Notes of its `publish` steps, which run when the next item is asked
        for. Setting `cancel` ends what is running, and once `enough`, which is told how many have
        failed, says so, nothing new begins; each Request has its Run all the same. `load` makes
        the Request that the backend gets at the last moment, so that not all input images need
        be in memory at once. `settled` is told of each Run when all its steps are over, too. One
        that never began has no steps: there may be thousands of them.
        """
        crew = Crew(cancel, self._grace, finish=self._finish, enough=enough)
        for request, place in zip(requests, _places(requests, target), strict=True):
            crew.add(self._making(request, place, load))
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
                settled(making.run)
        except KeyboardInterrupt:
            crew.leave()
            raise
        finally:
            crew.stop()

    def complete(self, run: Run) -> Run:
        """See a Run through its steps whose process ended before they ran, or while they did.

        What they said of it before is no longer so.
        """
        names = {step.name for step in self._steps}
        run = replace(run, notes=tuple(note for note in run.notes if note.step not in names))
        notes = self._run_steps("record", _done(run), self._on_error)
        run = _with(run, [*notes, *self._run_steps("publish", _done(run), self._on_error)])
        self._record(run, finished=True)
        return run

    def show(self, runs: Sequence[Run], paths: Sequence[str]) -> list[Note]:
        """The steps that come once for a whole command."""
        return self._run_steps("show", Done(runs=tuple(runs), paths=tuple(paths)), self._on_error)

    def _making(
        self, request: Request, target: files.Target, load: Callable[[Request], Request]
    ) -> Making:
        return Making(
            request,
            self._instance(request.backend),
            target,
            caller=self._caller,
            owner=self._owner,
            record=self._record,
            rescue=self.rescue,
            load=load,
            is_lost=self._is_lost,
        )

    def _finish(self, making: Making) -> None:
        """What comes between the last picture and the printed path, still in its thread."""
        if not making.has_begun:
            return
        notes = self._run_steps("record", _done(making.run), making.errors.append)
        making.note(*notes)
        if notes:
            self._record(making.run, finished=True)
        if problem := self._ledger_problem:
            self._ledger_problem = ""
            making.note(Note(step="ledger", text=problem, warning=True))

    def _publish(self, making: Making) -> Iterator[Note]:
        if not making.has_begun:
            return
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
        if self._ledger is None or self._is_lost():
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


def _places(
    requests: Sequence[Request], target: files.Target | Callable[[Request], files.Target]
) -> list[files.Target]:
    """Where each picture is to go; every folder is there and can be written to."""
    if isinstance(target, files.Target):
        files.prepare(target)
        return [target.nth(index) for index in range(len(requests))]
    places = [target(request) for request in requests]
    for place in dict.fromkeys(replace(place, there=()) for place in places):
        files.prepare(place)
    return places


def _checked(note: object) -> Note:
    if not isinstance(note, Note):
        raise TypeError(f"it gave a {type(note).__name__}, which is no Note")
    return note


def _done(run: Run) -> Done:
    return Done(runs=(run,), paths=tuple(output.path for output in run.outputs))


def _with(run: Run, notes: Iterable[Note]) -> Run:
    return replace(run, notes=(*run.notes, *notes))
