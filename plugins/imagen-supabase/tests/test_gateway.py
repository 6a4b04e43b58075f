"""The one address of a project: what it passes on to a real PostgREST, and how it fails."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest

from imagen_supabase.testing import Gateway, MemoryObjects
from supabase_servers import image

if TYPE_CHECKING:
    from collections.abc import Iterator

STORAGE = "/storage/v1/object/imagen-generated"
REST = "/rest/v1/images"
PNG = {"content-type": "image/png"}
EIGHT = {"true": ["made"] * 8, "false": ["KeyAlreadyExists"] * 7 + ["made"]}
"""What becomes of eight uploads of one name, with and without leave to overwrite."""


def client_of(gateway: Gateway, headers: dict[str, str] | None = None) -> httpx.Client:
    """An HTTP client with the service key."""
    key = gateway.service_key
    shown = {"apikey": key, "authorization": f"Bearer {key}", **(headers or {})}
    # Certificates take long to load, and there are none here.
    return httpx.Client(base_url=gateway.url, headers=shown, verify=False, timeout=60)


@pytest.fixture
def alone() -> Iterator[Gateway]:
    """A gateway without a database."""
    with Gateway(storage=MemoryObjects()) as found:
        yield found


@pytest.fixture
def web(alone: Gateway) -> Iterator[httpx.Client]:
    with client_of(alone) as found:
        yield found


# The database


def shown(reply: httpx.Response) -> tuple[Any, ...]:
    """What is to be the same: not the time, nor how the length is said."""
    own = ("date", "content-length", "transfer-encoding")
    headers = {name: value for name, value in reply.headers.items() if name not in own}
    return reply.status_code, headers, reply.content


@pytest.mark.system
@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/images?owner_user_id=eq.{owner}&select=id,seed&order=id", {}),
        ("GET", "/images?owner_user_id=eq.{owner}", {"prefer": "count=exact", "range": "0-0"}),
        ("HEAD", "/images?owner_user_id=eq.{owner}", {"prefer": "count=exact"}),
        ("GET", "/imagen_usage?limit=0", {"accept-profile": "mai"}),
        ("GET", "/images", {"accept-profile": "nope"}),
        ("GET", "/images?nope=eq.1", {}),
        (
            "GET",
            "/images?owner_user_id=eq.{owner}",
            {"accept": "application/vnd.pgrst.object+json"},
        ),
        ("GET", "/images", {"authorization": "Bearer sb_secret_x"}),
        ("PATCH", "/images?owner_user_id=eq.{owner}", {"prefer": "return=minimal"}),
        ("DELETE", "/images?owner_user_id=eq.00000000-0000-0000-0000-000000000000", {}),
        ("POST", "/rpc/nope", {}),
        ("GET", "/", {}),
    ],
)
def test_gateway_answers_as_postgrest_does(
    gateway: Any, method: str, path: str, headers: dict[str, str]
) -> None:
    owner = uuid4()
    path = path.format(owner=owner)
    asked = {"accept-profile": "imagen", "content-profile": "imagen", **headers}
    body = {"tags": ["x"]} if method in ("PATCH", "POST") else None

    with (
        gateway.project.client("service_role") as direct,
        client_of(gateway) as through,
    ):
        assert direct.post("/images", json=[image(owner), image(owner)]).status_code == 201
        wanted = direct.request(method, path, headers=asked, json=body)
        found = through.request(method, f"/rest/v1{path}", headers=asked, json=body)

    assert shown(found) == shown(wanted)


@pytest.mark.system
def test_rows_that_go_through_the_gateway_are_there(gateway: Any) -> None:
    owner = uuid4()
    prompt = "a 🐈 " + "ü" * 100_000
    with client_of(gateway, {"content-profile": "imagen"}) as web:
        done = web.post(REST, json=image(owner, prompt=prompt))

    assert done.status_code == 201
    query = "select prompt from imagen.images where owner_user_id = %s"
    assert gateway.project.database.run(query, owner) == [(prompt,)]
    [request] = gateway.requests
    assert (request.method, request.path) == ("POST", REST)
    assert request.headers["content-profile"] == "imagen"
    assert request.json()["prompt"] == prompt


def test_database_asks_for_an_api_key(alone: Gateway) -> None:
    reply = httpx.get(f"{alone.url}{REST}", verify=False, timeout=60)

    assert (reply.status_code, reply.headers["content-type"]) == (401, "application/json")
    assert reply.headers["content-length"] == "101"
    assert reply.json() == {
        "message": "No API key found in request",
        "hint": "No `apikey` request header or url param was found.",
    }


def test_gateway_without_postgrest_says_so(web: httpx.Client) -> None:
    assert web.get(REST).status_code == 503


def test_postgrest_that_is_not_there_gives_a_page() -> None:
    with Gateway(rest="http://127.0.0.1:1") as gateway, client_of(gateway) as web:
        reply = web.get(REST)

    assert (reply.status_code, reply.headers["content-type"]) == (502, "text/html")


def test_other_paths_lead_nowhere(web: httpx.Client) -> None:
    assert web.get("/auth/v1/user").status_code == 404
    assert web.get("/rest/v10/x").status_code == 404


# Storage on the real database


@pytest.mark.system
def test_owner_of_the_row_reads_signs_and_lists_the_picture(gateway: Any) -> None:
    owner, other = uuid4(), uuid4()
    name = f"{owner}/cat.png"
    with client_of(gateway) as web, gateway.project.client("service_role") as rest:
        assert rest.post("/images", json=image(owner, storage_path=name)).status_code == 201
        assert web.post(f"{STORAGE}/{name}", content=b"cat", headers=PNG).status_code == 200

        seen = {}
        for who, visitor in (("owner", owner), ("other", other)):
            headers = {"authorization": f"Bearer {gateway.token('authenticated', visitor)}"}
            read = web.get(f"{STORAGE}/{name}", headers=headers)
            signed = web.post(
                STORAGE.replace("object", "object/sign") + f"/{name}",
                json={"expiresIn": 60},
                headers=headers,
            )
            listed = web.post(
                "/storage/v1/object/list/imagen-generated",
                json={"prefix": str(owner)},
                headers=headers,
            )
            wrote = web.post(f"{STORAGE}/{name}", content=b"dog", headers={**PNG, **headers})
            gone = web.request("DELETE", f"{STORAGE}/{name}", headers=headers)
            seen[who] = [read.content == b"cat", "signedURL" in signed.json(), len(listed.json())]
            assert (wrote.json()["code"], gone.json()["code"]) == ("AccessDenied", "NoSuchKey")

    assert seen == {"owner": [True, True, 1], "other": [False, False, 0]}
    assert gateway.objects == {name: b"cat"}


@pytest.mark.system
def test_next_gateway_finds_nothing_of_the_last(gateway: Any) -> None:
    query = "select count(*) from storage.objects where name = 'left/over.png'"
    assert gateway.project.database.run(query) == [(0,)]

    with client_of(gateway) as web:
        assert web.post(f"{STORAGE}/left/over.png", content=b"x", headers=PNG).status_code == 200

    assert gateway.project.database.run(query) == [(1,)]


@pytest.mark.system
def test_environment_leads_to_the_project(gateway: Any, cloud_environment: dict[str, str]) -> None:
    assert cloud_environment["SUPABASE_URL"] == gateway.url
    key = cloud_environment["SUPABASE_SERVICE_KEY"]
    found = httpx.get(
        f"{gateway.url}{REST}?limit=0",
        headers={"apikey": key, "accept-profile": "imagen"},
        verify=False,
        timeout=60,
    )

    assert (found.status_code, found.json()) == (200, [])


@pytest.mark.parametrize("upsert", EIGHT)
def test_of_eight_creates_at_once_one_wins(alone: Gateway, upsert: str) -> None:
    name = f"race-{uuid4()}.png"

    assert race(alone, name, upsert) == EIGHT[upsert]
    assert len(set(alone.objects[name])) == 1


@pytest.mark.system
def test_of_eight_creates_at_once_one_wins_in_the_database(gateway: Any) -> None:
    name = f"race-{uuid4()}.png"

    assert race(gateway, name, "false") == EIGHT["false"]
    assert len(set(gateway.objects[name])) == 1


def race(gateway: Gateway, name: str, upsert: str) -> list[str]:
    """Uploads eight files of one name at once, and gives what became of them."""
    gate = threading.Barrier(8)
    replies = []

    def create(number: int) -> None:
        with client_of(gateway, {**PNG, "x-upsert": upsert}) as web:
            gate.wait()
            reply = web.post(f"{STORAGE}/{name}", content=bytes([number]) * 100_000)
            replies.append(reply.json().get("code", "made"))

    threads = [threading.Thread(target=create, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(replies)
