"""A picture as what a terminal takes."""

from __future__ import annotations

from typing import NamedTuple


class Painting(NamedTuple):
    """So many cells: a text for each row, or an image that is drawn from the upper left one.

    `before` is sent first, and `after` once the painting is no longer needed.
    """

    columns: int
    rows: int
    lines: tuple[str, ...] = ()
    image: str = ""
    before: str = ""
    after: str = ""


class Canvas(NamedTuple):
    """The room for a painting: cells, and the pixels of one."""

    columns: int
    rows: int
    cell: tuple[int, int] = (10, 20)

    @property
    def pixels(self) -> tuple[int, int]:
        """All of it: so many a picture may need, however it is drawn."""
        return self.columns * self.cell[0], self.rows * self.cell[1]
