"""A picture in a file, decoded and made to fit, whatever is wrong with it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST = 256_000_000
"""A picture that takes more bytes, once it is decoded, is not."""
BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}
"""Of a pixel in each mode; in all others it has four."""
COPIES = {"WEBP": 3, "AVIF": 3}
"""So often the decoders of these formats have the pixels at the same time."""
STRIP = 4_000_000
"""So many pixels are converted at a time."""
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
        pixel = BYTES.get(picture.mode, 4) * COPIES.get(picture.format or "", 1)
        if width * height * pixel > LARGEST:
            return Picture(problem=f"it is too large to be shown here: {width}x{height}")
        picture.draft(None, largest)
        picture.load()
        small = _reduced(picture, largest)
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
    if picture.mode == "RGBA" or (picture.mode == "RGB" and "transparency" not in picture.info):
        return picture
    if picture.mode.startswith("I"):  # 16 bits of grey
        return picture.convert("I").point(lambda value: value * (1 / 256)).convert("RGB")
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def _reduced(picture: Image, largest: Size) -> Image:
    """In plain colours, and smaller; both strip by strip, so that there is no second one of it."""
    # It may have to be turned, and fills the room only in one direction.
    factor = max(max(picture.size) // (2 * max(largest)), 1)
    width, height = picture.size
    if width * height <= STRIP:
        plain = _plain(picture)
        return plain.reduce(factor) if factor > 1 else plain
    from PIL import Image

    rows = max(STRIP // width // factor, 1) * factor
    small: Image.Image | None = None
    for top in range(0, height, rows):
        strip = _plain(picture.crop((0, top, width, min(top + rows, height)))).reduce(factor)
        if small is None:
            small = Image.new(strip.mode, (strip.width, -(-height // factor)))
        small.paste(strip, (0, top // factor))
    assert small is not None
    return small


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
    across = picture.width // side + 1
    pair = (bytes(dark if x + y & 1 else light for x in range(across)) for y in range(2))
    band = Image.frombytes("L", (across, 2), b"".join(pair)).convert("RGB")
    band = band.resize((across * side, 2 * side), Image.Resampling.NEAREST)
    board = Image.new("RGB", picture.size)
    for top in range(0, picture.height, band.height):
        board.paste(band, (0, top))
    board.paste(picture, (0, 0), picture)
    return board
