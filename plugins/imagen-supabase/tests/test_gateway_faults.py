"""How the gateway fails, each time in the way that was asked for."""

from __future__ import annotations

import threading
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from imagen_supabase.testing import Gateway, faults
from supabase_servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

OBJECT = "/storage/v1/object/imagen-generated/a/cat.png"
REST = "/rest/v1/images"


@pytest.fixture
def server() -> Iterator[Gateway]:
    with Gateway() as found:
        yield found


@pytest.fixture
def web(server: Gateway) -> Iterator[httpx.Client]:
    with web_of(server) as found:
        yield found


def web_of(server: Gateway) -> httpx.Client:
    """An HTTP client with the service key."""
    key = server.service_key
    headers = {"apikey": key, "authorization": f"Bearer {key}", "content-type": "image/png"}
    # Certificates take long to load, and there are none here.
    return httpx.Client(base_url=server.url, headers=headers, verify=False, timeout=60)


def upload(web: httpx.Client, **options: Any) -> httpx.Response:
    return web.post(OBJECT, content=b"cat", **options)


# Which requests fail


def test_fault_meets_the_next_request_alone(server: Gateway, web: httpx.Client) -> None:
    server.fail(faults.page(502))

    assert [upload(web).status_code for _ in range(2)] == [502, 200]


def test_fault_meets_as_many_requests_as_it_is_told(server: Gateway, web: httpx.Client) -> None:
    server.fail(faults.page(502), times=2)

    assert [upload(web).status_code for _ in range(3)] == [502, 502, 200]


def test_fault_waits_for_its_method_and_its_path(server: Gateway, web: httpx.Client) -> None:
    server.fail(faults.page(504), method="GET", path="/storage/v1/object/[^/]+/a/")

    seen = [upload(web), web.get("/storage/v1/status"), web.get(OBJECT), web.get(OBJECT)]

    assert [reply.status_code for reply in seen] == [200, 200, 504, 200]


def test_faults_happen_in_their_order(server: Gateway, web: httpx.Client) -> None:
    server.fail(faults.page(502))
    server.fail(faults.page(504))

    assert [upload(web).status_code for _ in range(3)] == [502, 504, 200]


def test_requests_are_noted_whatever_becomes_of_them(server: Gateway, web: httpx.Client) -> None:
    server.fail(faults.DROPPED)
    with pytest.raises(httpx.RemoteProtocolError):
        upload(web)
    web.get(f"{REST}?select=id", headers={"accept-profile": "imagen"})

    [first, second] = server.requests
    assert (first.method, first.path, first.body) == ("POST", OBJECT, b"cat")
    assert (second.method, second.query) == ("GET", {"select": "id"})
    assert second.headers["accept-profile"] == "imagen"


# Connections


def test_dropped_request_has_no_effect(server: Gateway, web: httpx.Client) -> None:
    server.fail(faults.DROPPED)

    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        upload(web)

    assert server.objects == {}


def test_request_whose_reply_is_lost_has_its_effect(server: Gateway, web: httpx.Client) -> None:
    server.fail(faults.REPLY_LOST)

    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        upload(web)

    assert server.objects == {"a/cat.png": b"cat"}
    assert upload(web).json()["code"] == "KeyAlreadyExists"


@pytest.mark.parametrize(
    ("fault", "objects"),
    [(faults.HANGING, {}), (faults.ACTED_AND_HANGING, {"a/cat.png": b"cat"})],
    ids=str,
)
def test_client_times_out_on_a_request_that_hangs(
    fault: faults.Fault, objects: dict[str, bytes]
) -> None:
    with Gateway() as server, web_of(server) as web:
        server.fail(fault)
        with pytest.raises(httpx.ReadTimeout):
            upload(web, timeout=0.1)
        # What was not read by then never will be.
        wait_until(lambda: server.requests and server.objects == objects)

    # Only now has it surely done all it does.
    assert server.objects == objects


def test_server_lets_go_of_a_request_whose_client_is_gone(server: Gateway) -> None:
    server.fail(faults.HANGING)
    client = HTTPConnection(server.url.removeprefix("http://"))
    client.request("GET", "/storage/v1/status")
    server.wait_hanging()

    client.close()

    server.wait_hanging(0)


