"""The table of a batch against a loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.batch import LOOP, SIZE
from bench.cells import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.batch import Batched


def about() -> list[str]:
    """What was compared."""
    return [
        f"The batch has mock rows at {SIZE}x{SIZE}. It checks all rows, draws up its plan, and "
        "writes each picture, its sidecar, the ledger and a line of results; the picture, its "
        "folder and the ledger are synced to the disk. The loop writes the pictures and nothing "
        "else. Each is a process of its own, start included.",
    ]


def tables(batches: Sequence[Batched]) -> list[Table]:
    """Time in all and a picture, what is added to the loop, and memory."""
    loop = next(one for one in batches if one.subject == LOOP)
    rows = [
        (
            f"{one.subject} ({one.rows})",
            f"{one.seconds:.2f}",
            f"{one.seconds / one.rows * 1000:.2f}",
            f"{(one.seconds - loop.seconds) / one.rows * 1000:+.2f}",
            f"{one.peak / 2**20:.0f}",
        )
        for one in batches
    ]
    head = ("pictures", "s", "ms a picture", "– loop, ms", "peak, MiB")
    return [Table("A batch, against a loop around the backend", head, rows)]
