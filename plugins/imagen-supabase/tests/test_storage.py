"""What the fake Storage does that was not recorded, but is documented or follows from it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from imagen_supabase.testing import Bucket, Gateway, MemoryObjects

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = "/object/imagen-generated/a/cat.png"
PNG = {"content-type": "image/png"}


@pytest.fixture
def server() -> Iterator[Gateway]:
    with Gateway() as found:
        yield found


@pytest.fixture
def web(server: Gateway) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {server.service_key}"}
    # Certificates take long to load, and there are none here.
    with httpx.Client(
        base_url=f"{server.url}/storage/v1", headers=headers, verify=False, timeout=60
    ) as found:
        yield found


def put(
    web: httpx.Client, path: str = PATH, data: bytes = b"0123456789", metadata: str = ""
) -> Any:
    """Uploads a picture."""
    reply = web.put(path, content=data, headers={**PNG, "x-metadata": metadata})
    assert reply.status_code == 200, reply.text
    return reply.json()


def told(reply: httpx.Response) -> tuple[int, str, str]:
    """The status, and the code and the words of a refusal."""
    body = reply.json()
    return reply.status_code, body["code"], body["message"]


# Buckets


def test_bucket_that_is_made_is_shown_and_listed(web: httpx.Client) -> None:
    asked = {
        "name": "other",
        "public": True,
        "file_size_limit": 5,
        "allowed_mime_types": ["text/*"],
    }

    assert web.post("/bucket", json=asked).json() == {"name": "other"}
    shown = web.get("/bucket/other").json()

    assert {**shown, **asked, "id": "other", "owner": ""} == shown
    assert [bucket["id"] for bucket in web.get("/bucket").json()] == ["imagen-generated", "other"]


def test_limits_of_a_bucket_hold(web: httpx.Client) -> None:
    asked = {"name": "other", "file_size_limit": 5, "allowed_mime_types": ["text/*"]}
    web.post("/bucket", json=asked)
    text = {"content-type": "text/plain"}

    replies = [
        web.post("/object/other/a", content=b"12345", headers=text),
        web.post("/object/other/b", content=b"123456", headers=text),
        web.post("/object/other/c", content=b"1", headers=PNG),
    ]

    assert [reply.json().get("code") for reply in replies] == [
        None,
        "EntityTooLarge",
        "InvalidMimeType",
    ]


def test_nobody_but_the_service_role_sees_or_makes_buckets(
    server: Gateway, web: httpx.Client
) -> None:
    headers = {"authorization": f"Bearer {server.token('anon')}"}

    assert web.get("/bucket", headers=headers).json() == []
    assert told(web.get("/bucket/imagen-generated", headers=headers))[1] == "NoSuchBucket"
    made = web.post("/bucket", json={"name": "mine"}, headers=headers)
    assert told(made) == (400, "AccessDenied", "new row violates row-level security policy")


def test_public_bucket_is_read_without_a_key() -> None:
    with Gateway(storage=MemoryObjects(Bucket("open", public=True))) as server:
        url = f"{server.url}/storage/v1/object"
        headers = {"authorization": f"Bearer {server.service_key}", **PNG}
        httpx.post(f"{url}/open/x.png", content=b"x", headers=headers, verify=False, timeout=60)

        seen = [
            httpx.get(f"{url}/{path}", verify=False, timeout=60).content
            for path in ("public/open/x.png", "open/x.png")
        ]

    assert seen == [b"x", b"x"]


# Keys of a project


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/bucket"), ("POST", PATH), ("GET", PATH.replace("object", "object/authenticated"))],
)
def test_request_without_a_key_is_not_valid(server: Gateway, method: str, path: str) -> None:
    reply = httpx.request(method, f"{server.url}/storage/v1{path}", verify=False, timeout=60)

    missing = "headers must have required property 'authorization'"
    assert told(reply) == (400, "InvalidRequest", missing)


def test_authenticated_download_tells_of_a_bad_key(server: Gateway, web: httpx.Client) -> None:
    headers = {"authorization": f"Bearer {server.token('service_role', seconds=-1)}"}

    reply = web.get(PATH.replace("object", "object/authenticated"), headers=headers)

    assert told(reply) == (400, "AccessDenied", '"exp" claim timestamp check failed')


@pytest.mark.parametrize("token", ["a.b", "a.b.c.d", "x", "bm90.anNvbg.x"])
def test_token_that_is_none_is_refused(web: httpx.Client, token: str) -> None:
    reply = web.get("/bucket", headers={"authorization": f"Bearer {token}"})

    assert told(reply)[:2] == (400, "AccessDenied")


def test_token_of_another_project_is_refused(web: httpx.Client) -> None:
    with Gateway(secret="another secret that is long enough, too") as other:
        reply = web.get("/bucket", headers={"authorization": f"Bearer {other.service_key}"})

    assert told(reply) == (400, "AccessDenied", "signature verification failed")


# Files


@pytest.mark.parametrize(
    ("wanted", "status", "data", "shown"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=8-100", 206, b"89", "bytes 8-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("pages=1-2", 200, b"0123456789", None),
    ],
)
def test_part_of_a_file_is_served(
    web: httpx.Client, wanted: str, status: int, data: bytes, shown: str | None
) -> None:
    put(web)

    reply = web.get(PATH, headers={"range": wanted})

    assert (reply.status_code, reply.content) == (status, data)
    assert reply.headers.get("content-range") == shown


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("download=", "attachment;"),
        ("download=a%20b.png", "attachment; filename=a%20b.png; filename*=UTF-8''a%20b.png"),
    ],
)
def test_download_is_named(web: httpx.Client, query: str, shown: str) -> None:
    put(web)

    assert web.get(f"{PATH}?{query}").headers["content-disposition"] == shown


def test_form_keeps_the_bytes_of_a_file(server: Gateway, web: httpx.Client) -> None:
    data = b"\r\n--\r\n\r\n\x00\xff--x--\r\n" * 1000

    reply = web.post(PATH, files={"": ("cat.png", data, "image/png")})

    assert reply.status_code == 200
    assert server.objects == {"a/cat.png": data}
    assert web.get(PATH).headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("how", ["no file", "no boundary"])
def test_form_without_a_file_is_refused(web: httpx.Client, how: str) -> None:
    kind = "multipart/form-data" + ("; boundary=x" if how == "no file" else "")

    reply = web.post(PATH, content=b"--x--\r\n", headers={"content-type": kind})

    assert told(reply)[:2] == (400, "InvalidRequest")


def test_overwriting_keeps_the_id_and_the_time_of_creation(web: httpx.Client) -> None:
    first = put(web, metadata="eyJhIjogMX0=")
    before = web.get(PATH.replace("object", "object/info")).json()

    second = put(web, data=b"new")
    after = web.get(PATH.replace("object", "object/info")).json()

    assert first == second
    assert before["metadata"] == {"a": 1}
    same = [name for name in before if before[name] == after[name]]
    assert {"id", "name", "created_at"} <= {*same}
    assert not {"version", "etag", "size", "metadata"} & {*same}


def test_metadata_that_is_no_json_is_left_out(web: httpx.Client) -> None:
    for said in ("eA==", "!", "WzFd"):
        put(web, metadata=said)

        assert web.get(PATH.replace("object", "object/info")).json()["metadata"] == {}


# Lists


def test_list_is_paged_and_sorted_with_the_folders_first(web: httpx.Client) -> None:
    for name in ("b.png", "a.png", "z/1.png", "y/2/3.png", "y/4.png", "c.png"):
        put(web, f"/object/imagen-generated/u/{name}")

    def listed(**options: Any) -> list[str]:
        reply = web.post("/object/list/imagen-generated", json={"prefix": "u", **options})
        return [row["name"] for row in reply.json()]

    assert listed() == ["y", "z", "a.png", "b.png", "c.png"]
    assert listed(limit=2, offset=1) == ["z", "a.png"]
    down = {"column": "name", "order": "desc"}
    assert listed(sortBy=down) == ["z", "y", "c.png", "b.png", "a.png"]
    assert listed(sortBy={"column": "created_at"})[2:] == ["b.png", "a.png", "c.png"]
    assert listed(prefix="u/y/") == ["2", "4.png"]
    assert listed(prefix="") == ["u"]


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("list/imagen-generated", {}, "body must have required property 'prefix'"),
        ("sign/imagen-generated", {"expiresIn": 1}, "body must have required property 'paths'"),
        ("sign/imagen-generated/x", {"expiresIn": "soon"}, "body/expiresIn must be integer"),
        ("sign/imagen-generated/x", [], "body must be object"),
    ],
)
def test_body_that_lacks_something_is_not_valid(
    web: httpx.Client, path: str, body: Any, message: str
) -> None:
    reply = web.post(f"/object/{path}", content=json.dumps(body))

    assert told(reply) == (400, "InvalidRequest", message)


# Signed URLs


def test_signed_url_needs_its_token_and_its_object(web: httpx.Client) -> None:
    put(web)
    signing = PATH.replace("object", "object/sign")
    url = web.post(signing, json={"expiresIn": 60}).json()["signedURL"]

    missing = "querystring must have required property 'token'"
    assert told(web.get(signing)) == (400, "InvalidRequest", missing)
    assert web.get(url).content == b"0123456789"
    web.delete(PATH)
    assert told(web.get(url)) == (400, "NoSuchKey", "Object not found")


def test_key_of_the_project_signs_no_url(server: Gateway, web: httpx.Client) -> None:
    put(web)
    signing = PATH.replace("object", "object/sign")

    reply = web.get(signing, params={"token": server.service_key})

    assert told(reply) == (400, "InvalidSignature", "Invalid signature")
