"""`imagen workflow`: list, show, check and import workflows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from imagen_comfyui.backend import PROBE_SECONDS, ComfyBackend
from imagen_comfyui.config import ComfyConfig
from imagen_comfyui.graph import Graph, parse_graph
from imagen_comfyui.manifest import Manifest
from imagen_comfyui.shown import check_result, describe, document, listed, report, shown
from imagen_comfyui.workflow import (
    everything,
    find_workflow,
    locate,
    read_manifest,
    user_folder,
)
from imagen_core import (
    App,
    RejectedError,
    UsageError,
    config_option,
    image_header,
    json_option,
    pass_app,
    write_atomically,
)

if TYPE_CHECKING:
    from imagen_comfyui.mapping import Mapped

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
TYPE = "comfyui"


@click.group(help="List, show, check and import ComfyUI workflows.")
def workflow() -> None:
    """The commands below it do the work."""


@workflow.command("list", help="List the workflows that an instance can name.")
@json_option("Print one JSON object a workflow.")
@config_option
@pass_app
def list_workflows(app: App) -> None:
    """Print each with where it is from; one that can't be read says why."""
    rows = [listed(found) for found in everything(_folder(app))]
    if app.console.as_json:
        for row in rows:
            app.console.json(row)
        return
    app.console.table(
        ("workflow", "from", "input images", "title"),
        [(row["name"], row["source"], shown(row["images"]), row["title"] or "-") for row in rows],
    )


@workflow.command("show", help="Show what a workflow takes, and what a server needs for it.")
@click.argument("name")
@click.option("--graph", is_flag=True, help="Print its graph alone, to be saved as NAME.json.")
@click.option("--manifest", is_flag=True, help="Print its manifest alone: NAME.yaml beside it.")
@json_option("Print one JSON object.")
@config_option
@pass_app
def show(app: App, name: str, *, graph: bool, manifest: bool) -> None:
    """Print title, parameters, files and nodes."""
    if graph and manifest:
        raise UsageError("--graph and --manifest are two files", hint="ask for one at a time")
    found = find_workflow(name, _folder(app))
    if graph:
        app.console.line(_json(found.graph).decode().rstrip())
    elif manifest:
        app.console.line(_yaml(found.manifest).decode().rstrip())
    elif app.console.as_json:
        app.console.json(document(found))
    else:
        describe(app, found)


@workflow.command("check", help="Ask a server whether it has all that a workflow needs.")
@click.argument("name")
@click.option("--backend", default="", metavar="NAME", help="The instance whose server is asked.")
@json_option("Print one JSON object.")
@config_option
@pass_app
def check(app: App, name: str, *, backend: str) -> None:
    """Print what the server has; what it lacks is an error."""
    from imagen_comfyui import needs, probe
    from imagen_core import http

    instance = _backend(app, name, backend)
    found = instance.workflow
    graph = probe.plain_graph(found, instance.values)
    with instance.connect(seconds=PROBE_SECONDS) as server:
        lacking = http.finish(needs.look(server, graph))
    if app.console.as_json:
        app.console.json(check_result(found, instance.config.base, lacking))
    elif not (lacking.nodes or lacking.files):
        app.console.line(f"{server.who} has all that the workflow {found.name} needs")
    if lacking.nodes:
        kinds = ", ".join(lacking.nodes)
        problem = RejectedError(
            f"{server.who} has no nodes of the class {kinds}",
            hint="update ComfyUI, or install the custom nodes that bring them",
        )
        _tell(app, problem)
    if lacking.files:
        _tell(app, needs.lacks_files(lacking.files, graph, who=server.who, workflow=found))
    if lacking.nodes or lacking.files:
        raise click.exceptions.Exit(RejectedError.exit_code)


@workflow.command("import", help="Make a workflow of a graph in API format, or of ComfyUI's PNG.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", default="", help="What to call it.  [default: the file's name]")
@click.option("--force", is_flag=True, help="Replace a workflow of yours of that name.")
@json_option("Print one JSON object.")
@config_option
@pass_app
def import_workflow(app: App, file: Path, *, name: str, force: bool) -> None:
    """Find what can be set, write placeholders and a manifest, and show what was found."""
    from imagen_comfyui.mapping import map_graph

    name = name or file.stem
    if not NAME.fullmatch(name) or name.endswith(".json"):
        raise UsageError(
            f"'{name}' can't be the name of a workflow",
            hint="give one of letters, digits, '.', '_' and '-' with --name, without .json",
        )
    folder = _folder(app)
    target = folder / f"{name}.json"
    if target.exists() and not force:
        raise UsageError(f"{target} exists already", hint="choose another --name, or add --force")
    mapped = map_graph(_read(file))
    if (beside := file.with_suffix(".yaml")).is_file():
        mapped = mapped._replace(manifest=read_manifest(beside, mapped.graph))
    taken = {found.name for found in everything(folder) if found.source != "yours"}
    _write(target, mapped)
    report(app, mapped, name=name, target=target)
    if name in taken:
        app.console.warn(f"it takes the place of the workflow '{name}' that was there")


def _folder(app: App) -> Path:
    return user_folder(app.context.paths.config)


def _backend(app: App, name: str, backend: str) -> ComfyBackend:
    """An instance with this workflow: the one that is named, one that has it, or any server."""
    names = [backend] if backend else app.instances()
    found: list[ComfyBackend] = []
    for one in names:
        instance = app.instance(one) if backend else _quietly(app, one)
        if instance and isinstance(instance.backend, ComfyBackend):
            found.append(instance.backend)
    if backend and not found:
        raise UsageError(f"the backend '{backend}' is no ComfyUI", hint=f"one of type {TYPE}")
    file = locate(name, _folder(app)).file
    for candidate in found:
        if candidate.workflow.file == file:
            return candidate
    place = found[0].config if found else ComfyConfig()
    plain = ComfyConfig(
        url=place.url,
        api_key_env=place.api_key_env,
        unreachable_hint=place.unreachable_hint,
        workflow=name,
    )
    return ComfyBackend(plain, app.context)


def _quietly(app: App, name: str) -> Any:
    """The instance, or None where its block has a fault that is not this command's business."""
    try:
        return app.instance(name)
    except UsageError:
        return None


def _read(file: Path) -> Graph:
    """The graph of a file: of a PNG the one that ComfyUI wrote into it."""
    from imagen_comfyui.mapping import read_png_graph

    try:
        data = file.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    if image_header(data) or data.startswith(b"\x89PNG"):
        return read_png_graph(data, str(file))
    try:
        return parse_graph(data.decode("utf-8-sig"), str(file))
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is neither JSON nor a picture of ComfyUI's") from error


def _write(target: Path, mapped: Mapped) -> None:
    """Write the manifest, then the graph by which it is found."""
    manifest, graph = _yaml(mapped.manifest), _json(mapped.graph)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target.with_suffix(".yaml"), manifest)
        write_atomically(target, graph)
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror}") from error


def _json(graph: Graph) -> bytes:
    return msgspec.json.format(msgspec.json.encode(graph), indent=2) + b"\n"


def _yaml(manifest: Manifest) -> bytes:
    return msgspec.yaml.encode(_without_empty(msgspec.to_builtins(manifest)))


def _without_empty(value: Any) -> Any:
    """The value without the keys that say nothing."""
    if isinstance(value, dict):
        kept = {key: _without_empty(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in (None, "", {}, [], ())}
    if isinstance(value, list | tuple):
        return [_without_empty(item) for item in value]
    return value


def _tell(app: App, problem: RejectedError) -> None:
    if not app.console.as_json:
        app.console.error(problem)
