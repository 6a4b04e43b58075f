"""Half blocks: two pixels a cell, in true colour or in 256 colours. They work everywhere."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from imagen_tmux.viewer.painting import Canvas, Painting
from imagen_tmux.viewer.picture import fit, scaled

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.Image import Image

UPPER = "▀"
RESET = "\x1b[0m"
STEPS = (0, 95, 135, 175, 215, 255)
"""The values of a channel in the colour cube."""

Colour = tuple[int, int, int]


def paint(image: Image, size: tuple[int, int], canvas: Canvas, *, few: bool = False) -> Painting:
    """The picture in half blocks; `few`: in 256 colours."""
    # Half a cell of 10 by 20 pixels is a square; where it is none, the picture keeps its shape.
    ratio = canvas.cell[1] / (2 * canvas.cell[0])
    width, height = fit(size, (canvas.columns, canvas.rows * 2), ratio)
    data = scaled(image, (width, height)).tobytes()
    name: Callable[[Colour], str] = indexed if few else "2;%d;%d;%d".__mod__
    halves = [name(pixel) for pixel in zip(data[0::3], data[1::3], data[2::3], strict=True)]
    rows = [halves[start : start + width] for start in range(0, len(halves), width)]
    if height % 2:
        return Painting(width, height // 2 + 1, (*_lines(rows[:-1]), _last(rows[-1])))
    return Painting(width, height // 2, tuple(_lines(rows)))


def _lines(rows: list[list[str]]) -> list[str]:
    """A text for each pair of rows. What the cell before has already is not said again."""
    lines = []
    for upper, lower in zip(rows[0::2], rows[1::2], strict=True):
        before, parts = None, []
        for cell in zip(upper, lower, strict=True):
            parts.append(UPPER if cell == before else f"\x1b[38;{cell[0]};48;{cell[1]}m{UPPER}")
            before = cell
        lines.append("".join(parts) + RESET)
    return lines


def _last(row: list[str]) -> str:
    """Half a row of cells, over the terminal's own background."""
    return "".join(f"\x1b[38;{pixel}m{UPPER}" for pixel in row) + RESET


@functools.cache
def indexed(pixel: Colour) -> str:
    """The nearest of the 256 colours: of the cube, or of the greys."""
    red, green, blue = (_step(value) for value in pixel)
    cube = STEPS[red], STEPS[green], STEPS[blue]
    grey = min(23, max(0, round((sum(pixel) / 3 - 8) / 10)))
    level = 8 + 10 * grey
    if _distance((level, level, level), pixel) < _distance(cube, pixel):
        return f"5;{232 + grey}"
    return f"5;{16 + 36 * red + 6 * green + blue}"


def _step(value: int) -> int:
    """Which step of the cube is the nearest."""
    return min(range(len(STEPS)), key=lambda step: abs(STEPS[step] - value))


def _distance(one: Colour, other: Colour) -> int:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))
