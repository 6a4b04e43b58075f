"""A batch: many makings from the rows of a file, begun once and finished whatever happens."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from imagen_core import files
from imagen_core.batch_state import Kept, Plan, Planned, Result, State
from imagen_core.drafting import Entry, Order, draft
from imagen_core.errors import ImagenError, UsageError
from imagen_core.leftovers import forget, is_there
from imagen_core.resolve import read_image
from imagen_core.rows import Problem, RowsError
from imagen_core.stock import Find, Stock
from imagen_core.types import Failure, Run, new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from imagen_core.ledger import Ledger
    from imagen_core.protocols import App
    from imagen_core.rows import Rows
    from imagen_core.types import About, Output, Request

AFRESH = "--restart plans it anew and leaves the pictures alone; --name makes another one"


class Left(NamedTuple):
    """What an earlier process left to do.

    `found`: what needs nobody to make it, since it was made and cut off before it was noted.
    """

    skipped: int
    found: tuple[tuple[Request, Find], ...]
    requests: tuple[Request, ...]
    gone: tuple[Result, ...] = ()
    warnings: tuple[str, ...] = ()


class Batch:
    """The makings of a batch, with its state on disk."""

    def __init__(
        self,
        app: App,
        rows: Rows,
        order: Order,
        *,
        target: files.Target,
        state: State,
        digest: str,
        restart: bool = False,
        watch: Callable[[], object] = int,
    ) -> None:
        """Resolve and check everything; nothing is written until `begin`.

        `watch` is called before each row.
        """
        self._app = app
        self._rows = rows
        self._target = target
        self._state = state
        has_results = state.has_results()  # a plan is there before them
        self._seen = state.seen()
        self._resumed = None if restart else state.read_plan()
        if has_results and not (restart or self._resumed):
            raise state.without_plan()
        self._flags = _flags(order, rows)
        self._digest = digest
        if self._resumed:
            self._refuse_changes(self._resumed)
        self.entries = list(draft(app.resolve, rows, order, target, self._resumed, watch=watch))
        self._planned = _planned(self.entries)
        if self._resumed and self._planned != self._resumed.makings:
            raise self._otherwise("its rows come to other pictures")
        self._places = {entry.request.id: place for place, entry in enumerate(self.entries)}
        self.unclaimed = ""
        """What to say of the files that an earlier process left, and that are nobody's."""
        self._stock: Stock | None = None
        self._found: dict[str, Find] = {}
        self._there: dict[str, tuple[Output, ...]] = {}

    def _refuse_changes(self, plan: Plan) -> None:
        flags = self._flags
        changes = [
            f"{_flag(key)} was {_shown(plan.flags, key)} and is {_shown(flags, key)}"
            for key in sorted({*plan.flags, *flags})
            if plan.flags.get(key) != flags.get(key)
        ]
        if plan.sha256 != self._digest:
            same = plan.source == self._rows.source
            was = "has changed" if same else f"has other rows than {plan.source}"
            changes.insert(0, f"{self._rows.source} {was}")
        if changes:
            raise self._otherwise("; ".join(changes))

    def _otherwise(self, what: str) -> UsageError:
        place = f"the batch '{self._state.name}' in {self._state.folder}"
        return UsageError(f"{place} was begun otherwise: {what}", hint=AFRESH)

    def entry(self, request: Request) -> Entry:
        """The entry that a request stands for."""
        return self.entries[self._places[request.id]]

    def target(self, request: Request) -> files.Target:
        """Where the picture of a request goes, or is already."""
        there = self._there.get(request.id, ())
        return replace(self.entry(request).target, there=there)

    def load(self, request: Request) -> Request:
        """The request with the bytes of its input images."""
        if not request.images:
            return request
        entry = self.entry(request)
        images = tuple(map(read_image, entry.images))
        changed = [i.sha256 for i in images] != [i.sha256 for i in request.images]
        if changed and not request.resume:  # else its server has them as they were
            raise ImagenError(
                "an input image has changed since it was checked",
                hint="the same command takes it as it is now",
            )
        return replace(request, images=images)

    def _about(self, request: Request) -> About:
        return self._app.instance(request.backend).backend.about

    def begin(self) -> Path | None:
        """Take the batch for this process, and write its plan down unless there is one.

        The results of an earlier plan are kept beside the new ones: there, if there are any.
        """
        self._prepare_folders()
        self._state.lock(self._seen)
        if self._resumed:
            return None
        kept = self._state.keep_results()
        self._write_plan()
        self._state.clear_results()
        return kept

    @property
    def is_gone(self) -> bool:
        """Whether its folder, or the plan in it, is not there any longer."""
        return self._state.is_gone

    def lost(self, rescue: Path) -> ImagenError:
        """What to say in the end if it is gone, or was: the plan is written once more.

        Without its folder it goes where pictures are rescued; a folder that vanished is not made.
        """
        state, hint = self._state, "put it back, and the same command goes on"
        there = not files.is_gone(state.folder)
        told = f"the plan {state.plan_path}" if there else f"the folder {state.folder}"
        with contextlib.suppress(ImagenError, OSError):
            if there and state.is_gone:
                self._write_plan()
            if there:
                hint = "it is there again, and the same command goes on"
            else:
                kept = shlex.quote(str(state.rescue_plan(self._plan(), rescue)))
                folder, plan = shlex.quote(str(state.folder)), shlex.quote(str(state.plan_path))
                hint += f"; if it is lost, 'mkdir -p {folder} && cp {kept} {plan}' before"
        return ImagenError(f"{told} went away, and nothing was begun after that", hint=hint)

    def _write_plan(self) -> None:
        self._planned = _planned(self.entries)
        self._state.write_plan(self._plan())

    def _plan(self) -> Plan:
        now = files.Moment.now().utc
        folder = self._resumed.folder if self._resumed else str(self._state.folder.absolute())
        return Plan(
            source=self._rows.source,
            sha256=self._digest,
            flags=self._flags,
            folder=folder,
            created_at=self._resumed.created_at if self._resumed else now,
            makings=_planned(self.entries),
        )

    def _prepare_folders(self) -> None:
        files.prepare(self._target)
        lines = {row.number: row.line for row in self._rows.rows}
        problems = []
        for entry in self.entries:
            if entry.repeat == 1 and entry.target != self._target:
                try:
                    files.prepare(entry.target)
                except UsageError as error:
                    problem = Problem(lines[entry.row], entry.row, "output", error.message)
                    problems.append(problem)
        if problems:
            raise RowsError(self._rows.source, problems)

    def sort_out(self, ledger: Ledger | None) -> Left:
        """What is done already, by the files that are really there, and what is left to do.

        `ledger`: what was made before, if it may be asked. Nothing on disk is changed by that.
        What failed before comes after all else, and of that what was tried last comes last:
        rows that always fail do not keep others from their turn.
        """
        if not self._resumed:
            return Left(0, (), tuple(entry.request for entry in self.entries))
        results = self._state.read_results()
        done = {id: self._pictures(results[id]) for id in self._places if id in results}
        taken = [path for paths in done.values() for path in paths]
        folder = self._target.folder
        stock = self._stock = Stock(folder, ledger, where=self._moved, taken=taken)
        ready, requests, gone = [], [], []
        failed = _failed(results.values())
        for entry in [*self.entries]:
            request = entry.request
            if done.get(request.id):
                continue
            result = results.get(request.id)
            gone += [result] if result and result.status == "done" else []
            about = self._about(request)
            found = stock.find(request, entry.target, about)
            if found.run or found.is_of_another(about):
                ready.append((request, found))
            elif found.resume:
                self._found[request.id] = found
                requests.append(replace(request, resume=found.resume))
            else:
                requests.append(self._renewed(request) if found.is_known or result else request)
        requests.sort(key=lambda request: failed.get(self.entry(request).place, 0))
        warnings = [f"ledger: {stock.problem}"] if stock.problem else []
        if number := self._state.unreadable:
            warnings.append(f"{self._state.results_path}: lines that can't be read: {number}")
        skipped = len(self.entries) - len(ready) - len(requests)
        return Left(skipped, tuple(ready), tuple(requests), tuple(gone), tuple(warnings))

    def take_up(self, left: Left, complete: Callable[[Run], Run]) -> Iterator[Run]:
        """Begin with what is left: the Runs that are made already, and `complete` now.

        One that can't have its place has failed, and so has what another model has begun.
        """
        if _planned(self.entries) != self._planned:
            self._write_plan()
        for result in left.gone:
            for kept in result.outputs:
                forget(self._moved(kept.path), result.id)
        for request, found in left.found:
            try:
                yield complete(self._made(request, found))
            except ImagenError as error:
                now, failure = files.Moment.now().utc, Failure.of(error)
                yield Run(id=request.id, started_at=now, request=request, failure=failure)
        for request in left.requests:
            if self._stock and (earlier := self._found.get(request.id)):
                with contextlib.suppress(ImagenError):  # it is fetched once more, then
                    place = self.entry(request).target
                    self._there[request.id] = self._stock.take(earlier, request, place)
        if self._stock:
            self.unclaimed = self._stock.clean()

    def _made(self, request: Request, found: Find) -> Run:
        found.check(request, self._about(request))
        assert found.run
        assert self._stock
        outputs = self._stock.take(found, request, self.entry(request).target)
        return replace(found.run, outputs=outputs)

    def renew(self, requests: Sequence[Request]) -> list[Request]:
        """The same to be made anew, under other ids, which are written down first."""
        found = [self._renewed(request) for request in requests]
        self._write_plan()
        return found

    def _renewed(self, request: Request) -> Request:
        place = self._places[request.id]
        renewed = replace(request, id=new_id(), resume="")
        self.entries[place] = self.entries[place]._replace(request=renewed)
        self._places[renewed.id] = place
        return renewed

    def _pictures(self, result: Result) -> list[Path]:
        """The paths of a result's pictures, if each is there as it was made."""
        if result.status != "done":
            return []
        paths = [self._moved(kept.path) for kept in result.outputs]
        pairs = zip(paths, result.outputs, strict=True)
        return paths if all(is_there(path, kept) for path, kept in pairs) else []

    def _moved(self, path: str) -> Path:
        """The path, if the whole folder has been moved since."""
        plan, folder = self._resumed, self._state.folder.absolute()
        if plan and plan.folder != str(folder) and Path(path).is_relative_to(plan.folder):
            return folder / Path(path).relative_to(plan.folder)
        return Path(path)

    def record(self, run: Run) -> None:
        """Write down what became of a making."""
        entry = self.entry(run.request)
        kept = (Kept(path=o.path, sha256=o.sha256, size=o.size) for o in run.outputs)
        self._state.append(
            Result(
                row=entry.row,
                repeat=entry.repeat,
                id=run.id,
                status="failed" if run.failure else "done",
                backend=run.request.backend,
                seed=run.outputs[0].seed if run.outputs else run.request.seed,
                prompt=run.request.typed_prompt,
                template=entry.template,
                outputs=tuple(kept),
                cost_usd_estimate=run.cost.usd if run.cost else None,
                latency_ms=run.latency_ms,
                error=run.failure,
                finished_at=files.Moment.now().utc,
            )
        )

    def close(self) -> None:
        """Let other processes at it."""
        self._state.close()


