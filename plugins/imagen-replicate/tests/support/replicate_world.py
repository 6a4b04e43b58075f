"""A server that gives the replies of the transcripts as they were recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from imagen_core.testing import Received, Reply, ServerThreads, WebServer
from imagen_replicate.testing.routes import route_of
from replicate_transcripts import REPLIES

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

API = "https://api.replicate.com/v1"
FILES = "https://replicate.delivery"


class Recorded:
    """Replicate, and the host of its files, as far as somebody recorded them.

    `say` tells what a route replies, one after the other; the last reply of a route holds for all
    further requests. A route that was told nothing fails the test, but `file` gives the picture.
    """

    def __init__(self, picture: bytes) -> None:
        self.requests: list[Received] = []
        self.calls: list[str] = []
        """The routes that were asked, in order; `file` is the other host."""
        self._threads = ServerThreads("recorded")
        self._picture = Reply(200, picture)
        self._replies: dict[str, list[Reply]] = {}
        self._servers: list[WebServer] = []

    def __enter__(self) -> Self:
        answers = (self._answer, self._answer_file)
        self._servers = [WebServer(answer, self._threads) for answer in answers]
        self.url, self.files_url = (f"http://127.0.0.1:{s.server_port}" for s in self._servers)
        self.url += "/v1"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for server in self._servers:
            server.close()
        if error is None:
            self._threads.report("in the server of recorded replies")

    @property
    def creates(self) -> list[dict[str, Any]]:
        """What was asked for."""
        return [r.json() for r in self.requests if route_of(r)[0] == "create"]

    def say(self, route: str, *numbers: str, **changes: Any) -> None:
        """Adds the replies of these transcripts, with other values for some of their fields."""
        for number in numbers:
            recorded = REPLIES[number]["response"]
            body = recorded["body"]
            body = {**body, **changes} if isinstance(body, dict) else body
            self.say_body(route, body, recorded["status"], recorded["headers"])

    def say_body(
        self, route: str, body: Any, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """Adds a reply of its own."""
        text = body if isinstance(body, str) else json.dumps(body)
        reply = Reply(status, self._here(text).encode())
        reply.headers = {name: self._here(value) for name, value in (headers or {}).items()}
        self._replies.setdefault(route, []).append(reply)

    def _here(self, text: str) -> str:
        """A text with the addresses of these servers."""
        return text.replace(API, self.url).replace(FILES, self.files_url)

    def _answer(self, received: Received) -> Reply:
        self.requests.append(received)
        return self._next(route_of(received)[0], received)

    def _answer_file(self, received: Received) -> Reply:
        return self._next("file", received)

    def _next(self, route: str, received: Received) -> Reply:
        self.calls.append(route)
        replies = self._replies.get(route) or ([self._picture] if route == "file" else [])
        assert replies, f"nobody expected {received.method} {received.path}"
        return replies.pop(0) if len(replies) > 1 else replies[0]
