"""Pictures from a server: fetched whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from imagen_comfyui.client import FETCH
from imagen_comfyui.png import chunks
from imagen_core import CredentialsError, ImagenError, UnavailableError, http

if TYPE_CHECKING:
    import httpx

    from imagen_comfyui.client import Call, Server

TRIES = 3
PAUSE_SECONDS = 0.2
PNG = b"\x89PNG\r\n\x1a\n"
SUSPICIOUS = 50
"""A picture in which a byte stands for more pixels than this may be of one colour."""

KINDS = {PNG: "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}


def fetch(server: Server, image: Mapping[str, str]) -> Call[bytes | None]:
    """The bytes of a picture; None if the server says that it is not there."""
    where = {key: str(image.get(key) or "") for key in ("filename", "subfolder", "type")}
    where["type"] = where["type"] or "output"
    gone, problem = 0, ""
    for number in range(TRIES):
        if number:
            yield from http.pause(PAUSE_SECONDS)
        response = yield from server.send(
            "GET", f"/view?{urlencode(where)}", retry=FETCH, timeout=http.TIMEOUT
        )
        if response.status_code == 404:
            gone += 1
            if gone > 1:
                return None
            continue
        problem = damage(_there(server, response, where).content)
        if not problem:
            return response.content
    raise ImagenError(
        f"{server.who} gives a damaged picture ({problem}) each time: {name_of(where)}",
        hint="look at it on the server",
    )


def name_of(image: Mapping[str, str]) -> str:
    """Where a picture lies on its server."""
    parts = (image.get("type") or "output", image.get("subfolder"), image.get("filename"))
    return "/".join(filter(None, parts))


def damage(data: bytes) -> str:
    """What is wrong with the bytes of a picture, or an empty string."""
    try:
        if data.startswith(PNG):
            for _ in chunks(data):
                pass
            return ""
        from PIL import Image

        with Image.open(BytesIO(data)) as picture:
            picture.load()
    except Exception as error:  # noqa: BLE001 - a decoder may raise anything
        return str(error) or type(error).__name__
    return ""


def mime_of(data: bytes) -> str:
    """The type of a picture, by its first bytes."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    found = (mime for start, mime in KINDS.items() if data.startswith(start))
    return next(found, "application/octet-stream")


def size_of(data: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG; None of anything else."""
    if not data.startswith(PNG):
        return None
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def is_black(data: bytes) -> bool:
    """Whether every pixel of a PNG is black, which is what a model makes of a number overflow."""
    if not (size := size_of(data)):
        return False
    packed = sum(len(content) for kind, content in chunks(data) if kind == b"IDAT")
    if packed * SUSPICIOUS > size[0] * size[1] + SUSPICIOUS * 64:
        return False  # whatever it shows, it is no single colour
    from PIL import Image

    with Image.open(BytesIO(data)) as picture:
        extrema = picture.convert("RGB").getextrema()
    return all(band == (0, 0) for band in extrema)


def _there(server: Server, response: httpx.Response, where: Mapping[str, str]) -> httpx.Response:
    """The response; a refusal says that the picture is made, and where it lies."""
    try:
        return server.checked(response)
    except ImagenError as error:
        if isinstance(error, CredentialsError | UnavailableError) and response.status_code != 403:
            raise
        raise ImagenError(
            f"the picture is made, but {error.message}",
            hint=f"it is on the server as {name_of(where)}",
        ) from error
