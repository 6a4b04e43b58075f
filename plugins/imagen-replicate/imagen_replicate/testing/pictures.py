"""The pictures: cheap to make, the same for the same input, and of any size in bytes."""

from __future__ import annotations

import hashlib
import struct
import zlib
from io import BytesIO

PIXELS = {
    "1:1": (1024, 1024),
    "16:9": (1344, 768),
    "21:9": (1536, 640),
    "3:2": (1216, 832),
    "4:3": (1152, 896),
    "5:4": (1088, 896),
}
"""The pixels of a ratio at one megapixel; those of upright ones are these, turned."""
CONTENT_TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}
_GRID = 8
_KEPT = 64
_PADDING = b"fkPd"
"""A private chunk, which readers skip."""


class Pictures:
    """Draws pictures, and keeps the last ones."""

    def __init__(self, file_bytes: int = 0) -> None:
        self.file_bytes = file_bytes
        self._drawn: dict[tuple[str, tuple[int, int], str, int], bytes] = {}

    def draw(self, look: str, size: tuple[int, int], *, kind: str, quality: int) -> bytes:
        """Draws what a text looks like, as a file of a kind: png, jpg or webp."""
        key = (look, size, kind, quality)
        data = self._drawn.get(key)
        if data is None:
            if len(self._drawn) >= _KEPT:
                self._drawn.clear()
            data = self._drawn[key] = self._pad(_encode(*key), look)
        return data

    def _pad(self, data: bytes, look: str) -> bytes:
        lacking = self.file_bytes - len(data) - 12
        if lacking <= 0 or not data.startswith(b"\x89PNG"):
            return data
        noise = hashlib.shake_256(look.encode()).digest(lacking)
        return data[:-12] + _chunk(_PADDING, noise) + data[-12:]


def pixels_of(values: dict[str, object]) -> tuple[int, int]:
    """Gives the size in pixels that the inputs of a model stand for."""
    ratio = values.get("aspect_ratio")
    width, height = values.get("width"), values.get("height")
    if isinstance(width, int) and isinstance(height, int) and ratio in ("custom", None):
        return (_by_32(width), _by_32(height)) if ratio else (width, height)
    size = _by_ratio(str(ratio))
    return (size[0] // 2, size[1] // 2) if values.get("megapixels") == "0.25" else size


def damaged(data: bytes) -> bytes:
    """Gives a file of the same length that is broken inside: a PNG by a checksum that is wrong."""
    at = data.rfind(b"IDAT")
    if not data.startswith(b"\x89PNG") or at < 0:
        half = len(data) // 2
        return data[:half] + bytes(len(data) - half)
    (length,) = struct.unpack(">I", data[at - 4 : at])
    checksum = at + 4 + length
    return data[:checksum] + bytes([data[checksum] ^ 255]) + data[checksum + 1 :]


def _by_ratio(ratio: str) -> tuple[int, int]:
    if ratio in PIXELS:
        return PIXELS[ratio]
    turned = ":".join(reversed(ratio.split(":")))
    width, height = PIXELS.get(turned, (1024, 1024))
    return height, width


def _by_32(length: int) -> int:
    return 32 * round(length / 32)


def _encode(look: str, size: tuple[int, int], kind: str, quality: int) -> bytes:
    from PIL import Image

    shades = hashlib.shake_256(look.encode()).digest(3 * _GRID * _GRID)
    small = Image.frombytes("RGB", (_GRID, _GRID), shades)
    picture = small.resize(size, Image.Resampling.NEAREST)
    file = BytesIO()
    if kind == "png":
        picture.save(file, "PNG", compress_level=1)
    elif kind == "webp":
        picture.save(file, "WEBP", quality=quality, method=0)
    else:
        picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
