"""Every message of the page about ComfyUI is what is said, and each one stands there."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import imagen_comfyui
from comfy_docs import section
from comfy_images import image_of
from comfy_world import Told, World, told_by
from imagen_comfyui.backend import ComfyBackend, Patience
from imagen_comfyui.config import ComfyConfig
from imagen_comfyui.testing import FakeComfyUI
from imagen_comfyui.verdicts import refusal
from imagen_comfyui.workflow import find_workflow
from imagen_core import (
    Image,
    ImagenError,
    Options,
    Remark,
)
from imagen_core.testing import isolated_app

NOWHERE = Path("/nonexistent")


def failing(path: str, status: int, *, body: bytes = b"", **block: Any) -> Callable[[World], Told]:
    def case(world: World) -> Told:
        world.server.fail(path, status, body=body, times=9)
        return world.fails(**block)

    return case


def dropped(world: World) -> Told:
    world.server.drop_request("POST /prompt", times=2)
    return world.fails(patience=Patience(offline=0.3))


def without_file(world: World) -> Told:
    world.server.files["vae"].clear()
    return world.fails()


def with_two_files(world: World) -> Told:
    world.server.files["vae"][:] = ["a/ae.safetensors", "b/ae.safetensors"]
    return world.fails()


def without_class(world: World) -> Told:
    del world.server.classes["ModelSamplingFlux"]
    return world.fails()


def unknown_class(_: World) -> Told:
    flux = find_workflow("flux1-schnell", NOWHERE)
    reply = {"error": {"type": "invalid_prompt", "message": "Cannot execute: a node is missing."}}
    error = refusal(reply, flux.graph, who="ComfyUI at http://box", workflow=flux)
    return Told(error.exit_code, str(error))


def raising(class_type: str, *, plain: bool = False, **how: Any) -> Callable[[World], Told]:
    def case(world: World) -> Told:
        if plain:
            world.server.string_messages()
        world.server.raise_in(class_type, **how)
        return world.fails()

    return case


def interrupted(world: World) -> Told:
    import httpx

    events = world.held()
    body = {"prompt_id": world.server.submits[-1].prompt_id}
    httpx.post(f"{world.server.url}/interrupt", json=body, timeout=60)
    return told_by(events)


def again_and_again(world: World) -> Told:
    backend, request = world.make(), world.ask()
    while True:
        world.server.raise_in("KSampler")
        told = told_by(backend.generate(request))
        if "GPU" not in told.message:
            return told


def without_progress(world: World) -> Told:
    world.server.hold(step=1)
    return world.fails(timeout=0.2)


def behind_another(world: World) -> Told:
    world.server.add_foreign()
    return world.fails(queue_timeout=0.2)


def lost(world: World) -> Told:
    events = world.held()
    world.server.restart()
    return told_by(events)


def cancelled_in_vain(world: World) -> Told:
    config = f"backends: {{flux: {{type: comfyui, url: '{world.server.url}'}}}}"
    home = world.folder / "app"
    home.mkdir()
    app = isolated_app(home, config=config, plugins={"comfyui": imagen_comfyui})
    [request] = app.resolve(Options(prompt="a cat", backend="flux", seed=1))
    world.server.hold(step=1)
    cancel = threading.Event()

    def cancel_without_server() -> None:
        world.server.wait_for(request.id, "held")
        world.server.restart(down=True)
        cancel.set()

    thread = threading.Thread(target=cancel_without_server)
    thread.start()
    run = app.pipeline({}).run(request, app.target(), cancel)
    thread.join()
    app.close()
    assert run.failure
    return Told(run.failure.error().exit_code, run.notes[-1].text)


def bad_key(world: World) -> Told:
    app = isolated_app(world.folder, environment={"KEY": "é"})
    config = ComfyConfig(url=world.server.url, api_key_env="KEY")
    backend = ComfyBackend(config, app.context)
    app.close()
    return told_by(backend.generate(world.ask()))


def corrupt(world: World) -> Told:
    world.server.corrupt_view(times=9)
    return world.fails()


def black(world: World) -> Told:
    world.server.black()
    found = list(world.begun())
    [remark] = [event.text for event in found if isinstance(event, Remark)]
    assert any(isinstance(event, Image) for event in found)
    return Told(0, remark)


def without_its_image(world: World) -> Told:
    image = replace(image_of(world.png), data=b"")
    request = world.ask(images=(image,))
    return told_by(world.make(workflow="sd15-img2img").generate(request))


def imported_twice(world: World) -> Told:
    graph = GRAPH.encode()
    world.imagen("workflow", "import", world.file(graph))
    return world.imported(graph)


def picture(*texts: str) -> bytes:
    """A PNG with these texts, by the names of their values."""
    from io import BytesIO

    from PIL import Image as Pillow
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for name in texts:
        info.add_text(name, "{}")
    file = BytesIO()
    Pillow.new("RGB", (4, 4)).save(file, "png", pnginfo=info)
    return file.getvalue()


GRAPH = json.dumps(
    {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 48, "color": 0}},
        "2": {
            "class_type": "SaveImage",
            "inputs": {"images": ["1", 0], "filename_prefix": "${prompt}"},
        },
    }
)
SMALL = GRAPH.replace('"color": 0', '"color": 0, "batch_size": 1')
NO_PROMPT = GRAPH.replace("${prompt}", "${filename_prefix}")
NO_VALUE = GRAPH.replace('"color": 0', '"color": "${colour}"')

CASES: dict[str, Callable[[World], Told]] = {
    "ComfyUI at … is unreachable: …": lambda world: world.fails(url="http://127.0.0.1:9"),
    "the connection to ComfyUI at … broke off": dropped,
    "ComfyUI at … answered 503 …": failing("POST /prompt", 503),
    "ComfyUI at … answered 401 …": failing("GET /queue", 401),
    "$… is not set": lambda world: world.fails(api_key_env="NO_SUCH_KEY"),
    "ComfyUI at … answered with something that is not JSON": failing(
        "GET /queue", 200, body=b"<html>log in</html>"
    ),
    "ComfyUI at … sends elsewhere: …": failing("GET /queue", 302),
    "ComfyUI at … answered 413 …": failing(
        "POST /upload/image", 413, images=1, workflow="sd15-img2img"
    ),
    "ComfyUI at … answers … in another way than ComfyUI does": failing(
        "POST /upload/image", 200, body=b"{}", images=1, workflow="sd15-img2img"
    ),
    "ComfyUI at … answered 404 to …: no ComfyUI is there": failing("GET /queue", 404),
    "ComfyUI at … gives prompts ids of its own, so none could be found again": failing(
        "POST /prompt", 200, body=b'{"prompt_id": "7", "number": 1, "node_errors": {}}'
    ),
    "the key for ComfyUI at … has a character that no header takes": bad_key,
    "….url: expected http://HOST:PORT, got '…'": lambda world: world.validates("url: box"),
    "….url: expected http://HOST:PORT; a key belongs in a variable that api_key_env names": (
        lambda world: world.validates("url: 'http://a:b@box'")
    ),
    "….api_key_env: expected the name of an environment variable": lambda world: world.validates(
        "api_key_env: sk-0123"
    ),
    "….size: expected WIDTHxHEIGHT, got '…'": lambda world: world.validates("size: big"),
    "….size: this and width or height are one thing": lambda world: world.validates(
        "size: 64x64, width: 64"
    ),
    "the prefix '…' leads out of the server's output folder": lambda world: world.fails(
        params={"filename_prefix": "../up"}
    ),
    "the input … is the placeholder ${…}": lambda world: world.fails(params={"8.cfg": 2}),
    "….params.…: this input is the placeholder ${…}": lambda world: world.validates(
        "params: {8.cfg: 2}"
    ),
    "the input image … is damaged: …": lambda world: world._replace(png=world.png[:60]).fails(
        images=1, workflow="sd15-img2img"
    ),
    "the input image … is needed again, and is kept nowhere": without_its_image,
    "…: there is no workflow '…'": lambda world: world.validates("workflow: flux9"),
    "…: there is no workflow at …": lambda world: world.validates("workflow: ./none.json"),
    "…: not JSON: …": lambda world: world.workflow("{"),
    "…: this is ComfyUI's format for its editor, not the API format that a server takes": (
        lambda world: world.workflow('{"nodes": [], "links": []}')
    ),
    "…: the node '…' has no class_type, so this is no graph in API format": lambda world: (
        world.workflow('{"1": {}}')
    ),
    "…: expected a graph: an object with a node under each id": lambda world: world.workflow("[]"),
    "…: the workflow '…' has no placeholder ${…}": lambda world: world.validates("checkpoint: x"),
    "…: the workflow '…' has no such parameter": lambda world: world.validates("params: {x: 1}"),
    "…: the graph has no placeholder ${…}": lambda world: world.workflow(
        GRAPH, "parameters: {cfg: {type: float}}"
    ),
    "…: the graph has no node '…'": lambda world: world.workflow(GRAPH, "output: '9'"),
    "the workflow '…' has placeholders without a value: …": lambda world: refused(world, NO_VALUE),
    "the workflow '…' has no place for the prompt": lambda world: refused(world, NO_PROMPT),
    "the workflow '…' makes pictures of … to … pixels a side, in multiples of …; … is none": (
        lambda world: refused(world, width=100)
    ),
    "the workflow '…' needs … input image": lambda world: refused(world, name="sd15-img2img"),
    "the workflow '…' takes … input image, got …": lambda world: refused(
        world, name="sd15-img2img", images=(image_of(world.png),) * 2
    ),
    "the backend '…' is no ComfyUI": lambda world: world.says(
        "workflow", "check", "sd15", "--backend", "mock"
    ),
    "… is neither JSON nor a picture of ComfyUI's": lambda world: world.imported(b"\xff\xfe"),
    "…: there is no graph in this picture": lambda world: world.imported(picture()),
    "…: only what ComfyUI's editor shows is in this picture, not the graph for a server": (
        lambda world: world.imported(picture("workflow"))
    ),
    "'…' can't be the name of a workflow": lambda world: world.imported(b"{}", "--name", "a b"),
    "… exists already": imported_twice,
    "ComfyUI at … lacks the file '…' in … (…)": without_file,
    "ComfyUI at … lacks a single '…' in … (…): there are …": with_two_files,
    "ComfyUI at … has no nodes of the class …": without_class,
    "ComfyUI at … refused the workflow '…': …": lambda world: world.fails(sampler="eulr"),
    "ComfyUI at … refused the prompt: …": unknown_class,
    "the GPU ran out of memory in node …: …": raising("KSampler"),
    "node … failed: …": raising("VAEDecode", exception_type="RuntimeError", message="no"),
    "the run failed at the server…": raising("KSampler", plain=True),
    "somebody interrupted it at the server": interrupted,
    "this request failed too often": again_and_again,
    "ComfyUI at … showed no progress for … s, and was given up": without_progress,
    "ComfyUI at … did not get on with its queue for … s, and was given up": behind_another,
    "ComfyUI at … has lost the prompt …: it was restarted, or somebody deleted it": lost,
    "the backend '…' did not stop cleanly: ComfyUI at … may still make the prompt …: "
    "look at its queue": cancelled_in_vain,
    "the workflow '…' ended without a picture": lambda world: world.fails(
        workflow=world.file(SMALL, "output: '1'")
    ),
    "ComfyUI at … made …, and has it no more": failing("GET /view", 404),
    "the picture is made, but … gives it damaged each time: …": corrupt,
    "the picture is made, but …": failing("GET /view", 400),
    "the picture is all black: …": black,
}


def refused(world: World, graph: str = "", *, name: str = "", **request: Any) -> Told:
    """What is said of a Request before anybody is asked."""
    workflow = world.file(graph) if graph else name or "flux1-schnell"
    with pytest.raises(ImagenError) as caught:
        world.make(workflow=workflow).check(world.ask(**request))
    assert world.server.requests == []
    return Told(caught.value.exit_code, str(caught.value))


@pytest.fixture
def world(
    server: FakeComfyUI, make: Any, ask: Any, imagen: Any, tmp_path: Path, png: bytes
) -> World:
    folder = tmp_path / "world"
    folder.mkdir()
    return World(server, make, ask, imagen, folder, png)


def rows() -> list[Told]:
    """The messages of the page, with their exit codes."""
    found = re.findall(
        r"^\| `(.+?)` \| (\d+) \| .+ \|$",
        section("setup-comfyui.md", "## When something goes wrong"),
        re.MULTILINE,
    )
    return [Told(int(code), message) for message, code in found]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.message)
def test_every_message_of_the_page_is_provoked(row: Told, world: World) -> None:
    told = CASES[row.message](world)

    pattern = ".+".join(map(re.escape, row.message.split("…")))
    assert re.fullmatch(pattern, told.message), told.message
    assert told.exit_code == row.exit_code


def test_every_provoked_message_is_on_the_page() -> None:
    assert {*CASES} == {row.message for row in rows()}
