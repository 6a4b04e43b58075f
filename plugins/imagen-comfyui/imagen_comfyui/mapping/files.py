"""The model files that a graph loads, and the placeholders that may name them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from imagen_comfyui.graph import Graph, Place, placeholder_of
from imagen_comfyui.manifest import Model
from imagen_comfyui.mapping.walk import TEXT, given, kind, literal, value

_CHECKPOINT = {"ckpt_name": "checkpoints"}
_UNET = {"unet_name": "diffusion_models"}
_ENCODERS = {f"clip_name{number}": "text_encoders" for number in (1, 2, 3, 4)}
_LOADERS = {
    "CheckpointLoader": _CHECKPOINT,
    "CheckpointLoaderSimple": _CHECKPOINT,
    "CLIPLoader": {"clip_name": "text_encoders"},
    "CLIPLoaderGGUF": {"clip_name": "text_encoders"},
    "CLIPVisionLoader": {"clip_name": "clip_vision"},
    "ControlNetLoader": {"control_net_name": "controlnet"},
    "DiffControlNetLoader": {"control_net_name": "controlnet"},
    "DualCLIPLoader": _ENCODERS,
    "DualCLIPLoaderGGUF": _ENCODERS,
    "GLIGENLoader": {"gligen_name": "gligen"},
    "HypernetworkLoader": {"hypernetwork_name": "hypernetworks"},
    "ImageOnlyCheckpointLoader": _CHECKPOINT,
    "LoraLoader": {"lora_name": "loras"},
    "LoraLoaderModelOnly": {"lora_name": "loras"},
    "QuadrupleCLIPLoader": _ENCODERS,
    "StyleModelLoader": {"style_model_name": "style_models"},
    "TripleCLIPLoader": _ENCODERS,
    "TripleCLIPLoaderGGUF": _ENCODERS,
    "UNETLoader": _UNET,
    "UnetLoaderGGUF": _UNET,
    "UpscaleModelLoader": {"model_name": "upscale_models"},
    "VAELoader": {"vae_name": "vae"},
    "unCLIPCheckpointLoader": _CHECKPOINT,
}
_PLACEHOLDERS = {
    "ckpt_name": "checkpoint",
    "unet_name": "unet",
    "vae_name": "vae",
}
_BY_NAME = {"clip_l": "clip_l", "clip_g": "clip_g", r"(?<![a-z])t5": "t5xxl"}
_BUILT_IN = ("pixel_space", "taesd", "taesdxl", "taesd3", "taef1")
"""What a VAELoader offers that is no file."""


class Loaded(NamedTuple):
    """A file that the graph names, and the placeholder that could: empty if none is fit for it."""

    place: Place
    placeholder: str
    folder: str
    file: str


def loaded(graph: Graph, nodes: Iterable[str]) -> list[Loaded]:
    """The files that these nodes load; a placeholder that fits two of them is given to none."""
    found = [entry for node in nodes for entry in _of_node(graph, node)]
    times = Counter(entry.placeholder for entry in found)
    return [
        entry
        if times[entry.placeholder] == 1 or placeholder_of(entry.file)
        else entry._replace(placeholder="")
        for entry in found
    ]


def models(files: Iterable[Loaded]) -> tuple[Model, ...]:
    """The files as a manifest lists them, each once."""
    listed = (
        Model(placeholder=entry.placeholder, folder=entry.folder, file=entry.file)
        for entry in files
        if not placeholder_of(entry.file)
    )
    return tuple(dict.fromkeys(listed))


def _of_node(graph: Graph, node: str) -> Iterator[Loaded]:
    for key, folder in _LOADERS.get(kind(graph, node), {}).items():
        if key not in given(graph, node):
            continue
        place = literal(graph, Place(node, key), TEXT)
        if place and (file := value(graph, place)) and file not in _BUILT_IN:
            yield Loaded(place, _placeholder(graph, place, node, key), folder, file)


def _placeholder(graph: Graph, place: Place, node: str, key: str) -> str:
    file = value(graph, place)
    if name := placeholder_of(file):
        return name
    if key in _ENCODERS:
        named = (name for part, name in _BY_NAME.items() if re.search(part, file.lower()))
        return next(named, "")
    if key == "clip_name":
        return "text_encoder" if kind(graph, node).startswith("CLIPLoader") else ""
    return _PLACEHOLDERS.get(key, "")
