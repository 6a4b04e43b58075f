"""`imagen workflow check`, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from imagen_comfyui.testing import FakeComfyUI


def test_check_says_that_all_is_there(server: FakeComfyUI, imagen: Any, configured: Any) -> None:
    configured(url=server.url)

    done = imagen("workflow", "check", "sd35-medium", "--backend", "flux")

    assert done.exit_code == 0
    assert done.out == (f"ComfyUI at {server.url} has all that the workflow sd35-medium needs\n")


def test_check_says_what_lacks_and_where_it_comes_from(
    server: FakeComfyUI, imagen: Any, configured: Any
) -> None:
    configured(url=server.url)
    server.files["vae"] = []
    del server.classes["Flux2Scheduler"]

    done = imagen("workflow", "check", "flux2-klein")
    [found] = imagen("workflow", "check", "flux2-klein", "--json").json()

    assert done.exit_code == 4
    assert "has no nodes of the class Flux2Scheduler" in done.err
    assert "the file 'flux2-vae.safetensors' in vae" in done.err
    assert "https://huggingface.co/Comfy-Org/flux2-dev has it as split_files/vae/" in done.err
    assert (found["ok"], found["missing_nodes"]) == (False, ["Flux2Scheduler"])
    assert [one["file"] for one in found["missing_files"]] == ["flux2-vae.safetensors"]


def test_check_takes_the_files_of_an_instance_with_that_workflow(
    server: FakeComfyUI, imagen: Any, configured: Any
) -> None:
    configured(url=server.url, workflow="sd15", checkpoint="mine.safetensors")

    assert "'mine.safetensors' in checkpoints" in imagen("workflow", "check", "sd15").err


def test_check_by_a_backend_that_is_no_comfyui_is_exit_2(imagen: Any) -> None:
    done = imagen("workflow", "check", "sd15", "--backend", "mock")

    assert (done.exit_code, "the backend 'mock' is no ComfyUI" in done.err) == (2, True)


def test_check_is_of_the_workflow_that_the_name_means(
    server: FakeComfyUI, imagen: Any, configured: Any, tmp_path: Path
) -> None:
    graph = imagen("workflow", "show", "sd15", "--graph").out
    (tmp_path / "fox.json").write_text(graph)
    own = Path(configured(url=server.url, workflow=str(tmp_path / "fox.json"), checkpoint="x"))
    own.mkdir(parents=True)
    lacking = json.loads(graph)
    lacking["1"]["inputs"]["ckpt_name"] = "mine.safetensors"
    (own / "fox.json").write_text(json.dumps(lacking))

    assert "'mine.safetensors'" in imagen("workflow", "check", "fox").err
