"""The models on offer, and their schemas."""

from __future__ import annotations

import copy
import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagen_replicate.testing.problems import JSON

_KNOWN_VERSIONS = {
    "black-forest-labs/flux-schnell": (
        "c846a69991daf4c0e5d016514849d14ee5b2e6846ce6b9d6f21369e564cfe51e"
    )
}
_FLUX_RATIOS = ["1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21"]
_PRO_RATIOS = ["custom", "1:1", "16:9", "3:2", "2:3", "4:5", "5:4", "9:16", "3:4", "4:3"]
_BANANA_RATIOS = ["1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9"]
_PROMPT: JSON = {"type": "string"}
_SEED: JSON = {"type": "integer"}
_PICTURE: JSON = {"type": "string", "format": "uri"}


def built_in() -> dict[str, JSON]:
    """Gives the models that are there without a test adding any, by their names."""
    models = {
        "black-forest-labs/flux-schnell": _model(_flux(steps=4, most=4)),
        "black-forest-labs/flux-dev": _model(
            _flux(steps=28, most=50)
            | {
                "guidance": _number("number", 0, 10, 3),
                "image": _PICTURE,
                "prompt_strength": _number("number", 0, 1, 0.8),
            }
        ),
        "black-forest-labs/flux-1.1-pro": _model(_flux_pro(), output="string"),
        "google/nano-banana": _model(_nano_banana(), output="string"),
        "lab/tiny": _model(_tiny(), official=False),
    }
    return copy.deepcopy(models)


def version_id(name: str) -> str:
    """Gives the id of the version of a model."""
    return _KNOWN_VERSIONS.get(name) or hashlib.sha256(name.encode()).hexdigest()


def required(model: JSON) -> list[str]:
    """Gives the inputs that a model must have."""
    default = ["prompt"] if "prompt" in model["schema"] else []
    found: list[str] = model.get("required", default)
    return found


def is_listed(model: JSON) -> bool:
    """Tells whether the output is a list, and not one string as with proxied vendors."""
    return bool(model.get("output", "list") == "list")


def defaults(model: JSON) -> JSON:
    """Gives the values of the inputs that nobody sets."""
    return {name: one["default"] for name, one in model["schema"].items() if "default" in one}


def show(name: str, model: JSON) -> JSON:
    """Shows a model as `GET /v1/models/{owner}/{name}` does."""
    owner, _, short = name.partition("/")
    return {
        "url": f"https://replicate.com/{name}",
        "owner": owner,
        "name": short,
        "is_official": model["official"],
        "visibility": "public",
        "latest_version": show_version(name, model),
    }


def show_version(name: str, model: JSON) -> JSON:
    """Shows a version; the choices of an input stand apart from it, behind a reference."""
    properties: JSON = {}
    choices: JSON = {}
    for order, (key, one) in enumerate(model["schema"].items()):
        shown = dict(one)
        if "enum" in one:
            choices[key] = {"enum": shown.pop("enum"), "type": shown.pop("type")}
            shown["allOf"] = [{"$ref": f"#/components/schemas/{key}"}]
        properties[key] = {**shown, "x-order": order}
    link = {"type": "string", "format": "uri"}
    schemas = {
        "Input": {"type": "object", "required": required(model), "properties": properties},
        **choices,
        "Output": {"type": "array", "items": link} if is_listed(model) else link,
    }
    return {"id": version_id(name), "openapi_schema": {"components": {"schemas": schemas}}}


def _model(schema: JSON, *, official: bool = True, output: str = "list") -> JSON:
    return {"official": official, "schema": schema, "seconds": 0.0, "output": output}


def _flux(*, steps: int, most: int) -> JSON:
    return {
        "prompt": _PROMPT,
        "aspect_ratio": _choice(_FLUX_RATIOS, "1:1"),
        "megapixels": _choice(["1", "0.25"], "1"),
        "num_outputs": _number("integer", 1, 4, 1),
        "num_inference_steps": _number("integer", 1, most, steps),
        "seed": _SEED,
        **_file("webp", "jpg", "png"),
        "output_quality": _number("integer", 0, 100, 80),
        "disable_safety_checker": {"type": "boolean", "default": False},
        "go_fast": {"type": "boolean", "default": True},
    }


def _flux_pro() -> JSON:
    return {
        "prompt": _PROMPT,
        "image_prompt": _PICTURE,
        "aspect_ratio": _choice(_PRO_RATIOS, "1:1"),
        "width": {"type": "integer", "minimum": 256, "maximum": 1440},
        "height": {"type": "integer", "minimum": 256, "maximum": 1440},
        "safety_tolerance": _number("integer", 1, 6, 2),
        "prompt_upsampling": {"type": "boolean", "default": False},
        "seed": _SEED,
        **_file("webp", "jpg", "png"),
        "output_quality": _number("integer", 0, 100, 80),
    }


def _nano_banana() -> JSON:
    return {
        "prompt": _PROMPT,
        "image_input": {"type": "array", "items": _PICTURE, "default": []},
        "aspect_ratio": _choice(["match_input_image", *_BANANA_RATIOS], "match_input_image"),
        **_file("jpg", "png"),
    }


def _tiny() -> JSON:
    return {
        "prompt": _PROMPT,
        "width": _number("integer", 64, 1024, 512),
        "height": _number("integer", 64, 1024, 512),
        "num_inference_steps": _number("integer", 1, 50, 20),
        "scheduler": _choice(["DDIM", "K_EULER", "PNDM"], "K_EULER"),
        "seed": _SEED,
    }


def _choice(values: list[str], default: str) -> JSON:
    return {"type": "string", "enum": values, "default": default}


def _number(kind: str, least: float, most: float, default: float) -> dict[str, Any]:
    return {"type": kind, "minimum": least, "maximum": most, "default": default}


def _file(*formats: str) -> JSON:
    return {"output_format": _choice(list(formats), formats[0])}
