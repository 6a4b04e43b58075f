"""The samplers of a graph, what belongs to each of them, and the size that one begins with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from imagen_comfyui.graph import Graph, Place, link, placeholder_of
from imagen_comfyui.mapping.walk import (
    INTEGER,
    SEEDS,
    Kinds,
    given,
    kind,
    linked,
    literal,
    outputs,
    selected,
    travel,
    upstream,
    value,
)

SIDES = (
    ("width", "height"),
    ("target_width", "target_height"),
    ("empty_latent_width", "empty_latent_height"),
)
"""The inputs that a node may take a size by."""

LARGEST = 16_384
SMALLEST = 16

_PARTS = ("noise", "guider", "sampler", "sigmas")
_LATENTS = ("latent_image", "latent")
_BESIDE = ("cond", "model", "clip", "vae", "positive", "negative", "control_net", "mask")


class Canvas(NamedTuple):
    """The node that the base sampler's latent has its size from, and whether it is a picture."""

    node: str
    drawn_on: bool


class Extent(NamedTuple):
    """A size, and where its two sides are written. A side may be a placeholder already."""

    sides: tuple[Any, Any]
    places: tuple[Place, Place]


def samplers(graph: Graph) -> list[str]:
    """The samplers that the outputs are made by: the base, which begins, then the others."""
    found = [node for node in upstream(graph, outputs(graph)) if _samples(given(graph, node))]
    if not found:
        return []
    first = _base(graph, found)
    return [first, *(node for node in found if node != first)]


def parts(graph: Graph, sampler: str) -> list[str]:
    """A sampler and the nodes that set it: for its noise, guidance, method and schedule."""

    def keys(node: str, _slot: int) -> tuple[str, ...]:
        if choice := selected(graph, node):
            return choice.inputs[:1]
        return _present(given(graph, node), _PARTS) or _only(given(graph, node))

    starts = [Place(sampler, key) for key in _present(given(graph, sampler), _PARTS)]
    found = (linked(graph, place) for place in travel(graph, starts, keys))
    return list(dict.fromkeys([sampler, *(target[0] for target in found if target)]))


def sought(graph: Graph, nodes: Iterable[str], keys: Iterable[str], kinds: Kinds) -> Place | str:
    """Where the first of these inputs is written, or why that can't be told."""
    nodes = list(nodes)
    reason = f"no input for it in {', '.join(kind(graph, node) for node in nodes)}"
    places = (Place(node, key) for node in nodes for key in keys if key in given(graph, node))
    for place in places:
        if found := literal(graph, place, kinds):
            return found
        target = linked(graph, place)
        by = f"is computed by {kind(graph, target[0])}" if target else "has no such value"
        reason = f"{place} {by}"
    return reason


def seed(graph: Graph, nodes: Iterable[str]) -> Place | str:
    """Where the seed of a sampler with these parts is written, or why that can't be told."""
    return sought(graph, nodes, SEEDS, INTEGER)


def conditioning(graph: Graph, nodes: Iterable[str], side: str) -> Place | None:
    """The input for one side of the prompt, of a sampler with these parts."""
    keys = (side, "conditioning", "cond1") if side == "positive" else (side,)
    places = (Place(node, key) for node in nodes for key in keys)
    return next((place for place in places if link(value(graph, place))), None)


def canvas(graph: Graph, sampler: str) -> Canvas:
    """What the sampler draws on; its node is empty where no node with a size is found."""
    starts = [Place(sampler, key) for key in _present(given(graph, sampler), _LATENTS)]
    way = travel(graph, starts, lambda node, _slot: _drawn(graph, node))
    nodes = list(dict.fromkeys(target[0] for place in way if (target := linked(graph, place))))
    sized = [node for node in nodes if _pairs(given(graph, node))]
    empty = [node for node in sized if "Empty" in kind(graph, node)]
    pictures = any("LoadImage" in kind(graph, node) for node in nodes)
    return Canvas(next(iter(empty or sized), ""), pictures)


def extents(graph: Graph, node: str) -> Iterator[Extent]:
    """The sizes that a node is given, where both sides are written somewhere."""
    for pair in _pairs(given(graph, node)):
        found = [literal(graph, Place(node, key), INTEGER) for key in pair]
        width, height = found
        if width and height:
            yield Extent((value(graph, width), value(graph, height)), (width, height))


def is_size(extent: Extent) -> bool:
    """Whether the sides are separate, and each is a number of pixels or a placeholder."""
    usable = (placeholder_of(side) or SMALLEST <= side <= LARGEST for side in extent.sides)
    return extent.places[0] != extent.places[1] and all(usable)


def _samples(inside: dict[str, Any]) -> bool:
    steers = "guider" in inside or "noise" in inside or bool(_present(inside, SEEDS))
    scheduled = "positive" in inside and "steps" in inside
    return bool(_present(inside, _LATENTS)) and (steers or scheduled)


def _base(graph: Graph, found: list[str]) -> str:
    """The sampler that needs no other; or else the one whose latent needs no other."""
    for node in found:
        if not set(found) & set(upstream(graph, [node])[1:]):
            return node
    for node in found:
        starts = [Place(node, key) for key in _present(given(graph, node), _LATENTS)]
        targets = [target[0] for place in starts if (target := linked(graph, place))]
        if not set(found) & set(upstream(graph, targets)):
            return node
    return found[0]


def _drawn(graph: Graph, node: str) -> tuple[str, ...]:
    """The inputs through which a picture or a latent comes into a node."""
    if choice := selected(graph, node):
        return choice.inputs
    inside = given(graph, node)
    sides = {key for pair in SIDES for key in pair}
    return tuple(key for key in inside if key not in sides and not key.startswith(_BESIDE))


def _pairs(inside: dict[str, Any]) -> list[tuple[str, str]]:
    return [pair for pair in SIDES if all(key in inside for key in pair)]


def _present(inside: dict[str, Any], keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(key for key in keys if key in inside)


def _only(inside: dict[str, Any]) -> tuple[str, ...]:
    return tuple(inside) if len(inside) == 1 else ()
