"""The node classes the server knows, in the words of `GET /object_info`."""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imagen_core.testing import Received

JSON = dict[str, Any]
SINCE_2026 = ("Flux2Scheduler", "EmptyFlux2LatentImage")
"""Classes that the old server does not have."""
FILES: dict[str, tuple[str, ...]] = {
    "checkpoints": (
        "random-sd15-fp16.safetensors",
        "sd3.5_medium.safetensors",
        "sd3.5_medium_incl_clips_t5xxlfp8scaled.safetensors",
        "v1-5-pruned-emaonly-fp16.safetensors",
    ),
    "diffusion_models": (
        "flux-2-klein-4b.safetensors",
        "flux-2-klein-base-4b.safetensors",
        "flux1-schnell.safetensors",
    ),
    "text_encoders": (
        "clip_g.safetensors",
        "clip_l.safetensors",
        "qwen_3_4b.safetensors",
        "t5xxl_fp8_e4m3fn.safetensors",
    ),
    "vae": ("ae.safetensors", "flux2-vae.safetensors"),
    "loras": ("example-lora.safetensors", "styles/watercolour.safetensors"),
}
"""The model files offered at first; in the schema, `<vae>` stands for those of the folder vae."""


class MalformedError(Exception):
    """Data of a shape that the server chokes on, such as a graph in the editor's format."""


def read_object(received: Received) -> JSON:
    """Reads a body that must be a JSON object."""
    try:
        return received.json()
    except ValueError as error:
        raise MalformedError(error) from error


def load_classes(*, old: bool) -> dict[str, JSON]:
    """Reads the schema that comes with this package, without what an old server lacks."""
    text = resources.files(__package__).joinpath("nodes.json").read_text("utf-8")
    classes: dict[str, JSON] = json.loads(text)
    return {name: data for name, data in classes.items() if not (old and name in SINCE_2026)}


def describe(name: str, data: JSON, *, files: Mapping[str, Sequence[str]]) -> JSON:
    """Gives a class as `/object_info` does: with the file names, and the fields left out here."""
    inputs = {
        kind: {field: _with_files(spec, files) for field, spec in fields.items()}
        for kind, fields in data["input"].items()
    }
    return {
        "input_order": {kind: list(fields) for kind, fields in inputs.items()},
        "is_input_list": False,
        "output_is_list": [False] * len(data["output"]),
        "output_name": data["output"],
        "name": name,
        "display_name": name,
        "description": "",
        "category": "testing",
        "output_node": False,
        **data,
        "input": inputs,
    }


def options(spec: Sequence[Any]) -> list[Any] | None:
    """Lists what a combo input offers, in either spelling; None for any other input."""
    if isinstance(spec[0], list):
        return spec[0]
    return list(spec[1].get("options", [])) if spec[0] == "COMBO" else None


def input_specs(data: JSON) -> dict[str, tuple[list[Any], bool]]:
    """Maps each input that a client may give to its schema, in full, and whether it is required."""
    kinds = [("required", True), ("optional", False)]
    return {
        name: (spec if len(spec) > 1 else [spec[0], {}], required)
        for kind, required in kinds
        for name, spec in data["input"].get(kind, {}).items()
    }


def _with_files(spec: Any, files: Mapping[str, Sequence[str]]) -> Any:
    if not isinstance(spec, list):
        return spec
    if isinstance(spec[0], list):
        return [_expand(spec[0], files), *spec[1:]]
    if spec[0] == "COMBO":
        return ["COMBO", {**spec[1], "options": _expand(spec[1].get("options", []), files)}]
    return spec


def _expand(names: list[Any], files: Mapping[str, Sequence[str]]) -> list[Any]:
    offered: list[Any] = []
    for name in names:
        folder = isinstance(name, str) and name.startswith("<") and name.strip("<>")
        offered += files.get(folder, ()) if folder else [name]
    return offered
