"""What a workflow can't take of a Request: told before anybody is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from imagen_comfyui import values
from imagen_comfyui.graph import placeholders
from imagen_core import UsageError, check_param, damage

if TYPE_CHECKING:
    from imagen_comfyui.workflow import Workflow
    from imagen_core import Request

TEXTS = frozenset({"text", "prompt", "string", "value", "text_g", "text_l", "clip_l", "t5xxl"})
"""Inputs by which a prompt may be set by hand, where the graph has no placeholder for it."""

_FLAGS = {
    "steps": "--steps",
    "seed": "--seed",
    "width": "--size",
    "height": "--size",
    "negative": "--negative",
    "prompt": "the prompt itself",
}


def check_request(workflow: Workflow, request: Request, *, settings: Mapping[str, Any]) -> None:
    """Raise a UsageError for whatever of this Request the workflow can't take."""
    given = {**settings, **request.params}
    if {"width", "height"} <= set(placeholders(workflow.graph)):
        check_size(workflow, request.width, request.height)
    if request.steps is not None and (steps := workflow.manifest.parameters.get("steps")):
        check_param(steps.param("steps"), request.steps)
    check_prefix(str(given.get("filename_prefix", "")))
    _check_node_inputs(workflow, request)
    _check_prompt(workflow, given)
    names = _check_images(workflow, request, given=given)
    values.build(workflow, request, values=settings, images=dict.fromkeys(names, "image"))


def check_size(workflow: Workflow, width: int, height: int) -> None:
    """Refuse a size that the model does not make."""
    size = workflow.manifest.size
    if size.takes(width) and size.takes(height):
        return
    raise UsageError(
        f"the workflow '{workflow.name}' makes pictures of {size.minimum} to {size.maximum} pixels "
        f"a side, in multiples of {size.multiple}; {width}x{height} is none",
        hint=f"the nearest is {size.nearest(width)}x{size.nearest(height)}",
    )


def check_prefix(prefix: str) -> None:
    """Refuse a prefix that leads out of the server's output folder."""
    parts = prefix.replace("\\", "/").split("/")
    if ".." in parts or (prefix and not parts[0]):
        raise UsageError(
            f"the prefix '{prefix}' leads out of the server's output folder",
            hint="leave out '..' and a slash at its beginning",
        )


def placeholder_at(workflow: Workflow, name: str) -> str:
    """The placeholder that stands at a `NODE.INPUT`; empty if none does."""
    used = placeholders(workflow.graph)
    return next((held for held, places in used.items() if name in map(str, places)), "")


def _check_node_inputs(workflow: Workflow, request: Request) -> None:
    """An input that is a placeholder is set by that alone: two ways would contradict each other."""
    for name in request.params:
        if held := placeholder_at(workflow, name):
            raise UsageError(
                f"the input {name} is the placeholder ${{{held}}}",
                hint=f"set it with {_FLAGS.get(held, f'-p {held}=VALUE')}",
            )


def _check_prompt(workflow: Workflow, given: Mapping[str, Any]) -> None:
    by_hand = {name.rpartition(".")[2] for name in given if "." in name}
    if "prompt" not in placeholders(workflow.graph) and not by_hand & TEXTS:
        raise UsageError(
            f"the workflow '{workflow.name}' has no place for the prompt",
            hint='write "${prompt}" where it belongs, or set the input with -p NODE.INPUT=TEXT',
        )


def _check_images(workflow: Workflow, request: Request, *, given: Mapping[str, Any]) -> list[str]:
    """Refuse too many, too few or broken images; returns the placeholders that they are for."""
    names, number = values.image_names(workflow.graph), len(request.images)
    takes = f"{len(names) or 'no'} input image{'' if len(names) == 1 else 's'}"
    if number > len(names):
        raise UsageError(f"the workflow '{workflow.name}' takes {takes}, got {number}")
    if lacking := [name for name in names[number:] if name not in given]:
        raise UsageError(
            f"the workflow '{workflow.name}' needs {takes}",
            hint=f"give {len(lacking)} more with --image PATH",
        )
    for image in request.images:
        if image.data and (problem := damage(image.data)):
            raise UsageError(f"the input image {image.name} is damaged: {problem}")
    return names[:number]
