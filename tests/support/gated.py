"""A plugin that stops where a test wants it to: a backend, and a step of each phase.

It is steered by files in one folder. At the point NAME it adds the id of its request to the file
`NAME`, and goes on when there is neither `NAME.shut` nor `NAME.hang`; at the first it can be
closed meanwhile, at the second it can't. `NAME.fail` holds the name of an exception to raise there.
"""

from __future__ import annotations

import builtins
import threading
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

import imagen_core
from imagen_core import (
    About,
    Accepted,
    Backend,
    BackendSpec,
    Cost,
    Image,
    Note,
    Param,
    Progress,
    StepSpec,
    Switch,
    hookimpl,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from imagen_core import Done, Event, Request

FOLDER = "GATES"
"""The variable that names the folder."""
POINTS = ("resolving", "asked", "running", "saving", "publishing")


class Config(msgspec.Struct, frozen=True, kw_only=True):
    card: str = ""
    lasting: bool = False
    accepts: bool = True
    odd: bool = False
    size: str = "24x16"


class Gates:
    """The folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def at(self, point: str, of: str) -> Iterator[None]:
        """Say that it is there, and wait; yields meanwhile where it may be closed."""
        with (self.folder / point).open("a") as file:
            file.write(f"{of}\n")
        idle = threading.Event()
        while self._is(point, "shut"):
            yield
            idle.wait(0.01)
        while self._is(point, "hang"):
            idle.wait(0.01)
        if self._is(point, "fail"):
            name = (self.folder / f"{point}.fail").read_text()
            raise getattr(imagen_core, name, getattr(builtins, name, None))("as it was told")

    def _is(self, point: str, what: str) -> bool:
        return (self.folder / f"{point}.{what}").exists()

    def pass_by(self, point: str, of: str) -> None:
        """The same where nobody can close anything."""
        for _ in self.at(point, of):
            pass

    def shut(self, point: str, what: str = "shut", text: str = "") -> None:
        (self.folder / f"{point}.{what}").write_text(text)

    def open(self, point: str, what: str = "shut") -> None:
        (self.folder / f"{point}.{what}").unlink()

    def seen(self, point: str) -> list[str]:
        """The ids of what came to that point."""
        file = self.folder / point
        return file.read_text().split() if file.exists() else []


class Gated(Backend):
    """Its server forgets nothing and makes a picture at once."""

    def __init__(self, config: Config, context: Any) -> None:
        self._config = config
        self.gates = Gates(Path(context.environment[FOLDER]))
        self.resource = config.card or None
        self.lasting = config.lasting
        self.gates.pass_by("made", "backend")

    @property
    def about(self) -> About:
        return About(
            model="gated",
            honours=frozenset({"size", "seed", "images"}),
            size=self._config.size,
            params=(
                Param(name="style_file", local=True),
                Param(name="secret_word", listed=False),
                Param(name="strength", type="float", minimum=0, maximum=1),
            ),
        )

    def check(self, request: Request) -> None:
        self.gates.pass_by("resolving", request.id)

    def generate(self, request: Request) -> Generator[Event, None, None]:
        try:
            yield Cost(usd=0.5, basis="price")
            for _ in self.gates.at("asked", request.id):
                yield Progress(message="waiting")
            if self._config.accepts:
                if not request.resume:
                    self.gates.pass_by("submitted", request.id)
                yield Accepted(remote_id=request.resume or f"r-{request.id}")
            for _ in self.gates.at("running", request.id):
                yield Progress(fraction=0.5)
            about = {"said": "\udcff"} if self._config.odd else {}
            data = picture(request)
            yield Image(data=data, mime="image/png", seed=request.seed, metadata=about)
        except GeneratorExit:
            self.gates.pass_by("stopped", request.id)
            raise


def picture(request: Request) -> bytes:
    from PIL import Image as Pillow

    file = BytesIO()
    colour = (request.seed % 256, len(request.images), len(request.prompt) % 256)
    Pillow.new("RGB", (request.width, request.height), colour).save(file, "png")
    return file.getvalue()


def save(done: Done, context: Any) -> list[Note]:
    Gates(Path(context.environment[FOLDER])).pass_by("saving", done.runs[0].id)
    return []


def publish(done: Done, context: Any) -> list[Note]:
    Gates(Path(context.environment[FOLDER])).pass_by("publishing", done.runs[0].id)
    return [Note(step="gated-publish", text="it is there")]


@hookimpl
def imagen_backends() -> list[BackendSpec]:
    about = "stops where a test wants it to"
    config, create = f"{__name__}:Config", f"{__name__}:Gated"
    return [BackendSpec(type="gated", summary=about, config=config, create=create)]


@hookimpl
def imagen_post_generate() -> list[StepSpec]:
    switch = Switch(key="gates", env="GATES_STEPS", help="its steps", off_flag="--no-gates")
    return [
        StepSpec(name="gated-save", phase="record", switch=switch, run=f"{__name__}:save"),
        StepSpec(name="gated-publish", phase="publish", switch=switch, run=f"{__name__}:publish"),
    ]
