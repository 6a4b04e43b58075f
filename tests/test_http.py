"""http.py against a real server that fails on demand: what is sent again, and what never is."""

from __future__ import annotations

import threading
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from imagen_core import (
    Progress,
    RejectedError,
    UnavailableError,
    UsageError,
    __version__,
    http,
)
from imagen_core.http import OutcomeUnknown, Retry
from imagen_core.testing import FailingServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECRET = "hf_0123456789abcdef"
QUICK: dict[str, Any] = {"tries": 3, "first_wait": 0.001}


@pytest.fixture
def server() -> Iterator[FailingServer]:
    with FailingServer() as server:
        yield server


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with http.open_client() as client:
        yield client


class Post:
    """Sends a POST to the server, and returns the reply."""

    def __init__(self, client: httpx.Client, server: FailingServer) -> None:
        self.client = client
        self.server = server

    def __call__(self, url: str = "", **options: Any) -> httpx.Response:
        return http.call(self.client, "POST", url or self.server.url, who="the oven", **options)


@pytest.fixture
def post(client: httpx.Client, server: FailingServer) -> Post:
    return Post(client, server)


def test_client_says_who_it_is(server: FailingServer) -> None:
    with http.open_client(user_agent="imagen-oven/2", headers={"X-Id": "7"}) as client:
        http.call(client, "GET", server.url, who="the oven")

    sent = server.requests[0].headers
    assert (sent["user-agent"], sent["x-id"]) == (f"imagen/{__version__} imagen-oven/2", "7")


def test_client_without_more_to_say_names_the_version_alone(client: httpx.Client) -> None:
    assert client.headers["User-Agent"] == f"imagen/{__version__}"
    assert client.timeout == http.TIMEOUT


def test_redirects_are_not_followed(post: Post, server: FailingServer) -> None:
    server.reply(302, headers={"Location": f"{server.url}/elsewhere"})

    answer = post()

    assert (answer.status_code, len(server.requests)) == (302, 1)
    with pytest.raises(RejectedError, match="the oven answered 302 Found"):
        http.check(answer, who="the oven")


def test_body_and_options_arrive(post: Post, server: FailingServer) -> None:
    server.reply(201, b'{"id": 1}')

    answer = post(json={"prompt": "a cat"}, params={"wait": "1"})

    assert answer.json() == {"id": 1}
    (received,) = server.requests
    assert (received.path, received.body) == ("/?wait=1", b'{"prompt":"a cat"}')


NOT_SENT = [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError]


@pytest.mark.parametrize("kind", NOT_SENT)
def test_request_that_was_not_sent_is_tried_again(kind: type[httpx.TransportError]) -> None:
    tries = []

    def handle(request: httpx.Request) -> httpx.Response:
        tries.append(request.method)
        if len(tries) < 3:
            raise kind("no")
        return httpx.Response(201)

    with http.open_client(transport=httpx.MockTransport(handle)) as client:
        answer = http.call(client, "POST", "http://x", who="the oven", retry=Retry(**QUICK))

    assert (answer.status_code, tries) == (201, ["POST"] * 3)


def test_server_that_stays_away_is_unavailable(server: FailingServer, client: httpx.Client) -> None:
    told: list[str] = []
    sending = http.send(
        client, "POST", server.refusing_url, who="the oven", retry=Retry(**QUICK), hint="start it"
    )

    with pytest.raises(UnavailableError) as caught:
        told.extend(event.message for event in sending)

    assert type(caught.value) is UnavailableError
    assert str(caught.value) == "the oven is unreachable: Connection refused"
    assert caught.value.hint == "start it"
    assert set(told) - {""} == {"trying the oven again in 0 s"}


def test_without_a_retry_nothing_is_sent_again(post: Post, server: FailingServer) -> None:
    server.reply(503)

    assert post().status_code == 503
    assert len(server.requests) == 1


def test_named_status_is_sent_again_until_it_succeeds(post: Post, server: FailingServer) -> None:
    server.reply(503)
    server.reply(429)
    server.reply(200, b"done")

    answer = post(retry=Retry(statuses=http.TRANSIENT, **QUICK))

    assert (answer.content, len(server.requests)) == (b"done", 3)


