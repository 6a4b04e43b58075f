"""GNU Unifont: nearly all of Unicode, as bitmaps of 16 rows whose steps are rounded off.

`unifont.xz` was made of its files `unifont.hex` and `unifont_upper.otf`, 15.0.01, without what is
no sign of its own, and of the latter emoji and mathematical letters alone. It holds two counts, of
glyphs 8 and 16 wide; for each of the two the code points, as differences; then the rows, those of a
wide glyph as a left and a right half. All numbers have 32 bits, little-endian. `unifont.LICENSE` is
its licence.
"""

from __future__ import annotations

import struct
import unicodedata
from array import array
from bisect import bisect_left
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

ROWS, BASELINE = 16, 14
DOUBLINGS = 3
UNKNOWN = "\ufffd"


class Unifont:
    """The glyphs, by character."""

    def __init__(self) -> None:
        import lzma

        raw = lzma.decompress(Path(__file__).with_name("unifont.xz").read_bytes())
        narrow, wide = struct.unpack_from("<2I", raw)
        steps = struct.unpack_from(f"<{narrow + wide}I", raw, 8)
        self._codes = [array("I", accumulate(part)) for part in (steps[:narrow], steps[narrow:])]
        self._rows = raw[8 + 4 * len(steps) :]

    def glyph(self, character: str) -> Image:
        """A mask 8 or 16 wide; that of "�" where there is none."""
        from PIL import Image

        start = 0
        for halves, codes in enumerate(self._codes, 1):
            at = bisect_left(codes, ord(character))
            if at < len(codes) and codes[at] == ord(character):
                mask = Image.new("L", (8 * halves, ROWS))
                for half in range(halves):
                    place = start + (at * halves + half) * ROWS
                    rows = self._rows[place : place + ROWS]
                    mask.paste(Image.frombytes("1", (8, ROWS), rows), (8 * half, 0))
                return mask
            start += len(codes) * ROWS
        return self.glyph(UNKNOWN)

    def outline(self, cluster: str) -> Image:
        """A large mask of a character and the marks upon it, with smooth edges."""
        from PIL import ImageFilter

        mask = self.combined(cluster)
        for _ in range(DOUBLINGS):
            mask = _doubled(mask)
        blurred = mask.filter(ImageFilter.GaussianBlur(2.5))
        return blurred.point([0] * 120 + [255] * 136)

    def combined(self, cluster: str) -> Image:
        """The mask of a character and the marks upon it."""
        base = self.glyph(cluster[0])
        for sign in cluster[1:]:
            mark, left = self.glyph(sign), base.width
            if unicodedata.category(sign) == "Mc":
                base = base.crop((0, 0, left + mark.width, ROWS))
            else:
                left = (left - mark.width) // 2
            base.paste(255, (left, 0), mark)
        return base


def _doubled(mask: Image) -> Image:
    """Twice as large, with a corner filled or cut off wherever an edge goes down in steps."""
    from PIL import Image

    up, down, left, right = (_moved(mask, *by) for by in ((0, 1), (0, -1), (1, 0), (-1, 0)))
    top = _woven(_corner(mask, left, up, down, right), _corner(mask, up, right, left, down))
    low = _woven(_corner(mask, down, left, right, up), _corner(mask, right, down, up, left))
    turn = Image.Transpose.TRANSPOSE
    return _woven(top.transpose(turn), low.transpose(turn)).transpose(turn)


def _corner(mask: Image, one: Image, two: Image, far_one: Image, far_two: Image) -> Image:
    """A quarter of each dot: as its two neighbours, where they differ from those opposite."""
    from PIL import Image, ImageChops

    unlike = ImageChops.darker(
        ImageChops.difference(one, far_one), ImageChops.difference(two, far_two)
    )
    alike = ImageChops.invert(ImageChops.difference(one, two))
    return Image.composite(one, mask, ImageChops.darker(alike, unlike))


def _moved(mask: Image, x: int, y: int) -> Image:
    from PIL import Image

    moved = Image.new("L", mask.size)
    moved.paste(mask, (x, y))
    return moved


def _woven(one: Image, other: Image) -> Image:
    """A column of the one and a column of the other, by turns."""
    from PIL import Image

    size = 2 * one.width, one.height
    return Image.frombytes("L", size, Image.merge("LA", (one, other)).tobytes())
