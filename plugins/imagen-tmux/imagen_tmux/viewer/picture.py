"""A picture in a file, decoded and made to fit, whatever is wrong with it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST = 64_000_000
"""A picture of more pixels is not decoded: it would take more than 256 MB."""
CHECKER = (8, 255, 226)
"""What is seen through a picture: squares of so many pixels, in two greys."""
HEAD = 16
ORIENTATION = 0x0112

Size = tuple[int, int]


class Picture(NamedTuple):
    """The pixels in RGB, turned as they should be; or the problem with the file."""

    image: Image | None = None
    size: Size = (0, 0)
    problem: str = ""


def load(path: str, largest: Size) -> Picture:
    """The picture in this file, in the size that it has or smaller, but larger than `largest`.

    It is made smaller only as far as that is quick; `scaled` does the rest.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - pathlib takes time to import
            return Picture(problem="this is no regular file")
        return _load(path, largest)
    except FileNotFoundError:
        return Picture(problem="the file is gone")
    except OSError as error:
        return Picture(problem=error.strerror or "the file is damaged")
    except Exception:  # noqa: BLE001 - a decoder may raise anything
        return Picture(problem="the file is damaged")


def fit(size: Size, box: Size, ratio: float = 1.0) -> Size:
    """The largest size of the same shape in the box, of units that are `ratio` times as high."""
    (width, height), (wide, high) = size, box
    tall = height / ratio
    if width * high > tall * wide:
        return max(wide, 1), min(max(1, round(tall * wide / width)), max(high, 1))
    return min(max(1, round(width * high / tall)), max(wide, 1)), max(high, 1)


def scaled(image: Image, size: Size) -> Image:
    """The picture in exactly this size."""
    from PIL.Image import Resampling

    if image.size == size:
        return image
    return image.resize(size, Resampling.BICUBIC, reducing_gap=2.0)


def _load(path: str, largest: Size) -> Picture:
    import warnings

    warnings.simplefilter("ignore")  # they would be written across the screen
    with open(path, "rb") as file:  # noqa: PTH123 - pathlib takes time to import
        picture = _opened(file.read(HEAD), path)
    if picture is None:
        return Picture(problem="this is no picture that can be shown here")
    with picture:
        width, height = picture.size
        if width * height > LARGEST:
            return Picture(problem=f"it is too large to be shown here: {width}x{height}")
        picture.draft(None, largest)
        picture.load()
        small = _reduced(_plain(picture), largest)
        turned = _upright(small, picture)
    turned_size = (height, width) if turned.size != small.size else (width, height)
    return Picture(_opaque(turned), turned_size)


def _opened(head: bytes, path: str) -> Image | None:
    """The picture, by the one decoder that it needs; None if nobody here can read it."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        from PIL.PngImagePlugin import PngImageFile

        return PngImageFile(path)
    if head.startswith(b"\xff\xd8\xff"):
        from PIL.JpegImagePlugin import JpegImageFile

        return JpegImageFile(path)
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(path, formats=("WEBP", "GIF", "AVIF"))
    except UnidentifiedImageError:
        return None


def _plain(picture: Image) -> Image:
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith("I"):  # 16 bits of grey
        return picture.convert("I").point(lambda value: value * (1 / 256)).convert("RGB")
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def _reduced(picture: Image, largest: Size) -> Image:
    factor = min(picture.width // (2 * largest[0]), picture.height // (2 * largest[1]))
    return picture.reduce(factor) if factor > 1 else picture


def _upright(small: Image, picture: Image) -> Image:
    """As the camera was held."""
    if "exif" not in picture.info and "Raw profile type exif" not in picture.info:
        return small
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    turn = turns.get(picture.getexif().get(ORIENTATION, 1))
    return small if turn is None else small.transpose(turn)


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
