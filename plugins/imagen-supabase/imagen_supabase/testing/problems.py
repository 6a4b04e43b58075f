"""What Storage replies: JSON, and refusals whose real status is in the body."""

from __future__ import annotations

import json
from typing import Any

from imagen_core.testing import Reply

JSON_TYPE = "application/json; charset=utf-8"


class StorageProblem(Exception):
    """A request that Storage refuses, with the body that says so."""

    def __init__(self, status: int, error: str, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"statusCode": str(status), "error": error, "message": message, "code": code}

    def reply(self) -> Reply:
        """The refusal as it is sent: whatever the client did wrong is a 400."""
        return reply_compact(self.body, min(max(self.status, 400), 500) // 100 * 100)


def reply_compact(data: Any, status: int = 200, content_type: str = JSON_TYPE) -> Reply:
    """Replies with JSON as JavaScript writes it."""
    body = json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()
    return Reply(status, body, content_type)


def no_bucket() -> StorageProblem:
    """Says that there is no such bucket, or none that the visitor may see."""
    return StorageProblem(404, "Bucket not found", "NoSuchBucket", "Bucket not found")


def no_object() -> StorageProblem:
    """Says that there is no such object, or none that the visitor may see."""
    return StorageProblem(404, "not_found", "NoSuchKey", "Object not found")


def duplicate(code: str) -> StorageProblem:
    """Says that something is there already."""
    return StorageProblem(409, "Duplicate", code, "The resource already exists")


def denied(message: str = "new row violates row-level security policy") -> StorageProblem:
    """Says that the visitor may not do this, or who the visitor is cannot be believed."""
    return StorageProblem(403, "Unauthorized", "AccessDenied", message)


def database_error(code: str) -> StorageProblem:
    """Says that the database refused with this code."""
    message = f"database error, code: {code}"
    return StorageProblem(500, "DatabaseError", "DatabaseError", message)


def internal_error() -> StorageProblem:
    """Says that something broke, for example that the database is down."""
    return StorageProblem(500, "Internal", "InternalError", "Internal Server Error")


def invalid_mime(mime: str) -> StorageProblem:
    """Says that the bucket takes no such files."""
    message = f"mime type {mime} is not supported"
    return StorageProblem(415, "invalid_mime_type", "InvalidMimeType", message)


def too_large() -> StorageProblem:
    """Says that the file is larger than the bucket or the server takes."""
    message = "The object exceeded the maximum allowed size"
    return StorageProblem(413, "Payload too large", "EntityTooLarge", message)


def invalid_key(key: str) -> StorageProblem:
    """Says that no object can have this name."""
    return StorageProblem(400, "InvalidKey", "InvalidKey", f"Invalid key: {key}")


def invalid_request(message: str) -> StorageProblem:
    """Says what is wrong with the request."""
    return StorageProblem(400, "Error", "InvalidRequest", message)


def invalid_url(code: str, message: str) -> StorageProblem:
    """Says what is wrong with a signed URL."""
    return StorageProblem(400, code, code, message)
