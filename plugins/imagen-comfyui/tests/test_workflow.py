"""Which workflow a name means, and what is wrong with one that can't be read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from imagen_comfyui.workflow import digest, everything, find_workflow
from imagen_core import ConfigError

BUNDLED = [
    "flux1-schnell",
    "flux2-klein",
    "flux2-klein-edit",
    "sd15",
    "sd15-img2img",
    "sd35-medium",
]
GRAPH: dict[str, Any] = {"1": {"class_type": "SaveImage", "inputs": {"text": "${prompt}"}}}
SIZED: dict[str, Any] = {
    "1": {
        "class_type": "Any",
        "inputs": {name: f"${{{name}}}" for name in ("prompt", "seed", "steps", "width")},
    }
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


def put(folder: Path, name: str, graph: Any = None, manifest: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(graph if isinstance(graph, str) else json.dumps(graph or GRAPH))
    if manifest:
        path.with_suffix(".yaml").write_text(manifest)
    return path


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed pack of workflows of somebody else's."""
    info = tmp_path / "site" / "others-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[imagen.workflows]\nothers = others_pack\n")
    package = tmp_path / "site" / "others_pack"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('a pack is never imported')")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return package


def test_bundled_ones_are_all_there(folder: Path) -> None:
    assert sorted(found.name for found in everything(folder)) == BUNDLED


def test_users_own_comes_before_a_bundled_one(folder: Path) -> None:
    path = put(folder, "flux1-schnell")

    assert find_workflow("flux1-schnell", folder).file == path
    assert [f.source for f in everything(folder) if f.name == "flux1-schnell"] == ["yours"]


def test_path_is_a_path(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path, "mine", manifest="title: Mine\n")
    monkeypatch.chdir(tmp_path)

    for name in (str(path), "./mine.json", "mine.json"):
        found = find_workflow(name, folder)
        assert (found.name, found.manifest.title) == ("mine", "Mine")


def test_tilde_is_the_home(folder: Path, imagen_home: Path) -> None:
    put(imagen_home, "mine")

    assert find_workflow("~/mine.json", folder).name == "mine"


def test_installed_pack_is_found_and_never_imported(folder: Path, pack: Path) -> None:
    put(pack, "theirs", manifest="title: Theirs\n")

    assert find_workflow("theirs", folder).manifest.title == "Theirs"
    assert {f.name: f.source for f in everything(folder)}["theirs"] == "others"
    assert "others_pack" not in sys.modules


def test_pack_can_not_take_the_place_of_a_bundled_one(folder: Path, pack: Path) -> None:
    put(pack, "sd15")

    assert find_workflow("sd15", folder).file.parent.name == "imagen_workflows"


def test_pack_that_is_broken_hides_no_other(folder: Path, pack: Path) -> None:
    (pack.parent / "others-1.0.dist-info" / "entry_points.txt").write_text(
        "[imagen.workflows]\nothers = no_such_package.data\n"
    )

    assert sorted(found.name for found in everything(folder)) == BUNDLED


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("sd1", "there is no workflow 'sd1'", "did you mean 'sd15'?"),
        ("zzz", "there is no workflow 'zzz'", "there are: flux1-schnell, flux2-klein"),
        ("../sd15", f"there is no workflow at {Path.cwd()}/../sd15", "your own ones lie in "),
        ("no.json", f"there is no workflow at {Path.cwd()}/no.json", "your own ones lie in "),
    ],
)
def test_unknown_name_says_what_there_is(folder: Path, name: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_workflow(name, folder)

    assert str(caught.value) == message
    assert caught.value.hint.startswith(hint)


@pytest.mark.parametrize(
    ("graph", "manifest", "message"),
    [
        ("{", "", "w.json:1: not JSON: "),
        ('{"nodes": [], "links": []}', "", "w.json: this is ComfyUI's format for its editor"),
        ("", "", "w.json:1: not JSON: "),
        (None, "titles: x\n", "w.yaml:1: titles: unknown key"),
        (None, "size: {multiple: 0}\n", "w.yaml:1: size.multiple: expected int >= 1"),
        (None, "parameters:\n  a: {type: number}\n", "w.yaml:2: parameters.a.type: expected one"),
        (None, "models: [{file: a}]\n", "w.yaml:1: models[0].folder: is missing"),
        (None, "- a\n", "w.yaml:1: expected keys and values"),
        (None, "a: [\n", "w.yaml:2: not YAML: "),
        (None, "images: 1\n", "w.yaml: images: the graph takes 0 input images, not 1"),
        (None, 'output: "9"\n', "w.yaml: output: the graph has no node '9'"),
        (None, "parameters: {a: {type: int}}\n", "parameters.a: the graph has no placeholder"),
        (
            None,
            "parameters: {prompt: {type: int}}\n",
            "parameters.prompt: its type is str, not",
        ),
        (SIZED, "parameters: {seed: {type: str}}\n", "parameters.seed: its type is int, not str"),
        (SIZED, "parameters: {steps: {type: str}}\n", "parameters.steps: its type is int, not"),
        (SIZED, "parameters: {width: {type: str}}\n", "parameters.width: its type is int, not"),
        (SIZED, "parameters: {width: {type: int, default: 511}}\n", "its default 511 is no side"),
        (SIZED, "parameters: {seed: {type: int, default: -1}}\n", "its default -1 is no seed"),
    ],
)
def test_file_that_is_wrong_is_told_with_its_line(
    folder: Path, graph: Any, manifest: str, message: str
) -> None:
    put(folder, "w", graph if graph is not None else GRAPH, manifest)
    if graph == "":
        (folder / "w.json").write_text("")

    with pytest.raises(ConfigError) as caught:
        find_workflow("w", folder)

    assert message in str(caught.value)


def test_digest_is_of_what_the_graph_says_and_not_how() -> None:
    other = json.loads(json.dumps(GRAPH, indent=4))

    assert digest(other) == digest(GRAPH)
    assert digest({**GRAPH, "2": GRAPH["1"]}) != digest(GRAPH)
