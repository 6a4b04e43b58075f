"""The contact sheet: pictures in rows and columns with their captions, as one PNG."""

from __future__ import annotations

import contextlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from imagen_core import files
from imagen_core.glyphs import LEADING, Writer
from imagen_core.png_stream import PngStream
from imagen_core.sheet_plan import Texts, largest_plan
from imagen_core.thumbnail import Reducer, Thumbnail, read_header

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from PIL.Image import Image

    from imagen_core.glyphs import Colour
    from imagen_core.sheet_plan import Plan

LARGEST = 24_000_000
"""Pixels of a sheet: 100 tiles in their full size."""
THREADS = 4
PAPER: Colour = (248, 247, 244)
BACKING: Colour = (234, 232, 227)
INK: Colour = (28, 30, 36)
FAINT: Colour = (112, 114, 120)
ROSE: Colour = (252, 233, 230)
RED: Colour = (178, 38, 30)
DARK_ROSE: Colour = (130, 72, 68)
WHITE: Colour = (255, 255, 255)
FAILED, NOT_SHOWN = "failed", "not shown"
EDGE = 34
"""How dark the line around a tile is, of 255."""


class Tile(NamedTuple):
    """A cell: a picture, or the problem that there was instead; with the lines below it."""

    path: Path | None
    caption: Sequence[str] = ()
    problem: str = ""


class Sheet(NamedTuple):
    """What is on a contact sheet; a cell that is None, or missing at the end of a row, is empty."""

    title: str
    subtitle: str
    rows: Sequence[Sequence[Tile | None]]
    row_labels: Sequence[str] = ()
    column_labels: Sequence[str] = ()


def draw_sheet(
    sheet: Sheet, path: Path, *, tile: int | None = None, largest: int = LARGEST
) -> tuple[int, int]:
    """Write the sheet as a PNG, whole or not at all, and return its width and height.

    `tile` is how long the longer side of a tile may be, which is less where the sheet would have
    more than `largest` pixels, or a side of more than 12,000. A picture that can't be shown has a
    tile that says why. The same sheet of the same files gives the same bytes.
    """
    writer = Writer(_all_text(sheet))
    plan = largest_plan(sheet, writer, tile=tile, largest=largest, shape=_shape(sheet))
    drawing = _Drawing(sheet, plan, writer)
    with files.overwriting(path) as file:
        stream = PngStream(file, plan.width, plan.height)
        for band in drawing.bands():
            stream.add(band)
        stream.close()
    return plan.width, plan.height


