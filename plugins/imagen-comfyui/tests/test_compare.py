"""`imagen compare` with a ComfyUI server beside the mock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

if TYPE_CHECKING:
    from imagen_comfyui.testing import FakeComfyUI


@pytest.fixture
def config(imagen_home: Path, server: FakeComfyUI) -> Path:
    folder = imagen_home / ".config"
    folder.mkdir(exist_ok=True)
    flux = {"type": "comfyui", "url": server.url, "workflow": "flux1-schnell"}
    backends = {"mock": {"type": "mock"}, "flux-schnell-local": flux, "twin": flux}
    (folder / "imagen.yaml").write_text(json.dumps({"backends": backends}))
    return folder


@pytest.mark.usefixtures("config")
def test_both_pictures_and_all_that_there_is_to_tell(imagen: Any) -> None:
    models = "mock,flux-schnell-local"
    args = ("compare", "a cat", "--models", models, "--seeds", "5", "--size", "768x768", "--json")

    [found] = imagen(*args).json()

    folder = Path(found["folder"])
    assert [cell["status"] for cell in found["cells"]] == ["done", "done"]
    for cell in found["cells"]:
        with Image.open(folder / cell["files"][0]) as picture:
            assert picture.size == (768, 768)
    flux = found["cells"][1]["document"]
    assert (flux["metadata"]["workflow"], flux["seed"]) == ("flux1-schnell", 5)
    assert flux["metadata"]["sampler"] == "euler"
    sidecar = json.loads((folder / "flux-schnell-local-5.png.json").read_text())
    assert sidecar == flux
    with Image.open(folder / "sheet.png") as sheet:
        assert sheet.format == "PNG"


@pytest.mark.usefixtures("config")
def test_two_instances_of_one_server_take_turns(imagen: Any, server: FakeComfyUI) -> None:
    args = ("compare", "a cat", "--models", "flux-schnell-local,twin", "--seeds", "1,2")

    [plan] = imagen(*args, "--dry-run", "--json").json()
    done = imagen(*args, "--size", "512x512")

    assert list(plan["lanes"]) == [server.url]
    assert done.exit_code == 0
    assert len(server.submits) == 4
