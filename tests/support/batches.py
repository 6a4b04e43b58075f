"""What the tests of `imagen batch` have in common: its files, and a backend with a price."""

from __future__ import annotations

import json
import os
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import Struct

from imagen_core import Backend, BackendSpec, hookimpl
from imagen_core.app import App
from imagen_core.ledger import Ledger
from imagen_core.terminal import Terminal
from imagen_core.types import About, Cost, Image, Request, Run
from scripted import PICTURE

if TYPE_CHECKING:
    from collections.abc import Generator

SMALL = ("--backend", "mock", "--size", "16x16")


@pytest.fixture
def out() -> Path:
    return Path(os.environ["IMAGEN_OUTPUT_DIR"])


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    file = tmp_path / "prompts.txt"
    file.write_text("a cat\na dog\na fox\n")
    return file


def lines(out: Path, name: str = "prompts") -> list[dict[str, Any]]:
    text = (out / f"{name}.batch.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def plan(out: Path, name: str = "prompts") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / f"{name}.batch.json").read_text())
    return found


def pictures(out: Path) -> set[Path]:
    return set(out.rglob("*.png"))


def runs() -> list[Run]:
    ledger = Ledger(Path(os.environ["IMAGEN_DATA_DIR"]))
    found = list(ledger.runs())
    ledger.close()
    return found


def summary(done: Any) -> str:
    return str(done.err.splitlines()[-1].rpartition(";")[0])


class PaidConfig(Struct, frozen=True, kw_only=True):
    """The block of a backend whose price is known, or is not."""

    usd: float | None = None


class PaidBackend(Backend):
    """A backend that takes an image, and may know what it costs."""

    resumed: tuple[str, ...] = ()

    def __init__(self, config: PaidConfig, *_: object) -> None:
        self._usd = config.usd

    @property
    def about(self) -> About:
        return About(model="paid", honours=frozenset({"seed", "size", "images"}))

    def estimate(self, request: Request) -> Cost | None:  # noqa: ARG002
        return None if self._usd is None else Cost(usd=self._usd, basis="price")

    def generate(self, request: Request) -> Generator[Any, None, None]:
        assert all(image.data for image in request.images)
        PaidBackend.resumed += (request.resume,)
        if self._usd is not None:
            yield Cost(usd=self._usd, basis="price")
        yield Image(data=PICTURE.data, mime="image/png", seed=request.seed)


@hookimpl
def imagen_backends() -> list[BackendSpec]:
    config, create = f"{__name__}:PaidConfig", f"{__name__}:PaidBackend"
    return [BackendSpec(type="paid", summary="paid", config=config, create=create)]


@pytest.fixture
def paid(tmp_path: Path) -> App:
    PaidBackend.resumed = ()
    return App.for_test(
        Terminal(StringIO(), StringIO()),
        tmp_path,
        config="backends: {known: {type: paid, usd: 0.05}, dear: {type: paid}}",
        plugins={"paid": SimpleNamespace(imagen_backends=imagen_backends)},
    )
