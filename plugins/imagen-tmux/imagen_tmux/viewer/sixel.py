"""Sixel, by the optional package chafa.py: of the shapes of terminal graphics the oldest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen_tmux.viewer.painting import Canvas, Painting
from imagen_tmux.viewer.picture import fit, scaled

if TYPE_CHECKING:
    from PIL.Image import Image

LONGEST = 900_000
"""Bytes: tmux drops a sequence of more than 1 MiB without a word."""
SIDE = 1200
"""Pixels: encoding takes its time, and more of them would seldom stay below that length."""
CAREFUL = 0.95
SMALLEST = 32


def is_there() -> bool:
    """Whether the package is installed."""
    from importlib.util import find_spec

    return find_spec("chafa") is not None


def paint(image: Image, size: tuple[int, int], canvas: Canvas) -> Painting | None:
    """The picture as sixels, as large as the room and the limit let it be.

    None if the package is not there, or does not work here.
    """
    width, height = fit(size, (min(canvas.pixels[0], SIDE), min(canvas.pixels[1], SIDE)))
    while True:
        try:
            encoded = _encode(image, width, height, canvas)
        except (ImportError, OSError, AttributeError, ValueError, MemoryError):
            return None
        if len(encoded) <= LONGEST or width <= SMALLEST:
            break
        # The length goes with the number of pixels, more or less.
        shrink = min((LONGEST / len(encoded)) ** 0.5 * CAREFUL, CAREFUL)
        width, height = int(width * shrink), max(1, int(height * shrink))
    columns, rows = -(-width // canvas.cell[0]), -(-height // canvas.cell[1])
    return Painting(columns, rows, image=encoded)


def _encode(image: Image, width: int, height: int, canvas: Canvas) -> str:
    import chafa  # type: ignore[import-untyped, import-not-found, unused-ignore]

    config = chafa.CanvasConfig()
    config.pixel_mode = chafa.PixelMode.CHAFA_PIXEL_MODE_SIXELS
    config.width, config.height = -(-width // canvas.cell[0]), -(-height // canvas.cell[1])
    config.cell_width, config.cell_height = canvas.cell
    sheet = chafa.Canvas(config)
    data = scaled(image, (width, height)).tobytes()
    kind = chafa.PixelType.CHAFA_PIXEL_RGB8
    sheet.draw_all_pixels(kind, data, width, height, width * 3)
    encoded: bytes = sheet.print(term_info=chafa.TermDb().get_fallback_info())
    return encoded.decode("ascii")
