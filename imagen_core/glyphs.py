"""Writing on pictures so that no character turns into a box, whatever is installed.

Pillow's own face comes first, then those that are installed, then GNU Unifont, which is here.
"""

from __future__ import annotations

import os
import sys
from functools import cached_property
from itertools import groupby
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from imagen_core.script import clusters, is_wide, pieces, visual
from imagen_core.unifont import BASELINE, ROWS, Unifont

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

Colour = tuple[int, int, int]
LEADING = 1.32
"""From one line to the next, in sizes."""
LONGEST = 2000
"""So much of a text is looked at when it is fitted; who writes more wants no caption."""
ELLIPSIS = "…"

FACES = """
notosans-regular.ttf dejavusans.ttf liberationsans-regular.ttf segoeui.ttf arial.ttf helvetica.ttc
notosanscjk-regular.ttc notosanscjksc-regular.otf notosanscjkjp-regular.otf notosanssc-regular.otf
notosansjp-regular.otf notosanskr-regular.otf sourcehansans-regular.ttc sourcehansanssc-regular.otf
wqy-microhei.ttc wqy-zenhei.ttc droidsansfallbackfull.ttf pingfang.ttc msyh.ttc msyh.ttf yugothm.ttc
malgun.ttf applesdgothicneo.ttc notosansarabic-regular.ttf notosanshebrew-regular.ttf
notosansthai-regular.ttf notosansdevanagari-regular.ttf nirmala.ttf tahoma.ttf
leelawui.ttf kohinoor.ttc thonburi.ttc notosanssymbols-regular.ttf notosanssymbols2-regular.ttf
notosansmath-regular.ttf symbola.ttf symbola_hint.ttf seguisym.ttf seguiemj.ttf
notoemoji-regular.ttf
"""
"""Files of faces that systems come with, in lower case, the better ones first."""
PREFIXES = ("hiragino sans gb", "ヒラギノ角ゴシック w3", "arial unicode")
"""How the names of more of them begin."""


class _Style(NamedTuple):
    """A face of a list and a size; a face below zero is Unifont."""

    face: int
    size: int


