"""A fake Replicate, and backends that talk to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest

from imagen_core import Request
from imagen_core.testing import events, images, isolated_app, png
from imagen_replicate.backend import ReplicateBackend
from imagen_replicate.config import ReplicateConfig
from imagen_replicate.patience import Patience
from imagen_replicate.testing import FakeReplicate
from replicate_transcripts import SCHNELL, open_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Make = Callable[..., ReplicateBackend]

__all__ = ["events", "images", "png"]

QUICK = Patience(look=0.01, seldom=0.05, apart=0.05, again=0.01, late=1.5, closing=15.0)
"""Whoever closes waits so long on a busy machine alone, or where somebody does not answer; after a
test its threads have to end, too."""


@pytest.fixture
def server() -> Iterator[FakeReplicate]:
    with FakeReplicate() as fake:
        yield fake


@pytest.fixture
def web(server: FakeReplicate) -> Iterator[httpx.Client]:
    """A client of the server, which shows the token."""
    with open_client(server) as client:
        yield client


@pytest.fixture
def environment(server: FakeReplicate) -> dict[str, str]:
    """The variables that backends see."""
    return {"REPLICATE_API_TOKEN": server.token}


@pytest.fixture
def context(tmp_path: Path, environment: dict[str, str]) -> Iterator[Any]:
    """What a plugin gets to see: an empty home, and a token."""
    (tmp_path / "home").mkdir()
    app = isolated_app(tmp_path / "home", environment=environment)
    yield app.context
    app.close()


@pytest.fixture
def make(server: FakeReplicate, context: Any) -> Make:
    """Makes a backend for the server of the keys of a block."""

    def backend(**block: Any) -> ReplicateBackend:
        usual = {"model": SCHNELL, "api_url": server.url}
        config = ReplicateConfig(**{**usual, **block})
        return ReplicateBackend(config, context, patience=QUICK)

    return backend


@pytest.fixture
def ask() -> Callable[..., Request]:
    """Makes a Request."""

    def request(**fields: Any) -> Request:
        usual = {"prompt": "a cat", "backend": "r", "width": 1024, "height": 1024, "seed": 7}
        given = {**usual, **fields}
        return Request(**{"id": str(uuid4()), "typed_prompt": given["prompt"], **given})

    return request


@pytest.fixture
def configured(
    imagen_home: Path, server: FakeReplicate, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Writes a configuration with an instance `r` of these keys, and sets the token."""
    monkeypatch.setenv("REPLICATE_API_TOKEN", server.token)

    def write(**block: Any) -> Path:
        folder = imagen_home / ".config"
        folder.mkdir(exist_ok=True)
        usual = {"type": "replicate", "model": SCHNELL, "api_url": server.url}
        config = {"default_backend": "r", "backends": {"r": {**usual, **block}}}
        file = folder / "imagen.yaml"
        file.write_text(json.dumps(config))
        return file

    return write
