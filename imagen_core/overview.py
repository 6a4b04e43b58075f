"""What there is to look at of a comparison: the contact sheet, and the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from imagen_core import report
from imagen_core.files import write_atomically
from imagen_core.sheet import Sheet, Tile, draw_sheet

if TYPE_CHECKING:
    from imagen_core.comparison import Cell, Comparison

SHEET = "sheet.png"
PAGE = "index.html"


def draw(folder: Path, comparison: Comparison, *, columns: int = 0) -> Path:
    """Draw the contact sheet; `columns`: how many tiles a row has, where there is one axis."""
    path = folder / SHEET
    models, seeds = comparison.models, comparison.seeds
    two_axes = len(models) > 1 and len(seeds) > 1
    tiles = [_tile(folder, cell, labelled=two_axes) for cell in comparison.cells]
    width = len(models) if two_axes else columns or _balanced(len(tiles))
    draw_sheet(
        Sheet(
            title=comparison.prompt.strip() or "(no prompt)",
            subtitle=_subtitle(comparison),
            rows=[tiles[start : start + width] for start in range(0, len(tiles), width)],
            row_labels=[f"seed {seed}" for seed in seeds] if two_axes else (),
            column_labels=models if two_axes else (),
        ),
        path,
    )
    return path


def write_page(folder: Path, comparison: Comparison) -> Path:
    """Write the page."""
    path = folder / PAGE
    write_atomically(path, report.render(msgspec.to_builtins(comparison, str_keys=True)))
    return path


def cost_text(usd: float | None) -> str:
    """A cost in a few letters; unknown is not free."""
    if usd is None:
        return "cost unknown"
    return f"${usd:.6f}".rstrip("0").rstrip(".") if usd else "free"


def _tile(folder: Path, cell: Cell, *, labelled: bool) -> Tile:
    """A cell as a tile; `labelled`: its row and column say instance and seed already."""
    model = str((cell.document or {}).get("model") or "")
    name = () if labelled else (cell.model,)
    models = (model,) if model and model != cell.model else ()
    seed = () if labelled else (f"seed {_seed(cell)}",)
    if cell.status != "done":
        message = str((cell.error or {}).get("message") or "not made yet")
        return Tile(path=None, caption=(*name, *seed), problem=message)
    time = (f"{cell.latency_ms / 1000:.1f} s",) if cell.latency_ms is not None else ()
    several = (f"1 of {len(cell.files)}",) if len(cell.files) > 1 else ()
    last = " · ".join((*seed, *time, cost_text(cell.cost_usd_estimate), *several))
    lines = (last, *models) if labelled else (*name, *models, last)
    return Tile(path=folder / cell.files[0], caption=lines)


def _seed(cell: Cell) -> object:
    """The seed that was really used."""
    return (cell.document or {}).get("seed", cell.seed)


def _subtitle(comparison: Comparison) -> str:
    asked = comparison.options
    parts: Sequence[str] = (
        comparison.date,
        asked.size,
        f"{asked.steps} steps" if asked.steps else "",
        f"style {asked.style}" if asked.style else "",
        f"without {asked.negative}" if asked.negative else "",
    )
    return " · ".join(filter(None, parts))


def _balanced(number: int) -> int:
    """How many of so many tiles stand in a row."""
    return number if number <= 4 else math.ceil(math.sqrt(number * 1.4))
