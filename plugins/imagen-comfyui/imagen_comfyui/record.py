"""What is kept of a making: in the picture's metadata here, and in the server's own PNG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen_comfyui.graph import Graph, inputs, link, placeholders
from imagen_comfyui.workflow import digest

if TYPE_CHECKING:
    from imagen_comfyui.backend import ComfyBackend
    from imagen_comfyui.probe import System
    from imagen_core import Request

USED = ("steps", "cfg", "denoise")
TOLD = frozenset({*USED, "prompt", "seed", "sampler", "scheduler", "width", "height"})
"""Placeholders whose values have a key of their own; the others are kept as `values`."""


def metadata(backend: ComfyBackend, request: Request, *, graph: Graph) -> dict[str, Any]:
    """What made a picture: the values as they stand in the graph that was sent."""
    workflow = backend.workflow
    places = placeholders(workflow.graph)

    def used(name: str) -> Any:
        return next((graph[p.node]["inputs"].get(p.input) for p in places.get(name, ())), None)

    settable = {**backend.values, **request.params}
    told = TOLD - {"prompt"} if used("prompt") not in (None, request.prompt) else TOLD
    by_hand = {str(place): value for place, value in inputs(graph) if str(place) in settable}

    return {
        "model": backend.about.model,
        "workflow": workflow.name,
        "workflow_hash": digest(workflow.graph),
        "seed_used": used("seed"),
        **{name: used(name) for name in USED if name in places},
        "sampler": used("sampler") or _of_samplers(graph, "sampler_name", "sampler"),
        "scheduler": used("scheduler") or _of_samplers(graph, "scheduler", "sigmas"),
        "width": used("width"),
        "height": used("height"),
        "values": {name: used(name) for name in places if name not in told} | by_hand,
    }


def system(found: System | None) -> dict[str, Any]:
    """What the server said of itself, if it did."""
    if found is None:
        return {}
    return {"server_version": found.version, "vram_used_mib": found.used_mib}


def _of_samplers(graph: Graph, name: str, source: str) -> Any:
    """What a sampler is given as this; where another node makes it, that node's class."""
    for place, value in inputs(graph):
        if place.input == name and isinstance(value, str):
            return value
        if place.input == source and (linked := link(value)) and linked[0] in graph:
            return graph[linked[0]]["class_type"]
    return None


def extra_data(backend: ComfyBackend, request: Request) -> dict[str, Any]:
    """What goes along with a prompt; its `extra_pnginfo` is written into the PNG at the server."""
    from imagen_core import __version__

    request_of = {
        "imagen": __version__,
        "id": request.id,
        "backend": request.backend,
        "workflow": backend.workflow.name,
        "workflow_hash": digest(backend.workflow.graph),
        "prompt": request.typed_prompt,
        "effective_prompt": request.prompt,
        "negative": request.negative,
        "style": request.style,
        "seed": request.seed,
        "steps": request.steps,
        "width": request.width,
        "height": request.height,
        "params": request.params,
        "images": [{"name": image.name, "sha256": image.sha256} for image in request.images],
    }
    found: dict[str, Any] = {"extra_pnginfo": {"imagen": request_of}}
    if method := backend.config.preview_method:
        found["preview_method"] = method
    return found
