"""Workflows as `imagen workflow` shows them: tables for people, documents for programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from imagen_comfyui.graph import placeholders, title
from imagen_comfyui.values import declared, image_names
from imagen_comfyui.workflow import Found, Workflow, read_workflow
from imagen_core import App, ConfigError

if TYPE_CHECKING:
    from imagen_comfyui.manifest import Model
    from imagen_comfyui.mapping import Mapped
    from imagen_comfyui.needs import Needs


def listed(found: Found) -> dict[str, Any]:
    """A workflow as a row of the list; one that can't be read says why."""
    about: dict[str, Any] = {"title": "", "images": None, "negative": None}
    try:
        one = read_workflow(found)
    except ConfigError as error:
        about["title"] = f"broken: {error}"
    else:
        about["title"] = one.manifest.title
        about["images"] = len(image_names(one.graph))
        about["negative"] = "negative" in placeholders(one.graph)
    return {"name": found.name, "source": found.source, **about, "file": str(found.file)}


def describe(app: App, found: Workflow) -> None:
    """Print what a workflow is, takes and needs."""
    manifest, console = found.manifest, app.console
    console.line(f"{found.name}: {manifest.title or found.file.name}")
    if manifest.description:
        console.line(manifest.description)
    console.line(f"size: {manifest.size.default}, in multiples of {manifest.size.multiple}")
    console.line(f"input images: {len(image_names(found.graph))}")
    console.line(f"negative prompt: {'yes' if 'negative' in placeholders(found.graph) else 'no'}")
    console.line(f"file: {found.file}")
    console.line("")
    console.table(("parameter", "type", "default", "range", "about"), _parameters(found))
    if manifest.models:
        console.line("")
        rows = [(m.file, m.folder, _source(m), m.note or "-") for m in manifest.models]
        console.table(("model file", "folder", "from", "note"), rows)
    console.line("")
    console.line(f"nodes: {', '.join(sorted({n['class_type'] for n in found.graph.values()}))}")


def _parameters(found: Workflow) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    if steps := found.manifest.parameters.get("steps"):
        rows.append(("--steps", "int", shown(steps.default), _range(steps), steps.help or "-"))
    for param in declared(found):
        if param.listed:
            about = ", ".join(param.choices) or param.help or "-"
            row = (f"-p {param.name}", param.type, shown(param.default), _range(param), about)
            rows.append(row)
    return rows


def _range(limits: Any) -> str:
    if limits.minimum is None and limits.maximum is None:
        return "-"
    return "..".join("" if end is None else f"{end:g}" for end in (limits.minimum, limits.maximum))


def _source(model: Model) -> str:
    return f"{model.repository}: {model.path or model.file}" if model.repository else "-"


def document(found: Workflow) -> dict[str, Any]:
    """All of that as data."""
    params = [msgspec.to_builtins(param) for param in declared(found) if param.listed]
    return {
        "name": found.name,
        "file": str(found.file),
        "placeholders": {
            key: [str(place) for place in places]
            for key, places in placeholders(found.graph).items()
        },
        "params": params,
        "manifest": msgspec.to_builtins(found.manifest),
    }


def check_result(found: Workflow, base: str, lacking: Needs) -> dict[str, Any]:
    """What a server lacks, as data."""
    return {
        "workflow": found.name,
        "url": base,
        "ok": not (lacking.nodes or lacking.files),
        "missing_nodes": list(lacking.nodes),
        "missing_files": [
            {"file": one.name, "folder": one.folder, "input": str(one.place)}
            for one in lacking.files
        ],
    }


def report(app: App, mapped: Mapped, *, name: str, target: Path) -> None:
    """Print what was found in a graph, what was not, and how to go on."""
    if app.console.as_json:
        places = {key: [str(place) for place in found] for key, found in mapped.mapped.items()}
        about = {"name": name, "file": str(target), "mapped": places}
        app.console.json({**about, "missing": mapped.missing, "notes": mapped.notes})
        return
    app.console.table(
        ("placeholder", "node.input", "node"),
        [
            (key, str(place), title(mapped.graph, place.node))
            for key, places in mapped.mapped.items()
            for place in places
        ],
    )
    for key, why in mapped.missing.items():
        app.console.info(f"not found: {key} ({why})" if why else f"not found: {key}")
    for note in mapped.notes:
        app.console.info(note)
    if mapped.missing:
        app.console.info("what is not found can be set with -p NODE.INPUT=VALUE")
    app.console.info(f"written: {target} and {target.with_suffix('.yaml').name}")
    app.console.info(f"use it: an instance with  type: comfyui, workflow: {name}")


def shown(value: object) -> str:
    """A cell of a table."""
    return "-" if value is None or value == "" else str(value)
