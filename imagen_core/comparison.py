"""A comparison as it is kept in its folder: what was asked for, and what became of each cell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from imagen_core.errors import UsageError
from imagen_core.files import expand_home, slugify, write_atomically
from imagen_core.types import MAX_SEED, Options, Text, new_id

if TYPE_CHECKING:
    from imagen_core.files import Moment

SCHEMA = 1
FILE_NAME = "compare.json"
MOST_CELLS = 400
_RANGE = re.compile(r"(\d{1,19})(?:\.\.(\d{1,19}))?")

Status = Literal["waiting", "done", "failed", "cancelled"]


class Asked(Struct, frozen=True, kw_only=True):
    """What holds for every cell, as it was typed."""

    size: str = ""
    steps: int = 0
    style: str = ""
    negative: str = ""
    params: dict[str, str] = {}
    images: tuple[str, ...] = ()
    columns: int = 0


class Cell(Struct, frozen=True, kw_only=True):
    """One instance with one seed, and what became of it. `document` is that of the sidecar."""

    model: str
    seed: int
    id: str
    status: Status = "waiting"
    latency_ms: int | None = None
    cost_usd_estimate: float | None = None
    files: tuple[str, ...] = ()
    document: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What to call it in a line."""
        return f"{self.model}, seed {self.seed}"


class Totals(Struct, frozen=True, kw_only=True):
    """All cells together; a cost is None if that of any picture is unknown."""

    cells: int
    done: int
    failed: int
    cost_usd_estimate: float | None
    seconds: float


class Comparison(Struct, frozen=True, kw_only=True):
    """The plan and its state: each model with each seed, in the order of the seeds."""

    schema: int = SCHEMA
    kind: str = "compare"
    prompt: str
    created_at: str
    date: str
    slug: str
    options: Asked
    models: tuple[str, ...]
    seeds: tuple[int, ...]
    cells: tuple[Cell, ...]
    totals: Totals | None = None

    @property
    def folder_name(self) -> str:
        """What its folder is called."""
        return f"{self.date}-{self.slug}"

    def options_of(self, cell: Cell) -> Options:
        """What a cell is asked for."""
        asked = self.options
        return Options(
            prompt=self.prompt,
            backend=cell.model,
            seed=cell.seed,
            size=asked.size,
            steps=asked.steps,
            style=asked.style,
            negative=asked.negative,
            params={name: Text(value) for name, value in asked.params.items()},
            images=asked.images,
        )

    def with_cell(self, cell: Cell) -> Comparison:
        """The same with this cell in the place of the one of its model and seed."""
        place = (cell.model, cell.seed)
        cells = tuple(cell if (c.model, c.seed) == place else c for c in self.cells)
        return replace(self, cells=cells)


def planned(
    options: Options, models: Sequence[str], seeds: Sequence[int], moment: Moment
) -> Comparison:
    """The comparison of these models and seeds, with nothing done yet."""
    asked = Asked(
        size=options.size,
        steps=options.steps,
        style=options.style,
        negative=options.negative,
        params={name: str(value) for name, value in options.params.items()},
        images=tuple(str(expand_home(path).absolute()) for path in options.images),
    )
    empty = Comparison(
        prompt=options.prompt,
        created_at=moment.utc,
        date=moment.date,
        slug=slugify(options.prompt),
        options=asked,
        models=(),
        seeds=(),
        cells=(),
    )
    return extended(empty, models, seeds)


def extended(
    comparison: Comparison, models: Sequence[str] = (), seeds: Sequence[int] = ()
) -> Comparison:
    """The comparison with these models and seeds as well; what was there stays as it is."""
    all_models = _each_once(comparison.models, models, "the model")
    all_seeds = _each_once(comparison.seeds, seeds, "the seed")
    number = len(all_models) * len(all_seeds)
    if number > MOST_CELLS:
        raise UsageError(
            f"{len(all_models)} models with {len(all_seeds)} seeds are {number} cells, "
            f"and {MOST_CELLS} are the most",
            hint="take fewer of them, or make two comparisons",
        )
    there = {(cell.model, cell.seed): cell for cell in comparison.cells}
    cells = tuple(
        there.get((model, seed)) or Cell(model=model, seed=seed, id=new_id())
        for seed in all_seeds
        for model in all_models
    )
    return replace(comparison, models=all_models, seeds=all_seeds, cells=cells)