def test_last_reply_comes_back_whatever_it_says(post: Post, server: FailingServer) -> None:
    server.reply(503, b"busy")

    answer = post(retry=Retry(statuses=frozenset({503}), **QUICK))

    assert (answer.status_code, answer.content, len(server.requests)) == (503, b"busy", 3)


def test_other_status_is_not_sent_again(post: Post, server: FailingServer) -> None:
    server.reply(500)

    assert post(retry=Retry(statuses=frozenset({503}), **QUICK)).status_code == 500
    assert len(server.requests) == 1


LOST: dict[str, Callable[[FailingServer], None]] = {
    "dropped": FailingServer.drop,
    "reset": FailingServer.reset,
    "truncated": FailingServer.truncate,
    "garbled": lambda server: server.raw(b"no HTTP\r\n\r\n"),
}


@pytest.mark.parametrize("act", LOST.values(), ids=LOST)
def test_lost_reply_is_never_sent_again(
    act: Callable[[FailingServer], None], post: Post, server: FailingServer
) -> None:
    act(server)
    before = datetime.now(UTC)

    with pytest.raises(OutcomeUnknown) as caught:
        post(retry=Retry(statuses=http.TRANSIENT, **QUICK), hint="look at the bill")

    assert len(server.requests) == 1
    assert str(caught.value) == "the connection to the oven broke off"
    assert caught.value.hint == "look at the bill"
    assert before <= caught.value.sent_at <= datetime.now(UTC)


@pytest.mark.parametrize("act", LOST.values(), ids=LOST)
def test_lost_reply_is_sent_again_where_that_does_no_harm(
    act: Callable[[FailingServer], None], post: Post, server: FailingServer
) -> None:
    act(server)
    server.reply(200, b"done")

    assert post(retry=Retry(lost=True, **QUICK)).content == b"done"
    assert len(server.requests) == 2


def test_reply_that_is_lost_to_the_end_is_unknown(post: Post, server: FailingServer) -> None:
    server.drop()

    with pytest.raises(OutcomeUnknown):
        post(retry=Retry(lost=True, **QUICK))

    assert len(server.requests) == 3


def test_silent_server_leaves_the_outcome_unknown(post: Post, server: FailingServer) -> None:
    server.hang()

    with pytest.raises(OutcomeUnknown, match="the oven did not answer in time"):
        post(retry=Retry(**QUICK), timeout=httpx.Timeout(60, read=0.01))


def test_reply_that_can_not_be_decoded_is_a_rejection(post: Post, server: FailingServer) -> None:
    server.reply(200, b"no gzip", {"Content-Encoding": "gzip"})

    with pytest.raises(RejectedError, match="the oven answered with something that can't be read"):
        post(retry=Retry(lost=True, **QUICK))

    assert len(server.requests) == 1


def test_wait_that_the_server_asks_for_is_kept(server: FailingServer, client: httpx.Client) -> None:
    server.reply(429, headers={"Retry-After": "30"})
    retry = Retry(statuses=frozenset({429}), **QUICK)
    sending = http.send(client, "GET", server.url, who="the oven", retry=retry)

    waiting = next(event for event in sending if event.message)
    sending.close()

    assert waiting == Progress(message="trying the oven again in 30 s")
    assert len(server.requests) == 1


def test_wait_of_nothing_is_no_wait(post: Post, server: FailingServer) -> None:
    server.reply(429, headers={"Retry-After": "0"})
    server.reply(200)

    retry = Retry(tries=2, statuses=frozenset({429}), first_wait=3600, longest_wait=3600)

    assert post(retry=retry).status_code == 200


def test_wait_that_is_too_long_is_not_waited_for(post: Post, server: FailingServer) -> None:
    server.reply(429, headers={"Retry-After": "61"})

    assert post(retry=Retry(statuses=frozenset({429}), **QUICK)).status_code == 429
    assert len(server.requests) == 1


