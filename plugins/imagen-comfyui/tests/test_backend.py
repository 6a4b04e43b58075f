"""What is sent to the server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from comfy_images import image_of
from imagen_comfyui.graph import fill
from imagen_comfyui.testing import FakeComfyUI
from imagen_comfyui.workflow import find_workflow
from imagen_core import (
    Accepted,
    ConfigError,
    RejectedError,
    png_texts,
)


def test_every_value_is_in_the_right_input_of_flux1(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    server.files["vae"].append("other.safetensors")
    request = ask(prompt="a cat", seed=2**63 - 1, steps=3, width=128, height=96)
    images(make(vae="other.safetensors", sampler="heun", scheduler="beta", cfg=2), request)

    assert server.last.inputs_of("KSampler") == [
        {
            "model": ["4", 0],
            "seed": 2**63 - 1,
            "steps": 3,
            "cfg": 2.0,
            "sampler_name": "heun",
            "scheduler": "beta",
            "positive": ["5", 0],
            "negative": ["6", 0],
            "latent_image": ["7", 0],
            "denoise": 1.0,
        }
    ]
    assert server.last.inputs_of("CLIPTextEncode") == [{"clip": ["2", 0], "text": "a cat"}]
    assert server.last.inputs_of("EmptySD3LatentImage") == [
        {"width": 128, "height": 96, "batch_size": 1}
    ]
    assert server.last.inputs_of("ModelSamplingFlux")[0]["width"] == 128
    assert server.last.inputs_of("VAELoader") == [{"vae_name": "other.safetensors"}]
    assert server.last.inputs_of("SaveImage") == [
        {"images": ["9", 0], "filename_prefix": f"imagen/{request.id}"}
    ]


def test_every_value_is_in_the_right_input_of_flux2(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    images(make(workflow="flux2-klein"), ask(seed=5, steps=3, width=128, height=96))

    assert server.last.inputs_of("RandomNoise") == [{"noise_seed": 5}]
    assert server.last.inputs_of("Flux2Scheduler") == [{"steps": 3, "width": 128, "height": 96}]
    assert server.last.inputs_of("EmptyFlux2LatentImage") == [
        {"width": 128, "height": 96, "batch_size": 1}
    ]


def test_negative_prompt_reaches_the_model_that_takes_one(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    images(make(workflow="sd35-medium"), ask(prompt="a cat", negative="dogs"))

    assert [node["text"] for node in server.last.inputs_of("CLIPTextEncode")] == [
        "a cat",
        "dogs",
    ]


def test_without_anything_said_the_manifest_decides(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    backend = make(workflow="sd35-medium")
    images(backend, ask(steps=backend.about.steps))

    [sampler] = server.last.inputs_of("KSampler")
    assert (sampler["steps"], sampler["cfg"], sampler["sampler_name"], sampler["scheduler"]) == (
        28,
        4.5,
        "dpmpp_2m",
        "sgm_uniform",
    )


def test_prompt_id_is_the_requests_and_the_client_id_its_own(
    server: FakeComfyUI, make: Any, ask: Any, events: Any
) -> None:
    request = ask()

    found = events(make(), request)

    [submit] = server.submits
    assert (submit.prompt_id, submit.client_id) == (request.id, f"imagen-{request.id}")
    assert Accepted(remote_id=request.id) in found


def test_png_on_the_server_tells_where_it_came_from(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    request = ask(prompt="ein Kätzchen ☃")
    [image] = images(make(), request)

    texts = png_texts(image.data)
    told = json.loads(texts["imagen"])
    assert (told["id"], told["prompt"], told["seed"]) == (request.id, "ein Kätzchen ☃", 7)
    assert (told["workflow"], len(told["workflow_hash"])) == ("flux1-schnell", 64)
    assert json.loads(texts["prompt"]) == server.last.graph


def test_preview_method_goes_along(server: FakeComfyUI, make: Any, ask: Any, images: Any) -> None:
    images(make(preview_method="latent2rgb"), ask())

    assert server.last.extra_data["preview_method"] == "latent2rgb"


def test_file_in_a_subfolder_is_found_by_its_name(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    server.files["vae"] = ["flux/ae.safetensors", "x.safetensors"]
    server.files["diffusion_models"] = ["flux\\flux1-schnell.safetensors"]

    images(make(), ask())

    assert server.last.inputs_of("VAELoader") == [{"vae_name": "flux/ae.safetensors"}]
    assert server.last.inputs_of("UNETLoader")[0]["unet_name"] == "flux\\flux1-schnell.safetensors"


def test_file_in_two_subfolders_must_be_named_with_one(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    server.files["vae"] = ["a/ae.safetensors", "b/ae.safetensors"]

    with pytest.raises(RejectedError, match=r"there are a/ae\.safetensors, b/ae\.safetensors"):
        images(make(), ask())
    assert len(images(make(vae="b/ae.safetensors"), ask())) == 1


def test_lists_of_files_are_asked_for_once_and_again_when_something_lacks(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    backend = make()
    images(backend, ask())
    before = len(server.requests)
    images(backend, ask())
    asked = [r.path for r in server.requests[before:] if "object_info" in r.path]
    server.files["vae"].append("new.safetensors")
    images(backend, ask(params={"vae": "new.safetensors"}))

    assert asked == []
    assert server.last.inputs_of("VAELoader") == [{"vae_name": "new.safetensors"}]


def test_input_image_is_uploaded_by_its_content(
    server: FakeComfyUI, make: Any, ask: Any, images: Any, png: bytes
) -> None:
    backend = make(workflow="sd15-img2img")
    one = image_of(png)

    first = images(backend, ask(images=(one,)))
    second = images(backend, ask(images=(image_of(png, "other-name.png"),)))

    name = f"imagen/{one.sha256[:40]}.png"
    assert [node["image"] for node in server.last.inputs_of("LoadImage")] == [name]
    assert [i.data for i in first] != []
    assert len(server.images.input) == 1
    assert len(second) == 1


def test_name_that_the_server_gives_an_upload_is_used(
    server: FakeComfyUI, make: Any, ask: Any, images: Any, png: bytes
) -> None:
    one = image_of(png)
    httpx.post(
        f"{server.url}/upload/image",
        files={"image": (f"{one.sha256[:40]}.png", b"other bytes", "image/png")},
        data={"subfolder": "imagen"},
        timeout=60,
    )

    images(make(workflow="sd15-img2img"), ask(images=(one,)))

    assert [node["image"] for node in server.last.inputs_of("LoadImage")] == [
        f"imagen/{one.sha256[:40]} (1).png"
    ]


def test_reference_image_reaches_flux2(
    server: FakeComfyUI, make: Any, ask: Any, images: Any, png: bytes
) -> None:
    one = image_of(png)

    assert len(images(make(workflow="flux2-klein-edit"), ask(images=(one,)))) == 1
    assert server.last.inputs_of("LoadImage") == [{"image": f"imagen/{one.sha256[:40]}.png"}]


@pytest.fixture
def plain(tmp_path: Path) -> str:
    """A graph as ComfyUI exports it, without placeholder and manifest."""
    found = find_workflow("sd15", Path("/nonexistent"))
    values = {"prompt": "a dog", "negative": "cars", "seed": 99, "filename_prefix": "ComfyUI"}
    values |= {name: p.default for name, p in found.manifest.parameters.items()}
    values |= {m.placeholder: m.file for m in found.manifest.models}
    graph = fill(found.graph, {**values, "width": 512, "height": 512}, name="sd15")
    path = tmp_path / "exported.json"
    path.write_text(json.dumps(graph))
    return str(path)


def test_plain_export_just_works(
    server: FakeComfyUI, make: Any, ask: Any, images: Any, plain: str
) -> None:
    backend = make(workflow=plain)
    request = ask(prompt="a cat", seed=5, steps=3, width=64, height=48)
    [image] = images(backend, request)

    assert backend.about.honours == {"negative", "seed", "size", "steps"}
    assert [node["text"] for node in server.last.inputs_of("CLIPTextEncode")] == [
        "a cat",
        "cars",
    ]
    assert server.last.inputs_of("KSampler")[0]["seed"] == 5
    assert image.metadata["steps"] == 3


def test_node_input_can_be_set_by_hand(
    server: FakeComfyUI, make: Any, ask: Any, images: Any, plain: str
) -> None:
    graph = json.loads(Path(plain).read_text())
    [key] = [key for key, node in graph.items() if node["class_type"] == "KSampler"]
    images(make(workflow=plain), ask(params={f"{key}.denoise": 0.5}))

    assert server.last.inputs_of("KSampler")[0]["denoise"] == 0.5


def test_unknown_workflow_names_the_nearest(make: Any) -> None:
    with pytest.raises(ConfigError, match="there is no workflow 'flux1-schnel'") as caught:
        make(workflow="flux1-schnel")

    assert (caught.value.key, caught.value.hint) == ("workflow", "did you mean 'flux1-schnell'?")
