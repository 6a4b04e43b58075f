"""Comparing: each cell made once, whatever happens between the first and the last."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from imagen_core import files, leftovers, sidecar
from imagen_core.comparison import Cell, Comparison, save, totals
from imagen_core.errors import Cancelled, ImagenError, UsageError
from imagen_core.files import Target, expand
from imagen_core.making import ignored
from imagen_core.sound import damage
from imagen_core.types import Failure, Output, Request, Run, new_id

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from imagen_core.ledger import Ledger
    from imagen_core.pipeline import Item, Pipeline
    from imagen_core.protocols import App
    from imagen_core.types import About

NAMING = "{backend}-{seed}.{ext}"
FORMATS = ("output_format", "format")
"""Parameters by which a backend may be asked for PNG."""
LOCK = ".imagen-lock"
PASSES = 2
"""A cell whose earlier making can't be picked up is made anew."""


class Comparing:
    """A comparison at work in its folder. `comparison` is how it stands.

    `ledger`: what was made before, if it may be asked.
    """

    def __init__(
        self,
        app: App,
        folder: Path,
        comparison: Comparison,
        *,
        ledger: Ledger | None = None,
    ) -> None:
        self.folder = folder
        self.comparison = comparison
        self.requests: list[Request] = []
        """What is left to be made."""
        self.runs: list[Run] = []
        """What this command made."""
        self._cut_off: list[Run] = []
        self._app = app
        self._ledger = ledger

    @property
    def target(self) -> Target:
        """Where the pictures go."""
        return Target(folder=self.folder, naming=NAMING)

    def resolve(self) -> None:
        """Make a Request of each cell that is not done; one that can't work has failed.

        Raises if none can.
        """
        self.requests = []
        problems: list[UsageError] = []
        for cell in self.comparison.cells:
            if cell.status == "done":
                continue
            try:
                request, notes = self._request(cell)
            except UsageError as error:
                problems.append(error)
                self._put(_failed(cell, Failure.of(error)))
            else:
                self._put(replace(cell, status="waiting", error=None, notes=notes))
                self.requests.append(request)
        if problems and not self.requests and not self._done():
            raise problems[0]

    def take_stock(self) -> None:
        """Look what an earlier command made, also right before it was killed.

        Pictures that are there are taken; what a backend still works on is picked up; a cell that
        failed gets a new id, since it is made anew.
        """
        parts = _parts(self.folder)
        for cell in self.comparison.cells:
            if cell.status == "done" and all((self.folder / f).is_file() for f in cell.files):
                continue
            if cell.status != "waiting":
                self._forget(cell)
                self._put(Cell(model=cell.model, seed=cell.seed, id=new_id()))
            elif run := self._made(cell, parts):
                self._cut_off.append(run)
                self._take(cell, run)
        for part, data in parts.items():
            if damage(data) or not files.image_header(data):
                part.unlink(missing_ok=True)  # cut off in the midst of writing, or no picture

    def save(self) -> None:
        """Write down how it stands."""
        self.comparison = replace(self.comparison, totals=totals(self.comparison.cells))
        save(self.folder, self.comparison)

    def run(self, pipeline: Pipeline, cancel: threading.Event) -> Iterator[tuple[Request, Item]]:
        """Make what is left; the comparison is written down after each cell."""
        for run in self._cut_off:
            self._take(self._cell(run.request), pipeline.complete(run))
        for number in range(PASSES):
            again: list[Request] = []
            for request, item in pipeline.each(self.requests, self.target, cancel):
                if isinstance(item, Run):
                    if item.failure and request.resume and not cancel.is_set() and not number:
                        again.append(replace(request, id=new_id(), resume=""))
                        self._put(replace(self._cell(request), id=again[-1].id))
                        self.save()
                        continue
                    self.runs.append(item)
                    self._take(self._cell(request), item)
                    self.save()
                yield request, item
            self.requests = again
            if not again:
                return

    def pictures(self) -> list[str]:
        """The paths of all pictures."""
        return [str(self.folder / file) for cell in self.comparison.cells for file in cell.files]

    def finish(self, *, sheet: bool, columns: int = 0) -> list[Path]:
        """Draw the sheet and write the page; returns what there is to look at."""
        from imagen_core.overview import draw, write_page

        self.save()
        found = [draw(self.folder, self.comparison, columns=columns)] if sheet else []
        return [*found, write_page(self.folder, self.comparison)]

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
            "cost_usd_estimate": cost.usd if cost else None,
            "warnings": [*cell.notes, *ignored(request, about), *backend.remarks(request)],
        }

    def _request(self, cell: Cell) -> tuple[Request, tuple[str, ...]]:
        """The Request of a cell with its own id, and what was left out of it."""
        about = self._app.instance(cell.model).backend.about
        options = self.comparison.options_of(cell)
        params, notes = self._params(cell.model, options.params, about)
        asked = replace(options, params={**_as_png(about, params), **params})
        [request] = self._app.resolve(asked, lenient=True)
        run = self._ledger.get(cell.id) if self._ledger else None
        resume = run.remote_id if run and not run.outputs else ""
        return replace(request, id=cell.id, resume=resume), notes

    def _params(
        self, model: str, given: Mapping[str, Any], about: About
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The parameters that this backend has, if another one has the others."""
        if about.params is None:
            return dict(given), ()
        own = {param.name for param in about.params}
        left = [name for name in given if name not in own and self._is_known(name)]
        notes = tuple(f"the backend '{model}' has no parameter '{name}'" for name in left)
        return {name: value for name, value in given.items() if name not in left}, notes

    def _is_known(self, name: str) -> bool:
        """Whether any of the models has this parameter."""
        abouts = (self._app.instance(m).backend.about for m in self.comparison.models)
        return any(a.params is None or name in {p.name for p in a.params} for a in abouts)

    def _made(self, cell: Cell, parts: dict[Path, bytes]) -> Run | None:
        """What there is of a cell that nobody has written down as done.

        The ledger knows a picture before it has its name: one that was killed right then is in a
        temporary file, and gets its name now.
        """
        run = self._ledger.get(cell.id) if self._ledger else None
        if run and run.outputs and all(_is_there(output, parts) for output in run.outputs):
            return run
        return None

    def _forget(self, cell: Cell) -> None:
        """Remove sidecars of pictures that are gone, so that new ones get their names."""
        for file in cell.files:
            leftovers.forget(self.folder / file, cell.id)

    def _take(self, cell: Cell, run: Run) -> None:
        """What became of a cell."""
        failure = run.failure
        if failure or not run.outputs:
            self._put(_failed(cell, failure or Failure(code="failed", message="no picture")))
            return
        document = sidecar.document(run, run.outputs[0])
        self._put(
            replace(
                cell,
                status="done",
                latency_ms=run.latency_ms,
                cost_usd_estimate=run.cost.usd if run.cost else None,
                files=tuple(Path(output.path).name for output in run.outputs),
                document=document,
                error=None,
                notes=tuple(dict.fromkeys((*cell.notes, *document["warnings"]))),
            )
        )

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


def lanes(app: App, requests: Sequence[Request]) -> dict[str, list[Request]]:
    """The requests by what they can't share; those without a resource are together."""
    found: dict[str, list[Request]] = {}
    for request in requests:
        resource = app.instance(request.backend).backend.resource
        found.setdefault(resource or "", []).append(request)
    return found


def _failed(cell: Cell, failure: Failure) -> Cell:
    status = "cancelled" if failure.code == Cancelled.code else "failed"
    error = {
        "code": failure.code,
        "message": failure.message,
        "hint": failure.hint,
        "retryable": failure.retryable,
    }
    return replace(cell, status=status, error=error, files=(), document=None)


def _as_png(about: About, given: Mapping[str, Any]) -> dict[str, str]:
    """The parameter that asks for PNG, if there is one and nobody chose a format."""
    for param in about.params or ():
        if param.name in FORMATS and "png" in param.choices and param.name not in given:
            return {param.name: "png"} if param.default != "png" else {}
    return {}


def _parts(folder: Path) -> dict[Path, bytes]:
    """The temporary files that a killed process left, with their content."""
    found: dict[Path, bytes] = {}
    for path in folder.glob(files.PARTS):
        with contextlib.suppress(OSError):
            found[path] = path.read_bytes()
    return found


def _is_there(output: Output, parts: dict[Path, bytes]) -> bool:
    """Whether this very picture is on disk, or was all but there and is now."""
    path = Path(output.path)
    for part, data in parts.items():
        if not path.exists() and files.digest(data) == output.sha256:
            part.rename(path)
            del parts[part]
            break
    return leftovers.is_there(path, output)