class _Drawing:
    """A sheet that is being drawn, one band of its full width after the other."""

    def __init__(self, sheet: Sheet, plan: Plan, writer: Writer) -> None:
        self._sheet, self._plan, self._writer = sheet, plan, writer
        self._captions = [
            [plan.caption(tile.caption) if tile else [] for tile in row] for row in sheet.rows
        ]
        longest = [len(lines) for row in self._captions for lines in row]
        plan.caption_lines = max(longest, default=0)
        self._shape, self._edge = _frame(plan.box)

    def bands(self) -> Iterator[Image]:
        """The head, the labels of the columns, each row, and what is left below."""
        plan = self._plan
        yield self._head()
        if plan.column_head:
            yield self._column_labels()
        rows = range(len(self._sheet.rows))
        with ThreadPoolExecutor(THREADS) as pool:
            for row, thumbnails in zip(rows, self._thumbnails(pool), strict=True):
                gap = plan.row_gap if row < rows[-1] else 0
                yield self._row(row, thumbnails, plan.pitch - plan.row_gap + gap)
        yield self._paper(plan.margin)

    def _thumbnails(self, pool: ThreadPoolExecutor) -> Iterator[list[Thumbnail | None]]:
        """Those of each row; while it is drawn and packed, those of the next one are made."""
        reducer = Reducer(self._plan.box)
        ahead: deque[list[Future[Thumbnail] | None]] = deque()
        try:
            for row in self._sheet.rows:
                paths = [tile.path if tile else None for tile in row]
                ahead.append([pool.submit(reducer.thumbnail, p) if p else None for p in paths])
                if len(ahead) > 1:
                    yield [future.result() if future else None for future in ahead.popleft()]
            for futures in ahead:
                yield [future.result() if future else None for future in futures]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _head(self) -> Image:
        plan = self._plan
        band = self._paper(plan.head)
        below = plan.margin + plan.title.height + plan.between_titles * bool(plan.title.lines)
        self._write(band, (plan.margin, plan.margin), plan.title, INK)
        self._write(band, (plan.margin, below), plan.subtitle, FAINT)
        return band

    def _column_labels(self) -> Image:
        band = self._paper(self._plan.column_head)
        highest = max(label.height for label in self._plan.column_labels)
        for column, label in enumerate(self._plan.column_labels[: self._plan.columns]):
            self._write(band, (self._plan.left(column), highest - label.height), label, INK)
        return band

    def _row(self, row: int, thumbnails: Sequence[Thumbnail | None], height: int) -> Image:
        plan = self._plan
        band = self._paper(height)
        for label in plan.row_labels[row : row + 1]:
            self._write(band, (plan.margin, (plan.box[1] - label.height) // 2), label, INK)
        cells = zip(self._sheet.rows[row], thumbnails, self._captions[row], strict=True)
        for column, (tile, thumbnail, caption) in enumerate(cells):
            if tile:
                x = plan.left(column)
                picture = self._tile(tile, thumbnail)
                band.paste(picture, (x, 0), self._shape)
                band.paste((0, 0, 0), (x, 0), self._edge)
                self._caption(band, (x, plan.box[1] + plan.caption_pad), caption)
        return band

    def _tile(self, tile: Tile, thumbnail: Thumbnail | None) -> Image:
        if thumbnail is None:
            return self._notice(FAILED, tile.problem, (ROSE, RED, DARK_ROSE))
        if thumbnail.image is None:
            return self._notice(NOT_SHOWN, thumbnail.problem, (BACKING, INK, FAINT))
        cell = _plain(self._plan.box, BACKING)
        image = thumbnail.image
        cell.paste(image, ((cell.width - image.width) // 2, (cell.height - image.height) // 2))
        if thumbnail.note:
            self._note(cell, thumbnail.note)
        return cell

    def _notice(self, head: str, reason: str, colours: tuple[Colour, Colour, Colour]) -> Image:
        """A tile that says what became of its picture, as far as there is room."""
        wide, high = self._plan.box
        ground, ink, faint = colours
        cell = _plain((wide, high), ground)
        size, pad = max(13, min(30, wide // 15)), max(2, min(32, wide // 14))
        room = wide - 2 * pad
        lines = [head] if self._writer.width(head, size) <= room else []
        title = Texts(lines if size * LEADING <= high - pad else [], size)
        small = max(13, min(19, wide // 22))
        count = int((high - 2 * pad - title.height - pad // 2) // (small * LEADING))
        lines = self._writer.fitted(reason, small, room, count) if count > 0 and title.lines else []
        words = Texts(lines, small)
        between = pad // 3 if words.lines else 0
        y = (high - title.height - words.height - between) // 2
        self._write(cell, (pad, y), title, ink)
        self._write(cell, (pad, y + title.height + between), words, faint)
        return cell

    def _note(self, cell: Image, note: str) -> None:
        """A word in the corner of a picture, where there is room for it."""
        size, pad = self._plan.caption_size, self._plan.caption_size // 2
        wide, high = self._writer.width(note, size) + 2 * pad, round(size * LEADING) + pad
        if wide + 2 * pad > cell.width or high + 2 * pad > cell.height:
            return
        mask, _ = _frame((wide, high), radius=high // 2)
        at = pad, cell.height - high - pad
        cell.paste(INK, at, mask.point([value * 3 // 4 for value in range(256)]))
        place = at[0] + pad, at[1] + pad // 2
        self._writer.draw(cell, place, note, size=size, fill=WHITE)

    def _caption(
        self, band: Image, place: tuple[int, int], lines: Sequence[tuple[str, bool]]
    ) -> None:
        size = self._plan.caption_size
        for number, (line, first) in enumerate(lines):
            at = place[0], place[1] + round(number * size * LEADING)
            self._writer.draw(band, at, line, size=size, fill=INK if first else FAINT)

    def _write(self, image: Image, place: tuple[int, int], texts: Texts, fill: Colour) -> None:
        for number, line in enumerate(texts.lines):
            at = place[0], place[1] + round(number * texts.size * LEADING)
            self._writer.draw(image, at, line, size=texts.size, fill=fill)

    def _paper(self, height: int) -> Image:
        return _plain((self._plan.width, height), PAPER)


def _plain(size: tuple[int, int], colour: Colour) -> Image:
    from PIL import Image

    return Image.new("RGB", size, colour)


def _frame(size: tuple[int, int], radius: int | None = None) -> tuple[Image, Image]:
    """The mask of a tile with round corners, and that of the thin line at its edge."""
    from PIL import Image, ImageChops, ImageDraw

    fine = 4
    round_by = min(12, size[0] // 36) if radius is None else radius
    large = Image.new("L", (size[0] * fine, size[1] * fine))
    masks = []
    for inset in (0, fine):
        mask = large.copy()
        corner = large.width - 1 - inset, large.height - 1 - inset
        curve = max(0, round_by * fine - inset)
        ImageDraw.Draw(mask).rounded_rectangle((inset, inset, *corner), curve, fill=255)
        masks.append(mask.resize(size, Image.Resampling.BOX))
    line = ImageChops.subtract(masks[0], masks[1])
    return masks[0], line.point([value * EDGE // 255 for value in range(256)])


def _shape(sheet: Sheet) -> tuple[float, float]:
    """Width and height of the tiles: where all pictures are wide, so are they. The longer is 1.

    No tile is so flat, or so narrow, that there is no room for a few words.
    """
    sizes = [_size(tile.path) for row in sheet.rows for tile in row if tile and tile.path]
    wide = max((w / max(w, h) for w, h in sizes), default=1.0)
    high = max((h / max(w, h) for w, h in sizes), default=1.0)
    return max(0.5, wide), max(0.5, high)


def _size(path: Path) -> tuple[int, int]:
    with contextlib.suppress(OSError):
        if header := read_header(path):
            return header.width, header.height
    return 1, 1


def _all_text(sheet: Sheet) -> str:
    tiles = [tile for row in sheet.rows for tile in row if tile]
    captions = [line for tile in tiles for line in (*tile.caption, tile.problem)]
    labels = [*sheet.row_labels, *sheet.column_labels]
    return " ".join([sheet.title, sheet.subtitle, *labels, *captions])
