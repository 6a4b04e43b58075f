"""One prompt on one server: sent once, followed to its end, or cancelled.

A prompt has an id of ours, so that what became of it can always be asked. The truth is the
server's queue and then its history, in this order; its websocket only says when to look.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from imagen_comfyui.cancelling import cancelling
from imagen_comfyui.looks import Limits, Look
from imagen_comfyui.tracker import Tracker
from imagen_comfyui.verdicts import completed, refusal
from imagen_comfyui.watch import REOPENED
from imagen_core import ImagenError, Preview, Progress, RejectedError, UnavailableError, http

if TYPE_CHECKING:
    import httpx

    from imagen_comfyui.backend import Patience
    from imagen_comfyui.client import Call, Server
    from imagen_comfyui.config import ComfyConfig
    from imagen_comfyui.graph import Graph
    from imagen_comfyui.watch import Watch
    from imagen_comfyui.workflow import Workflow

REFUSED = 400
"""The status of a prompt that the server's validation refuses."""

Following = Generator[Progress | Preview, None, dict[str, Any]]

SLICE_SECONDS = 0.25
"""How long it ever waits at once, so that it can be closed at any moment."""
FRAMES_SECONDS = 2.0
"""How long the last messages of a run that has ended may be on their way."""


Stage = Literal["new", "under way", "there", "over"]


class Prompt:
    """A graph on its way through a server; `there`: the server has it from an earlier attempt."""

    def __init__(
        self,
        server: Server,
        workflow: Workflow,
        *,
        graph: Graph,
        prompt_id: str,
        client_id: str,
        patience: Patience,
        there: bool,
    ) -> None:
        self.id = prompt_id
        self.tracker = Tracker(graph, prompt_id, output=str(workflow.manifest.output))
        self._server = server
        self._workflow = workflow
        self._graph = graph
        self.client_id = client_id
        self._patience = patience
        self._resumed = there
        self._stage: Stage = "there" if there else "new"

    def submit(self, extra: Mapping[str, Any]) -> Call[None]:
        """Send it, unless it is there. It is sent again only if the server has it surely not."""
        if self._stage == "there":
            return
        body = {
            "prompt": self._graph,
            "prompt_id": self.id,
            "client_id": self.client_id,
            "extra_data": extra,
        }
        content = json.dumps(body).encode()
        unknown = False
        for last in (False, True):
            problem = yield from self._post(content)
            if problem is None or (yield from self._has_arrived(problem)):
                self._stage = "there"
                return
            unknown = unknown or isinstance(problem, http.OutcomeUnknown)
            self._stage = "under way" if unknown else "new"
            if last:
                raise problem

    def follow(self, watch: Watch, config: ComfyConfig) -> Following:
        """Wait for its end, and say how far it is; returns its entry in the server's history."""
        look = Look(self._server, self.id, tracker=self.tracker, patience=self._patience)
        limits = Limits(self._server.who, config)
        if self._resumed:
            look.hurry()
        while True:
            for message in watch.take(look.wait(SLICE_SECONDS)):
                yield from self.tracker.take(message)
                if message == REOPENED:
                    look.hurry()
            if look.is_due():
                entry = yield from look.now()
                if entry is not None:
                    self._stage = "over"
                    yield from self._drain(watch)
                    return entry
            sign = (self.tracker.heard, look.ahead)
            limits.check(running=look.running, sees=watch.is_open, sign=sign)
            yield Progress(message=look.told)

    def _drain(self, watch: Watch) -> Generator[Progress | Preview, None, None]:
        """Wait for pictures that come over the websocket alone: no history has them."""
        end = time.monotonic() + FRAMES_SECONDS
        while self.tracker.sends_frames and not self.tracker.ended and time.monotonic() < end:
            for message in watch.take(SLICE_SECONDS):
                yield from self.tracker.take(message)
            yield Progress()

    def cancelling(self) -> Call[str]:
        """End it at the server, if it may be there; returns what can't be confirmed."""
        if self._stage in ("new", "over"):
            return ""
        arriving = self._stage == "under way"
        seconds = self._patience.closing
        return (yield from cancelling(self._server, self.id, seconds=seconds, arriving=arriving))

    def _post(self, content: bytes) -> Call[UnavailableError | None]:
        """None if it was accepted, or the passing fault; what is final is raised."""
        self._stage = "under way"
        headers = {"Content-Type": "application/json"}
        try:
            response = yield from self._server.send(
                "POST", "/prompt", content=content, headers=headers, timeout=http.TIMEOUT
            )
            if response.status_code >= 500:
                self._server.checked(response)
        except UnavailableError as error:
            return error
        yield from self._accept(response)
        return None

    def _accept(self, response: httpx.Response) -> Call[None]:
        """Raise what the server has against the prompt, if it has anything."""
        self._stage = "there" if response.is_success else "over"
        refused = response.status_code == REFUSED and response.content
        reply = self._server.decoded(response if refused else self._server.checked(response))
        given = reply.get("prompt_id") if isinstance(reply, dict) else None
        if refused or not given or reply.get("node_errors"):
            # With a 200 it runs all the same, without the branches that are wrong.
            reply = yield from completed(reply, self._server, self._graph)
            raise refusal(reply, self._graph, who=self._server.who, workflow=self._workflow)
        if given != self.id:
            self.id = str(given)
            raise RejectedError(
                f"{self._server.who} gives prompts ids of its own, so none could be found again",
                hint="update ComfyUI to 0.3.45 or later",
            )

    def _has_arrived(self, problem: UnavailableError) -> Call[bool]:
        """Whether the server has it although it did not say so; two looks, a moment apart."""
        try:
            if (yield from self._server.is_known(self.id)):
                return True
            yield from http.pause(self._patience.poll)
            return (yield from self._server.is_known(self.id))
        except ImagenError:
            raise problem from None
