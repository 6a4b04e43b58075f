"""Workflows by name: the user's own, a path, or one of an installed pack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from imagen_comfyui.graph import Graph, image_number, placeholders, read_graph
from imagen_comfyui.manifest import OWN_TYPES, Manifest, Parameter
from imagen_core import (
    ConfigError,
    ConfigErrors,
    UsageError,
    check_param,
    expand_home,
    read_yaml,
    suggestion,
)

PACKS = "imagen.workflows"
"""The entry-point group of packs; each entry names a package with the files in it."""

FIRST_PACK = "imagen_workflows"
"""The pack that is always there; its names can't be taken by another pack."""

LARGEST_SEED = 2**63 - 1


class Workflow(NamedTuple):
    """A graph with what is known of it, and where it was found."""

    name: str
    graph: Graph
    manifest: Manifest
    file: Path


class Found(NamedTuple):
    """A workflow that is there, not yet read."""

    name: str
    file: Path
    source: str


def user_folder(config: Path) -> Path:
    """Where a user's own workflows lie: beside the configuration file."""
    return config.parent / "imagen" / "workflows"


def find_workflow(name: str, folder: Path) -> Workflow:
    """The workflow of that name, or the one at that path; a ConfigError if there is none."""
    return read_workflow(locate(name, folder))


def locate(name: str, folder: Path) -> Found:
    """Where a workflow is: in the user's folder, at a path, or in a pack, in this order."""
    own = folder / f"{name}.json"
    if not _is_path(name) and _is_file(own):
        return Found(name, own, "yours")
    path = expand_home(name)
    if _is_path(name) and _is_file(path):
        return Found(path.stem, path, "path")
    if _is_path(name):
        raise ConfigError(
            f"there is no workflow at {path.absolute()}", hint=f"your own ones lie in {folder}"
        )
    packed = first = _of_pack(FIRST_PACK, "imagen-workflows")
    if name not in first:
        packed = {found.name: found for found in everything(folder)}
    if name not in packed:
        raise ConfigError(
            f"there is no workflow '{name}'",
            hint=suggestion(name, packed, "there are"),
        )
    return packed[name]


def read_workflow(found: Found) -> Workflow:
    """The graph and its manifest; a ConfigError names the file and what is wrong in it.

    A plain export, without a manifest and without any placeholder, is read as `import` reads it.
    """
    graph = read_graph(found.file)
    described = found.file.with_suffix(".yaml")
    if _is_file(described):
        return Workflow(found.name, graph, read_manifest(described, graph), found.file)
    if placeholders(graph):
        return Workflow(found.name, graph, Manifest(), found.file)
    from imagen_comfyui.mapping import map_graph

    mapped = map_graph(graph)
    return Workflow(found.name, mapped.graph, mapped.manifest, found.file)


def read_manifest(file: Path, graph: Graph) -> Manifest:
    """The manifest of this graph; a ConfigError tells all that is wrong with it."""
    manifest = read_yaml(file, Manifest)
    found = _faults(manifest, graph)
    problems = [ConfigError(told, key=key, file=str(file)) for key, told in found]
    if problems:
        raise ConfigErrors.of(problems)
    return manifest


def _faults(manifest: Manifest, graph: Graph) -> Iterator[tuple[str, str]]:
    """What a manifest says that its graph does not have, or that contradicts itself."""
    used = placeholders(graph)
    named = {f"parameters.{name}": name for name in manifest.parameters}
    named |= {f"models[{n}]": m.placeholder for n, m in enumerate(manifest.models) if m.placeholder}
    for key, name in named.items():
        if name not in used:
            yield key, f"the graph has no placeholder ${{{name}}}"
    for name, parameter in manifest.parameters.items():
        if problem := _problem(name, parameter, manifest):
            yield f"parameters.{name}", problem
    if manifest.size.problem():
        yield "size", manifest.size.problem()
    if manifest.output and str(manifest.output) not in graph:
        yield "output", f"the graph has no node '{manifest.output}'"
    yield from _claims(manifest, graph)


def _problem(name: str, parameter: Parameter, manifest: Manifest) -> str:
    kind = OWN_TYPES.get(name, parameter.type)
    if parameter.type != kind:
        return f"its type is {kind}, not {parameter.type}"
    default = parameter.default
    problem = _default_problem(name, parameter)
    if problem or default is None:
        return problem
    if name in ("width", "height") and not manifest.size.takes(default):
        return f"its default {default} is no side that the size allows"
    if name == "seed" and not 0 <= default <= LARGEST_SEED:
        return f"its default {default} is no seed: they go up to {LARGEST_SEED}"
    return ""


def _default_problem(name: str, parameter: Parameter) -> str:
    low, high = parameter.minimum, parameter.maximum
    if low is not None and high is not None and low > high:
        return f"its minimum {low:g} is over its maximum {high:g}"
    try:
        if parameter.default is not None:
            check_param(parameter.param(name), parameter.default)
    except UsageError as error:
        return f"its default does not fit: {error.message}"
    return ""


def _claims(manifest: Manifest, graph: Graph) -> Iterator[tuple[str, str]]:
    """What a manifest says of its graph for its readers, and is not so."""
    used = placeholders(graph)
    takes = sum(image_number(name) is not None for name in used)
    if manifest.images not in (None, takes):
        yield "images", f"the graph takes {takes} input images, not {manifest.images}"
    if manifest.negative not in (None, "negative" in used):
        there = "has" if "negative" in used else "has no"
        yield "negative", f"the graph {there} place for a negative prompt"
    classes = {str(node["class_type"]) for node in graph.values()}
    if manifest.nodes and (differ := classes ^ set(manifest.nodes)):
        yield "nodes", f"they are not those of the graph: {', '.join(sorted(differ))}"


def everything(folder: Path) -> Iterator[Found]:
    """Every workflow that can be named: the user's own first, then the packs'; no name twice."""
    seen: set[str] = set()
    for found in _all(folder):
        if found.name not in seen:
            seen.add(found.name)
            yield found


def _all(folder: Path) -> Iterator[Found]:
    yield from _in_folder(folder, "yours")
    yield from _of_pack(FIRST_PACK, "imagen-workflows").values()
    from importlib.metadata import entry_points

    for entry in sorted(entry_points(group=PACKS), key=lambda entry: entry.name):
        distribution = entry.dist.name if entry.dist else entry.name
        yield from _of_pack(entry.value, distribution).values()


def _of_pack(package: str, source: str) -> dict[str, Found]:
    """The workflows in an installed package; none where it can't be found or is no folder."""
    from importlib.util import find_spec

    try:
        spec = find_spec(package)
    except Exception:  # noqa: BLE001 - the package above it is imported for that, and may raise
        return {}
    folders = spec.submodule_search_locations or () if spec else ()
    return {found.name: found for folder in folders for found in _in_folder(Path(folder), source)}


def _in_folder(folder: Path, source: str) -> Iterator[Found]:
    for file in sorted(folder.glob("*.json"), key=lambda file: file.stem):
        yield Found(file.stem, file, source)


def _is_path(name: str) -> bool:
    return "/" in name or "\\" in name or name.endswith(".json") or name.startswith("~")


def _is_file(path: Path) -> bool:
    """Whether it is there; a name that no file can have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def digest(graph: Graph) -> str:
    """The sha256 of a graph, whatever its file is formatted like."""
    from hashlib import sha256

    import msgspec

    return sha256(msgspec.json.encode(graph, order="deterministic")).hexdigest()
