"""How Storage shows what it has: files with their headers, and rows as JSON."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from imagen_core.testing import Reply
from imagen_supabase.testing.objects import Bucket, Entry, iso

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from imagen_core.testing import Received

JSON = dict[str, Any]
DATE = "%a, %d %b %Y %H:%M:%S GMT"


def serve_file(
    entry: Entry, data: bytes, received: Received, expires: datetime | None = None
) -> Reply:
    """Serves a file, or the part of it that is asked for, or says that it has not changed."""
    etag = entry.metadata["eTag"]
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": etag,
        "X-Robots-Tag": "none",
        "Last-Modified": entry.updated_at.strftime(DATE),
    }
    if expires is None:
        headers["Cache-Control"] = entry.metadata["cacheControl"]
    else:
        headers["Expires"] = expires.strftime(DATE)
    if (name := received.query.get("download")) is not None:
        headers["Content-Disposition"] = _attachment(name)
    reply = Reply(200, data, entry.metadata["mimetype"], headers)
    if received.headers.get("if-none-match") == etag:
        reply.status, reply.body = 304, b""
    elif wanted := received.headers.get("range"):
        _cut(reply, wanted)
    return reply


def _attachment(name: str) -> str:
    known = quote(name, safe="!~*'()")
    return f"attachment; filename={known}; filename*=UTF-8''{known}" if name else "attachment;"


def _cut(reply: Reply, wanted: str) -> None:
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted)
    size = len(reply.body)
    if not found or not any(found.groups()):
        return
    first = int(found[1]) if found[1] else max(size - int(found[2]), 0)
    last = min(int(found[2]), size - 1) if found[1] and found[2] else size - 1
    if first > last:
        reply.status, reply.body = 416, b""
        reply.headers["Content-Range"] = f"bytes */{size}"
        return
    reply.status, reply.body = 206, reply.body[first : last + 1]
    reply.headers["Content-Range"] = f"bytes {first}-{last}/{size}"


def show_info(entry: Entry) -> JSON:
    """Gives what `/object/info/` says of an object."""
    said = entry.metadata
    return {
        "id": entry.id,
        "name": entry.name,
        "version": entry.version,
        "bucket_id": entry.bucket,
        "size": said["size"],
        "content_type": said["mimetype"],
        "cache_control": said["cacheControl"],
        "etag": said["eTag"],
        "metadata": entry.user_metadata or {},
        "last_modified": iso(entry.updated_at),
        "created_at": iso(entry.created_at),
    }


def show_removed(entry: Entry) -> JSON:
    """Gives what a removal says of an object."""
    return {
        "name": entry.name,
        "bucket_id": entry.bucket,
        "owner": entry.owner,
        "owner_id": entry.owner,
        "version": entry.version,
        "id": entry.id,
        **_times(entry),
        "metadata": entry.metadata,
        "user_metadata": entry.user_metadata,
    }


def show_folder(entries: Iterable[Entry], prefix: str, order: JSON) -> list[JSON]:
    """Gives one level of names: first the folders, then the objects."""
    folders, files = set(), []
    for entry in entries:
        name, deeper, _ = entry.name.removeprefix(prefix).partition("/")
        if deeper:
            folders.add(name)
        else:
            row = {"name": name, "id": entry.id, **_times(entry), "metadata": entry.metadata}
            files.append(row)
    column, down = order.get("column", "name"), order.get("order") == "desc"
    files.sort(key=lambda row: str(row[column]), reverse=down)
    nothing = dict.fromkeys(("id", "updated_at", "created_at", "last_accessed_at", "metadata"))
    return [*({"name": name, **nothing} for name in sorted(folders, reverse=down)), *files]


def show_bucket(bucket: Bucket) -> JSON:
    """Gives what `/bucket/` says of a bucket."""
    mimes = bucket.allowed_mime_types
    return {
        "id": bucket.id,
        "name": bucket.id,
        "owner": bucket.owner,
        "public": bucket.public,
        "file_size_limit": bucket.file_size_limit,
        "allowed_mime_types": list(mimes) if mimes else None,
        "created_at": iso(bucket.created_at),
        "updated_at": iso(bucket.updated_at),
    }


def _times(entry: Entry) -> JSON:
    return {
        "updated_at": iso(entry.updated_at),
        "created_at": iso(entry.created_at),
        "last_accessed_at": iso(entry.last_accessed_at),
    }
