"""Backends that do what a test's script says, and a pipeline around them."""

from __future__ import annotations

import threading
from io import BytesIO
from typing import TYPE_CHECKING, Any

from imagen_core import files
from imagen_core.ledger import Ledger
from imagen_core.pipeline import THREAD_NAME, Pipeline, Step
from imagen_core.protocols import Backend, Instance
from imagen_core.types import About, Image, Note, Request, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path


def png(width: int = 4, height: int = 3, shade: int = 0) -> bytes:
    from PIL import Image as Pillow

    file = BytesIO()
    Pillow.new("L", (width, height), shade).save(file, "PNG")
    return file.getvalue()


PICTURE = Image(data=png(), mime="image/png", seed=1)


class Scripted(Backend):
    """Does what its script says."""

    def __init__(
        self,
        script: Callable[[Request], Iterator[Any]],
        resource: str | None = None,
        honours: frozenset[Any] = frozenset({"seed", "size", "steps", "negative"}),
    ) -> None:
        self.script = script
        self.resource = resource
        self._about = About(model="scripted", honours=honours)

    @property
    def about(self) -> About:
        return self._about

    def generate(self, request: Request) -> Generator[Any, None, None]:
        yield from self.script(request)


def noted(names: list[str], name: str) -> list[Note]:
    names.append(name)
    return [Note(step=name, text=name)]


def request(name: str = "b", number: int = 1, **fields: Any) -> Request:
    fields = {"prompt": "a cat", "typed_prompt": "a cat", "width": 4, "height": 3, **fields}
    return Request(id=f"00000000-0000-4000-8000-{number:012}", backend=name, seed=number, **fields)


def join_makings() -> None:
    """Wait for the threads that a pipeline left behind."""
    for thread in threading.enumerate():
        if thread.name == THREAD_NAME:
            thread.join(60)


class Bench:
    """A pipeline with scripted backends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "pictures"
        self.data = folder / "data"
        self.ledger = Ledger(self.data)
        self.backends: dict[str, Scripted] = {}
        self.steps: list[Step] = []
        self.grace = 10.0
        self.cancel = threading.Event()

    def pipeline(self) -> Pipeline:
        return Pipeline(
            instance=lambda name: Instance(name, "scripted", self.backends[name]),
            ledger=self.ledger,
            data=self.data,
            steps=self.steps,
            grace=self.grace,
        )

    def target(self, **fields: Any) -> files.Target:
        return files.Target(**{"folder": self.folder, "naming": "{slug}.{ext}", **fields})

    def run(self, script: Any, *, target: files.Target | None = None, **fields: Any) -> Run:
        self.backends["b"] = Scripted(script)
        return self.pipeline().run(request(**fields), target or self.target(), self.cancel)
