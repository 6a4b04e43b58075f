"""What a fake server is made of: requests in, replies out, connections that stay, and threads."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

HOST = "127.0.0.1"


class Received(NamedTuple):
    """A request as it came; the names of its headers are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def query(self) -> dict[str, str]:
        """The query of the path."""
        return dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; raises ValueError if it is none."""
        body = json.loads(self.body)
        if not isinstance(body, dict):
            raise ValueError("no JSON object")
        return body


@dataclass
class Reply:
    """A response; `missing` bytes of its body are announced but do not come."""

    status: int = 200
    body: bytes = b""
    content_type: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    missing: int = 0

    def head(self) -> bytes:
        """The status line and the headers."""
        fields = {"Content-Length": str(len(self.body) + self.missing), **self.headers}
        if self.content_type:
            fields["Content-Type"] = self.content_type
        if self.missing:
            fields["Connection"] = "close"
        lines = [f"HTTP/1.1 {self.status} {phrase(self.status)}"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        return "\r\n".join([*lines, "", ""]).encode("utf-8")


Answer = Reply | Callable[[socket.socket], None] | None
"""What a request gets. A function takes the connection over; None closes it without a word."""


def reply_json(
    data: Any, status: int = 200, *, content_type: str = "application/json; charset=utf-8"
) -> Reply:
    """Makes a reply of JSON data."""
    return Reply(status, json.dumps(data).encode(), content_type)


class ServerThreads:
    """The threads of a fake server, whose names begin alike; `errors` has what went wrong there."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.errors: list[BaseException] = []

    def start(self, work: Callable[..., None], *arguments: Any, name: str) -> threading.Thread:
        """Starts a thread."""

        def guarded() -> None:
            try:
                work(*arguments)
            except Exception as error:  # noqa: BLE001  (whatever it is, the test must hear of it)
                self.errors.append(error)

        thread = threading.Thread(target=guarded, name=f"{self.name}-{name}", daemon=True)
        thread.start()
        return thread

    def report(self, title: str) -> None:
        """Raises what went wrong, all of it."""
        if errors := [error for error in self.errors if isinstance(error, Exception)]:
            raise ExceptionGroup(title, errors)


class WebServer(ThreadingHTTPServer):
    """A listener with its connections, each served by a thread that `close` waits for.

    It listens at once. `answer` is called in the thread of the connection, and gives a Reply, or a
    function that takes the connection over, or None, which closes it without a word. `tls` names
    the files of a certificate and of its key.
    """

    request_queue_size = 128
    daemon_threads = True

    def __init__(
        self,
        answer: Callable[[Received], Answer],
        threads: ServerThreads,
        *,
        port: int = 0,
        tls: tuple[str, str] | None = None,
    ) -> None:
        self.answer = answer
        self.threads = threads
        self._tls = _tls_context(tls) if tls else None
        self._connections: set[socket.socket] = set()
        self._serving: list[threading.Thread] = []
        self._guard = threading.Lock()
        self._closing = False
        super().__init__((HOST, port), _Handler)
        self._listener = threads.start(self._listen, name="listener")

    def close(self) -> None:
        """Stops listening, ends all connections, and waits for their threads."""
        self._closing = True
        with contextlib.suppress(OSError):
            socket.create_connection((HOST, self.server_port), timeout=5).close()
        self._listener.join()
        self.server_close()
        self.cut()
        for thread in self._serving:
            thread.join()

    def cut(self) -> None:
        """Ends all connections."""
        with self._guard:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def server_bind(self) -> None:
        """Binds without asking for the name of this machine, which can take long."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accepts a connection; the handshake of TLS is left to its thread."""
        connection, address = super().get_request()
        if self._tls is not None:
            connection = self._tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Refuses the connection that only wakes the listener."""
        del request, client_address
        return not self._closing

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serves a connection in a thread of its own."""
        with self._guard:
            self._connections.add(request)
        self._serving = [thread for thread in self._serving if thread.is_alive()]
        work = self.process_request_thread
        self._serving.append(self.threads.start(work, request, client_address, name="connection"))

    def shutdown_request(self, request: Any) -> None:
        """Ends a connection."""
        with self._guard:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keeps an exception of a thread for the test, unless a client merely went away."""
        del request, client_address
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            self.threads.errors.append(error)

    def _listen(self) -> None:
        while not self._closing:
            self.handle_request()


class _Handler(BaseHTTPRequestHandler):
    """Reads the requests of a connection and writes what they get."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: WebServer

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def serve(self) -> None:
        """Serves a request of any method."""
        answer = self.server.answer(self._receive())
        if isinstance(answer, Reply):
            self._write(answer)
            return
        self.close_connection = True
        if answer is not None:
            # Else the socket would stay open until the file is closed.
            self.rfile.close()
            answer(self.connection)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = serve

    def _receive(self) -> Received:
        headers = {name.lower(): value for name, value in self.headers.items()}
        if headers.get("transfer-encoding") == "chunked":
            body = self._read_chunks()
        else:
            length = int(headers.get("content-length", 0))
            body = self.rfile.read(length)
            if len(body) < length:
                raise ConnectionError("the client went away within its request")
        return Received(self.command, self.path, headers, body)

    def _read_chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline() or b"0", 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _write(self, reply: Reply) -> None:
        body = b"" if self.command == "HEAD" or reply.status == 304 else reply.body
        self.wfile.write(reply.head() + body)
        self.close_connection = self.close_connection or bool(reply.missing)


def phrase(status: int) -> str:
    """Gives the words that go with a status; none for one that nobody knows."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _tls_context(files: tuple[str, str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    return context
