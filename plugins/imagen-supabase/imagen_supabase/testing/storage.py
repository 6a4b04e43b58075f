"""Storage's HTTP API, over rows that decide who may do what."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from imagen_core.testing import Reply
from imagen_supabase.testing import problems, serving
from imagen_supabase.testing.objects import BUCKET, Bucket, Entry, MemoryObjects, Objects, iso, now
from imagen_supabase.testing.problems import StorageProblem, reply_compact
from imagen_supabase.testing.tokens import SECRET, SERVER, TokenError, Visitor, read, sign
from imagen_supabase.testing.uploads import Upload, check_upload, read_upload

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen_core.testing import Received

LIMIT = 50 * 1024 * 1024
_NAMES = "/([^/]+)/(.+)"
_TABLE = (
    ("status", "GET", "/status"),
    ("list_buckets", "GET", "/bucket"),
    ("add_bucket", "POST", "/bucket"),
    ("show_bucket", "GET", "/bucket/([^/]+)"),
    ("list", "POST", "/object/list/([^/]+)"),
    ("sign_many", "POST", "/object/sign/([^/]+)"),
    ("sign", "POST", f"/object/sign{_NAMES}"),
    ("get_signed", "GET|HEAD", f"/object/sign{_NAMES}"),
    ("get_public", "GET|HEAD", f"/object/public{_NAMES}"),
    ("info", "GET|HEAD", f"/object/info/(?:authenticated/)?{_NAMES[1:]}"),
    ("get_authenticated", "GET|HEAD", f"/object/authenticated{_NAMES}"),
    ("get", "GET|HEAD", f"/object{_NAMES}"),
    ("post", "POST", f"/object{_NAMES}"),
    ("put", "PUT", f"/object{_NAMES}"),
    ("delete", "DELETE", f"/object{_NAMES}"),
    ("delete_many", "DELETE", "/object/([^/]+)"),
)


class Storage:
    """A Storage server without its listener: requests in, replies out.

    The rows are those of `objects`; the bytes lie here.
    """

    def __init__(
        self, objects: Objects | None = None, *, secret: str = SECRET, limit: int = LIMIT
    ) -> None:
        self._objects = objects if objects is not None else MemoryObjects()
        self._secret = secret
        self._limit = limit
        self._bytes: dict[tuple[str, str], bytes] = {}
        self._lock = threading.Lock()

    def contents(self, bucket: str = BUCKET) -> dict[str, bytes]:
        """Gives the objects of a bucket that were uploaded here: their bytes by their names."""
        with self._lock:
            entries = self._objects.search(SERVER, bucket, "")
            found = {entry.name: self._bytes.get((bucket, entry.name)) for entry in entries}
        return {name: data for name, data in found.items() if data is not None}

    def answer(self, received: Received) -> Reply:
        """Answers a request, whose path begins below the address of Storage."""
        path = unquote(received.path.partition("?")[0])
        for name, methods, pattern in _TABLE:
            found = re.fullmatch(pattern, re.sub("/{2,}", "/", path), re.DOTALL)
            if found and received.method in methods.split("|"):
                act: Callable[..., Reply] = getattr(self, f"_{name}")
                try:
                    return act(received, *found.groups())
                except StorageProblem as problem:
                    return problem.reply()
        said = f"Route {received.method}:{received.path} not found"
        return reply_compact({"message": said, "error": "Not Found", "statusCode": 404}, 404)

    def _status(self, received: Received) -> Reply:
        del received
        return Reply()

    # Buckets

    def _list_buckets(self, received: Received) -> Reply:
        visitor = self._visitor(received)
        with self._lock:
            return reply_compact([*map(serving.show_bucket, self._objects.buckets(visitor))])

    def _show_bucket(self, received: Received, name: str) -> Reply:
        return reply_compact(serving.show_bucket(self._bucket(name, self._visitor(received))))

    def _add_bucket(self, received: Received) -> Reply:
        visitor = self._visitor(received)
        body = _body(received, "name")
        mimes = body.get("allowed_mime_types")
        bucket = Bucket(
            body.get("id") or body["name"],
            bool(body.get("public")),
            body.get("file_size_limit"),
            tuple(mimes) if mimes else None,
            visitor.owner,
        )
        with self._lock:
            self._objects.add_bucket(visitor, bucket)
        return reply_compact({"name": bucket.id})

    # Files

    def _post(self, received: Received, bucket: str, name: str) -> Reply:
        upsert = received.headers.get("x-upsert") == "true"
        return self._upload(received, bucket, name, upsert=upsert)

    def _put(self, received: Received, bucket: str, name: str) -> Reply:
        return self._upload(received, bucket, name, upsert=True)

    def _upload(self, received: Received, bucket: str, name: str, *, upsert: bool) -> Reply:
        visitor = self._visitor(received)
        limits = self._bucket(bucket)
        upload = read_upload(received)
        check_upload(upload, name, limits, self._limit)
        entry = _entry(bucket, name, upload, visitor)
        with self._lock:
            entry = self._objects.put(visitor, entry, upsert=upsert)
            self._bytes[bucket, name] = upload.data
        return reply_compact({"Key": f"{bucket}/{name}", "Id": entry.id})

    def _get(self, received: Received, bucket: str, name: str) -> Reply:
        try:
            visitor = self._token(received)
        except TokenError:
            return self._get_public(received, bucket, name)
        return self._read(visitor, received, bucket, name)

    def _get_authenticated(self, received: Received, bucket: str, name: str) -> Reply:
        return self._read(self._visitor(received), received, bucket, name)

    def _read(self, visitor: Visitor, received: Received, bucket: str, name: str) -> Reply:
        self._bucket(bucket)
        return serving.serve_file(*self._file(visitor, bucket, name), received)

    def _get_public(self, received: Received, bucket: str, name: str) -> Reply:
        if not self._bucket(bucket).public:
            raise problems.no_bucket()
        return serving.serve_file(*self._file(SERVER, bucket, name), received)

    def _info(self, received: Received, bucket: str, name: str) -> Reply:
        visitor = self._visitor(received)
        self._bucket(bucket)
        entry = self._entry(visitor, bucket, name)
        reply = reply_compact(serving.show_info(entry))
        file = serving.serve_file(entry, b"", received)
        shown = ("ETag", "Last-Modified", "Cache-Control")
        reply.headers = {key: file.headers[key] for key in shown}
        return reply

    def _list(self, received: Received, bucket: str) -> Reply:
        visitor = self._visitor(received)
        body = _body(received, "prefix")
        prefix = body["prefix"]
        if prefix and not prefix.endswith("/"):
            prefix += "/"
        with self._lock:
            entries = self._objects.search(visitor, bucket, prefix)
        rows = serving.show_folder(entries, prefix, body.get("sortBy") or {})
        first = int(body.get("offset", 0))
        return reply_compact(rows[first : first + int(body.get("limit", 100))])

    def _delete(self, received: Received, bucket: str, name: str) -> Reply:
        visitor = self._visitor(received)
        self._bucket(bucket)
        if not self._remove(visitor, bucket, [name]):
            raise problems.no_object()
        return reply_compact({"message": "Successfully deleted"})

    def _delete_many(self, received: Received, bucket: str) -> Reply:
        visitor = self._visitor(received)
        self._bucket(bucket)
        names = _body(received, "prefixes")["prefixes"]
        return reply_compact([*map(serving.show_removed, self._remove(visitor, bucket, names))])

    # Signed URLs

    def _sign(self, received: Received, bucket: str, name: str) -> Reply:
        visitor = self._visitor(received)
        seconds = _seconds(_body(received, "expiresIn"))
        self._bucket(bucket)
        self._entry(visitor, bucket, name)
        return reply_compact({"signedURL": self._signed(bucket, name, seconds)})

    def _sign_many(self, received: Received, bucket: str) -> Reply:
        visitor = self._visitor(received)
        body = _body(received, "expiresIn", "paths")
        seconds = _seconds(body)
        self._bucket(bucket)
        with self._lock:
            seen = [self._objects.find(visitor, bucket, path) for path in body["paths"]]
        missing = "Either the object does not exist or you do not have access to it"
        rows = [
            {
                "error": None if entry else missing,
                "path": path,
                "signedURL": self._signed(bucket, path, seconds) if entry else None,
            }
            for path, entry in zip(body["paths"], seen, strict=True)
        ]
        return reply_compact(rows)

    def _get_signed(self, received: Received, bucket: str, name: str) -> Reply:
        token = received.query.get("token")
        if token is None:
            raise problems.invalid_request("querystring must have required property 'token'")
        try:
            claims = read(token, self._secret)
        except TokenError as error:
            raise problems.invalid_url("InvalidJWT", str(error)) from error
        if claims.get("url") != f"{bucket}/{name}":
            raise problems.invalid_url("InvalidSignature", "Invalid signature")
        expires = datetime.fromtimestamp(claims["exp"], UTC)
        return serving.serve_file(*self._file(SERVER, bucket, name), received, expires)

    def _signed(self, bucket: str, name: str, seconds: int) -> str:
        moment = int(time.time())
        url = f"{bucket}/{name}"
        claims = {"url": url, "scope": "download", "iat": moment, "exp": moment + seconds}
        return f"/object/sign/{quote(url)}?token={sign(claims, self._secret)}"

    # What they have in common

    def _visitor(self, received: Received) -> Visitor:
        if "authorization" not in received.headers:
            missing = "headers must have required property 'authorization'"
            raise problems.invalid_request(missing)
        try:
            return self._token(received)
        except TokenError as error:
            raise problems.denied(str(error)) from error

    def _token(self, received: Received) -> Visitor:
        said = received.headers.get("authorization", "")
        claims = read(said.removeprefix("Bearer ").strip(), self._secret)
        return Visitor(str(claims.get("role") or "anon"), str(claims.get("sub") or ""))

    def _bucket(self, name: str, visitor: Visitor = SERVER) -> Bucket:
        with self._lock:
            for bucket in self._objects.buckets(visitor):
                if bucket.id == name:
                    return bucket
        raise problems.no_bucket()

    def _entry(self, visitor: Visitor, bucket: str, name: str) -> Entry:
        with self._lock:
            entry = self._objects.find(visitor, bucket, name)
        if entry is None:
            raise problems.no_object()
        return entry

    def _file(self, visitor: Visitor, bucket: str, name: str) -> tuple[Entry, bytes]:
        with self._lock:
            entry = self._objects.find(visitor, bucket, name)
            data = self._bytes.get((bucket, name))
        if entry is None or data is None:
            raise problems.no_object()
        return entry, data

    def _remove(self, visitor: Visitor, bucket: str, names: list[str]) -> list[Entry]:
        with self._lock:
            removed = self._objects.remove(visitor, bucket, names)
            for entry in removed:
                self._bytes.pop((bucket, entry.name), None)
        return removed


def _entry(bucket: str, name: str, upload: Upload, visitor: Visitor) -> Entry:
    digest = hashlib.md5(upload.data, usedforsecurity=False).hexdigest()
    size = len(upload.data)
    said = {
        "eTag": f'"{digest}"',
        "size": size,
        "mimetype": upload.mime,
        "cacheControl": upload.cache_control,
        "lastModified": iso(now()),
        "contentLength": size,
        "httpStatusCode": 200,
    }
    return Entry(bucket, name, said, upload.user_metadata, visitor.owner)


def _body(received: Received, *needed: str) -> dict[str, Any]:
    try:
        body = received.json()
    except ValueError as error:
        raise problems.invalid_request("body must be object") from error
    for name in needed:
        if name not in body:
            raise problems.invalid_request(f"body must have required property '{name}'")
    return body


def _seconds(body: dict[str, Any]) -> int:
    try:
        seconds = int(body["expiresIn"])
    except (TypeError, ValueError) as error:
        raise problems.invalid_request("body/expiresIn must be integer") from error
    if seconds < 1:
        raise problems.invalid_request("body/expiresIn must be >= 1")
    return seconds
