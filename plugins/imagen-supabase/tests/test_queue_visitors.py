"""Who may do what with the queue, by asking: users of a web page, workers, and anybody."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest

from imagen_core import CredentialsError, Failure, NewJob, Offer
from supabase_servers import image

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.system, pytest.mark.parametrize("cluster", ["system"], indirect=True)]

LIMIT = 100
SEEN = "id,state,payload,owner_user_id"
REQUEST = {"backend": "flux", "payload": {"prompt": "a cat"}}
FORBIDDEN = (401, 403)


class User:
    """Somebody who is signed in to a web page."""

    def __init__(self, client: httpx.Client, owner: str) -> None:
        self.owner = owner
        self._client = client

    def call(self, function: str, **arguments: Any) -> Any:
        return self._client.post(f"/rpc/{function}", json=arguments)

    def request(self, **arguments: Any) -> Any:
        return self.call("request_picture", **{**REQUEST, **arguments})

    def jobs(self, columns: str = SEEN) -> Any:
        return self._client.get("/jobs", params={"select": columns, "order": "seq"})


@pytest.fixture
def users(jobs: Any) -> Iterator[list[User]]:
    """Two users."""
    owners = [str(uuid4()), str(uuid4())]
    with (
        jobs.project.client("authenticated", owners[0]) as one,
        jobs.project.client("authenticated", owners[1]) as other,
    ):
        yield [User(one, owners[0]), User(other, owners[1])]


def take(queue: Any) -> Any:
    return queue.claim("w", str(uuid4()), backends={"flux": ""}, lease=60, deadline=600)


# Users


def test_user_asks_for_a_picture_and_sees_what_becomes_of_it(jobs: Any, users: list[User]) -> None:
    user, stranger = users

    made = user.request(key="k", priority=7).json()

    job = jobs.queue().get(made["id"])
    assert made["created"] is True
    assert (job.owner, job.key, job.priority, job.max_attempts) == (user.owner, "k", 7, 3)
    assert job.payload == REQUEST["payload"]
    [row] = user.jobs().json()
    assert row == {
        "id": made["id"],
        "state": "queued",
        "payload": REQUEST["payload"],
        "owner_user_id": user.owner,
    }
    take(jobs.queue())
    assert user.jobs("state").json() == [{"state": "running"}]
    assert stranger.jobs().json() == []


def test_request_that_is_repeated_is_one_job(jobs: Any, users: list[User]) -> None:
    user, stranger = users
    job_id = str(uuid4())

    first, again = (user.request(id=job_id).json() for _ in range(2))
    keyed, other = user.request(key="k").json(), stranger.request(key="k").json()

    assert (first, again) == (
        {"id": job_id, "created": True},
        {"id": job_id, "created": False},
    )
    assert user.request(key="k").json() == {"id": keyed["id"], "created": False}
    assert other["id"] != keyed["id"]
    assert len(jobs.rows()) == 3


def test_id_of_a_strangers_job_is_refused_and_told_nothing_of(users: list[User]) -> None:
    user, stranger = users
    job_id = user.request().json()["id"]

    reply = stranger.request(id=job_id)

    assert (reply.status_code, reply.json()["message"]) == (409, "this id is that of another job")


REFUSED = {
    "no backend": {"backend": ""},
    "null backend": {"backend": None},
    "long backend": {"backend": "x" * 101},
    "payload is a list": {"payload": [1]},
    "payload is null": {"payload": None},
    "large payload": {"payload": {"prompt": "x" * 65536}},
    "urgent": {"priority": 4},
    "no priority": {"priority": 10},
    "long key": {"key": "x" * 201},
    "null key": {"key": None},
    "negative delay": {"delay": -1},
    "long delay": {"delay": 31 * 86400},
    "no version": {"payload_version": 0},
}


@pytest.mark.parametrize("arguments", REFUSED.values(), ids=REFUSED)
def test_request_that_makes_no_sense_is_refused(
    jobs: Any, users: list[User], arguments: dict[str, Any]
) -> None:
    reply = users[0].request(**arguments)

    assert reply.status_code == 400
    assert reply.json()["code"] == "PT400"
    assert jobs.rows() == []


@pytest.mark.parametrize("argument", ["owner", "max_attempts", "worker", "state"])
def test_request_takes_nothing_else(users: list[User], argument: str) -> None:
    reply = users[0].request(**{argument: users[1].owner})

    assert (reply.status_code, reply.json()["code"]) == (404, "PGRST202")


def test_user_may_have_so_many_jobs_and_no_more(jobs: Any, users: list[User]) -> None:
    user, stranger = users
    codes = [user.request(key=str(number)).status_code for number in range(LIMIT)]

    refused = user.request()

    assert set(codes) == {200}
    assert (refused.status_code, refused.json()["message"]) == (
        429,
        "over 100 jobs of yours wait or run",
    )
    assert len(jobs.rows()) == LIMIT
    assert user.request(key="7").json()["created"] is False
    assert stranger.request().status_code == 200
    user.call("cancel_mine", id=user.jobs("id").json()[0]["id"])
    assert user.request().status_code == 200
    assert user.request().status_code == 429


def test_user_cancels_the_own_jobs_alone(jobs: Any, users: list[User]) -> None:
    user, stranger = users
    job_id = user.request().json()["id"]
    nobodys = jobs.queue().enqueue(NewJob(backend="sdxl", payload={})).id

    assert stranger.call("cancel_mine", id=job_id).json() == "gone"
    assert user.call("cancel_mine", id=nobodys).json() == "gone"
    assert user.call("cancel_mine", id=str(uuid4())).json() == "gone"
    take(jobs.queue())
    assert user.call("cancel_mine", id=job_id).json() == "requested"
    waiting = user.request().json()["id"]
    assert [user.call("cancel_mine", id=waiting).json() for _ in range(2)] == ["cancelled"] * 2


def test_token_is_nobodys_to_see(users: list[User]) -> None:
    for columns in ("lease_token", "whose", "*"):
        assert users[0].jobs(columns).status_code == 403


def test_user_sees_what_is_on_offer(jobs: Any, users: list[User]) -> None:
    jobs.queue().announce("w", [Offer(backend="flux", about={"model": "flux1"})])

    [row] = users[0]._client.get("/backends").json()

    assert (row["backend"], row["about"], row["worker"]) == ("flux", {"model": "flux1"}, "w")


INPUTS = "imagen-inputs"


def upload(jobs: Any, token: str, bucket: str, place: str, data: bytes = b"x") -> int:
    url = f"{jobs.gateway.url}/storage/v1/object/{bucket}/{place}"
    headers = {"apikey": token, "Authorization": f"Bearer {token}", "Content-Type": "image/png"}
    reply = httpx.post(url, content=data, headers=headers, timeout=60)
    return reply.status_code if reply.is_success else int(reply.json()["statusCode"])


def download(jobs: Any, token: str, bucket: str, place: str) -> bytes | None:
    url = f"{jobs.gateway.url}/storage/v1/object/{bucket}/{place}"
    reply = httpx.get(
        url, headers={"apikey": token, "Authorization": f"Bearer {token}"}, timeout=60
    )
    return reply.content if reply.is_success else None


def test_user_keeps_input_images_in_the_own_folder_alone(jobs: Any) -> None:
    owner, stranger, data = str(uuid4()), str(uuid4()), uuid4().bytes
    token = jobs.gateway.token("authenticated", owner)
    name = sha256(data).hexdigest()

    assert upload(jobs, token, INPUTS, f"{owner}/{name}", data) == 200
    for place in (
        f"{stranger}/{name}",
        f"shared/{name}",
        name,
        f"{owner}/cat.png",
        f"{owner}/{name}/{name}",
        f"{owner}/{name[:-1]}",
    ):
        assert upload(jobs, token, INPUTS, place, data) == 403, place
    assert upload(jobs, token, "imagen-generated", f"{owner}/{name}", data) == 403
    assert download(jobs, token, INPUTS, f"{owner}/{name}") == data
    other = jobs.gateway.token("authenticated", stranger)
    assert download(jobs, other, INPUTS, f"{owner}/{name}") is None
    assert jobs.queue().image(name, owner=owner) == data


# Anybody, and whoever has a token without a user

CALLS: dict[str, dict[str, Any]] = {
    "request_picture": REQUEST,
    "cancel_mine": {"id": str(uuid4())},
    "enqueue": {"id": str(uuid4()), **REQUEST},
    "claim": {"worker": "w", "token": str(uuid4()), "backends": {}, "lease": 1, "deadline": 1},
    "heartbeat": {"job": str(uuid4()), "token": str(uuid4()), "lease": 1},
    "complete": {"job": str(uuid4()), "token": str(uuid4()), "result": {}},
    "fail": {"job": str(uuid4()), "token": str(uuid4()), "failure": {}, "retry": False},
    "put_aside": {"job": str(uuid4()), "token": str(uuid4()), "failure": {}},
    "release": {"job": str(uuid4()), "token": str(uuid4())},
    "rescue": {},
    "announce": {"worker": "w", "offers": []},
    "prune": {},
    "cancel": {"job": str(uuid4())},
    "retry": {"job": str(uuid4())},
    "get_job": {"job": str(uuid4())},
    "list_jobs": {},
    "list_backends": {},
    "stats": {},
    "next_job": {"backends": ["flux"]},
    "job_limit": {},
}
MINE = {"request_picture", "cancel_mine"}
WORK = {
    *("claim", "heartbeat", "complete", "fail", "put_aside", "release", "rescue", "announce"),
    "prune",
}
MAY = {
    "anon": set(),
    "authenticated": MINE,
    "imagen_worker": WORK,
    "service_role": set(CALLS) - MINE - {"next_job", "job_limit"},
}


@pytest.mark.parametrize("role", MAY)
def test_role_calls_these_functions_and_no_others(jobs: Any, role: str) -> None:
    owner = uuid4() if role == "authenticated" else None
    with jobs.project.client(role, owner) as client:
        codes = {
            name: client.post(f"/rpc/{name}", json=arguments).status_code
            for name, arguments in CALLS.items()
        }

    assert {name for name, code in codes.items() if code == 200} == MAY[role]
    assert {code for name, code in codes.items() if name not in MAY[role]} <= {*FORBIDDEN}


def test_token_without_a_user_asks_for_nothing(jobs: Any) -> None:
    with jobs.project.client("authenticated") as client:
        reply = client.post("/rpc/request_picture", json=REQUEST)
        gone = client.post("/rpc/cancel_mine", json={"id": str(uuid4())})

    assert (reply.status_code, reply.json()["message"]) == (403, "nobody is signed in")
    assert gone.json() == "gone"


OWNERS = ("turns", "whose")
TABLES = ("jobs", "backends", "turns", "images", "schema_migrations")


@pytest.mark.parametrize("role", ["anon", "authenticated", "imagen_worker", "service_role"])
@pytest.mark.parametrize(("table", "column"), [("jobs", "id"), ("backends", "worker"), OWNERS])
def test_nobody_changes_the_tables_of_the_queue(
    jobs: Any, role: str, table: str, column: str
) -> None:
    row, where = {column: str(uuid4())}, {column: f"eq.{uuid4()}"}
    with jobs.project.client(role, uuid4()) as client:
        codes = {
            client.post(f"/{table}", json=row).status_code,
            client.patch(f"/{table}", json=row, params=where).status_code,
            client.delete(f"/{table}", params=where).status_code,
        }

    assert codes <= {*FORBIDDEN}


# Workers


def test_worker_reads_no_table_but_whose_a_picture_is(jobs: Any) -> None:
    with jobs.project.client("imagen_worker") as client:
        codes = {name: client.get(f"/{name}").status_code for name in TABLES}
        own = client.get("/images?select=id,owner_user_id,storage_path,sha256")
        prompts = client.get("/images?select=prompt")
    with jobs.project.client("imagen_worker", schema="mai") as client:
        usage = client.get("/imagen_usage")
        daily = client.get("/imagen_usage_daily")

    assert set(codes.values()) == {403}
    assert own.status_code == 200
    assert {prompts.status_code, usage.status_code, daily.status_code} == {403}


def test_worker_adds_rows_and_changes_none(jobs: Any) -> None:
    row = image(uuid4())
    path = {"id": f"eq.{row['id']}"}
    with jobs.project.client("imagen_worker") as client:
        ways = {"on_conflict": "id", "select": "id"}
        prefer = {"Prefer": "resolution=ignore-duplicates,return=representation"}
        added = [client.post("/images", json=[row], params=ways, headers=prefer) for _ in range(2)]
        tagged = client.post("/images", json=image(uuid4(), tags=["x"]))
        changed = client.patch("/images", json={"prompt": "x"}, params=path)
        removed = client.delete("/images", params=path)

    assert [one.json() for one in added] == [[{"id": row["id"]}], []]
    assert [tagged.status_code, changed.status_code, removed.status_code] == [403] * 3


def test_worker_reads_and_adds_objects_where_pictures_are(jobs: Any) -> None:
    token, owner, data = jobs.gateway.token("imagen_worker"), str(uuid4()), uuid4().bytes
    name = sha256(data).hexdigest()
    place = f"2026-05-08/{uuid4()}.png"
    service = jobs.gateway.service_key
    upload(jobs, service, INPUTS, f"{owner}/{name}", data)

    assert upload(jobs, token, "imagen-generated", place, data) == 200
    assert upload(jobs, token, "imagen-generated", place, b"other") == 409
    assert upload(jobs, token, INPUTS, f"{owner}/{'0' * 64}", data) == 403
    assert download(jobs, token, "imagen-generated", place) == data
    assert download(jobs, token, INPUTS, f"{owner}/{name}") == data
    headers = {"apikey": token, "Authorization": f"Bearer {token}"}
    url = f"{jobs.gateway.url}/storage/v1/object/imagen-generated/{place}"
    httpx.delete(url, headers=headers, timeout=60)
    assert download(jobs, token, "imagen-generated", place) == data


def test_worker_with_another_key_for_the_gateway_is_let_in(jobs: Any) -> None:
    anon = jobs.gateway.token("anon")
    queue = jobs.queue("imagen_worker", SUPABASE_ANON_KEY=anon)

    assert take(queue) is None

    [asked] = jobs.gateway.requests
    assert asked.headers["apikey"] == anon
    assert asked.headers["authorization"] != f"Bearer {anon}"
    assert queue.image("0" * 64, owner="") is None
    assert jobs.gateway.requests[-1].headers["apikey"] == anon


def test_service_key_goes_to_the_gateway_itself(jobs: Any) -> None:
    take(jobs.queue(SUPABASE_ANON_KEY=jobs.gateway.token("anon")))

    [asked] = jobs.gateway.requests
    assert asked.headers["authorization"] == f"Bearer {asked.headers['apikey']}"


def test_key_for_the_gateway_that_no_header_takes_is_told(jobs: Any) -> None:
    queue = jobs.queue("imagen_worker", SUPABASE_ANON_KEY="a\nb")

    with pytest.raises(CredentialsError, match=r"the key in \$SUPABASE_ANON_KEY has a character"):
        take(queue)


def test_worker_is_told_what_its_key_does_not_open(jobs: Any) -> None:
    with pytest.raises(CredentialsError, match="permission denied for function"):
        jobs.queue("imagen_worker").enqueue(NewJob(backend="flux", payload={}))


def test_worker_makes_a_job_of_a_user(jobs: Any, users: list[User]) -> None:
    job_id = users[0].request().json()["id"]
    worker, token = jobs.queue("imagen_worker"), str(uuid4())
    job = worker.claim("w", token, backends={"flux": "gpu"}, lease=60, deadline=600)

    assert (job.id, job.owner) == (job_id, users[0].owner)
    assert worker.heartbeat(job_id, token, lease=60, checkpoint={"a": 1}) == "ok"
    failure = Failure(code="rejected", message="no", hint="try another prompt")
    assert worker.fail(job_id, token, failure, retry=False) == "failed"

    [row] = users[0].jobs("state,errors").json()
    assert row["state"] == "failed"
    assert row["errors"][0]["failure"]["hint"] == "try another prompt"