def _failed(results: Iterable[Result]) -> dict[tuple[int, int], int]:
    """Which makings failed the last time, in the order in which they were tried, from 1."""
    last = {(found.row, found.repeat): (found, n) for n, found in enumerate(results, 1)}
    return {place: n for place, (found, n) in last.items() if found.status == "failed"}


def _planned(entries: Sequence[Entry]) -> tuple[Planned, ...]:
    return tuple(
        Planned(
            row=entry.row,
            repeat=entry.repeat,
            id=entry.request.id,
            seed=entry.request.seed,
            prompt=entry.request.typed_prompt if entry.template else "",
        )
        for entry in entries
    )


def _flags(order: Order, rows: Rows) -> dict[str, Any]:
    """What was asked of all rows, as a plan keeps it."""
    found = {
        key: [*value] if isinstance(value, tuple) else value
        for key, value in order.defaults.items()
    }
    more = {
        "backend": order.backend,
        "params": {name: str(value) for name, value in order.defaults.get("params", {}).items()},
        "repeat": order.repeat,
        "expand": "all" if order.every else "random",
        "format": rows.form,
    }
    return {**found, **more}


def _flag(key: str) -> str:
    return {"images": "--image", "params": "-p"}.get(key, f"--{key}")


def _shown(flags: Mapping[str, Any], key: str) -> str:
    value = flags.get(key)
    if isinstance(value, dict):
        value = " ".join(f"{name}={given}" for name, given in value.items())
    return f"'{value}'" if value else "not given"
