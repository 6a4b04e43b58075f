"""Where the texts of a prompt are written: through conditioning, encoders, switches and strings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from imagen_comfyui.graph import Graph, Place
from imagen_comfyui.mapping.walk import (
    NUMBER,
    TEXT,
    Choice,
    given,
    kind,
    linked,
    literal,
    passed,
    selected,
    travel,
    value,
)

SIDES = ("positive", "negative")
_ENCODED = (
    "text",
    "text_g",
    "text_l",
    "clip_l",
    "clip_g",
    "t5xxl",
    "llama",
    "qwen25_7b",
    "bert",
    "mt5xl",
    "user_prompt",
    "prompt",
    "populated_text",
)
_STRING = re.compile(r"(text|string|prompt|value)(_?[a-z0-9])?")


class Words(NamedTuple):
    """One text of a prompt, and the inputs that it is written in."""

    text: str
    places: tuple[Place, ...]


class Route(NamedTuple):
    """What lies behind a conditioning input: its texts, the nodes on the way, and its doubts."""

    words: tuple[Words, ...]
    nodes: tuple[str, ...]
    doubts: tuple[str, ...]

    def like(self, text: str) -> tuple[Place, ...]:
        """The inputs of every text that reads the same."""
        return tuple(p for words in self.words if words.text == text for p in words.places)


def route(graph: Graph, start: Place, side: str) -> Route:
    """All that a prompt's side is made of, the nearest first."""
    words: list[Words] = []
    nodes: dict[str, None] = {}
    doubts: list[str] = []
    for place in travel(graph, [start], _conditioning(graph, side)):
        if target := linked(graph, place):
            node, slot = target
            if node not in nodes and _is_unsure(selected(graph, node)):
                doubts.append(f"what the switch {_named(graph, node)} takes can't be told")
            nodes[node] = None
            if not _onward(graph, node, slot, side):
                words += _words(graph, node, slot, side, doubts)
    return Route(tuple(words), tuple(nodes), tuple(doubts))


def guidance(graph: Graph, nodes: Iterable[str]) -> Place | None:
    """Where the guidance of a distilled model is written, on the way to the prompt."""
    places = [Place(node, "guidance") for node in nodes if "guidance" in given(graph, node)]
    return next((found for place in places if (found := literal(graph, place, NUMBER))), None)


def _conditioning(graph: Graph, side: str) -> Callable[[str, int], tuple[str, ...]]:
    return lambda node, slot: _onward(graph, node, slot, side)


def _onward(graph: Graph, node: str, slot: int, side: str) -> tuple[str, ...]:
    """The inputs through which conditioning comes into a node; none if it begins there."""
    inside = given(graph, node)
    if kind(graph, node) == "ConditioningZeroOut":
        return ()
    if choice := selected(graph, node):
        return choice.inputs
    wires = [key for key in inside if linked(graph, Place(node, key))]
    if all(name in wires for name in SIDES) and slot in (0, 1) and "model" not in inside:
        side = SIDES[slot]
    onward = [key for key in wires if key.startswith(("cond", side))]
    return tuple(onward or (wires if len(inside) == 1 else ()))


def _words(graph: Graph, node: str, slot: int, side: str, doubts: list[str]) -> Iterator[Words]:
    """What an encoder, or any node with a text, encodes."""
    groups = [_strings(graph, Place(node, key), side) for key in _texts(graph, node, slot, side)]
    groups = [group for group in groups if group]
    if any(len({value(graph, place) for place in group}) > 1 for group in groups):
        doubts.append(f"several texts come together in {_named(graph, node)}")
    chosen = [next((p for p in group if value(graph, p)), group[0]) for group in groups]
    if chosen:
        text = next((found for place in chosen if (found := value(graph, place))), "")
        yield Words(text, tuple(dict.fromkeys(chosen)))


def _texts(graph: Graph, node: str, slot: int, side: str) -> tuple[str, ...]:
    """The inputs of a node that take a text."""
    inside = given(graph, node)
    if kind(graph, node) == "ConditioningZeroOut":
        return ()
    if side in inside:
        return (side,)
    if slot == 1 and "negative_prompt" in inside:
        return ("negative_prompt",)
    encoded = tuple(key for key in _ENCODED if key in inside)
    return encoded or tuple(key for key in inside if _STRING.fullmatch(key))


def _strings(graph: Graph, start: Place, side: str) -> list[Place]:
    """Where the text of an input is written; several places if it is put together."""

    def keys(node: str, _slot: int) -> tuple[str, ...]:
        if choice := selected(graph, node):
            return choice.inputs
        inside = given(graph, node)
        named = tuple(k for k in inside if k == f"text_{side}" or _STRING.fullmatch(k))
        return named or passed(inside, TEXT, start.input)

    return [place for place in travel(graph, [start], keys) if isinstance(value(graph, place), str)]


def _is_unsure(choice: Choice | None) -> bool:
    return choice is not None and not choice.sure


def _named(graph: Graph, node: str) -> str:
    return f"{kind(graph, node)} (node {node})"
