"""What provokes each message about a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from imagen_core import (
    ImagenError,
    http,
)
from imagen_core.testing import FailingServer
from provoking import Told

if TYPE_CHECKING:
    from collections.abc import Callable


def ask(url: str, **options: Any) -> httpx.Response:
    with http.open_client(**options) as client:
        return http.check(http.call(client, "GET", url, who="the server"), who="the server")


def ask_twice(url: str) -> httpx.Response:
    """Ask while the only connection of the client is in use."""
    limits = httpx.Limits(max_connections=1)
    timeout = httpx.Timeout(60, pool=0.1)
    with httpx.Client(limits=limits, timeout=timeout) as client, client.stream("GET", url):
        return http.call(client, "GET", url, who="the server")


def answered(status: int) -> Callable[[FailingServer], httpx.Response]:
    def case(server: FailingServer) -> httpx.Response:
        server.reply(status)
        return ask(server.url)

    return case


def garbled(server: FailingServer) -> httpx.Response:
    server.reply(200, b"no gzip", {"Content-Encoding": "gzip"})
    return ask(server.url)


def broken_off(server: FailingServer) -> httpx.Response:
    server.drop()
    return ask(server.url)


def silent(server: FailingServer) -> httpx.Response:
    server.hang()
    return ask(server.url, timeout=httpx.Timeout(60, read=0.1))


HTTP_CASES: dict[str, Callable[[FailingServer], httpx.Response]] = {
    "the address of … is no http(s) address": lambda _: ask("ftp://127.0.0.1/"),
    "the request to … can't be sent: a header or credential has a bad character": lambda server: (
        ask(server.url, headers={"Authorization": "Bearer a\nb"})
    ),
    "the request to … can't be sent: a text is not valid Unicode": lambda server: ask(
        server.url, params={"prompt": "c\udc80at"}
    ),
    "… answered 401 …": answered(401),
    "… answered 422 …": answered(422),
    "… answered 503 …": answered(503),
    "… answered with something that can't be read": garbled,
    "… did not accept a connection in time": lambda server: ask_twice(server.url),
    "… did not answer in time": silent,
    "… is unreachable: …": lambda server: ask(server.refusing_url),
    "the connection to … broke off": broken_off,
}


def ask_server(case: Callable[[FailingServer], object]) -> Told:
    with FailingServer() as server, pytest.raises(ImagenError) as caught:
        case(server)
    error = caught.value
    return Told(error.exit_code, {error.code}, [f"imagen: error: {error}"])
