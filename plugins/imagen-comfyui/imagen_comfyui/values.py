"""What can be set in a workflow, what is set, and the graph that comes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from imagen_comfyui.graph import Graph, fill, image_number, inputs, placeholder_of, placeholders
from imagen_comfyui.manifest import FILES, GIVEN, KINDS, TYPES, Parameter, ParamKind, Size
from imagen_core import ConfigError, ConfigErrors, Param, UsageError, check_param

if TYPE_CHECKING:
    from imagen_comfyui.config import ComfyConfig
    from imagen_comfyui.workflow import Workflow
    from imagen_core import Request

SETTABLE = ("filename_prefix", "image")
"""Placeholders that imagen fills in, and that `-p` may set all the same."""


def declared(workflow: Workflow) -> tuple[Param, ...]:
    """Every parameter of the workflow, then every input of its nodes by `NODE.INPUT`."""
    return (*_parameters(workflow), *_node_inputs(workflow.graph))


def settings(workflow: Workflow, config: ComfyConfig) -> dict[str, Any]:
    """The values of manifest and block, the block's first; a ConfigError names a bad key."""
    params = {param.name: param for param in declared(workflow)}
    values = {name: p.default for name, p in params.items() if p.default is not None}
    for name, parameter in workflow.manifest.parameters.items():
        if name not in params and parameter.default is not None:
            params[name] = _param(name, parameter)
            values[name] = parameter.default
    problems: list[ConfigError] = []
    for name, key, value in _set(config):
        try:
            values[name] = _checked(workflow, params, name, value, in_params="." in key)
        except UsageError as error:
            problems.append(ConfigError(error.message, key=key, hint=error.hint))
    if problems:
        raise ConfigErrors.of(problems)
    return values


def image_names(graph: Graph) -> list[str]:
    """The placeholders for input images, in their order: image, image2, image3 …"""
    found = (name for name in placeholders(graph) if image_number(name) is not None)
    return sorted(found, key=lambda name: image_number(name) or 0)


def build(
    workflow: Workflow, values: Mapping[str, Any], request: Request, images: Mapping[str, str]
) -> Graph:
    """The graph for this Request: a pure function. `images`: the server's name of each one."""
    given: dict[str, Any] = {**values, **request.params}
    places = placeholders(workflow.graph)
    for place in (place for name in request.params for place in places.get(name, ())):
        if str(place) not in request.params:
            given.pop(str(place), None)  # what was typed counts more than what the block sets
    typed = {"prompt": request.prompt, "negative": request.negative}
    given |= {name: text for name, text in typed.items() if text or name not in given}
    given |= {"seed": request.seed, "width": request.width, "height": request.height}
    given |= {"steps": request.steps} if request.steps is not None else {}
    prefix = own_prefix(str(given.get("filename_prefix", "")), request.id)
    given |= {"filename_prefix": prefix, **images}
    return _own_files(fill(workflow.graph, given, name=workflow.name), workflow, request)


def own_prefix(prefix: str, name: str) -> str:
    """A prefix that no other run has: so no file is shared, and none is served from a cache."""
    if not prefix:
        return f"imagen/{name}"
    return f"{prefix}{name}" if prefix.endswith("/") else f"{prefix}-{name}"


def check_size(workflow: Workflow, width: int, height: int) -> None:
    """Refuse a size that the model does not make."""
    size = workflow.manifest.size
    sides = (width, height)
    if all(size.minimum <= side <= size.maximum and side % size.multiple == 0 for side in sides):
        return
    nearest = "x".join(str(_nearest(side, size)) for side in sides)
    raise UsageError(
        f"the workflow '{workflow.name}' makes pictures of {size.minimum} to {size.maximum} pixels "
        f"a side, in multiples of {size.multiple}; {width}x{height} is none",
        hint=f"the nearest is --size {nearest}",
    )


def check_steps(workflow: Workflow, steps: int | None) -> None:
    """Refuse a number of steps out of the manifest's range."""
    if steps is not None and (parameter := workflow.manifest.parameters.get("steps")):
        check_param(_param("steps", parameter), steps)


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
        if name == "filename_prefix":
            yield Param(name=name, help="how the file names on the server begin")
        elif name in manifest.parameters:
            yield _param(name, manifest.parameters[name])
        elif name in files:
            model = files[name]
            yield Param(name=name, default=model.file, help=f"a file of {model.folder}")
        else:
            text = name in FILES or name in SETTABLE or image_number(name) is not None
            told = f"what goes into {', '.join(map(str, places))}"
            kind: ParamKind = TYPES.get(name, "json")
            yield Param(name=name, type="str" if text else kind, help=told)


def _param(name: str, parameter: Parameter) -> Param:
    return Param(
        name=name,
        type=parameter.type,
        default=parameter.default,
        minimum=parameter.minimum,
        maximum=parameter.maximum,
        choices=parameter.choices,
        help=parameter.help,
    )


def _node_inputs(graph: Graph) -> Iterator[Param]:
    for place, value in inputs(graph):
        kind: ParamKind = KINDS.get(type(value), "json")
        kind = "json" if placeholder_of(value) else kind
        yield Param(name=str(place), type=kind, listed=False)


def _set(config: ComfyConfig) -> Iterator[tuple[str, str, Any]]:
    """What the block sets: each placeholder or parameter with its key there and its value."""
    for name in (*GIVEN, *TYPES, *FILES):
        if (value := getattr(config, name)) is not None:
            yield name, name, value
    if config.size:
        width, _, height = config.size.partition("x")
        yield "width", "size", int(width)
        yield "height", "size", int(height)
    for name, value in config.params.items():
        yield name, f"params.{name}", value


def _checked(
    workflow: Workflow, params: Mapping[str, Param], name: str, value: Any, *, in_params: bool
) -> Any:
    """The value with its type, if it is that of something that the workflow has."""
    used = placeholders(workflow.graph)
    if name in params:
        return check_param(params[name], value)
    if name in used and not in_params:
        return value
    if in_params:
        listed = ", ".join(sorted(param.name for param in params.values() if param.listed))
        told = f"the workflow '{workflow.name}' has no such parameter"
        raise UsageError(told, hint=f"it has {listed}; or NODE.INPUT")
    told = f"the workflow '{workflow.name}' has no placeholder ${{{name}}}"
    raise UsageError(told, hint=f"it has {', '.join(sorted(used))}")


def _own_files(graph: Graph, workflow: Workflow, request: Request) -> Graph:
    """A fixed `filename_prefix` becomes this run's own, too, unless it was set by hand."""
    found = dict(graph)
    for place, value in inputs(workflow.graph):
        fixed = isinstance(value, str) and not placeholder_of(value)
        if place.input == "filename_prefix" and fixed and str(place) not in request.params:
            node = found[place.node]
            prefix = own_prefix(str(value), request.id)
            found[place.node] = {**node, "inputs": {**node["inputs"], place.input: prefix}}
    return found


def _nearest(side: int, size: Size) -> int:
    fitting = max(size.minimum, min(size.maximum, side))
    low = fitting // size.multiple * size.multiple
    options = [side for side in (low, low + size.multiple) if size.minimum <= side <= size.maximum]
    return min(options, key=lambda option: abs(option - fitting), default=fitting)