def parse_seeds(text: str) -> tuple[int, ...]:
    """The seeds of `1,2,3`, `1..8`, or both together."""
    found: list[int] = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if not match:
            raise UsageError(f"'{part}' is no seed", hint="for instance --seeds 1,2,3 or 1..8")
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last:
            raise UsageError(f"the seeds '{part}' run backwards", hint=f"{last}..{first}")
        if not 1 <= first <= last <= MAX_SEED:
            raise UsageError(f"the seeds '{part}' are out of range", hint=f"1 to {MAX_SEED}")
        if last - first >= MOST_CELLS:
            raise UsageError(f"'{part}' are {last - first + 1} seeds", hint=f"{MOST_CELLS} at most")
        found += range(first, last + 1)
        if len(found) > MOST_CELLS:
            raise UsageError(f"'{text}' are too many seeds", hint=f"{MOST_CELLS} at most")
    return tuple(found)


def load(folder: Path) -> Comparison:
    """The comparison of this folder."""
    file = folder / FILE_NAME
    try:
        found = msgspec.json.decode(file.read_bytes(), type=Comparison)
    except FileNotFoundError as error:
        hint = "name a folder that 'imagen compare' made"
        raise UsageError(f"{folder} has no {FILE_NAME}", hint=hint) from error
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise UsageError(f"{file} can't be read: {error}", hint="is it whole?") from error
    if found.schema > SCHEMA or found.kind != "compare":
        told = f"{file} is of another kind, or of a newer imagen (schema {found.schema})"
        raise UsageError(told, hint="update imagen-core")
    if not _is_sound(found):
        raise UsageError(f"{file} makes no sense", hint="was it edited?")
    return found


def save(folder: Path, comparison: Comparison) -> None:
    """Write it down as it is now, over what was there."""
    content = msgspec.json.encode(comparison, enc_hook=str)
    write_atomically(folder / FILE_NAME, msgspec.json.format(content, indent=1) + b"\n")


def totals(cells: Iterable[Cell]) -> Totals:
    """What they come to."""
    cells = tuple(cells)
    done = [cell for cell in cells if cell.status == "done"]
    costs = [cell.cost_usd_estimate for cell in cells if cell.status != "waiting"]
    known = [cost for cost in costs if cost is not None]
    return Totals(
        cells=len(cells),
        done=len(done),
        failed=sum(cell.status in ("failed", "cancelled") for cell in cells),
        cost_usd_estimate=round(sum(known), 6) if len(known) == len(costs) else None,
        seconds=round(sum(cell.latency_ms or 0 for cell in cells) / 1000, 3),
    )


def _is_sound(found: Comparison) -> bool:
    """Whether the cells are those of the axes, and name files of their own folder alone."""
    places = [(seed, model) for seed in found.seeds for model in found.models]
    names = [name for cell in found.cells for name in cell.files]
    return (
        0 < len(places) == len(set(places))
        and [(cell.seed, cell.model) for cell in found.cells] == places
        and all(1 <= seed <= MAX_SEED for seed in found.seeds)
        and all(name and name not in (".", "..") and Path(name).name == name for name in names)
        and all(cell.files for cell in found.cells if cell.status == "done")
    )


def _each_once(there: Sequence[Any], more: Sequence[Any], what: str) -> tuple[Any, ...]:
    seen: set[Any] = set()
    for value in more:
        if value in seen:
            raise UsageError(f"{what} {value} is named twice", hint="name each one once")
        seen.add(value)
    return (*there, *(value for value in more if value not in set(there)))
