"""How well cells are spread: three resources with six cells each, against the ideal."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any, NamedTuple

from msgspec import Struct

from imagen_core import About, Backend, BackendSpec, Event, Image, Options, hookimpl
from imagen_core.compare import Comparing
from imagen_core.comparison import planned
from imagen_core.files import Moment
from imagen_core.testing import isolated_app

RESOURCES = ("one", "two", "three")
SEEDS = tuple(range(1, 7))
CELL_SECONDS = 0.2
ROUNDS = 5
QUICK_ROUNDS = 2


class Spread(NamedTuple):
    """Seconds that all cells took together, in each round, and those of the ideal."""

    ideal: float
    seconds: list[float]

    @property
    def ratio(self) -> float:
        """The median over the ideal."""
        return median(self.seconds) / self.ideal


class WaitingConfig(Struct, frozen=True, kw_only=True):
    """A backend's own resource."""

    resource: str


class WaitingBackend(Backend):
    """Takes its time, alone on its resource."""

    about = About(model="waiting", honours=frozenset({"seed", "size"}))

    def __init__(self, config: WaitingConfig, context: Any) -> None:
        del context
        self.resource = config.resource

    def generate(self, request: Any) -> Generator[Event, None, None]:
        threading.Event().wait(CELL_SECONDS)
        yield Image(data=PICTURE, mime="image/png", seed=request.seed)


@hookimpl
def imagen_backends() -> list[BackendSpec]:
    where = {"config": f"{__name__}:WaitingConfig", "create": f"{__name__}:WaitingBackend"}
    return [BackendSpec(type="waiting", summary="waits", **where)]


def measure(folder: Path, *, quick: bool) -> Spread:
    """Compare the three, again and again, in this process."""
    rounds = QUICK_ROUNDS if quick else ROUNDS
    return Spread(CELL_SECONDS * len(SEEDS), [_round(folder / str(n)) for n in range(rounds)])


def _round(folder: Path) -> float:
    folder.mkdir()
    blocks = (f"  {name}: {{type: waiting, resource: {name}}}\n" for name in RESOURCES)
    plugins = {"waiting": SimpleNamespace(imagen_backends=imagen_backends)}
    app = isolated_app(folder, config=f"backends:\n{''.join(blocks)}", plugins=plugins)
    comparison = planned(Options(prompt="a cat"), RESOURCES, SEEDS, Moment.now())
    comparing = Comparing(app, folder / "out", comparison, ledger=app.ledger)
    comparing.folder.mkdir()
    comparing.resolve()
    started = time.monotonic()
    for _ in comparing.run(app.pipeline({}), threading.Event()):
        pass
    seconds = time.monotonic() - started
    app.close()
    return seconds


def _png() -> bytes:
    from io import BytesIO

    from PIL import Image as Pillow

    file = BytesIO()
    Pillow.new("RGB", (64, 64), "teal").save(file, "png")
    return file.getvalue()


PICTURE = _png()
