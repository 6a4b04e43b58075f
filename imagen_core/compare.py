"""Comparing: each cell made once, whatever happens between the first and the last."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from imagen_core import files, leftovers, sidecar
from imagen_core.cells import Requests
from imagen_core.comparison import FILE_NAME, Cell, Comparison, save, totals
from imagen_core.errors import Cancelled, ImagenError, RejectedError, UsageError
from imagen_core.files import Target, expand
from imagen_core.making import ignored
from imagen_core.stock import Stock
from imagen_core.types import Failure, Request, Run, new_id

if TYPE_CHECKING:
    import threading

    from imagen_core.ledger import Ledger
    from imagen_core.pipeline import Item, Pipeline
    from imagen_core.protocols import App

NAMING = "{backend}-{seed}.{ext}"
LOCK = ".imagen-lock"
PASSES = 2
"""A cell whose earlier making can't be picked up is made anew."""
OVER = (ImagenError.code, RejectedError.code)
"""How a making ended that was picked up, and of which nothing more will come."""
SAVE_SECONDS = 1.0
"""How often the state is written down meanwhile; the ledger knows what comes in between."""


class Comparing:
    """A comparison at work in its folder. `comparison` is how it stands.

    `ledger`: what was made before, if it may be asked.
    """

    def __init__(
        self, app: App, folder: Path, comparison: Comparison, *, ledger: Ledger | None = None
    ) -> None:
        self.folder = folder
        self.comparison = comparison
        self.requests: list[Request] = []
        """What is left to be made."""
        self.runs: list[Run] = []
        """What this command made."""
        self.problem = ""
        """What keeps the state from being written down, or the ledger from being asked."""
        self._app = app
        self._ledger = ledger
        self._cut_off: list[tuple[Run, tuple[Path, ...]]] = []
        self._earlier: dict[str, tuple[Path, ...]] = {}
        self._gone: list[tuple[Path, str]] = []
        self._asked = Requests(app, comparison)
        self._saved = 0.0

    @property
    def target(self) -> Target:
        """Where the pictures go."""
        return Target(folder=self.folder, naming=NAMING)

    def resolve(self, stock: Stock | None = None) -> None:
        """Make a Request of each cell that is not done; one that can't work has failed.

        `stock`: what an earlier command left. What it made is taken, what a backend still works
        on is picked up, and what failed is made anew. Nothing on disk is changed by that. Raises
        if nothing can work.
        """
        self.requests, self._cut_off, self._gone = [], [], []
        problems: list[UsageError] = []
        for cell in self.comparison.cells:
            if cell.status == "done" and self._is_whole(cell):
                continue
            try:
                self._plan(cell, stock)
            except UsageError as error:
                problems.append(error)
                self._put(_failed(cell, Failure.of(error)))
        if stock and stock.problem:
            self.problem = f"ledger: {stock.problem}"
        if problems and not (self.requests or self._cut_off or self._done()):
            raise problems[0]

    def save(self, *, now: bool = True) -> None:
        """Write down how it stands; a disk that is full does not stop what is being made."""
        if not now and self._ledger and time.monotonic() - self._saved < SAVE_SECONDS:
            return
        self.comparison = replace(self.comparison, totals=totals(self.comparison.cells))
        try:
            save(self.folder, self.comparison)
        except OSError as error:
            self.problem = f"cannot write {self.folder / FILE_NAME}: {error.strerror}"
        self._saved = time.monotonic()

    def run(self, pipeline: Pipeline, cancel: threading.Event) -> Iterator[tuple[Request, Item]]:
        """Make what is left; the comparison is written down as it goes on."""
        self._settle(pipeline)
        for number in range(PASSES):
            again: list[Request] = []
            for request, item in pipeline.each(self.requests, self.target, cancel):
                if isinstance(item, Run):
                    over = item.failure and item.failure.code in OVER
                    if over and request.resume and not cancel.is_set() and not number:
                        again.append(replace(request, id=new_id(), resume=""))
                        self._put(replace(self._cell(request), id=again[-1].id))
                        self.save()
                        continue
                    item = self._united(item, pipeline)
                    self.runs.append(item)
                    self._take(self._cell(request), item)
                    self.save(now=False)
                yield request, item
            self.requests = again
            if not again:
                break
        self.save()

    def pictures(self) -> list[str]:
        """The paths of all pictures."""
        return [str(self.folder / file) for cell in self.comparison.cells for file in cell.files]

    def plan(self, request: Request) -> dict[str, Any]:
        """What a cell would be, for those who only want to know."""
        backend = self._app.instance(request.backend).backend
        about, cost = backend.about, backend.estimate(request)
        cell = self._cell(request)
        return {
            "model": cell.model,
            "seed": cell.seed,
            "size": f"{request.width}x{request.height}",
            "steps": request.steps,
            "resource": backend.resource,
            "resumes": request.resume,
            "cost_usd_estimate": cost.usd if cost else None,
            "warnings": [*cell.notes, *ignored(request, about), *backend.remarks(request)],
        }

    def _plan(self, cell: Cell, stock: Stock | None) -> None:
        """What is to be done for a cell that is not done."""
        request, notes = self._asked.of(cell)
        found = stock.find(cell, request) if stock else None
        ended = stock is not None and cell.status != "waiting"
        self._gone += [(self.folder / file, cell.id) for file in cell.files]
        cell = replace(cell, status="waiting", error=None, notes=notes)
        if found and found.run:
            # Not done before its steps are.
            self._cut_off.append((replace(found.run, request=request), found.sources))
            self._put(cell)
            return
        if found and found.resume:
            model = self._asked.about(cell.model).model
            if found.model != model:
                told = f"'{cell.model}' has begun it with the model {found.model}, and has {model}"
                raise UsageError(told, hint="change the block back, or start a new comparison")
            request = replace(request, resume=found.resume)
            self._earlier[cell.id] = found.sources
        elif ended:
            cell = replace(cell, id=new_id())
        self._put(cell)
        self.requests.append(replace(request, id=cell.id))

    def _united(self, run: Run, pipeline: Pipeline) -> Run:
        """The Run with pictures that were there before a kill under the names that they have."""
        earlier = self._earlier.pop(run.id, ())
        outputs = list(run.outputs)
        for number, output in enumerate(outputs):
            path = Path(output.path)
            old = next((old for old in earlier if leftovers.is_there(old, output)), path)
            if old != path and old.parent == self.folder:
                path.unlink(missing_ok=True)
                files.sidecar_path(path).unlink(missing_ok=True)
                outputs[number] = replace(output, path=str(old.absolute()))
        if outputs == list(run.outputs):
            return run
        return pipeline.complete(replace(run, outputs=tuple(outputs)))

    def _settle(self, pipeline: Pipeline) -> None:
        """Take what an earlier command made, give it its name, and run the steps it missed."""
        stock = Stock(self.folder, None)
        for run, sources in self._cut_off:
            taken = pipeline.complete(stock.take(run, sources, self.target))
            self._take(self._cell(run.request), taken)
        for path, run_id in self._gone:
            leftovers.forget(path, run_id)
        stock.clean()
        self._cut_off, self._gone = [], []

    def _take(self, cell: Cell, run: Run) -> None:
        """What became of a cell; pictures are kept though the making failed after them."""
        kept = replace(
            cell,
            latency_ms=run.latency_ms or None,
            cost_usd_estimate=_cost(run),
            files=tuple(Path(output.path).name for output in run.outputs),
        )
        failure = run.failure
        if failure or not run.outputs:
            self._put(_failed(kept, failure or Failure(code="failed", message="no picture")))
            return
        document = sidecar.document(run, run.outputs[0])
        notes = tuple(dict.fromkeys((*cell.notes, *document["warnings"])))
        done = replace(kept, status="done", document=document, error=None, notes=notes)
        self._put(done)

    def _is_whole(self, cell: Cell) -> bool:
        """Whether the pictures of a cell are there, as far as can be told without reading them."""
        size = (cell.document or {}).get("size")
        for number, file in enumerate(cell.files):
            path = self.folder / file
            if not path.is_file() or (not number and path.stat().st_size != size):
                return False
        return bool(cell.files)

    def _cell(self, request: Request) -> Cell:
        place = (request.backend, request.seed)
        return next(c for c in self.comparison.cells if (c.model, c.seed) == place)

    def _put(self, cell: Cell) -> None:
        self.comparison = self.comparison.with_cell(cell)

    def _done(self) -> bool:
        return any(cell.status == "done" for cell in self.comparison.cells)


