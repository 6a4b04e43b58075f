"""Requests that are passed on to another server, and its replies."""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from imagen_core.testing import Reply

if TYPE_CHECKING:
    from email.message import Message

    from imagen_core.testing import Received

_OWN = {"host", "connection", "content-length", "transfer-encoding", "keep-alive", "apikey"}
"""What each of the two connections has of its own, and what is meant for the gateway."""
_SECONDS = 60.0


def forward(received: Received, url: str, path: str) -> Reply:
    """Asks the server at that URL for this path, and gives its reply as it is."""
    host = urlsplit(url).netloc
    headers = {name: value for name, value in received.headers.items() if name not in _OWN}
    connection = HTTPConnection(host, timeout=_SECONDS)
    try:
        connection.putrequest(received.method, path, skip_accept_encoding=True)
        for name, value in {**headers, "content-length": str(len(received.body))}.items():
            connection.putheader(name, value)
        connection.endheaders(received.body)
        response = connection.getresponse()
        body = response.read()
    except (OSError, HTTPException):
        return Reply(502, b"<html><body>502 Bad Gateway</body></html>", "text/html")
    finally:
        connection.close()
    return Reply(response.status, body, headers=_kept(response.headers))


def _kept(headers: Message) -> dict[str, str]:
    """PostgREST sends some headers twice, which is the same as once with both values."""
    names = {name.lower() for name in headers} - _OWN
    return {name: ", ".join(headers.get_all(name, [])) for name in sorted(names)}
