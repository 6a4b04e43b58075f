"""`/v1/files`: pictures that clients upload to use them as inputs."""

from __future__ import annotations

import base64
import datetime
import hashlib
import uuid
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from typing import TYPE_CHECKING

from imagen_replicate.testing.prediction import iso, now
from imagen_replicate.testing.problems import JSON, ProblemError

if TYPE_CHECKING:
    from imagen_core.testing import Received

_LIFE = datetime.timedelta(days=1)


def _new_id() -> str:
    return base64.b64encode(str(uuid.uuid4()).encode()).decode()


@dataclass(frozen=True)
class Upload:
    """A file that a client has uploaded."""

    name: str
    content_type: str
    data: bytes
    id: str = field(default_factory=_new_id)
    created: datetime.datetime = field(default_factory=now)

    def show(self, url: str) -> JSON:
        """Gives its record, with a link below the address of the API."""
        return {
            "id": self.id,
            "name": self.name,
            "content_type": self.content_type,
            "size": len(self.data),
            "etag": hashlib.md5(self.data, usedforsecurity=False).hexdigest(),
            "checksums": {"sha256": hashlib.sha256(self.data).hexdigest()},
            "metadata": {},
            "created_at": iso(self.created),
            "expires_at": iso(self.created + _LIFE),
            "urls": {"get": f"{url}/files/{self.id}"},
        }


def read_upload(received: Received, *, limit: int) -> Upload:
    """Reads the part `content` of a form, or refuses it."""
    kind = received.headers.get("content-type", "")
    head = f"Content-Type: {kind}\r\n\r\n".encode()
    form = BytesParser(policy=HTTP).parsebytes(head + received.body)
    for part in form.iter_parts() if form.is_multipart() else ():
        if part.get_param("name", header="content-disposition") == "content":
            data = part.get_payload(decode=True)
            return _accept(part.get_filename("file"), part.get_content_type(), data, limit=limit)
    raise ProblemError(400, "The form has no part named content.")


def _accept(name: str, content_type: str, data: object, *, limit: int) -> Upload:
    if not isinstance(data, bytes):
        raise ProblemError(400, "The part named content has no bytes.")
    if len(data) > limit:
        raise ProblemError(413, f"The file is larger than {limit} bytes.")
    return Upload(name, content_type, data)
