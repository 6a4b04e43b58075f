"""The table of the contact sheets: time and memory, beside `montage` and a plain loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import sheet
from bench.cells import NONE, Table, middle, milliseconds, quotient, runs, verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.sheet import Sheets, Spent

TIMES_MONTAGE = {100: 0.6}
"""What part of the time of `montage` imagen may take, by the number of pictures."""
MEGA = 1_000_000


def about() -> list[str]:
    """What was compared."""
    return [
        f"Contact sheets are of photo-like pictures of {sheet.SIDE}x{sheet.SIDE}, with tiles of "
        f"{sheet.TILE} pixels and a label below each, written as a PNG by whole processes that "
        "take turns. The plain loop is Pillow: open, thumbnail, paste, save.",
    ]


def tables(sheets: Sequence[Sheets]) -> list[Table]:
    """Each kind and number of pictures: milliseconds, and the peak of the memory."""
    rows = []
    for found in sheets:
        imagen, montage, pillow = (
            [spent.seconds for spent in one] for one in (found.imagen, found.montage, found.pillow)
        )
        ratio = quotient(middle(imagen), middle(montage))
        plain = quotient(middle(imagen), middle(pillow))
        rows.append(
            (
                f"{found.count} {found.kind} ({runs(imagen)})",
                *milliseconds(imagen),
                _peak(found.imagen),
                *milliseconds(montage, "not measured"),
                _peak(found.montage),
                milliseconds(pillow)[0],
                _peak(found.pillow),
                NONE if ratio is None else f"{ratio:.2f}",
                NONE if plain is None else f"{plain:.2f}",
                verdict(ratio, TIMES_MONTAGE.get(found.count)),
            )
        )
    head = ("pictures", "imagen, ms", "min..max", "MB", "montage, ms", "min..max", "MB")
    more = ("Pillow loop, ms", "MB", "imagen / montage", "imagen / loop", "target")
    return [Table("Contact sheets, and the peak of the memory", (*head, *more), rows)]


def _peak(spent: Sequence[Spent]) -> str:
    return f"{max(one.memory for one in spent) / MEGA:.0f}" if spent else NONE
