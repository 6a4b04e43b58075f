"""Type and size of a picture from its bytes alone, whatever those bytes are."""

from __future__ import annotations

import random
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from imagen_core.header import Header, image_header

SIZES = [(1, 1), (7, 300), (1920, 1080), (257, 4099)]
KINDS: dict[str, dict[str, Any]] = {
    "png": {"mime": "image/png", "format": "PNG"},
    "jpeg baseline": {"mime": "image/jpeg", "format": "JPEG"},
    "jpeg progressive": {"mime": "image/jpeg", "format": "JPEG", "progressive": True},
    "webp lossy": {"mime": "image/webp", "format": "WEBP"},
    "webp lossless": {"mime": "image/webp", "format": "WEBP", "lossless": True},
    "gif": {"mime": "image/gif", "format": "GIF"},
    "avif": {"mime": "image/avif", "format": "AVIF", "speed": 10},
}


def picture(kind: str, size: tuple[int, int], mode: str = "RGB", **more: Any) -> bytes:
    file = BytesIO()
    options = {name: value for name, value in KINDS[kind].items() if name != "mime"}
    Image.new(mode, size, "teal").save(file, **options, **more)
    return file.getvalue()


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_header_has_type_and_size(kind: str, size: tuple[int, int]) -> None:
    header = image_header(picture(kind, size))

    assert header == Header(mime=KINDS[kind]["mime"], width=size[0], height=size[1])


@pytest.mark.parametrize("kind", ["png", "webp lossy", "webp lossless", "avif"])
def test_header_of_a_transparent_picture_has_type_and_size(kind: str) -> None:
    header = image_header(picture(kind, (320, 17), "RGBA"))

    assert header == Header(mime=KINDS[kind]["mime"], width=320, height=17)


@pytest.mark.parametrize("kind", ["jpeg baseline", "jpeg progressive", "png", "webp lossy"])
def test_embedded_thumbnail_and_profile_are_not_taken_for_the_picture(kind: str) -> None:
    thumbnail = picture("jpeg baseline", (16, 8))
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0" + thumbnail
    data = picture(kind, (800, 600), exif=exif, icc_profile=b"\xff\xc0\0\x11" * 40_000)

    assert image_header(data) == Header(mime=KINDS[kind]["mime"], width=800, height=600)


def test_jpeg_with_fill_bytes_before_its_markers_is_read() -> None:
    data = picture("jpeg baseline", (640, 480))

    header = image_header(data[:2] + b"\xff" * 100 + data[2:])

    assert header == Header(mime="image/jpeg", width=640, height=480)


def test_animation_has_the_size_of_its_canvas() -> None:
    for kind in ("GIF", "WEBP"):
        file = BytesIO()
        frames = [Image.new("RGB", (60, 40), color) for color in ("red", "blue")]
        frames[0].save(file, kind, save_all=True, append_images=frames[1:])

        header = image_header(file.getvalue())

        assert header == Header(mime=f"image/{kind.lower()}", width=60, height=40)


def test_largest_size_in_an_avif_counts_and_not_that_of_a_tile() -> None:
    data = picture("avif", (640, 480))
    tile = b"ispe\0\0\0\0" + (64).to_bytes(4, "big") * 2
    place = data.index(b"ispe")

    header = image_header(data[:place] + tile + data[place:])

    assert header == Header(mime="image/avif", width=640, height=480)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"not a picture",
        b"<html><body>502 Bad Gateway</body></html>",
        b'{"error": "no"}',
        b"%PDF-1.7",
        b"\x89PNG\r\n\x1a\n",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(8),
        b"GIF89a\0\0\0\0",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xe0\0\0" * 1000,
        b"\xff\xd8" + b"\xff" * 1_000_000,
        b"\xff\xd8\xff" + bytes(10_000_000),
        b"\xff\xd8" + b"\xff\xe0\0\0" * 5_000_000,
        b"RIFF\0\0\0\0WEBPVP8X",
        b"RIFF\0\0\0\0WEBPVP8L",
        b"RIFF\0\0\0\0WEBPJUNK" + b"\x01" * 100,
        b"RIFF\0\0\0\0WAVEfmt ",
        b"\0\0\0\x20ftypavif" + bytes(100),
        b"\0\0\0\x20ftypheic" + bytes(100),
    ],
    ids=lambda data: repr(data[:24]),
)
def test_what_is_no_picture_has_no_header(data: bytes) -> None:
    assert image_header(data) is None


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_picture_gives_its_header_or_none_and_never_a_wrong_one(kind: str) -> None:
    data = picture(kind, (66_000 if kind == "png" else 1281, 723))
    whole = image_header(data)

    headers = [image_header(data[:length]) for length in range(min(len(data), 1500))]

    assert headers[:10] == [None] * 10
    assert {header for header in headers if header} <= {whole}
    first = next((i for i, header in enumerate(headers) if header), len(headers))
    assert all(headers[first:])


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_picture_never_raises(kind: str) -> None:
    chance = random.Random(kind)
    data = picture(kind, (300, 200))

    for _ in range(2000):
        damaged = bytearray(data[: chance.randrange(len(data)) + 1])
        for _ in range(chance.randrange(20)):
            damaged[chance.randrange(min(len(damaged), 200))] = chance.randrange(256)
        header = image_header(bytes(damaged))
        assert header is None or (header.width > 0 and header.height > 0)


def test_random_bytes_never_raise() -> None:
    chance = random.Random(0)
    starts = [b"", b"\xff\xd8\xff", b"GIF89a", b"RIFF\0\0\0\0WEBP", b"\0\0\0\0ftypavif"]

    for _ in range(5000):
        image_header(chance.choice(starts) + chance.randbytes(chance.randrange(400)))
