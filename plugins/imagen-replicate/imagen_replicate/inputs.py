"""The input of a prediction: a pure function of the model, the block and the Request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from imagen_core import UsageError, check_param, damage, suggestion
from imagen_replicate.sizes import SHAPES, Fit, fit

if TYPE_CHECKING:
    from imagen_core import Request
    from imagen_replicate.config import ReplicateConfig
    from imagen_replicate.model import Model

USUAL_SIZE = "1024x1024"
"""What imagen asks for where neither the user nor the block nor the model names a size."""


def natural_size(model: Model) -> str:
    """The size that the model itself would choose, where it tells one, as WIDTHxHEIGHT."""
    width, height, size = (model.default(name) for name in ("width", "height", "size"))
    if isinstance(width, int) and isinstance(height, int):
        return f"{width}x{height}"
    sides = str(size).lower().split("x")
    return f"{sides[0]}x{sides[1]}" if len(sides) == 2 and all(map(str.isdigit, sides)) else ""


def fitted(model: Model, config: ReplicateConfig, request: Request) -> Fit:
    """What to send for the Request's size, and what comes of it."""
    return fit(
        model,
        request.width,
        request.height,
        images=bool(request.images),
        asked=is_asked(model, config, request),
        fixed={**config.params, **request.params},
    )


def is_asked(model: Model, config: ReplicateConfig, request: Request) -> bool:
    """Whether somebody named this size, as far as it can be told from a usual one."""
    size = f"{request.width}x{request.height}"
    by_hand = any(name in request.params for name in SHAPES)
    return bool(config.size) or by_hand or size not in (natural_size(model), USUAL_SIZE)


def takes_size(model: Model) -> bool:
    """Whether a size can be said to the model in any way."""
    return any(name in model.inputs for name in (*SHAPES, "width"))


def build(
    model: Model, config: ReplicateConfig, request: Request, images: Sequence[str] = ()
) -> dict[str, Any]:
    """All that is sent but for secrets; `images` are the addresses of the input images."""
    fixed = {**config.params, **request.params}
    found: dict[str, Any] = {"prompt": request.prompt}
    if model.takes_negative and request.negative:
        found["negative_prompt"] = request.negative
    if model.takes_seed:
        found["seed"] = request.seed
    if model.steps_key and request.steps is not None:
        found[model.steps_key] = request.steps
    if images and model.image_key:
        many = model.inputs[model.image_key].type == "array"
        found[model.image_key] = list(images) if many else images[0]
    sized = fitted(model, config, request).inputs
    return {**found, **sized, **fixed, **model.format_input(fixed)}


def seed_notes(model: Model, request: Request, sent: Mapping[str, Any]) -> Iterator[str]:
    """What to tell somebody who chose a seed that does not give the same picture again."""
    if request.seed_asked and model.takes_seed and not model.seed_is_exact(sent):
        yield "the seed does not repeat the picture while go_fast is on: -p go_fast=false"


def check(model: Model, config: ReplicateConfig, request: Request) -> None:
    """Refuse what the model can't take, before anybody is asked."""
    check_params(model, request.params)
    if request.steps is not None and model.steps_key:
        check_steps(model, request.steps)
    _check_seed(model, request.seed)
    _check_images(model, request)
    for name, found in model.inputs.items():
        given = {*config.params, *config.secrets, *request.params, *model.flags()}
        if found.required and found.default is None and name not in given:
            raise UsageError(f"{model.name} needs the input {name}", hint=f"-p {name}=…")


def check_params(model: Model, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of `-p` with their types; refused where imagen has another way for them."""
    known, flags = {param.name: param for param in model.params()}, model.flags()
    checked = {}
    for name, value in params.items():
        if name in flags:
            raise UsageError(f"the input {name} is not set by -p", hint=f"it is {flags[name]}")
        if name not in known:
            hint = suggestion(name, known, "it has")
            raise UsageError(f"{model.name} has no input '{name}'", hint=hint)
        if model.inputs[name].secret:
            told = f"the input {name} is a secret, and -p would write it into the sidecar"
            raise UsageError(told, hint=f"name its variable in the block: secrets: {{{name}: …}}")
        checked[name] = check_param(known[name], value)
    return checked


def check_steps(model: Model, steps: int) -> None:
    """Refuse a number of steps that the model does not take."""
    if not model.steps_key:
        raise UsageError(f"{model.name} takes no number of steps", hint="leave it out")
    found = model.inputs[model.steps_key]
    low, high = found.minimum or 1, found.maximum
    if steps < low or (high is not None and steps > high):
        limits = f"{low:g} to {high:g}" if high is not None else f"at least {low:g}"
        raise UsageError(f"{model.name} takes {limits} steps, got {steps}")


def _check_seed(model: Model, seed: int) -> None:
    limit = model.inputs["seed"].maximum if model.takes_seed else None
    if limit is not None and seed > limit:
        raise UsageError(
            f"{model.name} takes seeds up to {limit:.0f}, got {seed}",
            hint="--seed, or leave it out",
        )


def _check_images(model: Model, request: Request) -> None:
    number, most = len(request.images), model.takes_images
    if number > most:
        takes = f"{most or 'no'} input image{'' if most == 1 else 's'}"
        raise UsageError(f"{model.name} takes {takes}, got {number}")
    if model.image_key and model.inputs[model.image_key].required and not number:
        raise UsageError(f"{model.name} needs an input image", hint="give one with --image PATH")
    for image in request.images:
        if image.data and (problem := damage(image.data)):
            raise UsageError(f"the input image {image.name} is damaged: {problem}")
