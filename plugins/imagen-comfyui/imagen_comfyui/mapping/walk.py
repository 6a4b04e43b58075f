"""Walks through a graph against its links: from an input to where its value comes from.

Nothing here raises on an odd graph: a link to nowhere leads nowhere, and a cycle is walked once.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from imagen_comfyui.graph import Graph, Place, link, placeholder_of

Kinds = tuple[type, ...]
INTEGER: Kinds = (int,)
NUMBER: Kinds = (int, float)
TEXT: Kinds = (str,)
FLAG: Kinds = (bool,)

SEEDS = ("noise_seed", "seed")
_SAVERS = ("SaveImage", "SaveImageWebsocket")
_SELECTORS = ("select", "index", "Input", "input", "choice", "selected", "switch")
_FLAGS = ("switch", "boolean", "condition")
_NUMBERED = re.compile(r"[A-Za-z]+_?(\d+)")


class Choice(NamedTuple):
    """The inputs that a switch may pass on: only one if it is `sure` which."""

    inputs: tuple[str, ...]
    sure: bool


def given(graph: Graph, node: str) -> dict[str, Any]:
    """The inputs of a node; none where it has none, or is not there."""
    inside = graph.get(node, {}).get("inputs")
    return inside if isinstance(inside, dict) else {}


def kind(graph: Graph, node: str) -> str:
    """The class of a node."""
    return str(graph.get(node, {}).get("class_type", ""))


def value(graph: Graph, place: Place) -> Any:
    """What an input is given."""
    return given(graph, place.node).get(place.input)


def linked(graph: Graph, place: Place) -> tuple[str, int] | None:
    """The node and the slot behind an input, if there is such a node."""
    target = link(value(graph, place))
    return target if target and target[0] in graph else None


def fits(value: Any, kinds: Kinds) -> bool:
    """Whether a value is of one of these types; a placeholder may be of any."""
    if isinstance(value, bool):
        return bool in kinds
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return isinstance(value, kinds) or bool(placeholder_of(value))


def upstream(graph: Graph, nodes: Iterable[str]) -> list[str]:
    """These nodes and all that they are made of, the nearest first."""
    waiting = deque(nodes)
    seen = dict.fromkeys(waiting)
    while waiting:
        for inside in given(graph, waiting.popleft()).values():
            for name in _sources(inside):
                if name in graph and name not in seen:
                    seen[name] = None
                    waiting.append(name)
    return list(seen)


def travel(
    graph: Graph, starts: Iterable[Place], keys: Callable[[str, int], Iterable[str]]
) -> Iterator[Place]:
    """These inputs and those behind them, depth first, each once.

    `keys` says through which of its inputs the way goes on behind a node's slot.
    """
    waiting = [*starts][::-1]
    seen: set[Place] = set()
    while waiting:
        place = waiting.pop()
        if place in seen:
            continue
        seen.add(place)
        yield place
        if target := linked(graph, place):
            waiting.extend([Place(target[0], key) for key in keys(*target)][::-1])


def literal(graph: Graph, place: Place, kinds: Kinds) -> Place | None:
    """Where the value of an input is written: there, or in a node that only passes it on."""

    def keys(node: str, _slot: int) -> tuple[str, ...]:
        if choice := selected(graph, node):
            return choice.inputs if choice.sure else ()
        return passed(given(graph, node), kinds, place.input)

    return _written(graph, travel(graph, [place], keys), kinds)


def passed(inside: dict[str, Any], kinds: Kinds, wanted: str) -> tuple[str, ...]:
    """The one input that a node with these inputs only passes on, if it is such a node."""
    if len(inside) == 1:
        return tuple(inside)
    if any(link(item) for item in inside.values()):
        return ()
    fitting = [key for key, item in inside.items() if fits(item, kinds)]
    if len(fitting) == 1:
        return tuple(fitting)
    names = SEEDS if wanted in SEEDS else (wanted,)
    # A number among words may be overruled by one of them, such as a ratio by its name.
    plain = len(fitting) == len(inside) or kinds == TEXT or wanted in SEEDS
    return tuple(name for name in names if name in fitting and plain)[:1]


def selected(graph: Graph, node: str) -> Choice | None:
    """What a switch passes on; None if the node is no switch."""
    inside = given(graph, node)
    branches = tuple(key for key in ("on_true", "on_false") if key in inside)
    if branches:
        flag = _selector(graph, node, _FLAGS, FLAG)
        return _choice(branches, {True: "on_true", False: "on_false"}.get(flag, ""))
    named = kind(graph, node).lower()
    numbered = {key: match for key in inside if (match := _NUMBERED.fullmatch(key))}
    if not numbered or ("switch" not in named and "select" not in named):
        return None
    if not any(name in inside for name in _SELECTORS):
        return Choice(tuple(numbered)[:1], True)
    number = _selector(graph, node, _SELECTORS, INTEGER)
    one = next((key for key, match in numbered.items() if int(match[1]) == number), "")
    return _choice(tuple(numbered), one)


def outputs(graph: Graph) -> list[str]:
    """The nodes that a server runs a graph for, those that save first."""
    named = [node for node in graph if _saves(graph, node)]
    named += [node for node in graph if kind(graph, node) == "PreviewImage"]
    if named:
        return named
    used = {
        name for node in graph for item in given(graph, node).values() for name in _sources(item)
    }
    return [node for node in graph if node not in used] or list(graph)


def _saves(graph: Graph, node: str) -> bool:
    return kind(graph, node) in _SAVERS or "filename_prefix" in given(graph, node)


def _sources(item: Any) -> Iterator[str]:
    """The nodes that a value is linked to, however deep the links lie in it."""
    waiting = [item]
    while waiting:
        item = waiting.pop()
        if target := link(item):
            yield target[0]
        elif isinstance(item, list | dict):
            waiting.extend([*(item.values() if isinstance(item, dict) else item)][::-1])


def _choice(names: tuple[str, ...], one: str) -> Choice:
    return Choice((one,), True) if one in names else Choice(names, False)


def _selector(graph: Graph, node: str, names: Iterable[str], kinds: Kinds) -> Any:
    """What a switch is set to; None if that is computed."""
    inside = given(graph, node)
    for name in names:
        if name in inside:
            # Not through other switches: two of them could turn each other.
            way = travel(graph, [Place(node, name)], _simple(graph, kinds, name))
            found = _written(graph, way, kinds)
            chosen = value(graph, found) if found else None
            return None if isinstance(chosen, str) else chosen
    return None


def _simple(graph: Graph, kinds: Kinds, name: str) -> Callable[[str, int], tuple[str, ...]]:
    return lambda node, _slot: passed(given(graph, node), kinds, name)


def _written(graph: Graph, way: Iterable[Place], kinds: Kinds) -> Place | None:
    for place in way:
        if link(item := value(graph, place)) is None:
            return place if fits(item, kinds) else None
    return None
