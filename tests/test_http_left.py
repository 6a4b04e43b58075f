"""Connections of clients that are closed while another thread is in the midst of a call."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from imagen_core import http
from imagen_core.testing import Reply, ServerThreads, WebServer
from meanwhile import ClosedMeanwhile

if TYPE_CHECKING:
    pass


def test_connection_that_was_being_made_is_ended_after_its_call() -> None:
    threads = ServerThreads("keeps-alive")
    server = WebServer(lambda _: Reply(200, b"{}"), threads)
    with closing(server), http.open_client() as client:
        backend = ClosedMeanwhile(client)
        transport: Any = client._transport
        transport._pool._network_backend = backend

        response = http.call(
            client, "GET", f"http://127.0.0.1:{server.server_port}", who="the server"
        )

        assert response.content == b"{}"
        [stream] = backend.streams
        assert stream.get_extra_info("socket").fileno() == -1
