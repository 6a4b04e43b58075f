"""Comparing: each cell made once, whatever happens between the first and the last."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from imagen_core import files, leftovers, sidecar
from imagen_core.cells import Requests
from imagen_core.comparison import FILE_NAME, Cell, Comparison, save, totals
from imagen_core.errors import Cancelled, ImagenError, UnavailableError, UsageError
from imagen_core.files import Target, expand
from imagen_core.making import ignored
from imagen_core.stock import NOTHING, Find, Stock, to_the_end
from imagen_core.types import Failure, Request, Run, new_id

if TYPE_CHECKING:
    import threading

    from imagen_core.ledger import Ledger
    from imagen_core.pipeline import Item, Pipeline
    from imagen_core.protocols import App
    from imagen_core.types import Output

NAMING = "{backend}-{seed}.{ext}"
LOCK = ".imagen-lock"
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
        self.unsaved = ""
        """What keeps the state from being written down."""
        self.ledger_problem = ""
        """What keeps the ledger from being asked."""
        self.unclaimed = ""
        """What to say of the files that an earlier process left, and that are nobody's."""
        self.lost: ImagenError | None = None
        """What to say if its folder went away; `folder` is where its state is now."""
        self._app = app
        self._ledger = ledger
        self._stock: Stock | None = None
        self._found: list[tuple[Request, Find]] = []
        self._there: dict[str, tuple[Output, ...]] = {}
        self._gone: list[tuple[Path, str]] = []
        self._asked = Requests(app, comparison)
        self._saved = 0.0
        self._was_away = False

    @property
    def target(self) -> Target:
        """Where the pictures go."""
        return Target(folder=self.folder, naming=NAMING, flag="--output-dir")

    def resolve(self, stock: Stock | None = None) -> None:
        """Make a Request of each cell that is not done; one that can't work has failed.

        `stock`: what an earlier command left. What it made is taken, what a backend still works
        on is picked up, and what failed is made anew. Nothing on disk is changed by that. Raises
        if nothing can work.
        """
        self.requests, self._found, self._gone, self._stock = [], [], [], stock
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
            self.ledger_problem = f"ledger: {stock.problem}"
        if problems and not (self.requests or self._found or self._done()):
            raise problems[0]

    def begin(self) -> None:
        """Write down what is to be made; where that can't be done, nobody is to be asked."""
        self.save()
        if self.unsaved:
            hint = "nothing was made; free that file, or copy the folder and go on there"
            raise UsageError(self.unsaved, hint=hint)

    def save(self, *, now: bool = True) -> None:
        """Write down how it stands; a disk that is full does not stop what is being made."""
        if not now and self._ledger and time.monotonic() - self._saved < SAVE_SECONDS:
            return
        self.comparison = replace(self.comparison, totals=totals(self.comparison.cells))
        try:
            save(self.folder, self.comparison)
            self.unsaved = ""
        except OSError as error:
            self.unsaved = f"cannot write {self.folder / FILE_NAME}: {files.reason(error)}"
        self._saved = time.monotonic()

    def run(self, pipeline: Pipeline, cancel: threading.Event) -> Iterator[tuple[Request, Item]]:
        """Make what is left; the comparison is written down as it goes on."""
        self._settle(pipeline)

        def each(requests: Sequence[Request]) -> Iterator[tuple[Request, Item]]:
            return pipeline.each(requests, self._place, cancel, enough=self._is_gone)

        try:
            for request, item in to_the_end(self.requests, each, self._renewed):
                if isinstance(item, Run):
                    self.runs.append(item)
                    self._take(self._cell(request), item)
                    self.save(now=False)
                yield request, item
        finally:
            self.requests = []
            if self._is_gone():
                self._leave(pipeline.rescue)
            self.save()

    def _is_gone(self, _: int = 0) -> bool:
        """Whether its folder is not there any longer, or was away; it is not made once more."""
        self._was_away = self._was_away or files.is_gone(self.folder)
        return self._was_away

    def _leave(self, rescue: Path) -> None:
        """Keep the state where pictures are rescued, unless it is there again; say how to go on."""
        told = f"the folder {self.folder} went away, and nothing was begun after that"
        hint, way = "put it back", "it is there again, and '{}' goes on"
        with contextlib.suppress(ImagenError):
            if files.is_gone(self.folder):
                self.folder = place(rescue, self.comparison)
                way = "put it back and resume it; or '{}' goes on without it"
            hint = way.format(f"imagen compare --resume {shlex.quote(str(self.folder))}")
        self.lost = ImagenError(told, hint=hint)

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
        about = self._asked.about(cell.model)
        found = stock.find(request, self.target, about) if stock else NOTHING
        ended = stock is not None and cell.status != "waiting"
        self._gone += [(self.folder / file, cell.id) for file in cell.files]
        cell = replace(cell, status="waiting", error=None, notes=notes)
        found.check(request, about)
        if found.run or found.resume:
            self._found.append((request, found))
        elif found.is_known or ended:
            cell = replace(cell, id=new_id())
        # One that is made already is not done before its steps are.
        self._put(cell)
        if not found.run:
            self.requests.append(replace(request, id=cell.id, resume=found.resume))

    def _renewed(self, requests: Sequence[Request]) -> list[Request]:
        """The same to be made anew, which is written down first."""
        if self._is_gone():
            return []
        found = [replace(request, id=new_id(), resume="") for request in requests]
        for request in found:
            self._put(replace(self._cell(request), id=request.id))
        self.save()
        return found

    def _place(self, request: Request) -> Target:
        """Where the picture of a request goes, or is already."""
        return replace(self.target, there=self._there.get(request.id, ()))

    def _settle(self, pipeline: Pipeline) -> None:
        """Take what an earlier command made, give it its name, and run the steps it missed."""
        for path, run_id in self._gone:
            leftovers.forget(path, run_id)
        for request, found in self._found:
            assert self._stock
            cell = self._cell(request)
            try:
                outputs = self._stock.take(found, request, self.target)
            except ImagenError as error:
                self.requests = [r for r in self.requests if r.id != request.id]
                self._put(_failed(cell, Failure.of(error)))
                continue
            if found.run:
                self._take(cell, pipeline.complete(replace(found.run, outputs=outputs)))
            else:
                self._there[request.id] = outputs
        if self._stock:
            self.unclaimed = self._stock.clean()
        self._found, self._gone, self._stock = [], [], None

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
    try:
        file = (folder / LOCK).open("ab")
    except OSError as error:
        told = f"cannot write {folder / LOCK}: {error.strerror}"
        raise UsageError(
            told, hint="copy the folder to where you may write, and go on there"
        ) from error
    with file:
        if not files.lock(file.fileno()):
            told = f"another imagen is at work in {folder}"
            raise UnavailableError(told, hint="wait until it has ended")
        yield


def place(folder: Path, comparison: Comparison) -> Path:
    """Make the folder of a comparison; a name that is taken gets -2, -3 …"""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is no folder", hint="choose another --output-dir")
    files.prepare(Target(folder=folder, flag="--output-dir"))
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
