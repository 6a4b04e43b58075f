"""A graph as somebody exported it, made a workflow: placeholders where imagen's values go."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import chain, count
from typing import Any, NamedTuple

from imagen_comfyui.graph import (
    EXPORT_HINT,
    Graph,
    Place,
    image_number,
    parse_graph,
    placeholder_of,
)
from imagen_comfyui.manifest import Manifest, Size
from imagen_comfyui.mapping.draft import WANTED, Draft
from imagen_comfyui.mapping.files import Loaded, loaded, models
from imagen_comfyui.mapping.sampler import (
    Extent,
    canvas,
    conditioning,
    extents,
    is_size,
    parts,
    samplers,
    seed,
    sought,
)
from imagen_comfyui.mapping.texts import Route, Words, guidance, route
from imagen_comfyui.mapping.walk import (
    INTEGER,
    NUMBER,
    TEXT,
    given,
    kind,
    literal,
    outputs,
    upstream,
    value,
)
from imagen_comfyui.values import bare_prefix
from imagen_core import ConfigError, png_texts

_PICTURES = ("LoadImage", "LoadImageMask")
_MULTIPLES = {"EmptySD3LatentImage": 16, "EmptyFlux2LatentImage": 16}


class Mapped(NamedTuple):
    """A graph with placeholders, its manifest, and what was found where.

    `missing` has a reason for each of prompt, negative, seed, steps, cfg, sampler, scheduler and
    size that was not found. `values` are the graph's own, by placeholder: of texts that became
    one, the first that says something. `notes` tell what was found and may not be meant.
    """

    graph: Graph
    manifest: Manifest
    mapped: dict[str, tuple[Place, ...]]
    missing: dict[str, str]
    values: dict[str, Any]
    notes: tuple[str, ...]


def map_graph(graph: Graph) -> Mapped:
    """The graph with every placeholder that can be told; it raises for no graph, however odd."""
    draft = Draft(graph)
    reached = upstream(graph, outputs(graph))
    if found := samplers(graph):
        _map_sampling(draft, found)
    else:
        draft.missing = dict.fromkeys(WANTED, "the graph has no sampler")
    _map_images(draft, [*upstream(graph, found[:1]), *reached])
    files = loaded(graph, reached)
    for file in files:
        if file.placeholder:
            draft.put(file.placeholder, [file.place])
    _map_prefix(draft)
    return _mapped(draft, files)


def _mapped(draft: Draft, files: list[Loaded]) -> Mapped:
    mapped = draft.mapped()
    manifest = Manifest(
        size=draft.size,
        parameters=draft.parameters(mapped),
        models=models(files),
        nodes=tuple(sorted({kind(draft.graph, node) for node in draft.graph})),
        negative=True if "negative" in mapped else draft.negative,
        images=sum(image_number(name) is not None for name in mapped),
    )
    reasons, notes = draft.reasons(mapped), tuple(draft.notes)
    return Mapped(draft.written(), manifest, mapped, reasons, draft.values, notes)


def read_png_graph(data: bytes, file: str) -> Graph:
    """The graph that ComfyUI put into a picture; a ConfigError says what is missing there."""
    try:
        found = png_texts(data)
    except ValueError as error:
        raise ConfigError(str(error), file=file, hint="or give the graph itself as JSON") from error
    if "prompt" in found:
        return parse_graph(found["prompt"], file)
    if "workflow" in found:
        raise ConfigError(
            "only what ComfyUI's editor shows is in this picture, not the graph for a server",
            file=file,
            hint=f"open it in ComfyUI, then {EXPORT_HINT.removeprefix('in ComfyUI, ')}",
        )
    raise ConfigError(
        "there is no graph in this picture",
        file=file,
        hint="only a PNG as ComfyUI saved it has one, and a server may be told to leave it out",
    )


def _map_sampling(draft: Draft, found: list[str]) -> None:
    graph, (base, *later) = draft.graph, found
    own = parts(graph, base)
    _map_seeds(draft, [own, *(parts(graph, node) for node in later)])
    _map_settings(draft, base, own)
    _map_shared_steps(draft, base, later)
    _map_texts(draft, [own, *(parts(graph, node) for node in later)])
    _map_size(draft, base, later)


def _map_seeds(draft: Draft, members: list[list[str]]) -> None:
    """One seed for all samplers; the base one's is the default."""
    found = [seed(draft.graph, nodes) for nodes in members]
    places = [place for place in found if isinstance(place, Place)]
    draft.settle("seed", found[0] if not places else places[0])
    draft.put("seed", places)


def _map_settings(draft: Draft, base: str, own: list[str]) -> None:
    graph = draft.graph
    # A node that only cuts or stretches a schedule has the schedule's own node behind it.
    plain = [node for node in own if node == base or "sigmas" not in given(graph, node)]
    draft.settle("steps", sought(graph, plain, ["steps"], INTEGER))
    draft.settle("cfg", sought(graph, own, ["cfg"], NUMBER))
    draft.settle("sampler", sought(graph, own, ["sampler_name"], TEXT))
    draft.settle("scheduler", sought(graph, plain, ["scheduler"], TEXT))
    denoise = sought(graph, plain, ["denoise"], NUMBER)
    if isinstance(denoise, Place) and (canvas(graph, base).drawn_on or value(graph, denoise) != 1):
        draft.put("denoise", [denoise])