def test_waits_grow_up_to_the_longest() -> None:
    retry = Retry(first_wait=1.0, longest_wait=5.0)

    waits = [http._backoff(retry, number) for number in (1, 2, 3, 4)]

    assert 1.0 <= waits[0] <= 1.25
    assert 2.0 <= waits[1] <= 2.5
    assert waits[2:] == [pytest.approx(4.5, abs=0.5), 5.0]


def test_pause_says_why_and_can_be_closed_at_once() -> None:
    waiting = http.pause(3600, "the oven is cold")

    assert next(waiting) == Progress(message="the oven is cold")
    waiting.close()
    assert list(waiting) == []


def test_pause_ends() -> None:
    assert list(http.pause(0)) == []
    assert list(http.pause(0.001, "a moment")) == [Progress(message="a moment")]


def test_work_in_a_thread_comes_back_with_its_result() -> None:
    assert http.finish(http.in_thread(lambda: 42)) == 42


def test_work_in_a_thread_comes_back_with_its_error() -> None:
    with pytest.raises(ZeroDivisionError):
        http.finish(http.in_thread(lambda: 1 // 0))


def test_work_in_a_thread_yields_until_it_is_done() -> None:
    over = threading.Event()
    working = http.in_thread(over.wait)

    assert next(working) == Progress()
    over.set()
    assert http.finish(working) is True


def test_result_can_be_asked_for_again_by_whoever_gave_up_waiting() -> None:
    over = threading.Event()
    working = http.Background(over.wait)
    waiting = working.result()
    next(waiting)
    waiting.close()

    assert not working.wait(0)
    over.set()
    assert working.wait(60)
    assert http.finish(working.result()) is True


def test_request_that_was_begun_has_its_reply_later(
    server: FailingServer, client: httpx.Client
) -> None:
    server.reply(201, b"made")

    sending = http.begin(client, "POST", server.url, who="the oven", content=b"dough")

    assert sending.wait(60)
    assert http.finish(sending.result()).content == b"made"
    assert [(r.method, r.body) for r in server.requests] == [("POST", b"dough")]


def test_request_that_was_begun_is_sent_once(server: FailingServer, client: httpx.Client) -> None:
    server.drop()

    with pytest.raises(http.OutcomeUnknown, match="the connection to the oven broke off"):
        http.finish(http.begin(client, "POST", server.url, who="the oven").result())
    assert len(server.requests) == 1


def test_call_that_hangs_can_be_closed(server: FailingServer, client: httpx.Client) -> None:
    server.hang()
    sending = http.send(client, "GET", server.url, who="the oven")

    assert next(sending) == Progress()
    while not server.requests:
        next(sending)
    sending.close()
    server.release()
    # Closing the client under a request that is being read would leave its thread to its time-out.
    for thread in threading.enumerate():
        if thread.name == http.THREAD_NAME:
            thread.join(60)


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1/", "127.0.0.1:8188", "http://[::1", "http://a..b/", "http:///"]
)
def test_bad_address_is_a_usage_error(url: str, post: Post) -> None:
    with pytest.raises(UsageError) as caught:
        post(url, hint="see backends.oven.url", retry=Retry(**QUICK))

    assert str(caught.value) == "the address of the oven is no http(s) address"
    assert caught.value.hint == "see backends.oven.url"


@pytest.mark.parametrize("end", ["\n", "\0", "é"])
def test_bad_credential_is_a_usage_error_that_keeps_it_secret(end: str, post: Post) -> None:
    with pytest.raises(UsageError) as caught:
        post(headers={"Authorization": f"Bearer {SECRET}{end}"})

    assert str(caught.value) == (
        "the request to the oven can't be sent: a header or credential has a bad character"
    )
    assert caught.value.hint == "look for a newline or a space in the token"
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_client_refuses_a_bad_credential() -> None:
    with pytest.raises(UsageError, match="a header or credential has a bad character") as caught:
        http.open_client(headers={"Authorization": f"Bearer {SECRET}é"})

    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_text_that_is_no_unicode_is_a_usage_error(post: Post) -> None:
    with pytest.raises(UsageError, match="a text is not valid Unicode"):
        post(json={"prompt": "\ud800"})
