"""Requests and replies that were recorded from a real Storage server, and how they are compared.

The recordings are trimmed: of bytes only the number is kept, and the files that are too large have
2,100 and 5,500 bytes instead of 21 and 55 MiB.
"""

import json
import re
from contextlib import contextmanager
from pathlib import Path

import httpx

from imagen_supabase.testing import Bucket, Gateway, MemoryObjects
from imagen_supabase.testing.objects import BUCKET
from imagen_supabase.testing.tokens import sign
from supabase_servers import JWT_SECRET
from supabase_storage import DatabaseObjects

FOLDER = Path(__file__).parent.parent / "data"
OWNERS = {
    "a": "aaaaaaaa-0000-4000-8000-00000000000a",
    "b": "bbbbbbbb-0000-4000-8000-00000000000b",
}
MIMES = ("image/png", "image/jpeg", "image/webp", "application/json")
LIMITS = {"bucket": 2000, "server": 5000}
POLICY = """
    create policy recorded on storage.objects for select to authenticated
    using (bucket_id = 'imagen-generated' and split_part(name, '/', 1) = auth.uid()::text)"""
OVERWRITTEN = "signed_url_get_after_overwrite_serves_new"
"""Before this one the picture was overwritten, which was not recorded."""
_OWN = ("date", "server", "connection")
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
_SHAPES = (
    (r"https?://(project\.example|127\.0\.0\.1:\d+)", "PROJECT"),
    (r"token=(<signed_jwt>|[\w-]+\.[\w-]+\.[\w-]+)", "TOKEN"),
    (r"(?!aaaaaaaa)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID"),
    (r'"[0-9a-f]{32}"', "ETAG"),
    (_TIME, "TIME"),
    (r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", "DATE"),
)


def recorded(name):
    """The cases of a recording, in their order."""
    cases = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    return {case["case"]: case for case in cases}


def comparable(value):
    """A value without the ids, times and addresses that are new each time."""
    if isinstance(value, dict):
        return {name: comparable(one) for name, one in value.items()}
    if isinstance(value, list):
        return [comparable(one) for one in value]
    if isinstance(value, str):
        for pattern, shape in _SHAPES:
            value = re.sub(pattern, shape, value)
    return value


class FolderObjects(MemoryObjects):
    """The rows as they were at the recording: who signs in reads the own folder."""

    def may_read(self, visitor, entry):
        return visitor.role == "authenticated" and entry.name.split("/")[0] == visitor.owner


def opened(where, clusters):
    """A gateway with the bucket and the policy of the recordings, in "memory" or a "database"."""
    return memory() if where == "memory" else in_database(clusters("system"))


@contextmanager
def memory():
    """That gateway without any other server."""
    rows = FolderObjects(Bucket(BUCKET, False, LIMITS["bucket"], MIMES))
    with Gateway(storage=rows, secret=JWT_SECRET, limit=LIMITS["server"]) as gateway:
        yield gateway


@contextmanager
def in_database(cluster):
    """That gateway on a database of this cluster."""
    database = cluster.database()
    values = [LIMITS["bucket"], list(MIMES)]
    query = "insert into storage.buckets values ('imagen-generated', 'imagen-generated')"
    database.run(query)
    database.run(
        "update storage.buckets set file_size_limit = %s, allowed_mime_types = %s", *values
    )
    database.run(POLICY)
    rows = DatabaseObjects(database)
    try:
        with Gateway(storage=rows, secret=JWT_SECRET, limit=LIMITS["server"]) as gateway:
            yield gateway
    finally:
        rows.close()
        cluster.drop(database)


def tokens(gateway):
    """A token for each placeholder of the recordings."""
    good = gateway.token("service_role")
    return {
        "<service_role_jwt>": good,
        "<anon_jwt>": gateway.token("anon"),
        "<owner_a_jwt>": gateway.token("authenticated", OWNERS["a"]),
        "<owner_b_jwt>": gateway.token("authenticated", OWNERS["b"]),
        "<expired_jwt>": gateway.token("service_role", seconds=-100),
        "<jwt_with_wrong_signature>": altered(good),
        "<jwt_with_unknown_role>": gateway.token("no_such_role"),
    }


def altered(token):
    """The same token with another signature."""
    head, _, signature = token.rpartition(".")
    return f"{head}.{signature[::-1]}"


def content(size):
    """Bytes of this number, which stand for a picture."""
    # With ends of lines in it, as pictures have: a reader of forms must leave them alone.
    return (b"\x89PNG\r\n\x1a\n--picture\r\n" * size)[:size]


class Player:
    """Plays the recorded requests to a gateway, one after the other."""

    def __init__(self, gateway, web):
        self._gateway = gateway
        self._web = web
        self._tokens = tokens(gateway)
        self._signed = ""
        self._etag = ""

    def play(self, case):
        """Send the requests of a case, and give the replies, comparable."""
        if case["case"] == OVERWRITTEN:
            self._overwrite()
        return [self._send(case["case"], one["request"]) for one in case.get("http", ())]

    def _overwrite(self):
        headers = {
            "authorization": f"Bearer {self._gateway.service_key}",
            "content-type": "image/png",
            "cache-control": "max-age=3600",
            "x-upsert": "true",
        }
        url = f"{self._gateway.url}/storage/v1/object/{BUCKET}/{OWNERS['a']}/2026/a.png"
        assert self._web.post(url, content=content(169), headers=headers).status_code == 200

    def _send(self, case, request):
        headers = dict(request["headers"])
        if said := headers.get("authorization"):
            key = said.removeprefix("Bearer ")
            headers["authorization"] = f"Bearer {self._tokens.get(key, key)}"
        if "if-none-match" in headers:
            headers["if-none-match"] = self._etag
        path = request["path"].replace("<signed_jwt>", self._url_token(case))
        url = f"{self._gateway.url}/storage/v1{path}"
        sent = self._web.request(request["method"], url, headers=headers, **_body(request["body"]))
        if found := re.search(r"token=([^\"&]+)", sent.text):
            self._signed = found[1]
        self._etag = sent.headers.get("etag", "")
        return _reply(sent, request["method"])

    def _url_token(self, case):
        if case == "signed_url_tampered":
            return altered(self._signed)
        if case == "signed_url_expired":
            url = f"{BUCKET}/{OWNERS['a']}/2026/a.png"
            return sign({"url": url, "scope": "download", "iat": 1, "exp": 2}, JWT_SECRET)
        return self._signed


def open_web():
    """An HTTP client."""
    # Certificates take long to load, and there are none here.
    return httpx.Client(verify=False, timeout=60)


def _body(body):
    match body:
        case {"json": data}:
            return {"json": data}
        case {"text": text}:
            return {"content": text}
        case {"bytes": size}:
            return {"content": content(size)}
        case {"form": {"file": file, **fields}}:
            data = content(file["bytes"])
            return {"data": fields, "files": {"file": (file["name"], data, file["type"])}}
    return {}


def _reply(sent, method):
    """A reply in the form of a recorded one."""
    headers = {name: value for name, value in sent.headers.items() if name not in _OWN}
    kind = headers.get("content-type", "")
    if method == "HEAD" or not sent.content:
        body = None
    elif kind.startswith("application/json"):
        body = {"json": sent.json()}
    else:
        body = {"bytes": len(sent.content)}
    return comparable({"status": sent.status_code, "headers": headers, "body": body})
