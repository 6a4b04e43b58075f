"""A Request whose prompt the server has already, or had once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from comfy_images import image_of
from imagen_comfyui.testing import FakeComfyUI
from imagen_core import (
    Accepted,
    Image,
    ImagenError,
    UsageError,
)


def test_same_request_again_fetches_what_is_there(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    request = ask()

    first, second = (images(make(), request) for _ in range(2))

    assert [i.data for i in first] == [i.data for i in second]
    assert len(server.submits) == 1


def test_request_that_failed_gets_a_new_id_the_next_time(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    request = ask()
    server.raise_in("KSampler")
    with pytest.raises(ImagenError):
        images(make(), request)

    assert len(images(make(), request)) == 1
    ids = [submit.prompt_id for submit in server.submits]
    assert ids[0] == request.id
    assert ids[1] != request.id
    assert str(UUID(ids[1])) == ids[1]


def test_earlier_attempt_is_resumed_and_not_sent_again(
    server: FakeComfyUI, make: Any, ask: Any
) -> None:
    request = ask()
    server.hold(step=1)
    first = make().generate(request)
    for event in first:
        if isinstance(event, Accepted):
            break
    server.wait_for(request.id, "held")
    server.release()

    resumed = list(make().generate(ask(id=request.id, resume=request.id)))

    assert isinstance(resumed[-1], Image)
    assert len(server.submits) == 1
    assert isinstance(list(first)[-1], Image)


def test_attempt_that_the_server_lost_is_made_anew(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    request = ask(resume="00000000-0000-4000-8000-000000000009")

    assert len(images(make(), request)) == 1
    assert len(server.submits) == 1


def test_fully_cached_run_gives_its_picture(
    server: FakeComfyUI, make: Any, ask: Any, images: Any, tmp_path: Path
) -> None:
    graph = {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 64, "height": 48, "batch_size": 1, "color": 5},
        },
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
        "3": {"class_type": "PrimitiveString", "inputs": {"value": "${prompt}"}},
    }
    (tmp_path / "w.json").write_text(json.dumps(graph))
    backend = make(workflow=str(tmp_path / "w.json"))

    first, second = (images(backend, ask()) for _ in range(2))

    assert [i.data for i in first] == [i.data for i in second]
    assert len(server.images.temp) == 1


def test_stored_request_whose_prompt_is_gone_asks_for_its_image_again(
    server: FakeComfyUI, make: Any, ask: Any, png: bytes
) -> None:
    image = replace(image_of(png), data=b"")
    request = ask(images=(image,), resume="00000000-0000-4000-8000-000000000009")

    with pytest.raises(UsageError, match=r"image ref\.png is needed again") as caught:
        list(make(workflow="sd15-img2img").generate(request))

    assert "--image" in caught.value.hint
    assert server.submits == []
