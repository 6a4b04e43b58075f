"""Servers that answer in odd ways: each is an error of imagen's, and nothing is doubled or lost."""

from __future__ import annotations

import json
import threading
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

import imagen_comfyui
from comfy_images import image_of
from imagen_comfyui.backend import Patience
from imagen_comfyui.needs import match
from imagen_comfyui.testing import FakeComfyUI
from imagen_core import Image, ImagenError, Options, RejectedError, is_black
from imagen_core.testing import isolated_app

SHAPES = ["null", "[]", "5", '"text"', '{"detail": "log in"}', '{"queue_running": 5}', "[" * 9999]


@pytest.mark.parametrize("shape", SHAPES, ids=range(len(SHAPES)))
@pytest.mark.parametrize("path", ["GET /queue", "GET /history", "GET /object_info", "POST /prompt"])
def test_reply_of_another_shape_is_an_error_of_imagens(
    server: FakeComfyUI, make: Any, ask: Any, run_beside: Any, path: str, shape: str
) -> None:
    server.fail(path, 200, body=shape.encode(), times=99)
    thread, found = run_beside(make().generate(ask()))
    thread.join(60)

    # Lists of files only help to find a name; without them it is sent as it is.
    made = isinstance(found[-1], Image) and path == "GET /object_info"
    assert made or (isinstance(found[-1], ImagenError) and "ComfyUI at" in str(found[-1]))


@pytest.mark.parametrize("shape", SHAPES, ids=range(len(SHAPES)))
@pytest.mark.parametrize("path", ["GET /queue", "GET /history"])
def test_reply_of_another_shape_is_not_taken_for_an_empty_one(
    server: FakeComfyUI, make: Any, ask: Any, drive: Any, path: str, shape: str
) -> None:
    server.hold(step=1)
    events = make().generate(ask())
    drive(events)
    server.fail(path, 200, body=shape.encode(), times=4)
    for _ in range(12):
        next(events)
    server.release()

    assert isinstance(list(events)[-1], Image)
    assert len(server.submits) == 1


def test_accepted_prompt_is_not_sent_again_because_of_an_odd_queue(
    server: FakeComfyUI, make: Any, ask: Any, run_beside: Any
) -> None:
    request = ask()
    server.hang("POST /prompt", accept=True)
    thread, found = run_beside(make().generate(request))
    server.wait_hung()
    server.fail("GET /queue", 200, body=b"[]", times=99)
    server.release()
    thread.join(60)

    assert len(server.submits) == 1
    assert isinstance(found[-1], Image | ImagenError)


def test_cancelling_is_not_confirmed_by_what_is_no_queue(
    server: FakeComfyUI, make: Any, ask: Any, drive: Any
) -> None:
    server.hold(step=1)
    events = make().generate(ask())
    drive(events)
    server.fail("GET /queue", 200, body=b"[]", times=99)

    with pytest.raises(ImagenError, match="may still make the prompt"):
        events.close()


