"""What comes back: metadata, progress, pictures of every kind of output."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from imagen_comfyui.backend import Patience
from imagen_comfyui.testing import FakeComfyUI
from imagen_core import (
    Cost,
    Image,
    ImagenError,
    Preview,
    Progress,
)

SLOW = Patience(poll=30)
"""Looks so rarely that the websocket alone tells what happens."""


def test_metadata_says_how_it_was_made(make: Any, ask: Any, images: Any) -> None:
    request = ask(seed=5, steps=3, width=128, height=96)
    [image] = images(make(), request)

    found = dict(image.metadata)
    assert found.pop("latency_ms") >= 0
    assert len(found.pop("workflow_hash")) == 64
    assert found.pop("vram_used_mib") > 0
    assert found == {
        "model": "flux1-schnell.safetensors",
        "workflow": "flux1-schnell",
        "seed_used": 5,
        "steps": 3,
        "cfg": 1.0,
        "sampler": "euler",
        "scheduler": "simple",
        "width": 128,
        "height": 96,
        "server_version": "0.33.0",
        "values": {
            "unet": "flux1-schnell.safetensors",
            "weight_dtype": "default",
            "clip_l": "clip_l.safetensors",
            "t5xxl": "t5xxl_fp8_e4m3fn.safetensors",
            "vae": "ae.safetensors",
            "max_shift": 0.0,
            "base_shift": 0.0,
            "batch_size": 1,
            "filename_prefix": f"imagen/{request.id}",
        },
        "prompt_id": request.id,
        "client_id": f"imagen-{request.id}",
    }
    assert (image.seed, image.mime) == (5, "image/png")


def test_metadata_has_what_was_set_by_hand(make: Any, ask: Any, images: Any) -> None:
    backend = make(workflow="sd15", negative="dogs", params={"5.denoise": 0.5})
    [image] = images(backend, ask())

    values = image.metadata["values"]
    assert (values["negative"], values["5.denoise"]) == ("dogs", 0.5)


def test_scheduler_that_is_a_node_is_named_by_its_class(make: Any, ask: Any, images: Any) -> None:
    [image] = images(make(workflow="flux2-klein"), ask())

    assert (image.metadata["sampler"], image.metadata["scheduler"]) == ("euler", "Flux2Scheduler")


def test_server_that_does_not_tell_of_itself_costs_no_picture(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    server.fail("GET /system_stats", 500, times=9)

    [image] = images(make(), ask())

    assert "vram_used_mib" not in image.metadata


def test_cost_is_nothing_and_said_so(make: Any, ask: Any, events: Any) -> None:
    backend = make()

    assert backend.estimate(ask()) == Cost(usd=0, basis="local")
    assert Cost(usd=0, basis="local") in events(backend, ask())


def test_progress_has_steps_and_names(make: Any, ask: Any) -> None:
    with FakeComfyUI(step_seconds=0.01) as server:
        made = list(make(SLOW, url=server.url).generate(ask(steps=4)))
    found = [event for event in made if isinstance(event, Progress)]

    assert [(e.step, e.steps) for e in found if e.step] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert {e.message for e in found if e.step} == {"Sampler"}
    fractions = [e.fraction for e in found if e.fraction is not None]
    assert fractions == sorted(fractions)
    assert fractions[-1] < 1


@pytest.mark.parametrize("version", ["0.33.0", "0.3.64"])
def test_previews_are_passed_on(make: Any, ask: Any, version: str) -> None:
    with FakeComfyUI(previews=True, step_seconds=0.01, version=version) as server:
        found = list(make(SLOW, url=server.url).generate(ask(steps=3)))

    previews = [event for event in found if isinstance(event, Preview)]
    assert len(previews) == 3
    assert {(p.mime, p.data[:2]) for p in previews} == {("image/jpeg", b"\xff\xd8")}


def test_batch_gives_several_pictures_in_order(make: Any, ask: Any, images: Any) -> None:
    found = images(make(params={"batch_size": 3}), ask())

    assert len({image.data for image in found}) == 3


def workflow_at(path: Path, graph: dict[str, Any], manifest: str = "") -> str:
    path.write_text(json.dumps(graph))
    if manifest:
        path.with_suffix(".yaml").write_text(manifest)
    return str(path)


def outputs(*kinds: str) -> dict[str, Any]:
    """A graph with these output nodes, which are 2, 3 and so on."""
    graph: dict[str, Any] = {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 64, "height": 48, "batch_size": 1, "color": "${seed}"},
        }
    }
    for number, kind in enumerate(kinds, 2):
        prefix = {"filename_prefix": "${prompt}"} if kind == "SaveImage" else {}
        graph[str(number)] = {"class_type": kind, "inputs": {"images": ["1", 0], **prefix}}
    if "SaveImage" not in kinds:
        graph["9"] = {"class_type": "PrimitiveString", "inputs": {"value": "${prompt}"}}
    return graph


def test_several_outputs_give_a_picture_each(
    make: Any, ask: Any, images: Any, tmp_path: Path
) -> None:
    path = workflow_at(tmp_path / "w.json", outputs("SaveImage", "SaveImage"))

    assert len(images(make(workflow=path), ask(seed=7))) == 2


def test_manifest_can_name_the_output_that_counts(
    make: Any, ask: Any, images: Any, tmp_path: Path
) -> None:
    path = workflow_at(tmp_path / "w.json", outputs("SaveImage", "SaveImage"), 'output: "3"\n')

    assert len(images(make(workflow=path), ask(seed=7))) == 1


def test_picture_for_a_look_counts_only_where_there_is_no_other(
    make: Any, ask: Any, images: Any, tmp_path: Path
) -> None:
    both = workflow_at(tmp_path / "a.json", outputs("PreviewImage", "SaveImage"))
    alone = workflow_at(tmp_path / "b.json", outputs("PreviewImage"))

    assert len(images(make(workflow=both), ask(seed=7))) == 1
    assert len(images(make(workflow=alone), ask(seed=7))) == 1


def test_pictures_that_come_over_the_websocket_alone_are_taken(
    make: Any, ask: Any, images: Any, tmp_path: Path
) -> None:
    path = workflow_at(tmp_path / "w.json", outputs("SaveImageWebsocket"))

    [image] = images(make(workflow=path), ask(seed=7))

    assert image.mime == "image/png"


def test_workflow_without_any_picture_is_an_error(
    server: FakeComfyUI, make: Any, ask: Any, images: Any, tmp_path: Path
) -> None:
    server.silence_sockets()
    path = workflow_at(tmp_path / "w.json", outputs("SaveImageWebsocket"))

    with pytest.raises(ImagenError, match="ended without a picture"):
        images(make(workflow=path), ask(seed=7))


@pytest.mark.parametrize("output", ["SaveImage", "SaveImageWebsocket"])
def test_pictures_that_were_made_before_a_failure_are_kept(
    server: FakeComfyUI, make: Any, ask: Any, tmp_path: Path, output: str
) -> None:
    graph = outputs(output)
    graph["5"] = {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}}
    graph["6"] = {
        "class_type": "SaveImage",
        "inputs": {"images": ["5", 0], "filename_prefix": "b"},
    }
    server.raise_in("ImageInvert", exception_type="RuntimeError")
    events = make(workflow=workflow_at(tmp_path / "w.json", graph)).generate(ask(seed=7))

    assert any(isinstance(event, Image) for event in iter(partial(next, events), None))
    with pytest.raises(ImagenError, match="ImageInvert"):
        list(events)


@pytest.mark.parametrize(("other", "count"), [("PreviewImage", 1), ("SaveImage", 2)])
def test_picture_over_the_websocket_is_taken_beside_others(
    make: Any, ask: Any, images: Any, tmp_path: Path, other: str, count: int
) -> None:
    graph = outputs("SaveImageWebsocket", other)
    graph["7"] = {"class_type": "EmptyImage", "inputs": {**graph["1"]["inputs"], "width": 16}}
    graph["3"]["inputs"]["images"] = ["7", 0]
    path = workflow_at(tmp_path / "w.json", graph)

    found = images(make(workflow=path), ask(seed=7))

    assert len(found) == count
    assert 64 in [image.metadata["width"] for image in found]


def test_output_of_the_manifest_counts_over_the_websocket_too(
    make: Any, ask: Any, images: Any, tmp_path: Path
) -> None:
    graph = outputs("SaveImageWebsocket", "SaveImage")
    path = workflow_at(tmp_path / "w.json", graph, 'output: "3"\n')

    assert len(images(make(workflow=path), ask(seed=7))) == 1
