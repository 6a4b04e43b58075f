"""The other host: where the pictures lie."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagen_core.testing import Reply
from imagen_replicate.testing.pictures import CONTENT_TYPES, damaged

if TYPE_CHECKING:
    from imagen_replicate.testing.prediction import Prediction
    from imagen_replicate.testing.site import Site


@dataclass(frozen=True)
class OutputFile:
    """A picture of a prediction."""

    prediction_id: str
    data: bytes
    content_type: str


class Files:
    """The pictures by their paths."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._files: dict[str, OutputFile] = {}

    def deliver(self, one: Prediction) -> list[str] | str:
        """Draws the pictures of a prediction, puts them in place, and gives its output."""
        shape = self._site.script.shape
        folder = secrets.token_urlsafe(12)
        found = [self._deliver(one, index, folder) for index in one.order.kept]
        listed = one.order.listed if shape in ("", "data") else shape == "list"
        return found if listed else found[0]

    def expire(self, prediction_id: str | None = None) -> None:
        """Deletes the pictures of a prediction, or all."""
        for path, file in list(self._files.items()):
            if prediction_id in (None, file.prediction_id):
                del self._files[path]

    def answer(self, path: str, method: str) -> Reply:
        """Answers a request."""
        script = self._site.script
        if script.redirect:
            return Reply(302, headers={"Location": script.redirect})
        file = self._files.get(path)
        if file is None:
            return Reply(404, content_type="text/plain")
        if method not in ("GET", "HEAD"):
            return Reply(405)
        with self._site.lock:
            fault = script.downloads.pop(0) if script.downloads else ""
        return _serve(file, fault)

    def _deliver(self, one: Prediction, index: int, folder: str) -> str:
        order = one.order
        look = order.look_of(index)
        data = self._site.pictures.draw(look, order.size, kind=order.kind, quality=order.quality)
        if self._site.script.shape == "data":
            return "data:application/octet-stream;base64," + base64.b64encode(data).decode()
        name = f"out-{index}" if order.listed else f"tmp{secrets.token_hex(4)}"
        path = f"/xezq/{folder}/{name}.{order.kind}"
        self._files[path] = OutputFile(one.id, data, CONTENT_TYPES[order.kind])
        return self._site.files_url + path


def _serve(file: OutputFile, fault: str) -> Reply:
    if fault == "damage":
        return Reply(200, damaged(file.data), file.content_type)
    if fault == "truncate":
        half = len(file.data) // 2
        return Reply(200, file.data[:half], file.content_type, missing=len(file.data) - half)
    return Reply(200, file.data, file.content_type)
