"""The websockets: who is connected under which client id, and what is sent to whom."""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import ssl
import struct
import threading
from typing import TYPE_CHECKING, Any

from websockets.datastructures import Headers
from websockets.frames import CloseCode, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from imagen_comfyui.testing.schema import JSON

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_LATER = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
IMAGE, IMAGE_WITH_METADATA = 1, 4
_FORMATS = {"image/jpeg": 1, "image/png": 2}


class Frame:
    """A picture on its way to a client: bare, or with metadata for a client that asked."""

    def __init__(self, picture: bytes, image_type: str, *, metadata: JSON) -> None:
        self.bare = struct.pack(">II", IMAGE, _FORMATS[image_type]) + picture
        said = json.dumps({**metadata, "image_type": image_type}).encode()
        self.full = struct.pack(">II", IMAGE_WITH_METADATA, len(said)) + said + picture


class Socket:
    """One websocket, served by the thread of the request that it began as."""

    def __init__(self, path: str, headers: Mapping[str, str]) -> None:
        self.flags: JSON = {}
        self.gone = threading.Event()
        self._protocol = ServerProtocol(max_size=None)
        self._lock = threading.Lock()
        self._outgoing = bytearray()
        self._ears, self._bell = socket.socketpair()
        self._bell.setblocking(False)
        self._end = ""
        self._eof = False
        self._accept(path, headers)

    def push(self, message: str | bytes) -> None:
        """Sends a message, as soon as the client takes it; nothing if the socket ends."""
        with self._lock:
            if self._end or self._protocol.state is not State.OPEN:
                return
            if isinstance(message, str):
                self._protocol.send_text(message.encode())
            else:
                self._protocol.send_binary(message)
            self._collect()
        self._ring()

    def end(self, *, reset: bool) -> None:
        """Makes the socket end after what was pushed, torn down (RST) or closed (FIN)."""
        with self._lock:
            if not self._end and not reset and self._protocol.state is State.OPEN:
                self._protocol.send_close(CloseCode.GOING_AWAY)
                self._collect()
            self._end = self._end or ("reset" if reset else "close")
        self._ring()

    def serve(self, connection: socket.socket, hear: Callable[[str], None]) -> None:
        """Sends and receives until either side ends the connection."""
        connection.setblocking(False)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(connection, selectors.EVENT_READ)
                selector.register(self._ears, selectors.EVENT_READ)
                while not self._over():
                    self._wait(selector, connection)
                    self._flush(connection)
                    self._listen(connection, hear)
        finally:
            self._close(connection)

    def _accept(self, path: str, headers: Mapping[str, str]) -> None:
        self._protocol.receive_data(Request(path, Headers(headers)).serialize())
        for request in self._protocol.events_received():
            if isinstance(request, Request):
                self._protocol.send_response(self._protocol.accept(request))
        self._collect()

    def _collect(self) -> None:
        self._outgoing += b"".join(self._protocol.data_to_send())

    def _ring(self) -> None:
        with contextlib.suppress(OSError):
            self._bell.send(b"\0")

    def _over(self) -> bool:
        with self._lock:
            closed = self._protocol.close_rcvd is not None or self._protocol.state is State.CLOSED
            return self._eof or (not self._outgoing and (closed or bool(self._end)))

    def _wait(self, selector: selectors.BaseSelector, connection: socket.socket) -> None:
        with self._lock:
            writing = selectors.EVENT_WRITE if self._outgoing else 0
        selector.modify(connection, selectors.EVENT_READ | writing)
        for key, _ in selector.select():
            if key.fileobj is self._ears:
                self._ears.recv(4096)

    def _flush(self, connection: socket.socket) -> None:
        with self._lock:
            try:
                while self._outgoing:
                    del self._outgoing[: connection.send(self._outgoing)]
            except _LATER:
                # What a client does not take cannot keep a socket that shall end.
                self._eof = self._eof or bool(self._end)
            except OSError:
                self._eof = True

    def _listen(self, connection: socket.socket, hear: Callable[[str], None]) -> None:
        data = self._receive(connection)
        with self._lock:
            if data:
                self._protocol.receive_data(data)
            if self._eof:
                return
            self._collect()
            events = self._protocol.events_received()
        for event in events:
            if getattr(event, "opcode", None) is Opcode.TEXT:
                hear(bytes(event.data).decode())  # type: ignore[union-attr]

    def _receive(self, connection: socket.socket) -> bytes:
        data = b""
        try:
            while part := connection.recv(65536):
                data += part
            self._eof = True
        except _LATER:
            pass
        except OSError:
            self._eof = True
        return data

    def _close(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._end == "reset":
                # A linger of zero seconds makes close() send a RST.
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            connection.close()
        with self._lock:
            self._end = self._end or "close"
        self._ears.close()
        self._bell.close()
        self.gone.set()


class Hub:
    """The open sockets. A client id knows only its newest socket, as on the real server."""

    def __init__(self, lock: threading.Condition) -> None:
        self.open: set[Socket] = set()
        self.silent = False
        self.welcome: Callable[[str], Iterable[tuple[str, JSON]]] = lambda _: ()
        self.features: JSON = {}
        self._lock = lock
        self._by_id: dict[str, Socket] = {}
        self._late: set[str] = set()
        self._countdown: int | None = None

    def serve(self, connection: socket.socket, client_id: str, *, new: Socket) -> None:
        """Serves a socket until it ends, and then forgets its id, whoever has it by then."""
        self._register(new, client_id)
        try:
            new.serve(connection, _FirstMessage(self, new).hear)
        finally:
            with self._lock:
                if new in self.open:
                    self.open.discard(new)
                    self._by_id.pop(client_id, None)
                self._lock.notify_all()

    def send(self, event: str, data: JSON, client_id: str | None = None) -> None:
        """Sends an event to the socket of an id, or to all that are known."""
        text = json.dumps({"type": event, "data": data})
        with self._lock:
            for one in self._known(client_id):
                self._push(one, text)

    def send_progress(self, data: JSON, client_id: str | None, *, frame: Frame | None) -> None:
        """Sends a progress event with its picture, which comes before it if it has metadata."""
        text = json.dumps({"type": "progress", "data": data})
        with self._lock:
            for one in self._known(client_id):
                full = bool(one.flags.get("supports_preview_metadata"))
                if frame and full:
                    self._push(one, frame.full)
                self._push(one, text)
                if frame and not full:
                    self._push(one, frame.bare)

    def answer(self, one: Socket, event: str, *, data: JSON) -> None:
        """Sends an event to one socket."""
        with self._lock:
            self._push(one, json.dumps({"type": event, "data": data}))

    def drop(self, *, after: int = 0, late: bool = False) -> None:
        """Tears all sockets down, now or after so many more messages."""
        with self._lock:
            self._countdown = after or None
            dropped = [] if after else self._tear(late=late)
        for one in dropped:
            one.gone.wait(5)

    def close(self) -> None:
        """Closes all sockets properly, after what was to be sent."""
        with self._lock:
            closing = list(self.open)
        for one in closing:
            one.end(reset=False)
        for one in closing:
            one.gone.wait(5)

    def _register(self, new: Socket, client_id: str) -> None:
        with self._lock:
            self.open.add(new)
            self._by_id[client_id] = new
            for event, data in self.welcome(client_id):
                self._push(new, json.dumps({"type": event, "data": data}))
            if client_id in self._late:
                self._late.discard(client_id)
                self._by_id.pop(client_id, None)
            self._lock.notify_all()

    def _known(self, client_id: str | None) -> list[Socket]:
        if client_id is None:
            return list(self._by_id.values())
        return [self._by_id[client_id]] if client_id in self._by_id else []

    def _push(self, one: Socket, message: str | bytes) -> None:
        if self.silent:
            return
        one.push(message)
        if self._countdown is not None:
            self._countdown -= 1
            if self._countdown <= 0:
                self._countdown = None
                self._tear(late=False)

    def _tear(self, *, late: bool) -> list[Socket]:
        dropped = list(self.open)
        self.open.clear()
        if late:
            self._late |= set(self._by_id)
        else:
            self._by_id.clear()
        for one in dropped:
            one.end(reset=True)
        self._lock.notify_all()
        return dropped


class _FirstMessage:
    def __init__(self, hub: Hub, one: Socket) -> None:
        self._hub, self._socket, self._first = hub, one, True

    def hear(self, text: str) -> None:
        first, self._first = self._first, False
        message = _parse(text)
        if first and message.get("type") == "feature_flags":
            self._socket.flags = message.get("data") or {}
            self._hub.answer(self._socket, "feature_flags", data=self._hub.features)


def _parse(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