@contextlib.contextmanager
def at_work(folder: Path) -> Iterator[None]:
    """Keep other processes off this folder."""
    with files.locked(folder / LOCK) as alone:
        if not alone:
            told = f"another imagen is at work in {folder}"
            raise UsageError(told, hint="wait until it has ended")
        yield


def place(folder: Path, comparison: Comparison) -> Path:
    """Make the folder of a comparison; a name that is taken gets -2, -3 …"""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is no folder", hint="choose another --output-dir")
    files.prepare(Target(folder=folder))
    for number in range(1, 10_000):
        name = comparison.folder_name + (f"-{number}" if number > 1 else "")
        path = folder / expand(name, {})
        try:
            path.mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise UsageError(f"cannot make the folder {path}: {error.strerror}") from error
        return path
    raise ImagenError(f"{folder} has too many comparisons of one name", hint="move some away")


def _failed(cell: Cell, failure: Failure) -> Cell:
    status = "cancelled" if failure.code == Cancelled.code else "failed"
    error = {
        "code": failure.code,
        "message": failure.message,
        "hint": failure.hint,
        "retryable": failure.retryable,
    }
    return replace(cell, status=status, error=error, document=None)


def _cost(run: Run) -> float | None:
    """What a Run cost; one that failed and that no server had cost nothing."""
    if run.cost:
        return run.cost.usd
    return 0.0 if run.failure and not run.remote_id else None
