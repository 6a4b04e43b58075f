"""What a graph says: its links, the order of its nodes, their cache keys, sizes and steps."""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

from imagen_comfyui.testing.pictures import measure
from imagen_comfyui.testing.schema import JSON

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from imagen_comfyui.testing.store import Store

Graph = dict[str, JSON]
_CARRIERS = ("latent_image", "samples", "latent", "pixels", "images", "image")
"""The inputs through which a picture comes into a node that does not make one."""
_LATENT_GRAIN = {"EmptyLatentImage": 8, "EmptySD3LatentImage": 8, "EmptyFlux2LatentImage": 16}


class Size(NamedTuple):
    """How large a batch of pictures is."""

    width: int = 64
    height: int = 64
    batch: int = 1

    def floored(self, grain: int) -> Size:
        """The size as a latent of that grain can hold it."""
        return Size(self.width // grain * grain, self.height // grain * grain, self.batch)


def is_link(value: object) -> TypeGuard[list[Any]]:
    """Tells whether an input's value is a link to an output of another node."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


class Reading:
    """A valid graph, read with the node classes and the input pictures of a server."""

    def __init__(self, graph: Graph, classes: Mapping[str, JSON], *, images: Store) -> None:
        self.graph = graph
        self.classes = classes
        self.images = images
        self._keys: dict[str, str] = {}

    def class_type(self, node_id: str) -> str:
        """The class of a node."""
        return str(self.graph[node_id]["class_type"])

    def inputs(self, node_id: str) -> JSON:
        """The inputs of a node as the graph has them."""
        inputs: JSON = self.graph[node_id]["inputs"]
        return inputs

    def is_output(self, node_id: str) -> bool:
        """Tells whether a node is one that runs are made for."""
        return bool(self.classes[self.class_type(node_id)].get("output_node"))

    def sources(self, node_id: str) -> Iterator[str]:
        """Goes through the nodes that a node's inputs come from."""
        return (value[0] for value in self.inputs(node_id).values() if is_link(value))

    def source(self, node_id: str, name: str) -> str | None:
        """The node that an input comes from, None if it is no link."""
        value = self.inputs(node_id).get(name)
        return value[0] if is_link(value) else None

    def value(self, node_id: str, name: str) -> Any:
        """The value of an input, also if it comes from a primitive node."""
        source = self.source(node_id, name)
        return self.inputs(node_id).get(name) if source is None else self.value(source, "value")

    def key(self, node_id: str) -> str:
        """Digests a node with all that comes before it; the ids of nodes do not matter."""
        if node_id not in self._keys:
            inputs = {
                name: [self.key(value[0]), value[1]] if is_link(value) else value
                for name, value in sorted(self.inputs(node_id).items())
            }
            said = json.dumps([self.class_type(node_id), inputs, self._content(node_id)])
            self._keys[node_id] = hashlib.sha256(said.encode()).hexdigest()
        return self._keys[node_id]

    def steps(self, node_id: str) -> int:
        """How many steps a node samples, 0 if it does not sample."""
        inputs = self.inputs(node_id)
        if "SIGMAS" in self.classes[self.class_type(node_id)]["output"]:
            return 0
        if sigmas := self.source(node_id, "sigmas"):
            return int(self.value(sigmas, "steps") or 0)
        steps = int(self.value(node_id, "steps") or 0)
        if "end_at_step" in inputs:
            steps = min(steps, self.value(node_id, "end_at_step"))
        return max(steps - int(self.value(node_id, "start_at_step") or 0), 0)

    def size(self, node_id: str) -> Size:
        """The size of the pictures or latents that a node gives."""
        kind = self.class_type(node_id)
        if kind in _LATENT_GRAIN:
            return self._given(node_id).floored(_LATENT_GRAIN[kind])
        if kind == "EmptyImage":
            return self._given(node_id)
        if kind == "LoadImage":
            return Size(*(measure(self._loaded(node_id)) or ()))
        before = self._size_before(node_id)
        if kind == "ImageScale":
            return self._scaled(node_id, before)
        if kind == "ImageScaleToTotalPixels":
            return self._scaled_to_total(node_id, before)
        return before.floored(8) if kind == "VAEEncode" else before

    def _size_before(self, node_id: str) -> Size:
        for name in _CARRIERS:
            if source := self.source(node_id, name):
                return self.size(source)
        return Size()

    def _given(self, node_id: str) -> Size:
        return Size(*(int(self.value(node_id, name)) for name in ("width", "height", "batch_size")))

    def _scaled(self, node_id: str, before: Size) -> Size:
        width, height = self.value(node_id, "width"), self.value(node_id, "height")
        if not width and not height:
            return before
        return Size(
            width or max(1, round(before.width * height / before.height)),
            height or max(1, round(before.height * width / before.width)),
            before.batch,
        )

    def _scaled_to_total(self, node_id: str, before: Size) -> Size:
        total = self.value(node_id, "megapixels") * 1024 * 1024
        grain = int(self.value(node_id, "resolution_steps") or 1)
        scale = math.sqrt(total / (before.width * before.height))
        width, height = (round(side * scale / grain) * grain for side in before[:2])
        return Size(width, height, before.batch)

    def _loaded(self, node_id: str) -> bytes:
        return self.images.find(str(self.value(node_id, "image"))) or b""

    def _content(self, node_id: str) -> str:
        if self.class_type(node_id) != "LoadImage":
            return ""
        return hashlib.sha256(self._loaded(node_id)).hexdigest()


def execution_order(
    reading: Reading, outputs: Collection[str], *, cached: Collection[str]
) -> list[str]:
    """Orders the nodes to run, as the real server does.

    Of the nodes that can run, one that is an output goes first, then one right before an
    output, then one two steps before it; otherwise the one that was listed first.
    """
    waits = {
        node_id: {source for source in reading.sources(node_id) if source not in cached}
        for node_id in _listed(reading, outputs, cached)
    }
    followers = {node_id: [one for one in waits if node_id in waits[one]] for node_id in waits}
    order: list[str] = []
    while len(order) < len(followers):
        ready = [node_id for node_id in waits if not waits[node_id]]
        node_id = min(ready, key=lambda one: _distance(reading, one, followers))
        order.append(node_id)
        del waits[node_id]
        for others in waits.values():
            others.discard(node_id)
    return order


def _listed(reading: Reading, outputs: Collection[str], cached: Collection[str]) -> list[str]:
    found: dict[str, None] = {}
    for output in outputs:
        stack = [output]
        while stack:
            node_id = stack.pop()
            if node_id not in found:
                found[node_id] = None
                stack += [source for source in reading.sources(node_id) if source not in cached]
    return list(found)


def _distance(reading: Reading, node_id: str, followers: Mapping[str, list[str]]) -> int:
    reached = [node_id]
    for hops in range(3):
        if any(reading.is_output(one) for one in reached):
            return hops
        reached = [follower for one in reached for follower in followers[one]]
    return 3
