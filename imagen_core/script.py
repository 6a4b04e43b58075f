"""Text as it is written: its clusters, joined Arabic letters, and what is at the left of what."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from itertools import groupby

SPACES = ("Cc", "Zs", "Zl", "Zp")
MARKS = ("Mn", "Mc", "Me")
RIGHT_TO_LEFT = ("R", "AL")
TONES = range(0x1F3FB, 0x1F400)
"""What gives the emoji before it a colour of skin."""
SELECTORS = {0x034F, *range(0x180B, 0x180E), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)}
"""What chooses between glyphs, and has none."""

_PAIRS = "()[]{}<>«»‹›≤≥⟨⟩（）［］｛｝｟｠＜＞〈〉《》「」『』【】〔〕｢｣"  # noqa: RUF001
_MIRRORED = str.maketrans(_PAIRS[::2] + _PAIRS[1::2], _PAIRS[1::2] + _PAIRS[::2])
_BRACKETS = {sign for sign in _PAIRS if unicodedata.category(sign) in ("Ps", "Pe")}
_CLOSING, _OPENING = ("Pe", "Pf", "Po", "Lm"), ("Ps", "Pi")
"""Punctuation before which, and after which, no line ends; among the first are 々 and ー."""


def clusters(text: str) -> list[str]:
    """The characters, each with the marks upon it; whatever is no sign of its own is left out.

    Spaces and control characters of any kind become the one space, half of a surrogate pair "�".
    """
    found: list[str] = []
    for character in unicodedata.normalize("NFC", text):
        kind = unicodedata.category(character)
        if ord(character) in SELECTORS:
            continue
        if kind in SPACES:
            found.append(" ")
        elif kind in MARKS and found and found[-1] != " ":
            found[-1] += character
        elif kind not in (*MARKS, "Cf") and not (found and ord(character) in TONES):
            found.append("\ufffd" if kind == "Cs" else character)
    return found


def pieces(text: str) -> list[list[str]]:
    """The clusters, together where a line is not to be broken; each space is a piece."""
    found: list[list[str]] = []
    for cluster in clusters(text):
        last = found[-1][-1] if found else " "
        kept = _kind(cluster) in _CLOSING or _kind(last) in _OPENING
        broken = is_wide(cluster) or is_wide(last) or (last in "-/_" and len(found[-1]) > 1)
        if " " in (cluster, last) or (broken and not kept):
            found.append([cluster])
        else:
            found[-1].append(cluster)
    return found


def is_wide(cluster: str) -> bool:
    """Whether it is a sign of the East, between any two of which a line may end; or an emoji."""
    return unicodedata.east_asian_width(cluster[0]) in "WF"


def cut(text: str, room: int) -> str:
    """As much of the text as there is room for on a terminal, where some signs take two columns."""
    taken, kept = 0, []
    for cluster in clusters(text):
        taken += columns(cluster)
        if taken > room:
            break
        kept.append(cluster)
    return "".join(kept)


def columns(text: str) -> int:
    """How many columns of a terminal it takes."""
    return sum(1 + is_wide(cluster) for cluster in clusters(text))


def _kind(cluster: str) -> str:
    return unicodedata.category(cluster[0])


def visual(text: str) -> list[str]:
    """The clusters from left to right, Arabic letters in the shapes that they have there."""
    found = clusters(text)
    strong = ["()" if c in _BRACKETS else unicodedata.bidirectional(c[0]) for c in found]
    if not any(kind in RIGHT_TO_LEFT for kind in strong):
        return found
    levels = _levels(strong)
    runs = list(zip(_joined(found), levels, strict=True))
    for level in range(max(levels), 0, -1):
        runs = _reversed_from(runs, level)
    return [c.translate(_MIRRORED) if level % 2 else c for c, level in runs]


def _levels(strong: list[str]) -> list[int]:
    """The embedding level of each cluster, in a line as long as a caption: no overrides."""
    first = next(kind for kind in strong if kind in ("L", *RIGHT_TO_LEFT))
    base = int(first in RIGHT_TO_LEFT)
    levels: list[int | None] = []
    right = bool(base)
    for kind in strong:
        if kind in ("L", *RIGHT_TO_LEFT):
            right = kind != "L"
        if kind in ("L", *RIGHT_TO_LEFT, "EN", "AN"):
            levels.append(1 + (kind in ("EN", "AN")) if right else 2 * base)
        else:
            levels.append(base if kind == "()" else None)
    return _neutrals(levels, base)


def _neutrals(levels: list[int | None], base: int) -> list[int]:
    """Give what has no direction the one on both of its sides, or else that of the line."""
    found: list[int] = []
    for at, level in enumerate(levels):
        before = found[-1] if found else base
        after = next((value for value in levels[at:] if value is not None), base)
        same = before == after or (before > 0 and after > 0 and base == 0)
        neutral = min(before, after) if same else base
        found.append(neutral if level is None else level)
    return found


def _reversed_from(runs: list[tuple[str, int]], level: int) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for high, group in groupby(runs, key=lambda run: run[1] >= level):
        part = list(group)
        found += part[::-1] if high else part
    return found


@lru_cache(1)
def _shapes() -> dict[tuple[str, str], str]:
    """The forms of Arabic letters, by letter and place, which Unicode has for old programs."""
    found: dict[tuple[str, str], str] = {}
    for code in (*range(0xFB50, 0xFC00), *range(0xFE80, 0xFEFD)):
        place, *letters = unicodedata.decomposition(chr(code)).split()[:3] or [""]
        letter = "".join(chr(int(number, 16)) for number in letters)
        found.setdefault((letter, place), chr(code))
    return found


def _joined(found: list[str]) -> list[str]:
    """Each letter in its initial, medial, final or isolated form."""
    shapes = _shapes()
    forward = [(cluster[0], "<initial>") in shapes for cluster in found]
    backward = [(cluster[0], "<final>") in shapes for cluster in found]
    shown = []
    for at, cluster in enumerate(found):
        before = at > 0 and backward[at] and forward[at - 1]
        after = at + 1 < len(found) and forward[at] and backward[at + 1]
        place = ("<isolated>", "<initial>", "<final>", "<medial>")[2 * before + after]
        shown.append(shapes.get((cluster[0], place), cluster[0]) + cluster[1:])
    return shown
