"""The pictures of the fake server: what they depend on, their size, and their names."""

import copy
import io
from typing import Any

import httpx
import pytest
from PIL import Image

from imagen_comfyui.testing import FakeComfyUI

GRAPH = {
    "1": {
        "class_type": "CheckpointLoaderSimple",
        "inputs": {"ckpt_name": "v1-5-pruned-emaonly-fp16.safetensors"},
    },
    "2": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": "a cube"}},
    "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 72, "batch_size": 1}},
    "4": {
        "class_type": "KSampler",
        "inputs": {
            "model": ["1", 0],
            "seed": 1,
            "steps": 2,
            "cfg": 7.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "positive": ["2", 0],
            "negative": ["2", 0],
            "latent_image": ["3", 0],
            "denoise": 1.0,
        },
    },
    "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
    "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "x"}},
}


def changed(node="6", **inputs):
    graph: Any = copy.deepcopy(GRAPH)
    graph[node]["inputs"].update(inputs)
    return graph


def run(server, graph, **body):
    """The pictures that a graph makes, by path."""
    before = set(server.images.output)
    reply = httpx.post(f"{server.url}/prompt", json={"prompt": graph, **body}, timeout=60).json()
    server.wait_for(reply["prompt_id"], "success")
    output = server.images.output
    return {path: opened(output[path]) for path in output if path not in before}


def opened(content):
    picture = Image.open(io.BytesIO(content))
    picture.load()
    return picture


def pixels(pictures):
    return [picture.tobytes() for picture in pictures.values()]


@pytest.fixture
def server():
    with FakeComfyUI() as server:
        yield server


def test_same_graph_makes_the_same_pixels_wherever_it_is_saved(server):
    first = run(server, GRAPH)
    second = run(server, changed(filename_prefix="y"))
    renumbered: Any = {f"n{key}": node for key, node in copy.deepcopy(GRAPH).items()}
    for node in renumbered.values():
        for name, value in node["inputs"].items():
            if isinstance(value, list):
                node["inputs"][name] = [f"n{value[0]}", value[1]]
    with FakeComfyUI() as other:
        third = run(other, renumbered)

    assert pixels(first) == pixels(second) == pixels(third)


@pytest.mark.parametrize(
    ("node", "inputs"),
    [
        ("2", {"text": "a ball"}),
        ("4", {"seed": 2}),
        ("4", {"steps": 3}),
        ("4", {"cfg": 7.5}),
        ("4", {"sampler_name": "heun"}),
        ("1", {"ckpt_name": "sd3.5_medium.safetensors"}),
    ],
)
def test_anything_before_the_picture_changes_its_pixels(server, node, inputs):
    assert pixels(run(server, GRAPH)) != pixels(run(server, changed(node, **inputs)))


def test_batch_makes_different_pictures_with_names_in_a_row(server):
    pictures = run(server, changed("3", batch_size=3))

    assert list(pictures) == ["x_00001_.png", "x_00002_.png", "x_00003_.png"]
    assert len(set(pixels(pictures))) == 3


def test_names_go_on_from_the_files_that_exist(server):
    server.images.output.update({"x_00041_.png": b"", "xx_00050_.png": b"", "a/x_00060_.png": b""})

    assert list(run(server, GRAPH)) == ["x_00042_.png"]


@pytest.mark.parametrize(
    ("prefix", "path"),
    [
        ("a/b/c", "a/b/c_00001_.png"),
        ("a/b/", "a/b_00001_.png"),
        ("%width%x%height%", "64x72_00001_.png"),
        ("bücher é", "bücher é_00001_.png"),
    ],
)
def test_prefix_says_where_a_picture_goes(server, prefix, path):
    assert list(run(server, changed(filename_prefix=prefix))) == [path]


def test_latent_floors_the_size(server):
    [picture] = run(server, changed("3", width=1001, height=79)).values()

    assert picture.size == (1000, 72)


def test_size_may_come_from_a_primitive_node(server):
    graph = changed("3", width=["7", 0])
    graph["7"] = {"class_type": "PrimitiveInt", "inputs": {"value": 128}}
    [picture] = run(server, graph).values()

    assert picture.size == (128, 72)


@pytest.mark.parametrize(
    ("kind", "inputs", "size"),
    [
        ("ImageInvert", {}, (50, 40)),
        ("ImageScale", {"width": 30, "height": 20}, (30, 20)),
        ("ImageScale", {"width": 100, "height": 0}, (100, 80)),
        ("ImageScaleToTotalPixels", {"megapixels": 1.0, "resolution_steps": 1}, (1145, 916)),
    ],
)
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_loaded_picture_gives_the_size(server, kind, inputs, size, form):
    content = io.BytesIO()
    Image.new("RGB", (50, 40)).save(content, form)
    server.images.input["in/ref.png"] = content.getvalue()
    more = {"upscale_method": "area", "crop": "disabled"} if kind != "ImageInvert" else {}
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "in/ref.png"}},
        "2": {"class_type": kind, "inputs": {"image": ["1", 0], **inputs, **more}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
    }

    assert [picture.size for picture in run(server, graph).values()] == [size]


def test_other_bytes_of_a_loaded_picture_make_another_picture(server):
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "ref.png [temp]"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    made = []
    for colour in ("red", "blue"):
        content = io.BytesIO()
        Image.new("RGB", (8, 8), colour).save(content, "PNG")
        server.images.temp["ref.png"] = content.getvalue()
        made += pixels(run(server, graph))

    assert len(set(made)) == 2


def test_text_uploaded_as_a_picture_fails_when_it_is_loaded(server):
    server.images.input["notes.png"] = b"hello"
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "notes.png"}},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }
    reply = httpx.post(f"{server.url}/prompt", json={"prompt": graph}, timeout=60).json()
    server.wait_for(reply["prompt_id"], "error")
    [entry] = httpx.get(f"{server.url}/history", timeout=60).json().values()

    assert entry["status"]["messages"][-1][1]["exception_type"] == "PIL.UnidentifiedImageError"


def test_cache_is_that_of_the_last_prompt(server):
    first = run(server, GRAPH)
    again = run(server, GRAPH)
    other = run(server, changed("4", seed=2))
    back = run(server, GRAPH, extra_data={"extra_pnginfo": {"job": 1}})

    assert [list(made) for made in (first, again, other, back)] == [
        ["x_00001_.png"],
        [],
        ["x_00002_.png"],
        ["x_00003_.png"],
    ]
    assert list(back["x_00003_.png"].text) == ["prompt", "job"]
