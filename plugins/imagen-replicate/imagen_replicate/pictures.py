"""The pictures of a prediction: fetched whole, since they are paid for, or said where they lie."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes, urljoin

from imagen_core import CredentialsError, ImagenError, UnavailableError, damage, http

if TYPE_CHECKING:
    import httpx

    from imagen_core import InputImage
    from imagen_replicate.client import Api, Call
    from imagen_replicate.prediction import Prediction

TRIES = 3
PAUSE_SECONDS = 0.3
HOPS = 5
LONGEST_DATA = 256 * 1024
"""Input images up to so many bytes travel inside the request."""


def fetch(api: Api, made: Prediction, url: str) -> Call[bytes]:
    """The bytes of a picture. What goes wrong says how to get it later."""
    problem: ImagenError | None = None
    tries = 1 if url.startswith("data:") else TRIES
    for number in range(tries):
        if number:
            yield from http.pause(PAUSE_SECONDS * 2**number)
        try:
            data = yield from _bytes(api, url)
        except ImagenError as error:
            problem = error
            continue
        if not (wrong := damage(data)):
            return data
        problem = ImagenError(f"it comes damaged: {wrong}")
    assert problem is not None
    raise _unfetched(made, problem)


def address(api: Api, image: InputImage) -> Call[str]:
    """What an input image is given as: its bytes themselves, or where it was put."""
    if len(image.data) > LONGEST_DATA:
        return (yield from api.upload(image))
    return f"data:{image.mime};base64,{base64.b64encode(image.data).decode()}"


def _bytes(api: Api, url: str) -> Call[bytes]:
    if url.startswith("data:"):
        return _decoded(url)
    response = yield from api.download(url)
    for _ in range(HOPS):
        if api.wants_token(response, url):
            response = yield from api.download(url, with_token=True)
        if not response.is_redirect:
            break
        url = urljoin(url, response.headers.get("location", ""))
        response = yield from api.download(url)
    return _content(response)


def _content(response: httpx.Response) -> bytes:
    status = response.status_code
    if status in (404, 410):
        raise ImagenError(f"its file is gone ({status})")
    if not response.is_success:
        kind = UnavailableError if status >= 500 or status == 429 else ImagenError
        raise kind(f"its host answered {status}")
    return response.content


def _decoded(url: str) -> bytes:
    head, comma, content = url.partition(",")
    try:
        if not comma:
            raise ValueError("no content")
        if head.endswith(";base64"):
            return base64.b64decode(content, validate=True)
        return unquote_to_bytes(content)
    except (binascii.Error, ValueError) as error:
        raise ImagenError("it comes as a data URL that can't be read") from error


def _unfetched(made: Prediction, problem: ImagenError) -> ImagenError:
    kinds = (CredentialsError, UnavailableError)
    kind = next((kind for kind in kinds if isinstance(problem, kind)), ImagenError)
    return kind(
        f"the picture of the prediction {made.id} is made and paid for, but {problem.message}",
        hint=f"'imagen replicate fetch {made.id}' gets it until {made.kept_until}",
    )
