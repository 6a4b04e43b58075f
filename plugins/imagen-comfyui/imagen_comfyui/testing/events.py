"""What a run tells its client, and keeps as its messages."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from imagen_comfyui.testing.schema import JSON
from imagen_comfyui.testing.sockets import Frame

if TYPE_CHECKING:
    from imagen_comfyui.testing.engine import Engine, Run


class Events:
    """The events of one run, in the words of the real server.

    Without a client id, progress and an interruption go to everybody, and nothing else is sent.
    """

    def __init__(self, engine: Engine, run: Run) -> None:
        self._engine = engine
        self._hub = engine.site.hub
        self._run = run
        self._progress: dict[str, JSON] = {}

    def note(self, event: str, data: JSON) -> None:
        """Sends an event that is also a message of the history entry."""
        message = {"prompt_id": self._run.prompt_id, **data, "timestamp": int(time.time() * 1000)}
        with self._engine.site.lock:
            self._engine.check()
            self._run.messages.append((event, message))
            if event == "execution_interrupted" or self._run.client_id is not None:
                self._hub.send(event, message, self._run.client_id)

    def executing(self, node_id: str) -> None:
        """Says that a node begins."""
        self._advance(node_id, 0.0, limit=1.0)
        if self._run.client_id is not None:
            self._engine.last_node = node_id
            self._tell("executing", {"node": node_id, "display_node": node_id})

    def progress(self, node_id: str, value: int, *, limit: int, frame: Frame | None) -> None:
        """Says how far a node is, and shows a picture of it."""
        self._advance(node_id, value, limit=limit)
        data = {"value": value, "max": limit, "prompt_id": self._run.prompt_id, "node": node_id}
        self._hub.send_progress(data, self._run.client_id, frame=frame)

    def executed(self, node_id: str, output: JSON | None) -> None:
        """Says what an output node made; nothing in the case of a node from the cache."""
        self._tell("executed", {"node": node_id, "display_node": node_id, "output": output})

    def finished(self, node_id: str) -> None:
        """Says that a node is done."""
        limit = self._progress[node_id]["max"] if node_id in self._progress else 1
        self._advance(node_id, limit, limit=limit, state="finished")

    def frame(self, node_id: str, picture: bytes, *, image_type: str) -> Frame:
        """Wraps a picture of a node for the websocket."""
        return Frame(picture, image_type, metadata=self._identity(node_id))

    def _advance(self, node_id: str, value: float, *, limit: float, state: str = "running") -> None:
        done = {"value": value, "max": limit, "state": state}
        self._progress[node_id] = {**done, **self._identity(node_id)}
        data = {"prompt_id": self._run.prompt_id, "nodes": self._progress}
        self._hub.send("progress_state", data, self._run.client_id)

    def _identity(self, node_id: str) -> JSON:
        return {
            "node_id": node_id,
            "prompt_id": self._run.prompt_id,
            "display_node_id": node_id,
            "parent_node_id": None,
            "real_node_id": node_id,
        }

    def _tell(self, event: str, data: JSON) -> None:
        if self._run.client_id is not None:
            message = {**data, "prompt_id": self._run.prompt_id}
            self._hub.send(event, message, self._run.client_id)
