"""A server, a backend and a command line in which a message can be provoked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from comfy_images import image_of
from imagen_comfyui.testing import FakeComfyUI
from imagen_core import Accepted, Event, ImagenError


class Told(NamedTuple):
    """What was said, and the exit code that goes with it."""

    exit_code: int
    message: str


class World(NamedTuple):
    """What a case may use to provoke its message."""

    server: FakeComfyUI
    make: Any
    ask: Any
    imagen: Any
    folder: Path
    png: bytes

    def fails(self, *, images: int = 0, params: Any = None, **block: Any) -> Told:
        """Make a picture, and tell how it fails."""
        return told_by(self.begun(images=images, params=params, **block))

    def begun(self, *, images: int = 0, params: Any = None, **block: Any) -> Iterator[Event]:
        """A picture on its way."""
        request = self.ask(images=(image_of(self.png),) * images, params=params or {})
        backend = self.make(**block)
        backend.check(request)
        yield from backend.generate(request)

    def held(self) -> Iterator[Event]:
        """A picture that the server has begun, and holds."""
        self.server.hold(step=1)
        events = self.begun()
        accepted = next(event for event in events if isinstance(event, Accepted))
        self.server.wait_for(accepted.remote_id, "held")
        return events

    def validates(self, block: str) -> Told:
        """What `config validate` says of an instance."""
        file = self.folder / "imagen.yaml"
        file.write_text(f"backends:\n  flux: {{type: comfyui, {block}}}\n")
        return self.says("config", "validate", "--config", str(file))

    def says(self, *args: str) -> Told:
        """What a command line says is wrong."""
        done = self.imagen(*args)
        [line] = [line for line in done.err.splitlines() if "error: " in line]
        return Told(done.exit_code, line.removeprefix("imagen: error: "))

    def file(self, content: str | bytes, manifest: str = "") -> str:
        """A workflow of this content; its path."""
        path = self.folder / "mine.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        if manifest:
            path.with_suffix(".yaml").write_text(manifest)
        return str(path)

    def workflow(self, content: str | bytes, manifest: str = "") -> Told:
        """What is said of an instance with this workflow."""
        return self.validates(f"workflow: '{self.file(content, manifest)}'")

    def imported(self, content: bytes, *args: str) -> Told:
        """What `workflow import` says of this file."""
        return self.says("workflow", "import", self.file(content), *args)


def told_by(events: Iterator[Event]) -> Told:
    with pytest.raises(ImagenError) as caught:
        list(events)
    return Told(caught.value.exit_code, str(caught.value))
