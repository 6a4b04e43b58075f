"""Workflows by name: the user's own, a path, or one of an installed pack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from imagen_comfyui.graph import Graph, image_number, placeholders, read_graph
from imagen_comfyui.manifest import Manifest
from imagen_core import ConfigError, ConfigErrors, read_yaml, suggestion

PACKS = "imagen.workflows"
"""The entry-point group of packs; each entry names a package with the files in it."""

FIRST_PACK = "imagen_workflows"
"""The pack that is always there; its names can't be taken by another pack."""


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
    if not _is_path(name) and own.is_file():
        return Found(name, own, "yours")
    path = Path(name).expanduser()
    if _is_path(name) and path.is_file():
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
    if described.is_file():
        manifest = read_yaml(described, Manifest)
        _check(manifest, graph, described)
        return Workflow(found.name, graph, manifest, found.file)
    if placeholders(graph):
        return Workflow(found.name, graph, Manifest(), found.file)
    from imagen_comfyui.mapping import map_graph

    mapped = map_graph(graph)
    return Workflow(found.name, mapped.graph, mapped.manifest, found.file)


def _check(manifest: Manifest, graph: Graph, file: Path) -> None:
    """Refuse a manifest that speaks of what its graph does not have."""
    used = placeholders(graph)
    named = {f"parameters.{name}": name for name in manifest.parameters}
    named |= {f"models[{n}]": m.placeholder for n, m in enumerate(manifest.models) if m.placeholder}
    problems = [
        ConfigError(f"the graph has no placeholder ${{{name}}}", key=key, file=str(file))
        for key, name in named.items()
        if name not in used
    ]
    takes = sum(image_number(name) is not None for name in used)
    if manifest.images not in (None, takes):
        told = f"the graph takes {takes} input images, not {manifest.images}"
        problems.append(ConfigError(told, key="images", file=str(file)))
    if manifest.output and manifest.output not in graph:
        told = f"the graph has no node '{manifest.output}'"
        problems.append(ConfigError(told, key="output", file=str(file)))
    if problems:
        raise ConfigErrors.of(problems)


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
    except (ImportError, ValueError):
        return {}
    folders = spec.submodule_search_locations or () if spec else ()
    return {found.name: found for folder in folders for found in _in_folder(Path(folder), source)}


def _in_folder(folder: Path, source: str) -> Iterator[Found]:
    for file in sorted(folder.glob("*.json"), key=lambda file: file.stem):
        yield Found(file.stem, file, source)


def _is_path(name: str) -> bool:
    return "/" in name or "\\" in name or name.endswith(".json") or name.startswith("~")


def digest(graph: Graph) -> str:
    """The sha256 of a graph, whatever its file is formatted like."""
    from hashlib import sha256

    import msgspec

    return sha256(msgspec.json.encode(graph, order="deterministic")).hexdigest()
