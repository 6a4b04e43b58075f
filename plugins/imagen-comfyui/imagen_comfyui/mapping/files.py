"""The model files that a graph loads, and the placeholders that may name them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from imagen_comfyui.graph import Graph, Place, placeholder_of
from imagen_comfyui.loaders import folder_of
from imagen_comfyui.manifest import Model
from imagen_comfyui.mapping.walk import TEXT, given, kind, literal, value

_PLACEHOLDERS = {
    "ckpt_name": "checkpoint",
    "unet_name": "unet",
    "vae_name": "vae",
}
_ENCODER = re.compile(r"clip_name\d")
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
    for key in given(graph, node):
        if not (folder := folder_of(kind(graph, node), key)):
            continue
        place = literal(graph, Place(node, key), TEXT)
        if place and (file := value(graph, place)) and file not in _BUILT_IN:
            yield Loaded(place, _placeholder(graph, place, node, key), folder, file)


def _placeholder(graph: Graph, place: Place, node: str, key: str) -> str:
    file = value(graph, place)
    if name := placeholder_of(file):
        return name
    if _ENCODER.fullmatch(key):
        named = (name for part, name in _BY_NAME.items() if re.search(part, file.lower()))
        return next(named, "")
    if key == "clip_name":
        return "text_encoder" if kind(graph, node).startswith("CLIPLoader") else ""
    return _PLACEHOLDERS.get(key, "")
