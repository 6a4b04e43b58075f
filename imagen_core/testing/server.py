"""A server on this machine that does to each request what a test tells it to."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from functools import partial
from http.client import parse_headers
from typing import TYPE_CHECKING, BinaryIO

from imagen_core.testing.web import HOST, Received, phrase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

THREAD_NAME = "fake-server"
"""How the names of its threads begin."""


class FailingServer:
    """An HTTP server for tests: each method says what happens to the next request.

    The last thing said holds for all further requests; a server that was told nothing replies
    200 with an empty body. Each connection takes one request. Leaving the `with` block ends it,
    and no thread of it is left.
    """

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self._acts: list[Callable[[socket.socket], object]] = []
        self._listener = socket.create_server((HOST, 0))
        self._deaf = socket.socket()
        self._deaf.bind((HOST, 0))
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._closing = threading.Event()

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"http://{HOST}:{self._listener.getsockname()[1]}"

    @property
    def refusing_url(self) -> str:
        """An address at which nobody listens, as long as this server is there."""
        return f"http://{HOST}:{self._deaf.getsockname()[1]}"

    def reply(
        self, status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer properly."""
        self.raw(_head(status, len(body), headers) + body)

    def raw(self, data: bytes) -> None:
        """Answer with these very bytes, and close the connection."""
        self._acts.append(lambda connection: connection.sendall(data))

    def drop(self) -> None:
        """Read the request, then close the connection without a word."""
        self.raw(b"")

    def truncate(self, body: bytes = b"half", *, missing: int = 4) -> None:
        """Announce a body that is longer than what is then sent."""
        self.raw(_head(200, len(body) + missing) + body)

    def reset(self) -> None:
        """Read the request, then tear the connection down (RST)."""
        self._acts.append(_reset)

    def hang(self) -> None:
        """Read the request and say nothing until `release()`; then close the connection."""
        self._acts.append(lambda _: self._released.wait())

    def slow(self, body: bytes = b"", *, pause: float = 0.1) -> None:
        """Answer, but with a pause before each byte of the body."""

        def trickle(connection: socket.socket) -> None:
            connection.sendall(_head(200, len(body)))
            for byte in body:
                self._closing.wait(pause)
                connection.sendall(bytes([byte]))

        self._acts.append(trickle)

    def release(self) -> None:
        """Let go of the requests that hang, and of those that would."""
        self._released.set()

    def __enter__(self) -> Self:
        self._start(self._listen)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        self.release()
        # Closing a socket does not wake the thread that waits on it; a caller does.
        socket.create_connection(self._listener.getsockname()).close()
        self._threads[0].join()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()
        self._deaf.close()

    def _start(self, work: Callable[[], None]) -> None:
        name = f"{THREAD_NAME}-{len(self._threads)}"
        self._threads.append(threading.Thread(target=work, name=name, daemon=True))
        self._threads[-1].start()

    def _listen(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._closing.is_set():
                connection.close()
                return
            with self._lock:
                self._open.add(connection)
            self._start(partial(self._serve, connection))

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            with connection.makefile("rb") as file:
                received = _read(file)
            if received is not None:
                self._next_act(received)(connection)
        with self._lock:
            self._open.discard(connection)

    def _next_act(self, received: Received) -> Callable[[socket.socket], object]:
        with self._lock:
            self.requests.append(received)
            if not self._acts:
                self.reply()
            return self._acts.pop(0) if len(self._acts) > 1 else self._acts[0]


def _read(file: BinaryIO) -> Received | None:
    """The request that comes in; None from somebody who only connects."""
    method, _, rest = file.readline().decode("latin-1").partition(" ")
    if not rest:
        return None
    headers = {name.lower(): value for name, value in parse_headers(file).items()}
    if headers.get("transfer-encoding") == "chunked":
        body = _read_chunks(file)
    else:
        body = file.read(int(headers.get("content-length", 0)))
    return Received(method, rest.split(" ")[0], headers, body)


def _read_chunks(file: BinaryIO) -> bytes:
    body = b""
    while size := int(file.readline() or b"0", 16):
        body += file.read(size)
        file.readline()
    file.readline()
    return body


def _head(status: int, length: int, headers: Mapping[str, str] | None = None) -> bytes:
    fields = {"Content-Length": str(length), "Connection": "close", **(headers or {})}
    lines = [f"HTTP/1.1 {status} {phrase(status)}", *(f"{k}: {v}" for k, v in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _reset(connection: socket.socket) -> None:
    # A linger of zero seconds makes close() send a RST.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
