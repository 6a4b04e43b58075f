"""Files that are sent to Storage: as a form, or as the body itself."""

from __future__ import annotations

import base64
import json
import re
from email.parser import BytesHeaderParser
from email.policy import HTTP
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

from imagen_supabase.testing.problems import (
    internal_error,
    invalid_key,
    invalid_mime,
    invalid_request,
    too_large,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message

    from imagen_core.testing import Received
    from imagen_supabase.testing.objects import Bucket

_KEY = re.compile(r"[A-Za-z0-9_/!\-.*'() &$@=;:+,?]+")


class Upload(NamedTuple):
    """A file with what its sender says of it."""

    data: bytes
    mime: str
    cache_control: str
    user_metadata: dict[str, Any] | None


def read_upload(received: Received) -> Upload:
    """Reads the file of a request."""
    kind = received.headers.get("content-type", "")
    if kind.startswith("multipart/form-data"):
        return _read_form(received.body, kind)
    return Upload(
        received.body,
        kind or "application/octet-stream",
        received.headers.get("cache-control", "no-cache"),
        _metadata(_decoded(received.headers.get("x-metadata", ""))),
    )


def check_upload(upload: Upload, key: str, bucket: Bucket, limit: int) -> None:
    """Refuses what the bucket, the server or its disk does not take."""
    allowed = bucket.allowed_mime_types
    mime = upload.mime.partition(";")[0]
    if allowed and not any(fnmatchcase(mime, one) for one in allowed):
        raise invalid_mime(mime)
    if not _KEY.fullmatch(key):
        raise invalid_key(key)
    if len(upload.data) > min(limit, bucket.file_size_limit or limit):
        raise too_large()
    if any(len(part) > 255 for part in key.split("/")):
        raise internal_error()


def _read_form(body: bytes, kind: str) -> Upload:
    file, fields = None, {}
    for head, data in _parts(body, kind):
        name = head.get_param("name", header="content-disposition")
        if head.get_filename() is None:
            fields[name] = data.decode()
        elif file is None:
            file = data, head.get_content_type()
    if file is None:
        raise invalid_request("the form has no file")
    age = fields.get("cacheControl")
    return Upload(*file, f"max-age={age}" if age else "no-cache", _metadata(fields.get("metadata")))


def _parts(body: bytes, kind: str) -> Iterator[tuple[Message, bytes]]:
    mark = re.search('boundary="?([^";]+)', kind)
    if mark is None:
        raise invalid_request("the form has no boundary")
    for part in (b"\r\n" + body).split(b"\r\n--" + mark[1].encode())[1:-1]:
        head, _, data = part.partition(b"\r\n\r\n")
        yield BytesHeaderParser(policy=HTTP).parsebytes(head.lstrip()), data


def _decoded(text: str) -> str | None:
    try:
        return base64.b64decode(text).decode() or None
    except ValueError:
        return None


def _metadata(text: str | None) -> dict[str, Any] | None:
    try:
        found = json.loads(text) if text else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
