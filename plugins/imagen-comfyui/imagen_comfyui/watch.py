"""The websocket of one run, in a thread of its own: hints of progress, never the truth.

It is opened before the prompt is sent, and again whenever it breaks. Whether a run has ended,
and how, is asked over HTTP alone: a socket can be silent while everything is well.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Generator, Mapping
from queue import Empty, SimpleQueue
from socket import SHUT_RDWR
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from imagen_core import Progress

if TYPE_CHECKING:
    from websockets.sync.connection import Connection

THREAD_NAME = "imagen-comfyui"
OPEN_SECONDS = 5.0
CLOSE_SECONDS = 0.5
JOIN_SECONDS = 1.0
LOOK_SECONDS = 0.25
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
MAX_MESSAGE = 64 * 2**20

HELLO = json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
"""Makes previews say which prompt they are of. It must be the first message."""

Message = str | bytes

REOPENED = ""
"""Stands among the messages where some may be missing, since the socket was opened anew."""


class Watch:
    """Listens to the events of one client id. Use it in a `with` block.

    A socket that was opened `again` and is `quiet` for so many seconds is opened once more: a
    server that notices late that the old one is gone forgets the new one along with it.
    """

    def __init__(
        self,
        base: str,
        client_id: str,
        *,
        headers: Mapping[str, str],
        quiet: float,
        again: bool = False,
    ) -> None:
        scheme, _, rest = base.partition("://")
        secure = "wss" if scheme.lower() == "https" else "ws"
        self._url = f"{secure}://{rest}/ws?clientId={quote(client_id)}"
        self._headers = headers
        self._quiet = quiet
        self._again = again
        self._messages: SimpleQueue[Message] = SimpleQueue()
        self._tried = threading.Event()
        self._closing = threading.Event()
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        if connection := self._connection:
            # No closing handshake: the server need not agree, nor be there.
            with contextlib.suppress(OSError):
                connection.socket.shutdown(SHUT_RDWR)
        # One that hangs in the opening handshake ends by itself, and keeps nobody waiting.
        self._thread.join(JOIN_SECONDS)

    def opened(self) -> Generator[Progress, None, None]:
        """Wait until it is open, or can't be opened, or takes too long for that."""
        end = time.monotonic() + OPEN_SECONDS
        while not self._tried.wait(LOOK_SECONDS) and time.monotonic() < end:
            yield Progress()

    def take(self, seconds: float) -> list[Message]:
        """The messages that are there, after waiting for the first one at most so long."""
        found: list[Message] = []
        try:
            found.append(self._messages.get(timeout=max(seconds, 0.0)))
            while True:
                found.append(self._messages.get_nowait())
        except Empty:
            return found

    @property
    def is_open(self) -> bool:
        """Whether there is a socket over which something may come."""
        return self._connection is not None

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._closing.is_set():
            heard = self._listen()
            self._tried.set()
            self._again = True
            self._closing.wait(pause)
            pause = FIRST_PAUSE if heard else min(pause * 2, LONGEST_PAUSE)

    def _listen(self) -> bool:
        """Take messages until the socket is closed, lost, or quiet; whether there were any."""
        from websockets.sync.client import connect

        try:
            with connect(
                self._url,
                additional_headers=dict(self._headers),
                compression=None,
                open_timeout=OPEN_SECONDS,
                close_timeout=CLOSE_SECONDS,
                max_size=MAX_MESSAGE,
            ) as connection:
                self._connection = connection
                connection.send(HELLO)
                self._tried.set()
                return self._take_all(connection)
        except Exception:  # noqa: BLE001 - progress is all that is lost; HTTP tells the rest
            return False
        finally:
            self._connection = None

    def _take_all(self, connection: Connection) -> bool:
        from websockets.exceptions import ConnectionClosed

        if self._again:
            self._messages.put(REOPENED)
        heard, silent = False, 0.0
        while not self._closing.is_set():
            try:
                self._messages.put(connection.recv(timeout=LOOK_SECONDS))
            except TimeoutError:
                silent += LOOK_SECONDS
                if self._again and silent >= self._quiet:
                    # Once more, and later each time: it may be a model that takes long to load.
                    self._quiet *= 2
                    return heard
            except ConnectionClosed:
                return heard
            else:
                heard, silent = True, 0.0
        return heard


def decode(message: Message) -> dict[str, Any] | None:
    """A text message as the event that it is; None for what is none."""
    if not isinstance(message, str):
        return None
    try:
        event = json.loads(message)
    except (ValueError, RecursionError):
        return None
    sound = isinstance(event, dict) and isinstance(event.get("data"), dict)
    return event if sound else None
