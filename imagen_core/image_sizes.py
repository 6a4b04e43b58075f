"""How large a picture is, from its first bytes: a reader for each type that imagen knows."""

from __future__ import annotations

import re
from typing import Literal

JPEG_SEGMENTS = 4096
AVIF_HEAD_BYTES = 65_536
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff])")


def _png_size(data: bytes) -> tuple[int, int] | None:
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR":
        return None
    return _number(data, 16, 4, "big"), _number(data, 20, 4, "big")


def _gif_size(data: bytes) -> tuple[int, int] | None:
    if data[:6] not in (b"GIF87a", b"GIF89a"):
        return None
    return _number(data, 6, 2), _number(data, 8, 2)


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    if data[:3] != b"\xff\xd8\xff":
        return None
    place = 2
    for _ in range(JPEG_SEGMENTS):
        if not (found := _JPEG_MARKER.search(data, place)):
            return None
        marker, place = found[1][0], found.end()
        # A frame header has the size: SOF0..SOF15 but for DHT, JPG and DAC.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return _number(data, place + 5, 2, "big"), _number(data, place + 3, 2, "big")
        place += _number(data, place, 2, "big")
    return None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return None
    match data[12:16]:
        case b"VP8X":
            return _number(data, 24, 3) + 1, _number(data, 27, 3) + 1
        case b"VP8L":
            bits = _number(data, 21, 4)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            return _number(data, 26, 2) & 0x3FFF, _number(data, 28, 2) & 0x3FFF
    return None


def _avif_size(data: bytes) -> tuple[int, int] | None:
    if data[4:8] != b"ftyp" or b"avif" not in data[8:32]:
        return None
    # Thumbnails and the tiles of a grid have a size of their own, which is smaller.
    boxes = re.finditer(rb"ispe.{4}", data[:AVIF_HEAD_BYTES], re.DOTALL)
    places = [box.end() for box in boxes]
    sizes = [(_number(data, p, 4, "big"), _number(data, p + 4, 4, "big")) for p in places]
    return max(sizes, default=None, key=lambda size: size[0] * size[1])


def _number(
    data: bytes, start: int, length: int, order: Literal["little", "big"] = "little"
) -> int:
    """An unsigned number in these bytes; IndexError where they end before it does."""
    if start + length > len(data):
        raise IndexError(start)
    return int.from_bytes(data[start : start + length], order)


READERS = {
    "image/png": _png_size,
    "image/jpeg": _jpeg_size,
    "image/webp": _webp_size,
    "image/gif": _gif_size,
    "image/avif": _avif_size,
}
"""Width and height of these bytes by type; None if they are of another one."""