def test_server_that_gives_ids_of_its_own_is_told_and_its_prompt_cancelled(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    foreign = server.add_foreign()
    reply = {"prompt_id": foreign, "number": 1, "node_errors": {}}
    server.fail("POST /prompt", 200, body=json.dumps(reply).encode())

    with pytest.raises(RejectedError, match="gives prompts ids of its own"):
        images(make(), ask())

    server.wait_for(foreign, "interrupted")


def test_missing_model_that_only_the_validation_finds(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    node = json.dumps({"UNETLoader": {"input": {"required": {}}}}).encode()
    server.fail("GET /object_info/UNETLoader", 200, body=node, times=2)

    with pytest.raises(RejectedError, match=r"lacks the file 'none\.safetensors'") as caught:
        images(make(unet="none.safetensors"), ask())

    assert "docs/setup-comfyui.md" in caught.value.hint
    assert "near it there: flux" in caught.value.hint


def test_exact_name_goes_before_one_in_other_letters() -> None:
    offered = ["Model.safetensors", "model.safetensors", "a/other.safetensors"]

    assert match("model.safetensors", offered) == ["model.safetensors"]
    assert match("MODEL.safetensors", offered) == ["Model.safetensors"]
    assert match("Other.safetensors", offered) == ["a/other.safetensors"]


def test_secret_in_a_redirect_is_not_repeated(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    server.fail("GET /queue", 302, times=9)

    with pytest.raises(RejectedError, match="sends elsewhere: it does not say where"):
        images(make(), ask())


# Pictures


def test_one_damaged_picture_of_a_batch_costs_no_other(
    server: FakeComfyUI, make: Any, ask: Any
) -> None:
    server.corrupt_view(times=3)
    events = make(params={"batch_size": 3}).generate(ask())

    images = (event for event in iter(partial(next, events), None) if isinstance(event, Image))
    assert len({next(images).data for _ in range(2)}) == 2
    with pytest.raises(ImagenError, match="damaged each time"):
        list(events)


def test_picture_that_was_deleted_meanwhile_is_made_again(
    server: FakeComfyUI, make: Any, ask: Any, run_beside: Any
) -> None:
    request = ask()
    server.hold_end()
    thread, found = run_beside(make().generate(request))
    server.wait_for(request.id, "held")
    server.forget_output()
    server.release()
    thread.join(60)

    assert isinstance(found[-1], Image)
    prefixes = [submit.graph["10"]["inputs"]["filename_prefix"] for submit in server.submits]
    assert len(set(prefixes)) == 2


def test_finished_prompt_is_fetched_though_its_model_has_gone(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    request = ask()
    first = images(make(), request)
    server.files["vae"].clear()

    assert [i.data for i in images(make(), request)] == [i.data for i in first]


def test_black_pictures_are_told_and_nothing_else_is() -> None:
    def picture(width: int, colour: str) -> bytes:
        file = BytesIO()
        Pillow.new("RGB", (width, width), colour).save(file, "png")
        return file.getvalue()

    assert is_black(picture(64, "black"))
    assert not is_black(picture(64, "#010000"))
    assert not is_black(picture(64, "white"))
    assert not is_black(b"\x89PNG\r\n\x1a\nrubbish")
    assert not is_black(b"GIF89a")


# Time


def test_run_without_a_websocket_has_the_longer_limit(
    server: FakeComfyUI, make: Any, ask: Any, drive: Any
) -> None:
    server.refuse_sockets()
    server.hold(step=1)
    events = make(timeout=0.01, queue_timeout=60).generate(ask())
    drive(events)
    for _ in range(200):
        next(events)
    server.release()

    assert isinstance(list(events)[-1], Image)


def test_closing_without_a_websocket_cancels(
    server: FakeComfyUI, make: Any, ask: Any, drive: Any
) -> None:
    request = ask()
    server.refuse_sockets()
    server.hold(step=1)
    events = make().generate(request)
    drive(events)
    server.wait_for(request.id, "held")
    events.close()

    server.wait_for(request.id, "interrupted")


@pytest.mark.parametrize("number", range(12))
def test_closing_after_any_event_leaves_nothing_at_the_server(
    server: FakeComfyUI, make: Any, ask: Any, number: int, png: bytes
) -> None:
    server.hold(step=1)
    events = make(workflow="sd15-img2img").generate(ask(images=(image_of(png),)))
    for _, _ in zip(range(number + 1), events, strict=False):
        pass
    events.close()

    assert all(server.state(s.prompt_id) in ("interrupted", "deleted") for s in server.submits)


def test_closing_a_resumed_run_at_once_cancels_it(
    server: FakeComfyUI, make: Any, ask: Any, drive: Any
) -> None:
    request = ask()
    server.hold(step=1)
    left_behind = make().generate(request)
    drive(left_behind)
    server.wait_for(request.id, "held")
    resumed = make().generate(ask(id=request.id, resume=request.id))
    next(resumed)
    resumed.close()

    server.wait_for(request.id, "interrupted")
    left_behind.close()


def test_picture_over_the_websocket_survives_a_long_silence(
    server: FakeComfyUI, make: Any, ask: Any, drive: Any, tmp_path: Path
) -> None:
    graph = {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 64, "height": 48, "batch_size": 1, "color": "${seed}"},
        },
        "2": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}},
        "3": {"class_type": "PrimitiveString", "inputs": {"value": "${prompt}"}},
    }
    (tmp_path / "w.json").write_text(json.dumps(graph))
    request = ask()
    server.hold("EmptyImage", step=0)
    backend = make(Patience(poll=0.02, quiet=0.25), workflow=str(tmp_path / "w.json"))
    events = backend.generate(request)
    drive(events)
    server.wait_for(request.id, "held")
    server.drop_sockets()
    server.wait_sockets(0)
    server.wait_sockets(1)
    for _ in range(60):
        next(events)
    server.release()

    assert isinstance(list(events)[-1], Image)
    assert len([r for r in server.requests if r.path.startswith("/ws")]) == 2


def test_twenty_threads_of_the_whole_program_get_each_its_own(tmp_path: Path) -> None:
    runs: list[Any] = []

    def work(seed: int, url: str) -> None:
        config = f"default_backend: f\nbackends: {{f: {{type: comfyui, url: '{url}'}}}}\n"
        folder = tmp_path / str(seed)
        folder.mkdir()
        app = isolated_app(folder, config=config, plugins={"comfyui": imagen_comfyui})
        [request] = app.resolve(Options(prompt="a cat", seed=seed, size="64x48", steps=1))
        runs.append(app.pipeline({}).run(request, app.target()))
        app.close()

    with FakeComfyUI() as server:
        threads = [threading.Thread(target=work, args=(n, server.url)) for n in range(1, 21)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    assert [run.failure for run in runs] == [None] * 20
    assert len({output.sha256 for run in runs for output in run.outputs}) == 20