@pytest.mark.parametrize("fault", [faults.HANGING, faults.ACTED_AND_HANGING], ids=str)
def test_hanging_request_is_answered_when_it_is_released(
    server: Gateway, web: httpx.Client, fault: faults.Fault
) -> None:
    server.fail(fault)
    replies: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: replies.append(upload(web)))

    asking.start()
    server.wait_hanging()
    assert replies == []
    server.release()
    asking.join()

    assert [reply.status_code for reply in replies] == [200]
    assert web.get(OBJECT).content == b"cat"


def test_request_hangs_again_after_a_release(server: Gateway, web: httpx.Client) -> None:
    server.release()
    server.fail(faults.HANGING)

    with pytest.raises(httpx.ReadTimeout):
        upload(web, timeout=0.1)


def test_closing_ends_what_hangs() -> None:
    raised: list[Exception] = []

    def ask() -> None:
        try:
            httpx.get(f"{gateway.url}/storage/v1/status", verify=False, timeout=60)
        except httpx.RemoteProtocolError as error:
            raised.append(error)

    with Gateway() as gateway:
        gateway.fail(faults.HANGING)
        asking = threading.Thread(target=ask)
        asking.start()
        gateway.wait_hanging()
    asking.join()

    assert len(raised) == 1


def test_waiting_for_what_does_not_hang_ends(server: Gateway) -> None:
    with pytest.raises(TimeoutError, match="0 requests hang, not 1"):
        server.wait_hanging(seconds=0)


# Replies


def test_page_comes_with_any_status(server: Gateway, web: httpx.Client) -> None:
    for status in (200, 413, 502, 504):
        server.fail(faults.page(status, "<html>captive portal</html>"))
        reply = upload(web)

        assert (reply.status_code, reply.text) == (status, "<html>captive portal</html>")
        assert reply.headers["content-type"] == "text/html"

    assert server.objects == {}


def test_json_comes_with_any_status(server: Gateway, web: httpx.Client) -> None:
    server.fail(faults.say(418, {"message": "x"}, {"Retry-After": "7"}))

    reply = upload(web)

    assert (reply.status_code, reply.json()) == (418, {"message": "x"})
    assert reply.headers["retry-after"] == "7"


def test_failure_may_be_said_of_what_was_done(server: Gateway, web: httpx.Client) -> None:
    server.fail(faults.say(500, {"message": "x"}, acts=True))

    assert upload(web).status_code == 500
    assert server.objects == {"a/cat.png": b"cat"}


KNOWN = {
    faults.NO_API_KEY: ((401, None), (401, None)),
    faults.BAD_API_KEY: ((401, None), (401, None)),
    faults.EXPIRED_KEY: ((401, "PGRST301"), (400, "AccessDenied")),
    faults.FORBIDDEN: ((403, "42501"), (400, "AccessDenied")),
    faults.BUCKET_FULL: ((500, "53100"), (400, "EntityTooLarge")),
    faults.INTERNAL_ERROR: ((500, "57014"), (500, "InternalError")),
    faults.DATABASE_DOWN: ((503, "PGRST000"), (500, "InternalError")),
    faults.UNAVAILABLE: ((503, None), (503, None)),
    faults.RATE_LIMITED: ((429, None), (429, None)),
}


@pytest.mark.parametrize("name", [fault.name for fault in KNOWN])
def test_each_service_fails_in_its_own_words(server: Gateway, web: httpx.Client, name: str) -> None:
    fault = next(one for one in KNOWN if one.name == name)
    server.fail(fault, times=2)

    replies = web.get(REST), upload(web)

    seen = tuple((reply.status_code, reply.json().get("code")) for reply in replies)
    assert seen == KNOWN[fault]
    assert server.objects == {}


def test_too_large_a_body_is_refused_with_a_page(server: Gateway, web: httpx.Client) -> None:
    server.fail(faults.BODY_TOO_LARGE)

    reply = upload(web)

    assert (reply.status_code, reply.headers["content-type"]) == (413, "text/html")


def test_limited_rate_says_when_to_come_back(server: Gateway, web: httpx.Client) -> None:
    server.fail(faults.rate_limited(3))

    assert upload(web).headers["retry-after"] == "3"


def test_reply_of_a_fault_is_the_same_each_time(server: Gateway, web: httpx.Client) -> None:
    server.fail(faults.DATABASE_DOWN, times=2)

    first, second = web.get(REST), web.get(REST)

    assert (first.headers, first.content) == (second.headers, second.content)
    assert first.headers["retry-after"] == "0"
