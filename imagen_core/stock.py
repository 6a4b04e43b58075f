"""What an earlier command left of a comparison: looked at here, and taken when it is said so."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from imagen_core import files, leftovers
from imagen_core.errors import ImagenError
from imagen_core.making import RESCUE_FOLDER
from imagen_core.sound import damage

if TYPE_CHECKING:
    from imagen_core.comparison import Cell
    from imagen_core.files import Target
    from imagen_core.ledger import Ledger
    from imagen_core.types import Output, Request, Run


class Find(NamedTuple):
    """What there is of a cell: the Run of its pictures, or the id of what is still made.

    `sources`: where each picture lies, if not under its name yet.
    """

    run: Run | None = None
    resume: str = ""
    model: str = ""
    sources: tuple[Path, ...] = ()


NOTHING = Find()


class Stock:
    """The folder and the ledger, as they were when somebody first looked.

    A ledger that can't be read is one that knows nothing; `problem` says why.
    """

    def __init__(self, folder: Path, ledger: Ledger | None) -> None:
        self.problem = ""
        self._folder = folder
        self._ledger = ledger
        self._parts: dict[str, Path] = {}
        for path in folder.glob(files.PARTS):
            with contextlib.suppress(OSError):
                self._parts[files.digest(path.read_bytes())] = path

    def find(self, cell: Cell, request: Request) -> Find:
        """What there is of this cell, which nobody has written down as done."""
        run = self._recorded(cell.id)
        if run is None:
            return self._by_sidecar(cell, request)
        sources = [self._source(output) for output in run.outputs]
        there = tuple(source for source in sources if source)
        whole = bool(there) and len(there) == len(sources)
        # Nothing but the folder failed a Run of which a picture had to be rescued.
        well = not run.failure or any(_is_rescued(source) for source in there)
        if whole and well and not (run.remote_id and self._is_cut_off(cell)):
            return Find(replace(run, failure=None), "", run.model, there)
        if run.remote_id:
            return Find(None, run.remote_id, run.model, there)
        return NOTHING

    def take(self, run: Run, sources: tuple[Path, ...], target: Target) -> Run:
        """Give the pictures of a Run their names in this folder; returns it with these."""
        outputs = []
        for output, source in zip(run.outputs, sources, strict=True):
            path = self._folder / Path(output.path).name
            if _is_rescued(source):
                ext = source.suffix.removeprefix(".")
                path = target.free(
                    {"backend": run.request.backend, "seed": output.seed, "ext": ext}
                )
                files.sidecar_path(source).unlink(missing_ok=True)
            if source != path:
                shutil.move(source, path)
            outputs.append(replace(output, path=str(path.absolute())))
        return replace(run, outputs=tuple(outputs))

    def clean(self) -> None:
        """Remove what was cut off in the midst of writing, or is no picture."""
        for path in self._parts.values():
            with contextlib.suppress(OSError):
                data = path.read_bytes()
                if damage(data) or not files.image_header(data):
                    path.unlink()

    def _recorded(self, run_id: str) -> Run | None:
        try:
            return self._ledger.get(run_id) if self._ledger else None
        except ImagenError as error:
            self.problem = self.problem or str(error)
            return None

    def _is_cut_off(self, cell: Cell) -> bool:
        """Whether the process ended before it had written down how this cell ended."""
        try:
            return bool(self._ledger and not self._ledger.is_finished(cell.id))
        except ImagenError:
            return False

    def _by_sidecar(self, cell: Cell, request: Request) -> Find:
        """Without a ledger: the picture whose sidecar has the cell's id."""
        for path in sorted(self._folder.glob(f"{cell.model}-{cell.seed}*.*")):
            sidecar = leftovers.sidecar_of(path)
            if sidecar.get("id") == cell.id and (run := leftovers.run_of(sidecar, request, path)):
                return Find(run, "", run.model, (path,))
        return NOTHING

    def _source(self, output: Output) -> Path | None:
        """Where this very picture lies: here, in a temporary file, or where it was rescued."""
        path = self._folder / Path(output.path).name
        if leftovers.is_there(path, output):
            return path
        if not path.exists() and (part := self._parts.get(output.sha256)):
            return part
        elsewhere = Path(output.path)
        if _is_rescued(elsewhere) and leftovers.is_there(elsewhere, output):
            return elsewhere
        return None


def _is_rescued(path: Path) -> bool:
    return path.parent.name.endswith(RESCUE_FOLDER)
