"""The pages about ComfyUI say what the code does: keys, files, fields, and every message."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from comfy_docs import section
from comfy_images import image_of
from imagen_comfyui.config import ComfyConfig
from imagen_comfyui.manifest import FILES, GIVEN, TYPES, Manifest, Model, Parameter, Size
from imagen_comfyui.workflow import Workflow, everything, read_workflow

PLUGIN = Path(__file__).parent.parent
NOWHERE = Path("/nonexistent")
BUNDLED = [read_workflow(found) for found in everything(NOWHERE)]


def first_cells(table: str) -> set[str]:
    """The names in the first column of the tables of a section."""
    rows = re.findall(r"^ *\| ([^|]+) \|", table, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def names_of(workflow: Workflow) -> str:
    return workflow.name


# Tables


def test_every_key_of_the_block_is_in_its_table() -> None:
    assert first_cells(section("backends.md", "### Its block")) == {*ComfyConfig.__struct_fields__}


@pytest.mark.parametrize("key", ["url", "workflow", "timeout", "queue_timeout"])
def test_default_in_the_table_is_the_blocks(key: str) -> None:
    default = getattr(ComfyConfig(), key)

    assert f"| `{key}` | `{default}` |" in section("backends.md", "### Its block")


def test_every_key_of_the_metadata_is_in_its_table(
    make: Any, ask: Any, images: Any, png: bytes
) -> None:
    [image] = images(make(workflow="sd15-img2img"), ask(images=(image_of(png),)))

    assert first_cells(section("backends.md", "### What the sidecar tells")) == set(image.metadata)


@pytest.mark.parametrize("workflow", BUNDLED, ids=names_of)
def test_every_model_file_is_in_the_table_of_its_workflow(workflow: Workflow) -> None:
    table = section("setup-comfyui.md", f"### {workflow.name}")
    rows = re.findall(r"^\| `(.+?)` \| `(.+?)` \| `(.+?)` \| `(.+?)` \|", table, re.MULTILINE)
    models = workflow.manifest.models

    assert rows == [(m.file, m.folder, m.repository, m.path) for m in models]


@pytest.mark.parametrize("workflow", BUNDLED, ids=names_of)
def test_every_bundled_workflow_is_in_the_table(workflow: Workflow) -> None:
    manifest = workflow.manifest
    [row] = re.findall(
        rf"^\| `{workflow.name}` \| .*$",
        section("workflows.md", "## The bundled workflows"),
        re.MULTILINE,
    )
    licence = manifest.description.partition("Licence: ")[2].partition(". Needs")[0].rstrip(".")

    told = [cell.strip() for cell in row.strip("|").split("|")][2:]
    assert told == [
        manifest.size.default,
        str(manifest.parameters["steps"].default),
        "yes" if manifest.negative else "no",
        str(manifest.images),
        licence,
    ]


def test_every_field_of_a_manifest_is_described() -> None:
    described = first_cells(section("workflows.md", "## The manifest"))
    kinds: dict[str, type[Struct]] = {
        "": Manifest,
        "size.": Size,
        "parameters.NAME.": Parameter,
        "models.": Model,
    }

    assert described == {
        prefix + field for prefix, kind in kinds.items() for field in kind.__struct_fields__
    }


def test_every_usual_placeholder_is_described() -> None:
    described = first_cells(section("workflows.md", "## Placeholders"))

    assert {*GIVEN, *TYPES, *FILES} <= described


@pytest.mark.parametrize("key", ["Bearer", "Basic"])
def test_ways_to_send_a_key_are_described(key: str) -> None:
    assert f"`Authorization: {key} " in section("setup-comfyui.md", "## A server somewhere else")


# The plugin's own page


def test_links_of_the_readme_lead_somewhere() -> None:
    text = (PLUGIN / "README.md").read_text(encoding="utf-8")

    for path, anchor in re.findall(r"\]\((?!https?:)([^)#]+)(?:#([^)]+))?\)", text):
        page = (PLUGIN / path).read_text(encoding="utf-8")
        assert not anchor or re.search(rf"^#+ {anchor}$", page, re.MULTILINE), f"{path}#{anchor}"


def test_configuration_of_the_readme_validates(
    imagen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEN_LOAD_PLUGINS", "comfyui")
    text = (PLUGIN / "README.md").read_text(encoding="utf-8")
    [block] = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    file = tmp_path / "imagen.yaml"
    file.write_text(block)

    done = imagen("config", "validate", "--config", str(file))

    assert done.err == f"imagen: {file} is fine\n"
