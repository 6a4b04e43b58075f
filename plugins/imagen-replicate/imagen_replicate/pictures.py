"""The pictures of a prediction: fetched whole, since they are paid for, or said where they lie."""

from __future__ import annotations

import base64
import binascii
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

from imagen_core import ImagenError, damage, http, image_header

if TYPE_CHECKING:
    import httpx

    from imagen_core import InputImage
    from imagen_replicate.client import Api, Call
    from imagen_replicate.patience import Patience
    from imagen_replicate.prediction import Prediction

TRIES = 3
HOPS = 5
LARGEST = 256 * 2**20
"""How many bytes a picture may have."""
LONGEST_DATA = 256 * 1024
"""Input images up to so many bytes travel inside the request."""


class File(NamedTuple):
    """What came, and what its host says that it is."""

    data: bytes
    mime: str


class Reply(NamedTuple):
    """One answer of a file's host."""

    status: int
    location: str
    file: File


def fetch(api: Api, made: Prediction, url: str, patience: Patience) -> Call[bytes]:
    """The bytes of a picture. What goes wrong says how to get it later."""
    problem = ""
    tries = 1 if url.startswith("data:") else TRIES
    for number in range(tries):
        if number:
            yield from http.pause(patience.again * 2**number)
        try:
            file = yield from _file(api, url, patience)
        except ImagenError as error:
            problem = error.message
            continue
        except ValueError:
            problem = "its address can't be read"
            continue
        problem = _wrong(file)
        if not problem:
            return file.data
    raise ImagenError(
        f"the picture of the prediction {made.id} is made and paid for, but {problem}",
        hint=f"'imagen replicate fetch {made.id}' gets it until {made.kept_until}",
    )


def address(api: Api, image: InputImage) -> Call[str]:
    """What an input image is given as: its bytes themselves, or where it was put."""
    if len(image.data) > LONGEST_DATA:
        return (yield from api.upload(image))
    return f"data:{image.mime};base64,{base64.b64encode(image.data).decode()}"


def _wrong(file: File) -> str:
    """Why this is no whole picture; what nobody here can read may well be one."""
    if wrong := damage(file.data):
        return f"it comes damaged: {wrong}"
    if not image_header(file.data) and file.mime.startswith(("text/", "application/json")):
        return f"what comes is {file.mime}"
    return ""


def _file(api: Api, url: str, patience: Patience) -> Call[File]:
    if url.startswith("data:"):
        return _decoded(url)
    reply = yield from _get(api, url, patience)
    for _ in range(HOPS):
        if reply.status in (401, 403) and api.may_have_token(url):
            reply = yield from _get(api, url, patience, with_token=True)
        if not (300 <= reply.status < 400 and reply.location):
            break
        url = urljoin(url, reply.location)
        reply = yield from _get(api, url, patience)
    if reply.status in (404, 410):
        raise ImagenError(f"its file is gone ({reply.status})")
    if not 200 <= reply.status < 300:
        raise ImagenError(f"its host answered {reply.status}")
    return reply.file


def _get(api: Api, url: str, patience: Patience, *, with_token: bool = False) -> Call[Reply]:
    """Ask a file's host, with an end to the time and the room that it may take."""
    headers = api.token_for(url, wanted=with_token)
    who = api.cleaned(urlsplit(url).netloc.rpartition("@")[2]) or "the file's host"
    end = time.monotonic() + patience.download
    return http.in_thread(lambda: _read(api.client, url, headers=headers, who=who, end=end))


def _read(
    client: httpx.Client, url: str, *, headers: dict[str, str], who: str, end: float
) -> Reply:
    import httpx

    try:
        with client.stream("GET", url, headers=headers) as response:
            data = bytearray()
            for part in response.iter_bytes():
                data += part
                if len(data) > LARGEST:
                    raise ImagenError(f"it has over {LARGEST // 2**20} MiB")
                if time.monotonic() > end:
                    raise ImagenError(f"{who} sends it too slowly")
            mime = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            location = response.headers.get("location", "")
            return Reply(response.status_code, location, File(bytes(data), mime))
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError) as error:
        raise http.translate(error, who=who, sent_at=datetime.now(UTC)) from None


def _decoded(url: str) -> File:
    head, comma, content = url.partition(",")
    mime = head.removeprefix("data:").partition(";")[0].lower() or "text/plain"
    try:
        if not comma:
            raise ValueError("no content")
        if head.endswith(";base64"):
            return File(base64.b64decode(content, validate=True), mime)
        return File(unquote_to_bytes(content), mime)
    except (binascii.Error, ValueError) as error:
        raise ImagenError("it comes as a data URL that can't be read") from error
