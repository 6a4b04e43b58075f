"""The server that fake servers are built on."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import httpx
import pytest

from imagen_core.testing import Received, Reply, ServerThreads, WebServer, reply_json

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from imagen_core.testing.web import Answer

    Serve = Callable[[Callable[[Received], Answer]], httpx.Client]


@pytest.fixture
def threads() -> ServerThreads:
    return ServerThreads("fake-teapot")


@pytest.fixture
def serve(threads: ServerThreads) -> Iterator[Serve]:
    """Serves what a function answers, and gives a client for it."""
    opened: list[tuple[WebServer, httpx.Client]] = []

    def start(answer: Callable[[Received], Answer]) -> httpx.Client:
        server = WebServer(answer, threads)
        client = httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}", timeout=60)
        opened.append((server, client))
        return client

    yield start
    for server, client in opened:
        client.close()
        server.close()


def test_request_comes_as_it_was_sent(serve: Serve) -> None:
    client = serve(lambda received: reply_json([received.query, received.json()], 201))

    reply = client.post("/pour?cups=2", json={"tea": "green"})

    assert (reply.status_code, reply.json()) == (201, [{"cups": "2"}, {"tea": "green"}])
    assert reply.headers["content-type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize("body", [b"", b"[]", b"tea"])
def test_body_that_is_no_json_object_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (each has its own words)
        Received("POST", "/", {}, body).json()


def test_connection_stays_for_the_next_request(serve: Serve) -> None:
    served: list[str] = []

    def answer(_: Received) -> Answer:
        served.append(threading.current_thread().name)
        return Reply(body=str(threading.get_ident()).encode())

    client = serve(answer)

    assert client.get("/").text == client.get("/").text
    assert served == ["fake-teapot-connection"] * 2


def test_answer_of_nothing_closes_the_connection(serve: Serve) -> None:
    client = serve(lambda _: None)

    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/")


def test_answer_may_take_the_connection_over(serve: Serve) -> None:
    def take_over(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.0 299 By hand\r\n\r\n")

    assert serve(lambda _: take_over).get("/").status_code == 299


def test_body_can_be_cut_short(serve: Serve) -> None:
    client = serve(lambda _: Reply(body=b"half", missing=4))

    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/")


def test_exception_of_an_answer_is_kept_for_the_test(serve: Serve, threads: ServerThreads) -> None:
    def answer(_: Received) -> Answer:
        raise LookupError("no pot")

    with pytest.raises(httpx.RemoteProtocolError):
        serve(answer).get("/")

    with pytest.raises(ExceptionGroup, match="in the teapot"):
        threads.report("in the teapot")
