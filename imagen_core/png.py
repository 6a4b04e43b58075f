"""The chunks of a PNG file: whole and sound, or an error; and the texts in them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
LONGEST_TEXT = 64 * 1024 * 1024
"""How many bytes a compressed text may unpack to."""


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each chunk's type and content, up to IEND; a ValueError says what is wrong with the file."""
    if not data.startswith(SIGNATURE):
        raise ValueError("it is no PNG")
    at = len(SIGNATURE)
    kind = b""
    while kind != b"IEND":
        kind, content = _chunk(data, at)
        at += 12 + len(content)
        yield kind, content


def png_texts(data: bytes) -> dict[str, str]:
    """The texts by their keywords, from tEXt, zTXt and iTXt; of two of one name, the first."""
    found: dict[str, str] = {}
    for kind, content in chunks(data):
        if read := _READERS.get(kind):
            keyword, _, rest = content.partition(b"\0")
            found.setdefault(keyword.decode("latin-1"), read(rest))
    return found


def _chunk(data: bytes, at: int) -> tuple[bytes, bytes]:
    if at == len(data):
        raise ValueError("it is cut off: no IEND at its end")
    size = int.from_bytes(data[at : at + 4])
    end = at + 12 + size
    if at + 12 > len(data) or end > len(data):
        raise ValueError(f"it is cut off in the chunk at byte {at}")
    kind, content = data[at + 4 : at + 8], data[at + 8 : end - 4]
    if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
        raise ValueError(f"it is corrupt: the checksum of the chunk at byte {at} is wrong")
    return kind, content


def _plain(rest: bytes) -> str:
    return rest.decode("latin-1")


def _compressed(rest: bytes) -> str:
    return _unpacked(rest[1:]).decode("latin-1")


def _international(rest: bytes) -> str:
    """After the keyword: a flag, a method, a language and a translated keyword, then the text."""
    _, _, text = rest[2:].partition(b"\0")[2].partition(b"\0")
    raw = _unpacked(text) if rest[:1] == b"\1" else text
    return raw.decode("utf-8", "replace")


def _unpacked(packed: bytes) -> bytes:
    reader = zlib.decompressobj()
    try:
        text = reader.decompress(packed, LONGEST_TEXT)
    except zlib.error as error:
        raise ValueError(f"a compressed text in it is corrupt: {error}") from error
    if not reader.eof:
        raise ValueError("a compressed text in it is cut off, or too long")
    return text


_READERS = {b"tEXt": _plain, b"zTXt": _compressed, b"iTXt": _international}
