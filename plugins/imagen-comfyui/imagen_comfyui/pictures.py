"""Pictures from a server: fetched whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from imagen_comfyui.client import FETCH
from imagen_core import CredentialsError, ImagenError, UnavailableError, damage, http

if TYPE_CHECKING:
    from imagen_comfyui.client import Call, Server

TRIES = 3
PAUSE_SECONDS = 0.2


def fetch(server: Server, image: Mapping[str, str]) -> Call[bytes | None]:
    """The bytes of a picture; None if the server says that it is not there.

    It is made, and whatever goes wrong from here on says so, and where it lies.
    """
    where = {key: str(image.get(key) or "") for key in ("filename", "subfolder", "type")}
    where["type"] = where["type"] or "output"
    try:
        return (yield from _fetch(server, f"/view?{urlencode(where)}"))
    except ImagenError as error:
        kinds = (kind for kind in (CredentialsError, UnavailableError) if isinstance(error, kind))
        kind = next(kinds, ImagenError)
        told = f"it is on the server as {name_of(where)}"
        hint = f"{error.hint}; {told}" if isinstance(error, CredentialsError) else told
        raise kind(f"the picture is made, but {error.message}", hint=hint) from error


def name_of(image: Mapping[str, str]) -> str:
    """Where a picture lies on its server."""
    parts = (image.get("type") or "output", image.get("subfolder"), image.get("filename"))
    return "/".join(filter(None, parts))


def _fetch(server: Server, path: str) -> Call[bytes | None]:
    gone, problem = 0, ""
    for number in range(TRIES):
        if number:
            yield from http.pause(PAUSE_SECONDS)
        response = yield from server.send("GET", path, retry=FETCH, timeout=http.TIMEOUT)
        if response.status_code == 404:
            gone += 1
            if gone > 1:
                return None
            continue
        kind = server.checked(response).headers.get("content-type", "")
        problem = f"it is {kind}" if kind.startswith("text/") else damage(response.content)
        if not problem:
            return response.content
    raise ImagenError(f"{server.who} gives it damaged each time: {problem}")
