"""What an earlier process left of a making: looked at here, and taken when it is said so."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from imagen_core import files
from imagen_core.errors import ImagenError, RejectedError, UsageError
from imagen_core.files import Target
from imagen_core.header import image_header
from imagen_core.leftovers import is_running, is_there, run_of, sidecar_of
from imagen_core.making import RESCUE_FOLDER, expected_values, name_values
from imagen_core.sound import damage
from imagen_core.types import Output, Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagen_core.ledger import Ledger
    from imagen_core.pipeline import Item
    from imagen_core.types import About, Request

OVER = (ImagenError.code, RejectedError.code)
"""How a making ended that was picked up, and of which nothing more will come."""


class Picture(NamedTuple):
    """A picture that was recorded, and where it lies now."""

    output: Output
    source: Path


class Find(NamedTuple):
    """What there is of a making, and so what is to be done about it.

    `run`: it is made, and lacks its name or its steps at most. `resume`: a server has it, under
    this id. With neither it is made anew, under another id if somebody knows this one: what
    it may have cost is written there.
    """

    run: Run | None = None
    resume: str = ""
    model: str = ""
    pictures: tuple[Picture, ...] = ()
    is_known: bool = False

    def is_of_another(self, about: About) -> bool:
        """Whether another model has begun it, as far as that is known."""
        return bool(self.resume and self.model and self.model != about.model)

    def check(self, request: Request, about: About) -> None:
        """Refuse to pick up what another model has begun."""
        if self.is_of_another(about):
            name = request.backend
            told = f"'{name}' has begun it with the model {self.model}, and has {about.model}"
            raise UsageError(told, hint="change the block back, or start anew")


NOTHING = Find()


class Stock:
    """The folders and the ledger, as they were when somebody first looked.

    `where`: at which path a picture lies by now that was recorded at another one; else all are in
    this one folder. `taken`: pictures that are somebody's already. A ledger that can't be read is
    one that knows nothing; `problem` says why.
    """

    def __init__(
        self,
        folder: Path,
        ledger: Ledger | None,
        *,
        where: Callable[[str], Path] | None = None,
        taken: Iterable[Path] = (),
    ) -> None:
        self.problem = ""
        self._ledger = ledger
        self._where = where or (lambda path: folder / Path(path).name)
        self._taken = set(taken)
        self._parts: dict[Path, dict[Path, str]] = {}
        self._spent: list[Path] = []
        self._look(folder)

    def find(self, request: Request, target: Target, about: About) -> Find:
        """What there is of this making, which nobody has written down as done."""
        self._look(next(target.candidates(expected_values(request, about))).parent)
        run = self.recorded(request.id)
        if run is None:
            return self._by_sidecar(request, target, about)
        run = replace(run, request=request)
        sources = ((output, self._source(output)) for output in run.outputs)
        pictures = tuple(Picture(output, source) for output, source in sources if source)
        whole = 0 < len(pictures) == len(run.outputs)
        # Nothing but the folder failed a Run of which a picture had to be rescued.
        well = not run.failure or any(_is_rescued(picture.source) for picture in pictures)
        if whole and well and not (run.remote_id and self._is_cut_off(run)):
            return Find(replace(run, failure=None), "", run.model, pictures, is_known=True)
        if run.remote_id:
            return Find(None, run.remote_id, run.model, pictures, is_known=True)
        return Find(is_known=True)

    def take(self, found: Find, request: Request, target: Target) -> tuple[Output, ...]:
        """Give its pictures their names; where one can't have it, it stays where it is."""
        return tuple(self._named(picture, request, target) for picture in found.pictures)

    def forget_taken(self) -> None:
        """Remove what has its name by now from where it was before."""
        for path in self._spent:
            with contextlib.suppress(OSError):
                path.unlink()
                if _is_rescued(path):
                    files.sidecar_path(path).unlink()

    def clean(self) -> str:
        """Remove what was cut off in the midst of writing, and what was taken.

        What is whole and nobody's stays: any command may have left it. Returns what to say of it.
        """
        stay: list[Path] = []
        self.forget_taken()
        for path in (path for parts in self._parts.values() for path in parts):
            with contextlib.suppress(OSError):
                if not _is_left(path):
                    continue
                if path.stat().st_nlink > 1 or _is_torn(path):
                    path.unlink()
                else:
                    stay.append(path)
        folders = ", ".join(dict.fromkeys(str(path.parent) for path in stay))
        told = f"pictures that nobody claims: {len(stay)} ({files.PARTS} in {folders})"
        return f"{told}; look at them, and delete them" if stay else ""

    def _look(self, folder: Path) -> None:
        """See what temporary files there are."""
        if folder in self._parts:
            return
        found = self._parts[folder] = {}
        for path in folder.glob(files.PARTS):
            with contextlib.suppress(OSError):
                found[path] = files.digest(path.read_bytes())

    def recorded(self, run_id: str) -> Run | None:
        """What the ledger has under this id, as far as it can be read."""
        try:
            return self._ledger.get(run_id) if self._ledger else None
        except ImagenError as error:
            self.problem = self.problem or str(error)
            return None

    def _is_cut_off(self, run: Run) -> bool:
        """Whether the process ended before it had written down how this making ended."""
        try:
            return bool(self._ledger and not self._ledger.is_finished(run.id))
        except ImagenError:
            return False

    def _by_sidecar(self, request: Request, target: Target, about: About) -> Find:
        """Without a ledger: the pictures under its names whose sidecars have its id."""
        found: dict[Path, Run] = {}
        for path in _candidates(request, target, about):
            sidecar = {} if path in self._taken else sidecar_of(path)
            if sidecar.get("id") == request.id and (run := run_of(sidecar, request, path)):
                found[path] = run
        if not found:
            return NOTHING
        self._taken |= set(found)
        pairs = [Picture(run.outputs[0], path) for path, run in found.items()]
        pictures = tuple(sorted(pairs, key=lambda pair: pair.output.ordinal))
        run = next(iter(found.values()))
        run = replace(run, outputs=tuple(picture.output for picture in pictures))
        return Find(run, "", run.model, pictures, is_known=True)

    def _source(self, output: Output) -> Path | None:
        """Where this very picture lies: here, in a temporary file, or where it was rescued."""
        path = self._where(output.path)
        self._look(path.parent)
        parts = [part for part, sha in self._parts[path.parent].items() if sha == output.sha256]
        rescued = [Path(output.path)] if _is_rescued(Path(output.path)) else []
        for source in (path, *parts, *rescued):
            if source not in self._taken and is_there(source, output):
                self._taken.add(source)
                return source
        return None

    def _named(self, picture: Picture, request: Request, target: Target) -> Output:
        output, path = picture.output, self._where(picture.output.path)
        if picture.source != path or _is_rescued(path):
            if _is_rescued(picture.source):
                place = target.nth(output.ordinal)
            else:
                place = Target(folder=path.parent, path=path)
            try:
                path = _copied(picture.source, place, name_values(request, output))
            except OSError as error:
                raise ImagenError(
                    f"cannot write to {place.folder}: {error.strerror}; "
                    f"the picture is safe in {picture.source}",
                    hint="make room on the disk, and go on",
                ) from error
            self._spent.append(picture.source)
        return replace(output, path=str(path.absolute()))