def _map_shared_steps(draft: Draft, base: str, later: list[str]) -> None:
    """Samplers that share one schedule, each its own span of it, have one number of steps."""
    if kind(draft.graph, base) != "KSamplerAdvanced":
        return
    for node in later:
        found = literal(draft.graph, Place(node, "steps"), INTEGER)
        same = found and value(draft.graph, found) == draft.values.get("steps")
        if found and same and kind(draft.graph, node) == "KSamplerAdvanced":
            draft.put("steps", [found])


def _map_texts(draft: Draft, members: list[list[str]]) -> None:
    sides = {side: _routes(draft.graph, members, side) for side in ("positive", "negative")}
    prompt = _map_text(draft, "prompt", sides["positive"])
    if sides["positive"][0] and (place := guidance(draft.graph, sides["positive"][0].nodes)):
        draft.put("guidance", [place])
    own = sides["negative"][0]
    if own is None:
        draft.negative, draft.missing["negative"] = False, "the sampler takes none"
    elif not own.words and any(kind(draft.graph, n) == "ConditioningZeroOut" for n in own.nodes):
        draft.negative, draft.missing["negative"] = False, "ConditioningZeroOut stands in for it"
    elif own.words and set(_chosen(own).places) <= set(prompt):
        draft.negative, draft.missing["negative"] = False, "it is the same text as the prompt"
    else:
        _map_text(draft, "negative", sides["negative"])


def _routes(graph: Graph, members: list[list[str]], side: str) -> list[Route | None]:
    starts = (conditioning(graph, nodes, side) for nodes in members)
    return [route(graph, place, side) if place else None for place in starts]


def _map_text(draft: Draft, name: str, routes: list[Route | None]) -> tuple[Place, ...]:
    """The text of the base sampler, and the others that read the same."""
    own = routes[0]
    if own is None or not own.words:
        draft.missing[name] = "no text is found behind the sampler"
        return ()
    words = _chosen(own)
    alike = (place for found in routes if found for place in found.like(words.text))
    places = tuple(dict.fromkeys([*words.places, *alike]))
    draft.put(name, places, default=words.text)
    doubts = list(own.doubts)
    if not doubts and len({other.text for other in own.words}) > 1:
        doubts.append("several texts lead to the sampler")
    draft.notes += [f"{name}: {doubt}; {places[0]} is taken" for doubt in dict.fromkeys(doubts)]
    return places


def _chosen(found: Route) -> Words:
    return next((words for words in found.words if words.text), found.words[0])


def _map_size(draft: Draft, base: str, later: list[str]) -> None:
    graph = draft.graph
    node = canvas(graph, base).node
    found = next(extents(graph, node), None)
    if found is None or not is_size(found):
        draft.missing["size"] = _why_no_size(graph, node, found)
        return
    like = _like(graph, found, upstream(graph, [base, *later]))
    for extent in (found, *like):
        draft.put("width", extent.places[:1])
        draft.put("height", extent.places[1:])
    if not any(placeholder_of(side) for side in found.sides):
        multiple = math.gcd(_MULTIPLES.get(kind(graph, node), 8), *found.sides)
        default = "x".join(str(side) for side in found.sides)
        draft.size = Size(default=default, multiple=multiple)


def _why_no_size(graph: Graph, node: str, found: Extent | None) -> str:
    if not node:
        return "no node with a size leads to the sampler"
    named = f"{kind(graph, node)} (node {node})"
    if found is None:
        return f"the size of {named} is computed"
    if found.places[0] == found.places[1]:
        return f"width and height of {named} are one value"
    return f"{found.sides[0]}x{found.sides[1]} of {named} is no size of a picture"


def _like(graph: Graph, size: Extent, nodes: Iterable[str]) -> list[Extent]:
    """The same size elsewhere, such as in a schedule that depends on it."""
    found = (extent for node in nodes for extent in extents(graph, node))
    return [extent for extent in found if extent.sides == size.sides]


def _map_images(draft: Draft, nodes: Iterable[str]) -> None:
    """The input images, the nearest first and masks after them; one file is one image."""
    graph = draft.graph
    near = list(dict.fromkeys(nodes))
    loaders = [node for name in _PICTURES for node in near if kind(graph, node) == name]
    found = (literal(graph, Place(node, "image"), TEXT) for node in loaders)
    places = [place for place in found if place]
    taken = {placeholder_of(value(graph, place)) for place in places}
    free = (name for name in _image_names() if name not in taken)
    names: dict[str, str] = {}
    for place in places:
        file = value(graph, place)
        if not placeholder_of(file):
            names[file] = names.get(file) or next(free)
            draft.put(names[file], [place])


def _image_names() -> Iterator[str]:
    return chain(["image"], (f"image{number}" for number in count(2)))


def _map_prefix(draft: Draft) -> None:
    """The file names of the outputs, where they begin as the first one's do."""
    graph = draft.graph
    places = [
        place
        for node in outputs(graph)
        if (place := literal(graph, Place(node, "filename_prefix"), TEXT))
    ]
    same = [place for place in places if value(graph, place) == value(graph, places[0])]
    default = bare_prefix(value(graph, same[0])) if same else ""
    draft.put("filename_prefix", same, default=default or None)
