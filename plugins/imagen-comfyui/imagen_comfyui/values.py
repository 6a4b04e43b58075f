"""What can be set in a workflow, what is set, and the graph that comes of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from imagen_comfyui.graph import Graph, fill, image_number, inputs, placeholder_of, placeholders
from imagen_comfyui.manifest import FILES, GIVEN, KINDS, TYPES, ParamKind
from imagen_core import Param

if TYPE_CHECKING:
    from imagen_comfyui.workflow import Workflow
    from imagen_core import Request

_RUN = re.compile(r"-?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")

SETTABLE = ("filename_prefix", "image")
"""Placeholders that imagen fills in, and that `-p` may set all the same."""


def declared(workflow: Workflow) -> tuple[Param, ...]:
    """Every parameter of the workflow, then every input of its nodes by `NODE.INPUT`."""
    named = (replace(param, local=_is_a_file(param.name)) for param in _parameters(workflow))
    return (*named, *_node_inputs(workflow.graph))


def image_names(graph: Graph) -> list[str]:
    """The placeholders for input images, in their order: image, image2, image3 …"""
    found = (name for name in placeholders(graph) if image_number(name) is not None)
    return sorted(found, key=lambda name: image_number(name) or 0)


def build(
    workflow: Workflow, request: Request, *, values: Mapping[str, Any], images: Mapping[str, str]
) -> Graph:
    """The graph for this Request: a pure function. `images`: the server's name of each one."""
    given: dict[str, Any] = {**values, **request.params}
    typed = {"prompt": request.prompt, "negative": request.negative}
    given |= {name: text for name, text in typed.items() if text or name not in given}
    given |= {"seed": request.seed, "width": request.width, "height": request.height}
    given |= {"steps": request.steps} if request.steps is not None else {}
    prefix = own_prefix(str(given.get("filename_prefix", "")), request.id)
    given |= {"filename_prefix": prefix, **images}
    own = _own_prefixes(workflow.graph, request.id)
    return fill(workflow.graph, own | given, name=workflow.name)


def own_prefix(prefix: str, name: str) -> str:
    """A prefix that no other run has: so no file is shared, and none is served from a cache."""
    if not prefix:
        return f"imagen/{name}"
    return f"{prefix}{name}" if prefix.endswith("/") else f"{prefix}-{name}"


def bare_prefix(prefix: str) -> str:
    """A prefix without the id of the run that it was of."""
    return _RUN.sub("", prefix)


def model_name(workflow: Workflow, values: Mapping[str, Any]) -> str:
    """What to call the model: its main file, or the workflow where no file is known."""
    used = placeholders(workflow.graph)
    named = (str(values[name]) for name in FILES if name in used and values.get(name))
    literal = (
        value
        for place, value in inputs(workflow.graph)
        if place.input in ("unet_name", "ckpt_name") and isinstance(value, str)
    )
    return next(named, "") or next((v for v in literal if not placeholder_of(v)), workflow.name)


def _parameters(workflow: Workflow) -> Iterator[Param]:
    graph, manifest = workflow.graph, workflow.manifest
    files = {model.placeholder: model for model in manifest.models}
    for name, places in placeholders(graph).items():
        if name == "steps" or (name in GIVEN and name not in SETTABLE):
            continue
        if name in manifest.parameters:
            yield manifest.parameters[name].param(name)
        elif name == "filename_prefix":
            yield Param(name=name, help="how the file names on the server begin")
        elif name in files:
            model = files[name]
            yield Param(name=name, default=model.file, help=f"a file of {model.folder}")
        else:
            text = name in FILES or name in SETTABLE or image_number(name) is not None
            told = f"what goes into {', '.join(map(str, places))}"
            kind: ParamKind = TYPES.get(name, "json")
            yield Param(name=name, type="str" if text else kind, help=told)


def _is_a_file(name: str) -> bool:
    """Whether it names a picture at the server, or where one goes."""
    return name in SETTABLE or image_number(name) is not None


def _node_inputs(graph: Graph) -> Iterator[Param]:
    for place, value in inputs(graph):
        kind: ParamKind = KINDS.get(type(value), "json")
        kind = "json" if placeholder_of(value) else kind
        yield Param(name=str(place), type=kind, listed=False)


def _own_prefixes(graph: Graph, name: str) -> dict[str, str]:
    """The fixed prefixes of a graph, each as this run's own; one that is set by hand stays."""
    fixed = (
        (place, value)
        for place, value in inputs(graph)
        if place.input == "filename_prefix" and isinstance(value, str)
    )
    return {
        str(place): own_prefix(value, name) for place, value in fixed if not placeholder_of(value)
    }
