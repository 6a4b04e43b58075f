"""Picture files by hand: PNG with text chunks, a JPEG to preview, and how large a file is."""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GRID = 4
"""A picture is a chequer of so many by so many colours."""
_JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABsSFBcUERsXFhceHBsgKEIrKCUlKFE6PTBCYFVlZF9VXVtqeJmBanGQ"
    "c1tdhbWGkJ6jq62rZ4C8ybqmx5moq6T/wAALCAAIAAgBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAAP/EABQQAQAA"
    "AAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AP//Z"
)
_APP0_END = 20


def draw_png(
    width: int, height: int, *, seed: str, texts: Mapping[str, str], black: bool = False
) -> bytes:
    """Draws the picture of a seed: the same seed gives the same pixels, another one others."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [
        (b"IHDR", head),
        *((b"tEXt", f"{key}\0{text}".encode("latin-1")) for key, text in texts.items()),
        (b"IDAT", zlib.compress(_pixels(width, height, "" if black else seed), 1)),
        (b"IEND", b""),
    ]
    return SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


def preview_jpeg(remark: str) -> bytes:
    """Gives a small JPEG that differs from others by the remark inside."""
    comment = remark.encode()
    segment = b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment
    return _JPEG[:_APP0_END] + segment + _JPEG[_APP0_END:]


def measure(data: bytes) -> tuple[int, int] | None:
    """Reads width and height of a PNG, JPEG, GIF or WebP; None for anything else."""
    if data.startswith(SIGNATURE) and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    if data.startswith(b"\xff\xd8"):
        return _measure_jpeg(data)
    if data.startswith(b"GIF8") and len(data) >= 10:
        width, height = struct.unpack("<HH", data[6:10])
        return width, height
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP" and len(data) >= 30:
        return _measure_webp(data)
    return None


def _pixels(width: int, height: int, seed: str) -> bytes:
    shades = hashlib.shake_256(seed.encode()).digest(3 * GRID * GRID) if seed else bytes(48)
    bands = [
        b"\0" + b"".join(_cells(shades[3 * GRID * row : 3 * GRID * (row + 1)], width))
        for row in range(GRID)
    ]
    return b"".join(bands[y * GRID // height] for y in range(height))


def _cells(shades: bytes, width: int) -> Iterator[bytes]:
    for column in range(GRID):
        count = width * (column + 1) // GRID - width * column // GRID
        yield shades[3 * column : 3 * column + 3] * count


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _measure_jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 < len(data):
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + length
    return None


def _measure_webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return (
            int.from_bytes(data[24:27], "little") + 1,
            int.from_bytes(data[27:30], "little") + 1,
        )
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", data[26:30])
    return width & 0x3FFF, height & 0x3FFF
