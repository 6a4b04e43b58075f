"""Whether the bytes of a picture are whole, and whether there is anything to be seen in it."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from imagen_core.header import image_header
from imagen_core.png import SIGNATURE, chunks

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

DECODED = (b"\xff\xd8", b"RIFF", b"GIF8")
"""How files begin that Pillow can read, and of which a damaged one must not pass for unknown."""

SUSPICIOUS = 50
"""A picture in which a byte stands for more pixels than this may be of one colour."""
LARGEST = 50_000_000
"""So many pixels are decoded for a look at them, and no more."""


def damage(data: bytes) -> str:
    """What is wrong with the bytes of a picture, or an empty string.

    What nobody here can read, such as a video, is no damaged picture: it was made, and is kept.
    """
    try:
        if not data:
            return "it is empty"
        if not data.startswith(SIGNATURE):
            _decode_known(data)
        elif not {b"IHDR", b"IDAT"} <= {kind for kind, _ in chunks(data)}:
            return "it is a PNG without a picture"
    except ValueError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - a decoder may raise anything
        return f"it can't be decoded ({type(error).__name__})"
    return ""


def is_black(data: bytes) -> bool:
    """Whether every pixel of a PNG is black, which is what a model makes of a number overflow."""
    header = image_header(data)
    if header is None or not data.startswith(SIGNATURE):
        return False
    try:
        if header.width * header.height > LARGEST:
            return False
        packed = sum(len(content) for kind, content in chunks(data) if kind == b"IDAT")
        if packed * SUSPICIOUS > header.width * header.height + SUSPICIOUS * 64:
            return False  # whatever it shows, it is no single colour
        extrema = _decode(data).convert("RGB").getextrema()
    except Exception:  # noqa: BLE001 - it is saved, and what can't be decoded is no black picture
        return False
    return all(band == (0, 0) for band in extrema)


def _decode_known(data: bytes) -> None:
    """Decode it, unless it is of a kind that nobody here can read, or huge."""
    header = image_header(data)
    small = header.width * header.height <= LARGEST if header else data.startswith(DECODED)
    if small:
        _decode(data)


def _decode(data: bytes) -> Picture:
    from PIL import Image

    with Image.open(BytesIO(data)) as picture:
        picture.load()
        return picture.copy()
