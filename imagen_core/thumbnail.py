"""Small pictures of pictures, decoded with no more work and memory than it takes."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, NamedTuple

from imagen_core.header import image_header

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

    from imagen_core.header import Header

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "AVIF")
HEAD_BYTES = 262_144
"""Within so many bytes a file says what it is, and how large."""
LARGEST = 64_000_000
"""A picture of more pixels is not decoded: it would take more than 256 MB."""
LARGE = 8_000_000
"""Of pictures of more pixels, one at a time is decoded."""
CHECKER = (8, 255, 226)
"""What is seen through a picture: squares of so many pixels, in two greys."""


class Thumbnail(NamedTuple):
    """A picture in RGB, with what should be noted on it; or the problem with it."""

    image: Image | None = None
    note: str = ""
    problem: str = ""


class Reducer:
    """Makes thumbnails that fit into a box; several threads may ask it at once."""

    def __init__(self, box: tuple[int, int]) -> None:
        self._box = box
        self._large = threading.Lock()

    def thumbnail(self, path: Path) -> Thumbnail:
        """The picture in this file, as large as the box has room for; whatever is there."""
        try:
            header = read_header(path)
            if header is None:
                return Thumbnail(problem="it is no picture that can be shown here")
            pixels = header.width * header.height
            if pixels > LARGEST:
                size = f"{header.width}x{header.height}"
                return Thumbnail(problem=f"it is too large to be shown here: {size}")
            turn: AbstractContextManager[object] = self._large if pixels > LARGE else nullcontext()
            with turn:
                return self._decoded(path)
        except FileNotFoundError:
            return Thumbnail(problem="the file is gone")
        except Exception as error:  # noqa: BLE001 - a decoder may raise anything
            return Thumbnail(problem=getattr(error, "strerror", "") or "the file is damaged")

    def _decoded(self, path: Path) -> Thumbnail:
        from PIL import Image, ImageOps

        with Image.open(path, formats=FORMATS) as picture:
            animated = getattr(picture, "is_animated", False)
            size = fit(picture.size, self._box)
            picture.draft(None, size)
            plain = _plain(picture)
        small = plain.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
        if upright := ImageOps.exif_transpose(small):
            small = upright
        if small.size != size:  # it lies on its side
            small = small.resize(fit(small.size, self._box), Image.Resampling.BICUBIC)
        return Thumbnail(_opaque(small), note="animated" if animated else "")


def read_header(path: Path) -> Header | None:
    """Type and size of the picture in a file; None if it is none that imagen knows."""
    with path.open("rb") as file:
        return image_header(file.read(HEAD_BYTES))


def fit(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """The largest size of the same shape that the box has room for."""
    (width, height), (wide, high) = size, box
    if width * high > height * wide:
        return wide, max(1, (height * wide + width // 2) // width)
    return max(1, (width * high + height // 2) // height), high


def _plain(picture: Image) -> Image:
    """The pixels, decoded, as RGB or RGBA."""
    if picture.mode.startswith("I"):  # 16 bits of grey
        picture.load()
        return picture.convert("I").point(lambda value: value * (1 / 256)).convert("RGB")
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def _opaque(picture: Image) -> Image:
    if picture.mode != "RGBA":
        return picture
    from PIL import Image

    side, light, dark = CHECKER
    across, down = picture.width // side + 1, picture.height // side + 1
    rows = (bytes((dark if x + y & 1 else light) for x in range(across)) for y in range(down))
    squares = Image.frombytes("L", (across, down), b"".join(rows)).convert("RGB")
    board = squares.resize((across * side, down * side), Image.Resampling.NEAREST)
    board = board.crop((0, 0, *picture.size))
    board.paste(picture, (0, 0), picture)
    return board