class Writer:
    """Measures, wraps and draws lines of text; it remembers every glyph that it has looked for.

    `text` is what will be written, all of it, so that it gets one face, and no word has two.
    `folders` is where to look for fonts.
    """

    def __init__(self, text: str = "", folders: Sequence[Path] | None = None) -> None:
        self._letters = {c for c in clusters(text) if c[0].isalpha() and not is_wide(c)}
        self._folders = font_folders() if folders is None else folders
        self._fonts: dict[_Style, FreeTypeFont] = {}
        self._probes: dict[int, FreeTypeFont] = {}
        self._has: dict[tuple[int, str], bool] = {}
        self._widths: dict[tuple[_Style, str], float] = {}
        self._masks: dict[tuple[int, str], Image] = {}

    def width(self, text: str, size: int) -> int:
        """How many pixels wide the text is in one line."""
        return ceil(sum(self._width(style, run) for style, run in self._runs(text, size)))

    def draw(
        self, image: Image, xy: tuple[int, int], text: str, *, size: int, fill: Colour
    ) -> None:
        """Draw a line of text; `xy` is its corner at the left and the top."""
        from PIL import ImageDraw

        x, baseline = float(xy[0]), xy[1] + size
        pen = ImageDraw.Draw(image)
        for style, run in self._runs(text, size):
            if style.face < 0:
                mask = self._mask(run, size)
                image.paste(fill, (round(x), baseline - size * BASELINE // ROWS), mask)
            else:
                pen.text((x, baseline), run, fill, self._font(style), anchor="ls")
            x += self._width(style, run)

    def fitted(self, text: str, size: int, width: int, lines: int = 1) -> list[str]:
        """The text in so many lines at most, broken at words where it can be.

        What is too long ends with an ellipsis. Nothing is wider than `width`, so that there may be
        no line at all.
        """
        found: list[str] = []
        line: list[str] = []
        for piece in self._broken(text[:LONGEST], size, width):
            if self.width("".join([*line, *piece]).rstrip(), size) <= width:
                line += piece if line or piece != [" "] else []
            elif len(found) + 1 == lines:
                return [*found, *self._cut(line + piece, size, width)]
            else:
                found.append("".join(line).rstrip())
                line = [] if piece == [" "] else piece
        rest = "".join(line).rstrip()
        return [*found, rest] if rest else found

    def _broken(self, text: str, size: int, width: int) -> Iterator[list[str]]:
        """The pieces of a text, none wider than the width, and never two spaces in a row.

        It ends with the first sign that is wider.
        """
        last = [" "]
        for piece in pieces(text):
            if piece == last == [" "]:
                continue
            last = piece
            part: list[str] = []
            for cluster in piece if self.width("".join(piece), size) > width else ():
                if part and self.width("".join([*part, cluster]), size) > width:
                    yield part
                    part = []
                if self.width(cluster, size) > width:
                    return
                part.append(cluster)
            yield part or piece

    def _cut(self, line: list[str], size: int, width: int) -> list[str]:
        while line and self.width("".join(line).rstrip() + ELLIPSIS, size) > width:
            line = line[:-1]
        cut = "".join(line).rstrip() + ELLIPSIS
        return [cut] if self.width(cut, size) <= width else []

    def _runs(self, text: str, size: int) -> Iterator[tuple[_Style, str]]:
        """What is drawn at once, from left to right: signs of Unifont and of the right one by one.

        Pillow may turn letters that are written from right to left, which `visual` has done.
        """
        shown = visual(text)
        faces = [self._face(cluster) for cluster in shown]
        for face, group in groupby(zip(faces, shown, strict=True), key=lambda pair: pair[0]):
            run = [cluster for _, cluster in group]
            single = face < 0 or any("\u0590" <= c[0] <= "\u08ff" or c[0] >= "\ufb1d" for c in run)
            for part in run if single else ["".join(run)]:
                yield _Style(face, size), part

    @cached_property
    def _main(self) -> int:
        """The first of the faces that have most letters."""
        if all(self._has_glyph(0, letter) for letter in self._letters):
            return 0
        counts = [
            sum(self._has_glyph(face, letter) for letter in self._letters)
            for face in range(1 + len(self._files))
        ]
        return counts.index(max(counts))

    def _face(self, cluster: str) -> int:
        faces = (self._main, *range(1 + len(self._files)))
        return next((face for face in faces if self._has_glyph(face, cluster)), -1)

    def _has_glyph(self, face: int, cluster: str) -> bool:
        """Whether a face has it all; where it has not, its box is drawn, or nothing."""
        from PIL.ImageFont import Layout

        key = face, cluster
        if key not in self._has:
            if face not in self._probes:
                font = self._font(_Style(face, 32))
                self._probes[face] = font.font_variant(layout_engine=Layout.BASIC)
            probe = self._probes[face]
            self._has[key] = cluster == " " or all(_differs(probe, sign) for sign in cluster)
        return self._has[key]

    def _font(self, style: _Style) -> FreeTypeFont:
        from PIL import ImageFont

        if style not in self._fonts:
            found: Any = (
                ImageFont.FreeTypeFont(self._files[style.face - 1], style.size)
                if style.face
                else ImageFont.load_default(style.size)
            )
            self._fonts[style] = found
        return self._fonts[style]

    def _width(self, style: _Style, run: str) -> float:
        key = style, run
        if key not in self._widths:
            self._widths[key] = (
                self._mask(run, style.size).width
                if style.face < 0
                else self._font(style).getlength(run)
            )
        return self._widths[key]

    def _mask(self, cluster: str, size: int) -> Image:
        """The glyph of Unifont for a character and the marks upon it, without steps."""
        from PIL.Image import Resampling

        key = size, cluster
        if key not in self._masks:
            if (0, cluster) not in self._masks:
                self._masks[0, cluster] = self._unifont.outline(cluster)
            large = self._masks[0, cluster]
            wide = max(1, large.width * size // large.height)
            self._masks[key] = large.resize((wide, size), Resampling.BOX)
        return self._masks[key]

    @cached_property
    def _unifont(self) -> Unifont:
        return Unifont()

    @cached_property
    def _files(self) -> list[Path]:
        """The files of installed faces that can be read, the better ones first."""
        from PIL import ImageFont

        names: dict[str, Path] = {}
        for folder in self._folders:
            for root, folders, files in os.walk(folder):
                folders.sort()
                names |= {file.lower(): Path(root, file) for file in sorted(files)}
        more = [name for prefix in PREFIXES for name in sorted(names) if name.startswith(prefix)]
        found = []
        for name in [*FACES.split(), *more]:
            try:
                # Not `truetype`, which for a bad file would look for one of that name elsewhere.
                ImageFont.FreeTypeFont(names[name], 32)
            except (KeyError, OSError):
                continue
            found.append(names[name])
        return found


def font_folders() -> list[Path]:
    """Where this system keeps its fonts."""
    home = Path.home()
    if sys.platform == "darwin":
        roots = [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts"]
    elif sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA", str(home))
        roots = [Path(os.environ.get("WINDIR", "C:/Windows"), "Fonts")]
        roots.append(Path(local, "Microsoft/Windows/Fonts"))
    else:
        data = os.environ.get("XDG_DATA_HOME") or home / ".local/share"
        roots = [Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path(data, "fonts")]
    return [root for root in roots if root.is_dir()]


def _differs(font: FreeTypeFont, sign: str) -> bool:
    """Whether the glyph is neither nothing nor the one that stands for all that are missing."""
    mask, missing = font.getmask(sign), font.getmask("\U0010fffd")
    return bool(mask.getbbox()) and (mask.size != missing.size or bytes(mask) != bytes(missing))
