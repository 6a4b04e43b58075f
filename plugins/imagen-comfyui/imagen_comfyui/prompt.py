"""One prompt on one server: sent once, followed to its end, or cancelled.

A prompt has an id of ours, so that what became of it can always be asked. The truth is the
server's queue and then its history, in this order; its websocket only says when to look.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

from imagen_comfyui.looks import Limits, Look
from imagen_comfyui.tracker import Tracker
from imagen_comfyui.verdicts import completed, refusal
from imagen_comfyui.watch import REOPENED
from imagen_core import ImagenError, Preview, Progress, UnavailableError, http

if TYPE_CHECKING:
    import httpx

    from imagen_comfyui.backend import Patience
    from imagen_comfyui.client import Call, Server
    from imagen_comfyui.config import ComfyConfig
    from imagen_comfyui.graph import Graph
    from imagen_comfyui.watch import Watch
    from imagen_comfyui.workflow import Workflow

Following = Generator[Progress | Preview, None, dict[str, Any]]

SLICE_SECONDS = 0.25
"""How long it ever waits at once, so that it can be closed at any moment."""
FRAMES_SECONDS = 2.0
"""How long the last messages of a run that has ended may be on their way."""


class Prompt:
    """A graph on its way through a server."""

    def __init__(
        self,
        server: Server,
        workflow: Workflow,
        graph: Graph,
        *,
        prompt_id: str,
        client_id: str,
        patience: Patience,
    ) -> None:
        self.id = prompt_id
        self.tracker = Tracker(graph, prompt_id)
        self._server = server
        self._workflow = workflow
        self._graph = graph
        self._client_id = client_id
        self._patience = patience
        self._under_way = False
        self._ended = False

    def submit(self, extra: Mapping[str, Any]) -> Call[None]:
        """Send it. It is sent once more only if the server surely does not have it."""
        body = {
            "prompt": self._graph,
            "prompt_id": self.id,
            "client_id": self._client_id,
            "extra_data": extra,
        }
        content = json.dumps(body).encode()
        for last in (False, True):
            problem = yield from self._post(content)
            if problem is None or (yield from self._has_arrived(problem)):
                return
            if last:
                raise problem

    def follow(self, watch: Watch, config: ComfyConfig) -> Following:
        """Wait for its end, and say how far it is; returns its entry in the server's history."""
        look = Look(self._server, self.tracker, self.id, self._patience)
        limits = Limits(self._server.who, config)
        while True:
            for message in watch.take(look.wait(SLICE_SECONDS)):
                yield from self.tracker.take(message)
                if message == REOPENED:
                    look.hurry()
            if look.is_due():
                entry = yield from look.now()
                if entry is not None:
                    self._ended = True
                    yield from self._drain(watch)
                    return entry
            limits.check(running=look.running, sign=(self.tracker.heard, look.ahead))
            yield Progress(message=look.told)

    def _drain(self, watch: Watch) -> Generator[Progress | Preview, None, None]:
        """Wait for pictures that come over the websocket alone: no history has them."""
        end = time.monotonic() + FRAMES_SECONDS
        while self.tracker.sends_frames and not self.tracker.ended and time.monotonic() < end:
            for message in watch.take(SLICE_SECONDS):
                yield from self.tracker.take(message)
            yield Progress()

    def cancel(self) -> bool:
        """End it at the server, unless it has ended; whether that is confirmed."""
        return self._ended or self._server.cancel(self.id, under_way=self._under_way)

    def _post(self, content: bytes) -> Call[UnavailableError | None]:
        """None if it was accepted, or the passing fault; what is final is raised."""
        self._under_way = True
        headers = {"Content-Type": "application/json"}
        try:
            response = yield from self._server.send(
                "POST", "/prompt", content=content, headers=headers, timeout=http.TIMEOUT
            )
        except UnavailableError as error:
            self._under_way = False
            return error
        self._under_way = False
        if response.status_code >= 500:
            told = f"{self._server.who} answered {response.status_code} {response.reason_phrase}"
            return UnavailableError(told.rstrip(), hint=self._server.hint)
        yield from self._accept(response)
        return None

    def _accept(self, response: httpx.Response) -> Call[None]:
        """Raise what the server has against the prompt, if it has anything."""
        refused = response.status_code == 400
        if not refused:
            self._server.checked(response)
        reply = self._server.decoded(response)
        if refused or not isinstance(reply, dict) or reply.get("node_errors"):
            # With a 200 it runs all the same, without the branches that are wrong.
            self._ended = refused
            reply = yield from completed(reply, self._server, self._graph)
            raise refusal(reply, who=self._server.who, workflow=self._workflow, graph=self._graph)

    def _has_arrived(self, problem: UnavailableError) -> Call[bool]:
        """Whether the server has it although it did not say so; two looks, a moment apart."""
        try:
            if (yield from self._server.is_known(self.id)):
                return True
            yield from http.pause(self._patience.poll)
            return (yield from self._server.is_known(self.id))
        except ImagenError:
            raise problem from None
