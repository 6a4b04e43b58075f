"""A PNG that is written from top to bottom, by somebody who never holds all of it."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, BinaryIO

from imagen_core.png import SIGNATURE

if TYPE_CHECKING:
    from PIL.Image import Image

SUB = b"\1"
"""The filter of every line: each byte is told as its difference from the pixel at its left."""


class PngStream:
    """Writes an RGB picture to a file, as bands of its full width that are added one by one.

    Equal bands give equal bytes. Runs alone are packed, besides Huffman codes: after the filter
    that is as small as what a search for repetitions finds, and takes a third of its time.
    """

    def __init__(self, file: BinaryIO, width: int, height: int) -> None:
        self._file = file
        self._width, self._rest = width, height
        self._packer = zlib.compressobj(6, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
        file.write(SIGNATURE)
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))

    def add(self, band: Image) -> None:
        """Write the next lines; ValueError if they are not of the width, or too many."""
        from PIL import Image, ImageChops

        self._rest -= band.height
        if band.width != self._width or self._rest < 0:
            raise ValueError(f"a band of {band.width}x{band.height} does not fit")
        shifted = Image.new("RGB", band.size)
        shifted.paste(band, (1, 0))
        raw, line = ImageChops.subtract_modulo(band, shifted).tobytes(), 3 * self._width
        lines = (SUB + raw[at : at + line] for at in range(0, len(raw), line))
        self._chunk(b"IDAT", self._packer.compress(b"".join(lines)))

    def close(self) -> None:
        """Write the end; ValueError if there are lines missing. The file stays open."""
        if self._rest:
            raise ValueError(f"{self._rest} lines are missing")
        self._chunk(b"IDAT", self._packer.flush())
        self._chunk(b"IEND", b"")

    def _chunk(self, kind: bytes, content: bytes) -> None:
        if content or kind == b"IEND":
            checksum = zlib.crc32(content, zlib.crc32(kind))
            self._file.write(struct.pack(">I", len(content)) + kind)
            self._file.write(content)
            self._file.write(struct.pack(">I", checksum))
