"""`POST /upload/image`, and how a picture is asked for with `GET /view`."""

from __future__ import annotations

import hashlib
import mimetypes
import posixpath
from email.message import Message
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from imagen_comfyui.testing.store import OutsideError, Store, inside, split_annotated
from imagen_core.testing import Received, Reply, reply_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TROUBLE = Reply(
    500, b"500 Internal Server Error\n\nServer got itself in trouble", "text/plain; charset=utf-8"
)


class Part(NamedTuple):
    """A field of a multipart body."""

    filename: str
    content: bytes


def upload(received: Received, images: Store) -> Reply:
    """Stores a picture; other bytes under a taken name get another name."""
    parts = dict(_parts(received))
    picture = parts.get("image")
    if picture is None or not picture.filename:
        return Reply(400)
    kind = _text(parts, "type") or "input"
    folder = images.folder(kind)
    if folder is None:
        return TROUBLE
    try:
        subfolder = inside(_text(parts, "subfolder"))
        inside(posixpath.join(subfolder, picture.filename))
    except OutsideError:
        return Reply(400)
    name = picture.filename
    if _text(parts, "overwrite") not in ("true", "1"):
        name = _free_name(name, folder, subfolder=subfolder, content=picture.content)
    folder[posixpath.join(subfolder, name)] = picture.content
    return reply_json({"name": name, "subfolder": subfolder, "type": kind})


def view(received: Received, images: Store) -> Reply:
    """Serves a picture, or says with a status what is wrong with the question."""
    query = received.query
    if "filename" not in query:
        return Reply(404)
    name, kind = split_annotated(query["filename"])
    folder = images.folder(kind or query.get("type", "output"))
    if not name or name.startswith("/") or ".." in name or folder is None:
        return Reply(400)
    try:
        subfolder = inside(query.get("subfolder", ""))
    except OutsideError:
        return Reply(403)
    name = posixpath.basename(name)
    data = folder.get(posixpath.join(subfolder, name))
    if data is None:
        return Reply(404)
    return _picture(name, data, received=received)


def _picture(name: str, data: bytes, *, received: Received) -> Reply:
    etag = f'"{hashlib.sha256(data).hexdigest()[:16]}-{len(data):x}"'
    headers = {
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": f'filename="{quote(name)}"'
        if not name.isascii()
        else f'filename="{name}"',
        "ETag": etag,
        "Last-Modified": "Sat, 21 Nov 2026 07:04:08 GMT",
    }
    if received.headers.get("if-none-match") == etag:
        return Reply(304, headers=headers)
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Reply(200, data, kind, headers)


def _free_name(name: str, folder: Mapping[str, bytes], *, subfolder: str, content: bytes) -> str:
    stem, extension = posixpath.splitext(name)
    number = 0
    free = name
    while folder.get(posixpath.join(subfolder, free), content) != content:
        number += 1
        free = f"{stem} ({number}){extension}"
    return free


def _text(parts: Mapping[str, Part], name: str) -> str:
    return parts[name].content.decode() if name in parts else ""


def _parts(received: Received) -> Iterator[tuple[str, Part]]:
    boundary = _parameter(received.headers.get("content-type", ""), "boundary")
    for chunk in received.body.split(b"--" + boundary.encode())[1:-1] if boundary else ():
        head, _, content = chunk.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        for line in head.decode("utf-8").split("\r\n"):
            header, _, value = line.partition(":")
            if header.lower() == "content-disposition":
                part = Part(_parameter(value, "filename"), content.removesuffix(b"\r\n"))
                yield _parameter(value, "name"), part


def _parameter(value: str, name: str) -> str:
    message = Message()
    message["Content-Type"] = value.strip()
    found = message.get_param(name, "")
    return found if isinstance(found, str) else found[2]
