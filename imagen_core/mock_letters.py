"""The writing on the mock's pictures: its own letters, and GNU Unifont's for all other scripts."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from textwrap import wrap
from typing import TYPE_CHECKING

from imagen_core.script import clusters, visual

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from imagen_core.unifont import Unifont

RISE, HEIGHT = 3, 12
"""How much of a line is above its capitals, and all of it, in dots of our letters."""
LONGEST = 500
SIGNS = {chr(code): code - 32 for code in range(32, 127)} | {"\xb7": 95}
ODD = {
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\xb4", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\xab\xbb", '"'),
    **{"\u2212": "-", "\u2044": "/", "\xd7": "x", "\u0131": "i", "ß": "ss"},
    **{"æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L"},
}

# A glyph for each of SIGNS: nine rows of five bits, in base 32. The seventh row stands on the line.
# Empty columns at the sides are cut off.
GLYPHS = """
000000000 444440400 aa0000000 aavavaa00 4fke5u400 op248j300 cik8lid00 440000000 248884200 842224800
04lel4000 0044v4400 000000448 0000e0000 000000400 11248gg00 699999600 262222700 691248f00 e11611e00
26aaf2200 f8e119600 688e99600 f12244400 699699600 699711600 000400400 000400448 002484200 000f0f000
008424800 eh1640400 ehnlnge00 ehhvhhh00 uhhuhhu00 ehggghe00 uhhhhhu00 vgguggv00 vgguggg00 ehgnhhe00
hhhvhhh00 e44444e00 11111he00 hikokih00 ggggggv00 hrllhhh00 hhpljhh00 ehhhhhe00 uhhuggg00 ehhhlid00
uhhukih00 fgge11u00 v44444400 hhhhhhe00 hhhhha400 hhhllla00 hha4ahh00 hha444400 v1248gv00 e88888e00
gg8421100 e22222e00 4ah000000 0000000v0 840000000 006179700 88e999e00 006989600 117999700 0069f8700
327222200 007999716 88e999900 101111100 101111112 889aca900 222222100 00qllll00 00e999900 006999600
00e999e88 007999711 005644400 007861e00 027222100 009999700 00hhaa400 00hllla00 009969900 009999716
00f248f00 122422100 111111110 422122400 0005a0000 000040000
"""


def written(text: str, scale: int, measure: int, *, rows: int) -> list[Image]:
    """The masks of a text in so many lines at most, each within the measure."""
    from PIL import Image

    plain, lines = " ".join("".join(map(_spelt, clusters(text[:LONGEST]))).split()), [""]
    for count in range(measure // scale // 4, 3, -1):
        lines = wrap(plain, count, max_lines=rows, placeholder="...")
        widths = (sum(len(_glyph(sign, 1)[0]) for sign in clusters(line)) for line in lines)
        if max(widths, default=0) * scale <= measure:
            break
    masks = []
    for line in lines:
        glyphs = [_glyph(sign, scale) for sign in visual(line)]
        joined = [b"".join(row) for row in zip(*glyphs, strict=True)]
        masks.append(Image.frombytes("L", (len(joined[0]), len(joined)), b"".join(joined)))
    return masks


def _spelt(cluster: str) -> str:
    """A sign in our letters, where they can say it."""
    parts = unicodedata.normalize("NFKD", cluster)
    known = "".join(ODD.get(part, part) for part in parts if part in ODD or part in SIGNS)
    dash = "-" if unicodedata.category(cluster[0]) == "Pd" else ""
    return ODD.get(cluster) or known or dash or cluster


@lru_cache(512)
def _glyph(sign: str, scale: int) -> tuple[bytes, ...]:
    """The rows of a sign, from above the capitals on."""
    if sign not in SIGNS:
        return _foreign(sign, scale)
    bits = [int(digit, 32) for digit in GLYPHS.split()[SIGNS[sign]]]
    ink = {(x, y) for y, row in enumerate(bits) for x in range(5) if row >> 4 - x & 1}
    used = [x for x, _ in ink] or [0, 1]
    columns = range(min(used) * scale, (max(used) + 2) * scale)
    rows = range(-RISE * scale, (HEIGHT - RISE) * scale)
    return tuple(bytes(255 * _inked(ink, x, y, scale) for x in columns) for y in rows)


def _inked(ink: set[tuple[int, int]], x: int, y: int, scale: int) -> bool:
    """Whether a dot belongs to a letter, the corners of whose diagonal steps are filled."""
    (column, left), (row, above) = divmod(x, scale), divmod(y, scale)
    side = column + (1 if 2 * left >= scale else -1)
    over = row + (1 if 2 * above >= scale else -1)
    corner = min(left, scale - 1 - left) + min(above, scale - 1 - above) < scale // 2
    step = (side, row) in ink and (column, over) in ink and (side, over) not in ink
    return (column, row) in ink or (corner and step)


def _foreign(sign: str, scale: int) -> tuple[bytes, ...]:
    """The same of Unifont: ten of its dots, a capital, are as high as seven of ours."""
    mask = _unifont().combined(sign)
    data, width = mask.tobytes(), mask.width
    dots = [[bool(dot) for dot in data[at : at + width]] for at in range(0, len(data), width)]
    # Its capitals begin at the fifth row, so all begins 2.8 of our dots above them.
    tall = _covered(dots, 7 * scale, first=2 * scale, count=HEIGHT * scale)
    wide = _covered(
        [*zip(*tall, strict=True)], 7 * scale, first=0, count=-(-7 * scale * width // 10)
    )
    return tuple(bytes(255 * part // 100 for part in row) for row in zip(*wide, strict=True))


def _covered(
    rows: Sequence[Sequence[int]], size: int, *, first: int, count: int
) -> list[list[int]]:
    """Rows that are `size` tenths of a pixel high, as so many rows of pixels, in tenths.

    `first`: where the first one begins.
    """
    found = []
    for low in range(-first, 10 * count - first, 10):
        pixels = [0] * len(rows[0])
        for number in range(max(0, low // size), min(len(rows), (low + 9) // size + 1)):
            share = min(low + 10, (number + 1) * size) - max(low, number * size)
            pixels = [have + share * dot for have, dot in zip(pixels, rows[number], strict=True)]
        found.append(pixels)
    return found


@lru_cache(1)
def _unifont() -> Unifont:
    from imagen_core.unifont import Unifont

    return Unifont()