def to_the_end(
    requests: Sequence[Request],
    each: Callable[[Sequence[Request]], Iterable[tuple[Request, Item]]],
    renew: Callable[[Sequence[Request]], Sequence[Request]],
) -> Iterator[tuple[Request, Item]]:
    """What `each` gives of these Requests, and of those that are made anew after it.

    One that was picked up, and of which its server says that nothing more will come, is one of
    them; `renew` gives it another id.
    """
    over: list[Request] = []
    for request, item in each(requests):
        if request.resume and isinstance(item, Run) and _is_over(item):
            over.append(request)
        else:
            yield request, item
    if over:
        yield from each(renew(over))


def _is_over(run: Run) -> bool:
    saved = any(_is_rescued(Path(output.path)) for output in run.outputs)
    return bool(run.failure and run.failure.code in OVER and not saved)


def _candidates(request: Request, target: Target, about: About) -> Iterator[Path]:
    """The files that lie under the names which this making would get now, of any type."""
    values = expected_values(request, about)
    for ext in () if target.path else files.EXTENSIONS.values():
        yield from _there(target.candidates({**values, "ext": ext}))
    if target.path:
        yield from _there(target.candidates(values))


def _there(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_file():
            return
        yield path


def _copied(source: Path, target: Target, values: dict[str, object]) -> Path:
    return files.place(source.read_bytes(), target, values, claim=lambda _: None)


def _is_rescued(path: Path) -> bool:
    return path.parent.name.endswith(RESCUE_FOLDER)


def _is_torn(path: Path) -> bool:
    data = path.read_bytes()
    return bool(damage(data)) or not image_header(data)


def _is_left(part: Path) -> bool:
    """Whether the process that wrote this temporary file is gone; its number is in the name."""
    number = part.name.split("-")[1]
    if not number.isdigit():
        return False
    return int(number) == os.getpid() or not is_running(int(number))
