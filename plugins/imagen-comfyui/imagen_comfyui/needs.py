"""What a graph needs on its server: classes of nodes, and model files by folder."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from imagen_comfyui.graph import Graph, Place, inputs, title
from imagen_core import RejectedError

if TYPE_CHECKING:
    from imagen_comfyui.client import Call, Server
    from imagen_comfyui.manifest import Model
    from imagen_comfyui.workflow import Workflow

Nodes = dict[str, dict[str, Any]]
"""What a server says of classes of nodes."""

SETUP_PAGE = "docs/setup-comfyui.md"
SHOWN = 3

FOLDERS = {
    "unet_name": "diffusion_models",
    "ckpt_name": "checkpoints",
    "vae_name": "vae",
    "clip_name": "text_encoders",
    "clip_name1": "text_encoders",
    "clip_name2": "text_encoders",
    "clip_name3": "text_encoders",
    "clip_name4": "text_encoders",
    "lora_name": "loras",
    "control_net_name": "controlnet",
    "style_model_name": "style_models",
    "clip_vision_name": "clip_vision",
}
"""The folder of the server's models that an input takes its file from."""


class Missing(NamedTuple):
    """A model file that a server does not have."""

    place: Place
    name: str
    folder: str
    offered: Sequence[str]
    several: Sequence[str] = ()
    """Files of that name in different folders, of which one must be chosen."""


class Needs(NamedTuple):
    """What is not there of all that a graph needs."""

    nodes: tuple[str, ...]
    files: tuple[Missing, ...]


def file_inputs(graph: Graph) -> Iterator[tuple[Place, str]]:
    """The inputs that name a model file, with that name."""
    for place, value in inputs(graph):
        if place.input in FOLDERS and isinstance(value, str):
            yield place, value


def place_files(server: Server, graph: Graph, known: Nodes) -> Call[tuple[Graph, list[Missing]]]:
    """The graph with the server's own names of its files, and the files that it does not have.

    `known` keeps what the server said; what is not found there is asked for once more.
    """
    placed = {key: {**node, "inputs": dict(node.get("inputs", {}))} for key, node in graph.items()}
    missing: list[Missing] = []
    fresh: set[str] = set()
    for place, name in file_inputs(graph):
        kind = graph[place.node]["class_type"]
        while True:
            if kind not in known:
                known[kind] = yield from server.node(kind)
                fresh.add(kind)
            offered = choices(known[kind], place.input)
            if offered is None or (found := match(name, offered)) or kind in fresh:
                break
            del known[kind]
        if offered is None:
            continue  # no such class, or no list: the server itself will tell
        if len(found) == 1:
            placed[place.node]["inputs"][place.input] = found[0]
        else:
            missing.append(Missing(place, name, FOLDERS[place.input], offered, found))
    return placed, missing


def look(server: Server, graph: Graph) -> Call[Needs]:
    """What of this graph's needs the server lacks."""
    known: Nodes = {}
    for kind in dict.fromkeys(node["class_type"] for node in graph.values()):
        known[kind] = yield from server.node(kind)
    _, missing = yield from place_files(server, graph, known)
    return Needs(tuple(kind for kind, info in known.items() if not info), tuple(missing))


def choices(info: Mapping[str, Any], name: str) -> list[str] | None:
    """What a list input takes; None if it is no list."""
    return listed(schema(info, name))


def schema(info: Mapping[str, Any], name: str) -> Any:
    """What a class says of one of its inputs; None if it has no such input."""
    groups = info.get("input")
    for group in groups.values() if isinstance(groups, dict) else ():
        if isinstance(group, dict) and name in group:
            return group[name]
    return None


def listed(spec: Any) -> list[str] | None:
    """The options of an input, in either spelling of ComfyUI's; None if it has none."""
    if not isinstance(spec, list) or not spec:
        return None
    options: Any = spec[0]
    if options == "COMBO" and len(spec) > 1 and isinstance(spec[1], dict):
        options = spec[1].get("options")
    return [str(option) for option in options] if isinstance(options, list) else None


def match(name: str, offered: Iterable[str]) -> list[str]:
    """The server's names that this one may mean: itself, or the same file in a subfolder."""
    offered = list(offered)
    wanted = _plain(name)
    if same := [option for option in offered if _plain(option) == wanted]:
        return same[:1]
    return [option for option in offered if _plain(option).endswith(f"/{wanted}")]


def lacks_files(
    who: str, workflow: Workflow, graph: Graph, missing: Sequence[Missing]
) -> RejectedError:
    """The error of files that are not there: which, from where, and what is near."""
    told = [_told(graph, one) for one in missing]
    hints = filter(None, (_hint(workflow, one) for one in missing))
    return RejectedError(
        f"{who} lacks {'; '.join(told)}",
        hint="; ".join([*dict.fromkeys(hints), f"{SETUP_PAGE} has the files of each workflow"]),
    )


def source_of(workflow: Workflow, missing: Missing) -> Model | None:
    """What the manifest says of the file that belongs there."""
    models = workflow.manifest.models
    given = workflow.graph.get(missing.place.node, {}).get("inputs", {}).get(missing.place.input)
    by_place = (model for model in models if given == f"${{{model.placeholder}}}")
    by_name = (model for model in models if model.file == missing.name)
    return next(by_name, None) or next(by_place, None)


def nearest(name: str, offered: Sequence[str]) -> list[str]:
    """The names that are most like this one, or a few of all."""
    near = difflib.get_close_matches(name, offered, n=SHOWN, cutoff=0.5)
    return near or list(offered)[:SHOWN]


def _told(graph: Graph, missing: Missing) -> str:
    where = f"node {missing.place.node} '{title(graph, missing.place.node)}'"
    if missing.several:
        found = ", ".join(missing.several)
        return f"a single '{missing.name}' in {missing.folder} ({where}): there are {found}"
    return f"the file '{missing.name}' in {missing.folder} ({where}, {missing.place.input})"


def _hint(workflow: Workflow, missing: Missing) -> str:
    if missing.several:
        return "name the file with its folder"
    parts = []
    if (model := source_of(workflow, missing)) and model.repository:
        path = model.path or model.file
        parts.append(
            f"put {model.file} into models/{model.folder}: "
            f"https://huggingface.co/{model.repository} has it as {path}"
        )
    if missing.offered:
        parts.append(f"near it there: {', '.join(nearest(missing.name, missing.offered))}")
    else:
        parts.append(f"the server's {missing.folder} is empty")
    return "; ".join(parts)


def _plain(name: str) -> str:
    return name.replace("\\", "/").casefold()
