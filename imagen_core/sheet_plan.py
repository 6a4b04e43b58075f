"""Where all goes that is on a contact sheet, and how large, for the sheet to keep its limits."""

from __future__ import annotations

from bisect import bisect_left
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from imagen_core.glyphs import LEADING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagen_core.glyphs import Writer
    from imagen_core.sheet import Sheet

LONGEST_SIDE = 12_000
SMALLEST_TILE = 8
NARROWEST = 560
"""A sheet has at least this width, for its title."""
TILES = {1: 832, 2: 624, 3: 480}
"""The side of a tile by the longer side of the grid; it is `TILE` where there are more."""
TILE = 384
CAPTION_LINES = ((300, 6), (220, 4), (150, 3), (100, 2), (64, 1))
"""How many lines a caption has room for below a tile of at least such a width."""
TITLE_LINES = 3


class Texts(NamedTuple):
    """Lines of one size, and how many pixels high they are."""

    lines: Sequence[str]
    size: int

    @property
    def height(self) -> int:
        """All of them, one below the other."""
        return round(len(self.lines) * self.size * LEADING)


class Plan:
    """The measures of a sheet whose tiles have so many pixels at their longer side."""

    def __init__(self, sheet: Sheet, writer: Writer, side: int, shape: tuple[float, float]) -> None:
        self._sheet, self._writer = sheet, writer
        self.columns = max(map(len, sheet.rows), default=0)
        self.box = max(1, round(side * shape[0])), max(1, round(side * shape[1]))
        wide = self.box[0]
        self.gap = _within(wide // 14, 2, 32)
        self.margin = _within(wide // 7, 20, 60)
        self.caption_size = _within(wide // 22, 13, 18)
        self.label_size = _within(wide // 16, 14, 30)
        self.room = next((lines for least, lines in CAPTION_LINES if wide >= least), 0)
        captions = [tile.caption for row in sheet.rows for tile in row if tile]
        longest = max(map(len, captions), default=0)
        # One more, so that a long first line may become two.
        self.caption_lines = min(self.room, longest + (longest > 0))

    @cached_property
    def row_labels(self) -> list[Texts]:
        """The label of each row, at its left."""
        return [self._label(text, self._label_room) for text in self._sheet.row_labels]

    @cached_property
    def column_labels(self) -> list[Texts]:
        """The label of each column, above it."""
        return [self._label(text, self.box[0], lines=2) for text in self._sheet.column_labels]

    @cached_property
    def gutter(self) -> int:
        """The width that the labels of the rows take, with the gap at their right."""
        lines = [line for label in self.row_labels for line in label.lines]
        widest = max((self._writer.width(line, self.label_size) for line in lines), default=0)
        return widest + self.gap + self.label_size // 2 if lines else 0

    @cached_property
    def width(self) -> int:
        """Of the sheet."""
        tiles = self.columns * (self.box[0] + self.gap) - self.gap
        return max(NARROWEST, self.gutter + tiles + 2 * self.margin)

    @cached_property
    def title(self) -> Texts:
        """In the size that suits the sheet, and cut where it is too long."""
        size = min(96, 14 + self.width // 55)
        return self._texts(self._sheet.title, size, TITLE_LINES)

    @cached_property
    def subtitle(self) -> Texts:
        """Below the title, and smaller."""
        return self._texts(self._sheet.subtitle, max(14, self.title.size * 3 // 5), 2)

    @cached_property
    def head(self) -> int:
        """The height of the title with all that belongs to it."""
        texts = self.title.height + self.subtitle.height
        between = self.between_titles if self.title.lines and self.subtitle.lines else 0
        return self.margin + texts + between + (max(24, self.title.size) if texts else 0)

    @property
    def between_titles(self) -> int:
        """From the title to the subtitle."""
        return self.title.size // 4

    @cached_property
    def column_head(self) -> int:
        """The height of the labels of the columns."""
        highest = max((label.height for label in self.column_labels), default=0)
        return highest + self.label_size // 2 if highest else 0

    @property
    def pitch(self) -> int:
        """From one row to the next."""
        caption = round(self.caption_lines * self.caption_size * LEADING)
        return self.box[1] + (caption + self.caption_pad if caption else 0) + self.row_gap

    @property
    def caption_pad(self) -> int:
        """From a tile to its caption."""
        return self.caption_size // 2

    @property
    def row_gap(self) -> int:
        """From a caption to the next row."""
        return self.gap * 5 // 4 if self.caption_lines else self.gap

    @property
    def height(self) -> int:
        """Of the sheet."""
        rows = len(self._sheet.rows) * self.pitch - self.row_gap if self._sheet.rows else 0
        return self.head + self.column_head + rows + self.margin

    def left(self, column: int) -> int:
        """Where a column of tiles begins."""
        return self.margin + self.gutter + column * (self.box[0] + self.gap)

    def fits(self, largest: int) -> bool:
        """Whether the sheet is within the limits."""
        return max(self.width, self.height) <= LONGEST_SIDE and self.width * self.height <= largest

    def caption(self, entries: Sequence[str]) -> list[tuple[str, bool]]:
        """The lines of a caption, each with whether it is of its first entry.

        Every entry is one line, and the first one two where there is room; the last ones are left
        out where there is not.
        """
        wide, size = self.box[0], self.caption_size
        spare = 2 if self.room > len(entries) else 1
        lines: list[tuple[str, bool]] = []
        for number, entry in enumerate(entries[: self.room]):
            fitted = self._writer.fitted(entry, size, wide, 1 if number else spare)
            lines += [(line, number == 0) for line in fitted]
        return lines

    def _label(self, text: str, width: int, lines: int = 3) -> Texts:
        return Texts(self._writer.fitted(text, self.label_size, width, lines), self.label_size)

    @property
    def _label_room(self) -> int:
        return max(110, self.box[0] * 3 // 5)

    def _texts(self, text: str, size: int, lines: int) -> Texts:
        room = self.width - 2 * self.margin
        return Texts(self._writer.fitted(text, size, room, lines), size)


def largest_plan(
    sheet: Sheet, writer: Writer, *, tile: int | None, largest: int, shape: tuple[float, float]
) -> Plan:
    """The plan with the largest tiles that keep the sheet within its limits."""
    grid = max(len(sheet.rows), *map(len, sheet.rows), 1)
    best = tile or TILES.get(grid, TILE)
    sides = range(SMALLEST_TILE, best + 1)
    too_large = bisect_left(
        sides, 1, key=lambda side: not Plan(sheet, writer, side, shape).fits(largest)
    )
    return Plan(sheet, writer, sides[max(0, too_large - 1)], shape)


def _within(value: int, least: int, most: int) -> int:
    return max(least, min(most, value))
