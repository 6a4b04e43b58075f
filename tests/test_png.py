"""PNG files: their chunks, and the texts in them."""

from __future__ import annotations

import zlib
from io import BytesIO

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from imagen_core.png import SIGNATURE, chunks, png_texts


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    check = zlib.crc32(kind + content).to_bytes(4)
    return len(content).to_bytes(4) + kind + content + check


def png(*parts: bytes) -> bytes:
    header = (1).to_bytes(4) + (1).to_bytes(4) + bytes([8, 0, 0, 0, 0])
    body = zlib.compress(b"\0\0")
    return SIGNATURE + b"".join(
        [chunk(b"IHDR", header), *parts, chunk(b"IDAT", body), chunk(b"IEND")]
    )


def test_the_chunks_come_in_their_order():
    assert list(chunks(png(chunk(b"tEXt", b"a\0b")))) == [
        (b"IHDR", b"\0\0\0\1\0\0\0\1\x08\0\0\0\0"),
        (b"tEXt", b"a\0b"),
        (b"IDAT", zlib.compress(b"\0\0")),
        (b"IEND", b""),
    ]


def test_what_follows_the_end_is_no_matter():
    assert list(chunks(png() + b"more")) == list(chunks(png()))


def test_a_picture_of_pillows_is_sound():
    file = BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "png")

    assert [kind for kind, _ in chunks(file.getvalue())] == [b"IHDR", b"IDAT", b"IEND"]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "it is no PNG"),
        (b"\xff\xd8\xff", "it is no PNG"),
        (SIGNATURE, "it is cut off: no IEND at its end"),
        (png()[:-12], "it is cut off: no IEND at its end"),
        (png()[:-1], "it is cut off in the chunk at byte 55"),
        (png()[:36], "it is cut off in the chunk at byte 33"),
        (SIGNATURE + b"\xff\xff\xff\xffIHDR" + bytes(9), "it is cut off in the chunk at byte 8"),
        (
            png().replace(b"IDAT", b"IDOT"),
            "it is corrupt: the checksum of the chunk at byte 33 is wrong",
        ),
    ],
)
def test_a_file_that_is_not_whole_is_told_apart(data, problem):
    with pytest.raises(ValueError, match=problem):
        list(chunks(data))


def test_texts_are_read_from_all_three_kinds_and_the_first_of_a_name_counts():
    data = png(
        chunk(b"tEXt", b"latin\0\xe9t\xe9"),
        chunk(b"zTXt", b"packed\0\0" + zlib.compress(b"\xe9t\xe9")),
        chunk(b"iTXt", b"plain\0\0\0de\0schlicht\0" + "é ✓".encode()),
        chunk(b"iTXt", b"tight\0\1\0\0\0" + zlib.compress("é ✓".encode())),
        chunk(b"tEXt", b"latin\0second"),
    )

    assert png_texts(data) == {"latin": "été", "packed": "été", "plain": "é ✓", "tight": "é ✓"}


def test_texts_that_pillow_wrote_are_read():
    info = PngInfo()
    info.add_text("short", "a")
    info.add_text("long", "b" * 5000, zip=True)
    info.add_itxt("wide", "✓", "en", "weit", zip=True)
    file = BytesIO()
    Image.new("L", (1, 1)).save(file, "png", pnginfo=info)

    assert png_texts(file.getvalue()) == {"short": "a", "long": "b" * 5000, "wide": "✓"}


@pytest.mark.parametrize(
    ("packed", "problem"),
    [
        (b"no zlib", "a compressed text in it is corrupt"),
        (zlib.compress(b"x" * 99)[:-5], "a compressed text in it is cut off, or too long"),
        (zlib.compress(bytes(65 << 20)), "a compressed text in it is cut off, or too long"),
    ],
)
def test_a_compressed_text_that_cannot_be_unpacked_is_an_error(packed, problem):
    with pytest.raises(ValueError, match=problem):
        png_texts(png(chunk(b"zTXt", b"prompt\0\0" + packed)))
