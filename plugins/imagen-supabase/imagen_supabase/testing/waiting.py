"""Silence on a connection that ends with an event: a release, or the client's going away."""

from __future__ import annotations

import contextlib
import selectors
import socket


class Silence:
    """Keeps connections waiting until `end`."""

    def __init__(self) -> None:
        self._bell, self._rope = socket.socketpair()

    def keep(self, connection: socket.socket) -> bool:
        """Waits; whether the client is still there at the end."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._bell, selectors.EVENT_READ)
            selector.register(connection, selectors.EVENT_READ)
            ready = [key.fileobj for key, _ in selector.select()]
        return connection not in ready or _still_there(connection)

    def end(self) -> None:
        """Lets all go on that wait, and all that will."""
        self._rope.close()

    def close(self) -> None:
        """Ends it, when nobody waits any more."""
        self._rope.close()
        self._bell.close()


def _still_there(connection: socket.socket) -> bool:
    with contextlib.suppress(OSError):
        return bool(connection.recv(1, socket.MSG_PEEK))
    return False
