"""A fake ComfyUI, and backends that talk to it."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest

from comfy_stage import stage
from imagen_comfyui.backend import ComfyBackend, Patience
from imagen_comfyui.config import ComfyConfig
from imagen_comfyui.testing import FakeComfyUI
from imagen_core import Accepted, Event, ImagenError, Request
from imagen_core.testing import events, images, isolated_app, png

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    Make = Callable[..., ComfyBackend]
    Events = Generator[Event, None, None]

__all__ = ["events", "images", "png", "stage"]

QUICK = Patience(poll=0.001, offline=60, closing=15)
"""Looks all the time, and bears with a server that is slow on a busy machine."""


@pytest.fixture
def server() -> Iterator[FakeComfyUI]:
    with FakeComfyUI() as fake:
        yield fake
    assert fake.errors == []


@pytest.fixture
def web(server: FakeComfyUI) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


@pytest.fixture
def context(tmp_path: Path) -> Any:
    """What a plugin gets to see: an empty home, and a key in $COMFY_KEY."""
    (tmp_path / "home").mkdir()
    app = isolated_app(tmp_path / "home", environment={"COMFY_KEY": "secret-key-of-comfy"})
    yield app.context
    app.close()


@pytest.fixture
def make(server: FakeComfyUI, context: Any) -> Make:
    """Makes a backend for the server, quick in its looks, of the keys of a block."""

    def backend(patience: Patience = QUICK, **block: Any) -> ComfyBackend:
        return ComfyBackend(ComfyConfig(**{"url": server.url, **block}), context, patience=patience)

    return backend


@pytest.fixture
def ask() -> Callable[..., Request]:
    """Makes a small Request."""

    def request(**fields: Any) -> Request:
        usual = {"prompt": "a cat", "backend": "flux", "width": 64, "height": 48, "seed": 7}
        given = {**usual, "steps": 2, **fields}
        return Request(**{"id": str(uuid4()), "typed_prompt": given["prompt"], **given})

    return request


@pytest.fixture
def drive() -> Callable[[Events], None]:
    """Takes the Events up to the moment when the server has the prompt."""

    def until_accepted(events: Events) -> None:
        for event in events:
            if isinstance(event, Accepted):
                return

    return until_accepted


@pytest.fixture
def run_beside() -> Callable[[Events], tuple[threading.Thread, list[Any]]]:
    """Drives Events to their end in a thread; the last one of the list may be their error."""

    def start(events: Events) -> tuple[threading.Thread, list[Any]]:
        found: list[Any] = []

        def work() -> None:
            try:
                found.extend(events)
            except ImagenError as error:
                found.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        return thread, found

    return start


@pytest.fixture
def configured(imagen_home: Path) -> Callable[..., str]:
    """Writes a configuration with an instance `flux` of these keys; returns the user's folder."""

    def write(**block: Any) -> str:
        folder = imagen_home / ".config"
        folder.mkdir(exist_ok=True)
        config = {"default_backend": "flux", "backends": {"flux": {"type": "comfyui", **block}}}
        (folder / "imagen.yaml").write_text(json.dumps(config))
        return str(folder / "imagen" / "workflows")

    return write
