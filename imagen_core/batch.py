"""A batch: many makings from the rows of a file, begun once and finished whatever happens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from imagen_core import files
from imagen_core.batch_state import Kept, Plan, Planned, Result, State
from imagen_core.drafting import Entry, Order, draft
from imagen_core.errors import ImagenError, UsageError
from imagen_core.leftovers import forget, is_there, run_of, sidecar_of
from imagen_core.making import expected_values
from imagen_core.resolve import read_image
from imagen_core.rows import Problem, RowsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from imagen_core.protocols import App
    from imagen_core.rows import Rows
    from imagen_core.types import Request, Run

AFRESH = "--restart plans it anew and leaves the pictures alone; --name makes another one"


class Left(NamedTuple):
    """What an earlier process left to do. `adopted`: made, and cut off before it was noted."""

    skipped: int
    adopted: tuple[Run, ...]
    requests: tuple[Request, ...]
    gone: tuple[Result, ...] = ()


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
        self._seen = state.peek()
        self._resumed = None if restart else state.read_plan()
        self._flags = _flags(order, rows)
        self._digest = digest
        if self._resumed:
            self._refuse_changes(self._resumed)
        self.entries = draft(app, rows, order, target, self._resumed, watch=watch)
        if self._resumed and _planned(self.entries) != self._resumed.makings:
            raise self._otherwise("its rows come to other pictures")
        self._by_id = {entry.request.id: entry for entry in self.entries}

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
        return self._by_id[request.id]

    def target(self, request: Request) -> files.Target:
        """Where the picture of a request goes."""
        return self._by_id[request.id].target

    def load(self, request: Request) -> Request:
        """The request with the bytes of its input images."""
        if not request.images:
            return request
        entry = self.entry(request)
        images = tuple(read_image(Path(path)) for path in entry.images)
        if [i.sha256 for i in images] != [i.sha256 for i in request.images]:
            raise ImagenError(
                "an input image has changed since it was checked",
                hint="the same command takes it as it is now",
            )
        return replace(request, images=images)

    def begin(self) -> None:
        """Take the batch for this process, and write its plan down unless there is one."""
        self._prepare_folders()
        self._state.lock(self._seen)
        if self._resumed:
            return
        plan = Plan(
            source=self._rows.source,
            sha256=self._digest,
            flags=self._flags,
            folder=str(self._state.folder.absolute()),
            created_at=files.Moment.now().utc,
            makings=_planned(self.entries),
        )
        self._state.write_plan(plan)

    def _prepare_folders(self) -> None:
        try:
            files.prepare(self._target)
        except UsageError as error:
            hint = "choose another with --output-dir, or set output.dir"
            raise UsageError(error.message, hint=hint) from error
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

    def sort_out(self, recall: Callable[[str], Run | None]) -> Left:
        """What is done already, by the files that are really there, and what is left to do.

        `recall` gives the Run of an id, as far as somebody remembers it.
        """
        if not self._resumed:
            return Left(0, (), tuple(entry.request for entry in self.entries))
        results = self._state.read_results()
        done = {id: self._there(result) for id, result in results.items() if id in self._by_id}
        taken = {path for paths in done.values() for path in paths}
        adopted, requests, gone, skipped = [], [], [], 0
        for entry in self.entries:
            request = entry.request
            if done.get(request.id):
                skipped += 1
                continue
            result = results.get(request.id)
            if result and result.status == "done":
                gone.append(result)
                requests.append(request)
                continue
            run = self._cut_off(entry, recall, taken)
            if run and run.outputs:
                taken |= {output.path for output in run.outputs}
                adopted.append(run)
            else:
                requests.append(replace(request, resume=run.remote_id if run else ""))
        return Left(skipped, tuple(adopted), tuple(requests), tuple(gone))

    def _there(self, result: Result) -> list[str]:
        """The paths of a result's pictures, if each is there as it was made."""
        if result.status != "done" or not result.outputs:
            return []
        paths = [self._moved(kept.path) for kept in result.outputs]
        pairs = zip(paths, result.outputs, strict=True)
        return [*map(str, paths)] if all(is_there(path, kept) for path, kept in pairs) else []

    def _moved(self, path: str) -> Path:
        """The path, if the whole folder has been moved since."""
        plan, folder = self._resumed, self._state.folder.absolute()
        if plan and plan.folder != str(folder) and Path(path).is_relative_to(plan.folder):
            return folder / Path(path).relative_to(plan.folder)
        return Path(path)

    def _cut_off(
        self, entry: Entry, recall: Callable[[str], Run | None], taken: set[str]
    ) -> Run | None:
        """What is known of a making that nobody noted as done: its pictures, or its remote id."""
        run = recall(entry.request.id)
        if run is None:
            return self._by_sidecar(entry, taken)
        if run.failure:
            return None
        outputs = tuple(
            replace(output, path=str(self._moved(output.path))) for output in run.outputs
        )
        there = all(is_there(Path(o.path), o) and o.path not in taken for o in outputs)
        return replace(run, outputs=outputs if there else (), request=entry.request)

    def _by_sidecar(self, entry: Entry, taken: set[str]) -> Run | None:
        """The Run of a picture under the name that this one would get, if its sidecar says so."""
        instance = self._app.instance(entry.request.backend)
        values = expected_values(entry.request, instance.backend.about)
        for path in entry.target.candidates(values):
            if not path.is_file():
                return None
            sidecar = sidecar_of(path)
            if sidecar.get("id") == entry.request.id and str(path.absolute()) not in taken:
                return run_of(sidecar, entry.request, path)
        return None

    def forget(self, gone: Iterable[Result]) -> None:
        """Take away the sidecars of pictures that are gone, so that their names are free again."""
        for result in gone:
            for kept in result.outputs:
                forget(self._moved(kept.path), result.id)

    def record(self, run: Run) -> None:
        """Write down what became of a making."""
        entry = self._by_id[run.id]
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


def _planned(entries: tuple[Entry, ...]) -> tuple[Planned, ...]:
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
