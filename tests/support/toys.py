"""Toys for the testing kit: a good backend, and kits that look at toys."""

from __future__ import annotations

import inspect
from io import BytesIO
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from imagen_core import (
    About,
    Accepted,
    Backend,
    Cost,
    Event,
    Image,
    Preview,
    Progress,
    Request,
)
from imagen_core.testing import BackendConformance, StepConformance

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from imagen_core.testing.conformance import Conformance

ALL_FAULTS = frozenset({"slow", "refuse", "deny", "crash"})


def image(request: Request, **fields: Any) -> Image:
    """One colour that only the request decides."""
    from PIL import Image as Pillow

    file = BytesIO()
    colour = (request.seed * 37 % 256, len(request.prompt), 0)
    Pillow.new("RGB", (request.width, request.height), colour).save(file, "png")
    return Image(**{"data": file.getvalue(), "mime": "image/png", "seed": request.seed, **fields})


def good(request: Request) -> Iterator[Event]:
    yield Accepted(remote_id=request.id)
    yield Progress(fraction=0.5, step=1, steps=request.steps)
    yield Preview(data=b"half", mime="image/png")
    yield image(request, metadata={"steps": request.steps})
    yield Cost(usd=0, basis="local")
    yield Progress(fraction=1.0)


class Toy(Backend):
    """A good backend, but for what it is given."""

    about = About(model="toy", honours=frozenset({"size", "seed", "steps"}), steps=4)

    def __init__(self, events: Callable[[Request], Any] = good, **about: Any) -> None:
        self.events = events
        self.about = replace(self.about, **about)

    def generate(self, request: Request) -> Generator[Any, None, None]:
        return self.events(request)


class ToyKit(BackendConformance):
    module = "imagen_core"
    faults = ALL_FAULTS
    stops_within = 0.05


class ToySteps(StepConformance):
    module = "imagen_core"
    name = "toy"


def check(kit: Conformance, name: str, **fixtures: Any) -> None:
    """Call a check as pytest would, with those of the fixtures that it asks for."""
    test = getattr(kit, f"test_{name}")
    test(**{key: fixtures[key] for key in inspect.signature(test).parameters})


def check_backend(name: str, toy: Backend, **fixtures: Any) -> None:
    usual = {"script": lambda _: {}, "remote_is_idle": lambda: True}
    check(ToyKit(), name, **{"backend": toy, **usual, **fixtures})


def yielding(*events: Any) -> Callable[[Request], Iterator[Any]]:
    """Yields these; a function among them gets the request."""

    def generate(request: Request) -> Iterator[Any]:
        for event in events:
            yield event(request) if callable(event) else event

    return generate


def checks_of(kit: type[Conformance]) -> set[str]:
    return {name.removeprefix("test_") for name in dir(kit) if name.startswith("test_")}
