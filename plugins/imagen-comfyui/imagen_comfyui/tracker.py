"""What the messages of a websocket say of one run: how far it is, pictures on the way, its end."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from imagen_comfyui.graph import Graph, title
from imagen_comfyui.watch import Message, decode
from imagen_core import Preview, Progress

SAMPLING_SHARE = 0.8
"""How much of a run counts as sampling; the rest is shared by all nodes alike."""

CEILING = 0.95
"""How far a run can be before its pictures are here."""

IMAGE, IMAGE_WITH_METADATA = 1, 4
FORMATS = {1: "image/jpeg", 2: "image/png"}
LAST_EVENTS = frozenset({"execution_success", "execution_error", "execution_interrupted"})
SOCKET_OUTPUT = "SaveImageWebsocket"


def frame_nodes(graph: Graph, output: str = "") -> frozenset[str]:
    """The nodes whose pictures come over the websocket alone, or `output` if it is one."""
    found = (key for key, node in graph.items() if node["class_type"] == SOCKET_OUTPUT)
    return frozenset(key for key in found if output in ("", key))


class Tracker:
    """Takes messages, gives events; `ended` once the server has said that the run is over."""

    def __init__(self, graph: Graph, prompt_id: str, *, output: str = "") -> None:
        self._graph = graph
        self._prompt_id = prompt_id
        self._frame_nodes = frame_nodes(graph, output)
        self._samplers = {key for key, node in graph.items() if "latent_image" in node["inputs"]}
        self._finished: set[str] = set()
        self._sampled: dict[str, float] = {}
        self._fraction = 0.0
        self._node = ""
        self._mine = False
        self._outputs: dict[str, Any] = {}
        self._succeeded = False
        self.ended = False
        self.heard = 0
        self.pictures: list[bytes] = []

    @property
    def sends_frames(self) -> bool:
        """Whether pictures may come that no history has."""
        return bool(self._frame_nodes)

    def entry(self) -> dict[str, Any]:
        """What the history would say of a run that succeeded; empty if this does not know it."""
        if not self._succeeded:
            return {}
        return {"outputs": self._outputs, "status": {"status_str": "success", "completed": True}}

    def take(self, message: Message) -> Iterator[Progress | Preview]:
        """What this message means to whoever waits; nothing if it is about another prompt."""
        if isinstance(message, bytes):
            yield from self._frame(message)
        elif event := decode(message):
            yield from self._event(str(event.get("type")), event["data"])

    def _event(self, kind: str, data: dict[str, Any]) -> Iterator[Progress]:
        if data.get("prompt_id") != self._prompt_id:
            # After a reconnect the server names the node alone; it is that of this client.
            self._mine = self._mine and kind != "execution_start"
            return
        self._mine = True
        self.heard += 1
        node = str(data.get("node"))
        self._succeeded = self._succeeded or kind == "execution_success"
        if kind in LAST_EVENTS or (kind == "executing" and data.get("node") is None):
            self.ended = True
        elif kind == "execution_cached":
            self._finish(data.get("nodes"))
        elif kind == "executing":
            self._finish([self._node])
            self._node = node
            yield self._progress()
        elif kind == "executed":
            self._outputs[node] = data.get("output")
            self._finish([node])
        elif kind == "progress":
            yield from self._step(node, data.get("value"), data.get("max"))

    def _step(self, node: str, value: Any, most: Any) -> Iterator[Progress]:
        if not (_finite(value) and _finite(most)) or most <= 0:
            return
        self._node = node
        self._sampled[node] = max(self._sampled.get(node, 0.0), min(value / most, 1.0))
        counted = node in self._samplers
        yield self._progress(int(value) if counted else None, int(most) if counted else None)

    def _finish(self, nodes: Any) -> None:
        if isinstance(nodes, list):
            self._finished |= {str(node) for node in nodes} & set(self._graph)

    def _progress(self, step: int | None = None, steps: int | None = None) -> Progress:
        nodes = len(self._finished) / len(self._graph)
        done = [1.0 if n in self._finished else self._sampled.get(n, 0.0) for n in self._samplers]
        sampled = sum(done) / len(done) if done else nodes
        fraction = CEILING * ((1 - SAMPLING_SHARE) * nodes + SAMPLING_SHARE * sampled)
        self._fraction = max(self._fraction, fraction)
        name = title(self._graph, self._node) if self._node in self._graph else ""
        return Progress(fraction=self._fraction, message=name, step=step, steps=steps)

    def _frame(self, frame: bytes) -> Iterator[Preview]:
        kind, number = (int.from_bytes(frame[place : place + 4], "big") for place in (0, 4))
        if kind == IMAGE_WITH_METADATA:
            about, data = _object(frame[8 : 8 + number]), frame[8 + number :]
            node, mime = str(about.get("node_id")), str(about.get("image_type") or FORMATS[1])
            mine = about.get("prompt_id") == self._prompt_id
        else:
            # It says neither whose nor what it is: that of the node that was named last.
            node, mime, data = self._node, FORMATS.get(number, ""), frame[8:]
            mine = self._mine and kind == IMAGE
        if mine and node in self._frame_nodes:
            self.pictures.append(data)
        elif mine and mime and self._graph.get(node, {}).get("class_type") != SOCKET_OUTPUT:
            yield Preview(data=data, mime=mime)


def _finite(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:
        return False


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
