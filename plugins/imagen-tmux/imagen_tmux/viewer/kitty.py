"""Kitty's graphics: the pixels are sent once, and placed by characters that stand for them.

In tmux the pixels pass through it to the terminal outside, while the placeholders are text that
tmux keeps, moves and draws again like any other.
"""

from __future__ import annotations

import os
import zlib
from base64 import b64encode
from typing import TYPE_CHECKING

from imagen_tmux.viewer.blocks import RESET
from imagen_tmux.viewer.painting import Canvas, Painting
from imagen_tmux.viewer.picture import fit, scaled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.Image import Image

IMAGE_CELL = "\U0010eeee"
CHUNK = 4096
SIDE = 2000
"""No more pixels a side are sent: no pane has more, and a slow line would notice."""

RANGES = """
305 30D-30E 310 312 33D-33F 346 34A-34C 350-352 357 35B 363-36F 483-487 592-595 597-599 59C-5A1
5A8-5A9 5AB-5AC 5AF 5C4 610-617 657-65B 65D-65E 6D6-6DC 6DF-6E2 6E4 6E7-6E8 6EB-6EC 730 732-733
735-736 73A 73D 73F-741 743 745 747 749-74A 7EB-7F1 7F3 816-819 81B-823 825-827 829-82D 951
953-954 F82-F83 F86-F87 135D-135F 17DD 193A 1A17 1A75-1A7C 1B6B 1B6D-1B73 1CD0-1CD2 1CDA-1CDB
1CE0 1DC0-1DC1 1DC3-1DC9 1DCB-1DCC 1DD1-1DE6 1DFE 20D0-20D1 20D4-20D7 20DB-20DC 20E1 20E7 20E9
20F0 2CEF-2CF1 2DE0-2DFF A66F A67C-A67D A6F0-A6F1 A8E0-A8F1 AAB0 AAB2-AAB3 AAB7-AAB8 AABE-AABF
AAC1 FE20-FE26 10A0F 10A38 1D185-1D189 1D1AA-1D1AD 1D242-1D244
"""
"""The marks that stand for the numbers of rows and columns: code points, in this order."""


def _marks() -> Iterator[str]:
    for part in RANGES.split():
        first, _, last = part.partition("-")
        yield from map(chr, range(int(first, 16), int(last or first, 16) + 1))


MARKS = tuple(_marks())


def paint(image: Image, size: tuple[int, int], canvas: Canvas, *, tmux: bool) -> Painting:
    """The picture at full resolution: by placeholders inside tmux, else placed directly."""
    ratio = canvas.cell[1] / canvas.cell[0]
    room = min(canvas.columns, len(MARKS)), min(canvas.rows, len(MARKS))
    columns, rows = fit(size, room, ratio)
    cells = columns * canvas.cell[0], rows * canvas.cell[1]
    pixels = fit(size, (min(cells[0], image.width, SIDE), min(cells[1], image.height, SIDE)))
    number = 1 + int.from_bytes(os.urandom(3), "big") % 0xFFFFFF
    shape = f"c={columns},r={rows}"
    sent = list(_upload(scaled(image, pixels), number, f"U=1,{shape}" if tmux else f"C=1,{shape}"))
    forget = _command(f"a=d,d=I,i={number},q=2")
    if not tmux:
        return Painting(columns, rows, image="".join(sent), after=forget)
    return Painting(
        columns,
        rows,
        lines=tuple(_placeholders(number, columns, row) for row in range(rows)),
        before="".join(map(passed_through, sent)),
        after=passed_through(forget),
    )


def passed_through(sequence: str) -> str:
    """A sequence that tmux hands on to the terminal outside, if `allow-passthrough` lets it."""
    doubled = sequence.replace("\x1b", "\x1b\x1b")
    return f"\x1bPtmux;{doubled}\x1b\\"


def _upload(image: Image, number: int, how: str) -> Iterator[str]:
    """The pixels in pieces, which no terminal and no tmux finds too long."""
    data = b64encode(zlib.compress(image.tobytes(), 1)).decode()
    pieces = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
    width, height = image.size
    keys = f"a=T,q=2,f=24,o=z,s={width},v={height},i={number},{how},"
    for index, piece in enumerate(pieces):
        more = int(index < len(pieces) - 1)
        yield _command(f"{keys if index == 0 else 'q=2,'}m={more}", piece)


def _command(keys: str, data: str = "") -> str:
    return f"\x1b_G{keys};{data}\x1b\\" if data else f"\x1b_G{keys}\x1b\\"


def _placeholders(number: int, columns: int, row: int) -> str:
    """A row of cells: the colour is the image's number, the marks are row and column."""
    colour = f"\x1b[38;2;{number >> 16};{number >> 8 & 255};{number & 255}m"
    cells = (f"{IMAGE_CELL}{MARKS[row]}{MARKS[column]}" for column in range(columns))
    return f"{colour}{''.join(cells)}{RESET}"
