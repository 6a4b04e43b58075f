"""The mock backend: no network, the same picture for the same request, every path to try."""

from __future__ import annotations

import threading
from io import BytesIO
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from msgspec import Meta, Struct

from imagen_core.background import in_thread
from imagen_core.errors import ERRORS, CredentialsError, RejectedError, UsageError
from imagen_core.protocols import Backend, Context
from imagen_core.types import About, Cost, Image, Param, Progress, Request

if TYPE_CHECKING:
    from collections.abc import Generator

FORMATS = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
WEBP_SIDE = 16_383
"""More pixels a side than this the format has no room for."""
MODEL = "mock-landscape"
STEPS = 4
MOST_STEPS = 10_000
SLICE_SECONDS = 0.05
"""How long it ever waits at once, so that it can be closed at any moment."""

Format = Literal["png", "jpeg", "webp"]
Fail = Literal[
    "", "failed", "usage", "credentials", "rejected", "unavailable", "cancelled", "crash"
]


class MockConfig(Struct, frozen=True, kw_only=True):
    """The block of a mock instance."""

    size: Annotated[str, Meta(pattern=r"^\d+x\d+$")] = "1024x1024"
    steps: Annotated[int, Meta(ge=1, le=MOST_STEPS)] = STEPS
    format: Format = "png"
    delay_ms: Annotated[int, Meta(ge=0)] = 0
    fail: Fail = ""


class MockBackend(Backend):
    """Draws a landscape with the prompt written on it."""

    resource = None

    def __init__(self, config: MockConfig, context: Context | None = None) -> None:
        self._config = config
        del context

    @property
    def about(self) -> About:
        """The model, and the options that make it slow or fail."""
        config = self._config
        return About(
            model=MODEL,
            honours=frozenset({"size", "seed", "steps"}),
            size=config.size,
            steps=config.steps,
            mime=FORMATS[config.format],
            params=(
                Param(
                    name="format",
                    default=config.format,
                    choices=tuple(FORMATS),
                    help="the type of the picture",
                ),
                Param(
                    name="delay_ms",
                    type="int",
                    default=config.delay_ms,
                    minimum=0,
                    help="how long it takes",
                ),
                Param(
                    name="fail",
                    default=config.fail,
                    choices=get_args(Fail),
                    help="the error that it ends with",
                ),
            ),
        )

    def check(self, request: Request) -> None:
        """Refuse more steps than anybody would watch."""
        if (request.steps or 0) > MOST_STEPS:
            raise UsageError(f"the mock takes 1 to {MOST_STEPS} steps, got {request.steps}")

    def estimate(self, request: Request) -> Cost:  # noqa: ARG002
        """Nothing."""
        return Cost(usd=0, basis="local")

    def generate(self, request: Request) -> Generator[Progress | Image | Cost, None, None]:
        """Yield a Progress a step, then the picture; or the error that was asked for."""
        options = {param.name: param.default for param in self.about.params or ()}
        options |= request.params
        steps = request.steps or self._config.steps
        yield Cost(usd=0, basis="local")
        for step in range(steps):
            yield Progress(fraction=step / steps, step=step, steps=steps)
            yield from _wait(options["delay_ms"] / 1000 / steps, step, steps)
            if step == steps // 2 and options["fail"]:
                _fail(str(options["fail"]))
        # A large one takes seconds, in which somebody may want to cancel it.
        data = yield from in_thread(lambda: _picture(request, options["format"]))
        yield Image(
            data=data,
            mime=FORMATS[options["format"]],
            seed=request.seed,
            metadata={"model": MODEL, "steps": steps, "format": options["format"]},
        )


def _wait(seconds: float, step: int, steps: int) -> Generator[Progress, None, None]:
    """Wait in slices; an event after each lets the driver of this generator close it."""
    idle = threading.Event()
    while seconds > 0:
        idle.wait(min(seconds, SLICE_SECONDS))
        seconds -= SLICE_SECONDS
        yield Progress(fraction=step / steps, step=step, steps=steps)


def _fail(code: str) -> None:
    message = f"the mock was told to fail with '{code}'"
    if code == "crash":
        raise RuntimeError(message)
    if code == CredentialsError.code:
        raise CredentialsError(message, hint="set MOCK_TOKEN, or leave out -p fail=credentials")
    raise ERRORS[code](message, hint="leave out fail= to see a picture")


def _picture(request: Request, kind: Format) -> bytes:
    from imagen_core.mock_art import draw

    if kind == "webp" and max(request.width, request.height) > WEBP_SIDE:
        raise RejectedError(
            f"a webp has at most {WEBP_SIDE} pixels a side", hint="make it smaller, or a png"
        )
    picture = draw(request.prompt, seed=request.seed, width=request.width, height=request.height)
    file = BytesIO()
    # Compression level 1: a mock is for trying things, and should be quick.
    save: dict[str, Any] = {"png": {"compress_level": 1}, "jpeg": {"quality": 92}}.get(kind, {})
    picture.save(file, kind, **save)
    return file.getvalue()
