"""What a graph needs on its server: classes of nodes, and model files by folder."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from imagen_comfyui.graph import Graph, Place, inputs, placeholder_of, title
from imagen_comfyui.loaders import folder_of
from imagen_core import RejectedError

if TYPE_CHECKING:
    from imagen_comfyui.client import Call, Server
    from imagen_comfyui.manifest import Model
    from imagen_comfyui.workflow import Workflow

Nodes = dict[str, dict[str, Any]]
"""What a server says of classes of nodes."""

SETUP_HINT = "docs/setup-comfyui.md has the files of each workflow"
SHOWN = 3


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
        if isinstance(value, str) and folder_of(graph[place.node]["class_type"], place.input):
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
        offered = choices(known.get(kind, {}), place.input)
        if kind not in fresh and not (offered and match(name, offered)):
            known[kind] = info = yield from server.node(kind)
            fresh.add(kind)
            offered = choices(info, place.input)
        if offered is None:
            continue  # no such class, or no list: the server itself will tell
        found = match(name, offered)
        if len(found) == 1:
            placed[place.node]["inputs"][place.input] = found[0]
        else:
            missing.append(Missing(place, name, folder_of(kind, place.input), offered, found))
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
    if name in offered:
        return [name]
    wanted = _plain(name)
    if same := [option for option in offered if _plain(option) == wanted]:
        return same[:1]
    return [option for option in offered if _plain(option).endswith(f"/{wanted}")]


def lacks_files(
    missing: Sequence[Missing], graph: Graph, *, who: str, workflow: Workflow
) -> RejectedError:
    """The error of files that are not there: which, from where, and what is near."""
    told = [_told(graph, one) for one in missing]
    hints = filter(None, (_hint(workflow, one) for one in missing))
    pages = [SETUP_HINT] if any(model.repository for model in workflow.manifest.models) else []
    return RejectedError(
        f"{who} lacks {'; '.join(told)}", hint="; ".join([*dict.fromkeys(hints), *pages])
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
    given = workflow.graph.get(missing.place.node, {}).get("inputs", {}).get(missing.place.input)
    if missing.offered:
        near = f"near it there: {', '.join(nearest(missing.name, missing.offered))}"
        held = placeholder_of(given)
        parts.append(f"{near} (set {held} to take another one)" if held else near)
    else:
        parts.append(f"the server's {missing.folder} is empty")
    return "; ".join(parts)


def _plain(name: str) -> str:
    return name.replace("\\", "/").casefold()
