"""A graph on its way to a workflow: which input gets which placeholder, and what is missing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from imagen_comfyui.graph import Graph, Place, placeholder_of, placeholders
from imagen_comfyui.manifest import GIVEN, Parameter, Size
from imagen_comfyui.mapping.walk import given, value

WANTED = ("prompt", "negative", "seed", "steps", "cfg", "sampler", "scheduler", "size")
"""What a workflow should take; it is told why one of them was not found."""

_PARAMETERS = {
    "negative": Parameter(type="str", help="what is not wanted in the picture"),
    "steps": Parameter(type="int", minimum=1, maximum=10_000),
    "cfg": Parameter(type="float", minimum=0, maximum=100, help="guidance"),
    "sampler": Parameter(type="str", help="sampling method"),
    "scheduler": Parameter(type="str", help="how the noise goes down"),
    "denoise": Parameter(
        type="float", minimum=0, maximum=1, help="how much of the picture is made anew"
    ),
    "guidance": Parameter(
        type="float", minimum=0, maximum=100, help="guidance of a distilled model"
    ),
    "filename_prefix": Parameter(type="str", help="how the file names on the server begin"),
}


class Draft:
    """The placeholders so far. An input has only one, and keeps one that it has already."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.names: dict[Place, str] = {}
        self.values: dict[str, Any] = {}
        self.missing: dict[str, str] = {}
        self.notes: list[str] = []
        self.size = Size()
        self.negative: bool | None = None

    def put(self, name: str, places: Iterable[Place], *, default: Any = None) -> None:
        """Write a placeholder into inputs; its default is the first one's value."""
        for place in places:
            own = value(self.graph, place)
            if placeholder_of(own) or self.names.setdefault(place, name) != name:
                continue
            self.values.setdefault(name, own if default is None else default)

    def settle(self, name: str, found: Place | str) -> None:
        """Write a placeholder where it belongs, or keep the reason why it is missing."""
        if isinstance(found, str):
            self.missing[name] = found
        else:
            self.put(name, [found])

    def written(self) -> Graph:
        """The graph with the placeholders in it; the one that it is made from stays as it is."""
        inside = {node: dict(given(self.graph, node)) for node in {p.node for p in self.names}}
        for place, name in self.names.items():
            inside[place.node][place.input] = f"${{{name}}}"
        return {
            name: {**node, "inputs": inside[name]} if name in inside else node
            for name, node in self.graph.items()
        }

    def mapped(self) -> dict[str, tuple[Place, ...]]:
        """Every placeholder of the graph, its own ones too, with the inputs that it stands in."""
        graph = self.written()
        found = placeholders({node: {"inputs": given(graph, node)} for node in graph})
        return {name: tuple(dict.fromkeys(places)) for name, places in found.items()}

    def reasons(self, mapped: Iterable[str]) -> dict[str, str]:
        """Why each of WANTED is missing that is not among these placeholders."""
        sides = {"size": {"width", "height"}}
        there = set(mapped)
        return {
            name: self.missing.get(name, "its input has another placeholder")
            for name in WANTED
            if not sides.get(name, {name}) <= there
        }

    def parameters(self, mapped: Iterable[str]) -> dict[str, Parameter]:
        """The parameters among these placeholders, with the graph's own values as defaults."""
        found = ((name, self.values.get(name)) for name in _PARAMETERS if name in mapped)
        return {name: _parameter(name, own) for name, own in found if own or name not in GIVEN}


def _parameter(name: str, default: Any) -> Parameter:
    known = _PARAMETERS[name]
    if default is None or known.minimum is None or known.maximum is None:
        return replace(known, default=default)
    low, high = min(known.minimum, default), max(known.maximum, default)
    with contextlib.suppress(OverflowError):  # a whole number of hundreds of digits
        default = float(default) if known.type == "float" else default
    return replace(known, default=default, minimum=low, maximum=high)
