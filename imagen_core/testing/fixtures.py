"""Fixtures for the tests of a backend. They come to a suite whose conftest.py imports them."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import pytest

from imagen_core.testing.driving import drive
from imagen_core.types import Image

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen_core.protocols import Backend
    from imagen_core.types import Event, Request


@pytest.fixture
def events() -> Callable[[Backend, Request], list[Event]]:
    """Every Event of a Request."""
    return drive


@pytest.fixture
def images() -> Callable[[Backend, Request], list[Image]]:
    """The pictures that a backend makes of a Request."""

    def made(backend: Backend, request: Request) -> list[Image]:
        return [event for event in drive(backend, request) if isinstance(event, Image)]

    return made


@pytest.fixture
def png() -> bytes:
    """A small picture."""
    from PIL import Image as Pillow

    file = BytesIO()
    Pillow.new("RGB", (16, 16), "teal").save(file, "png")
    return file.getvalue()
