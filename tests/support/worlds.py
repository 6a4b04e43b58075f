"""An App of scripted backends, around a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from imagen_core import Options
from imagen_core.compare import Comparing
from imagen_core.comparison import extended, load, planned
from imagen_core.errors import UsageError
from imagen_core.files import Moment
from imagen_core.protocols import Instance
from imagen_core.stock import Stock
from imagen_core.types import Run
from scripted import PICTURE, Bench, Scripted, request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen_core import Request


def picture(asked: Request) -> Iterator[Any]:
    yield replace(PICTURE, seed=asked.seed)


class World:
    """An App of scripted backends, as far as a comparison needs one."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.asked: list[tuple[str, int, str]] = []

    def instance(self, name: str) -> Instance:
        return Instance(name, "scripted", self.bench.backends[name])

    def resolve(self, options: Options, *, lenient: bool = False) -> tuple[Request, ...]:
        assert lenient
        if options.backend == "picky":
            raise UsageError("it takes no cats")
        return (request(options.backend, options.seed),)

    def add(self, name: str, script: Any = None, resource: str | None = None) -> None:
        def made(asked: Request) -> Iterator[Any]:
            self.asked.append((name, asked.seed, asked.resume))
            yield from (script or picture)(asked)

        self.bench.backends[name] = Scripted(made, resource)

    def comparing(self, *models: str, seeds: tuple[int, ...] = (1,)) -> Comparing:
        comparison = planned(Options(prompt="a cat"), models, seeds, Moment.now())
        return self.at(self.bench.folder, comparison)

    def at(self, folder: Path, comparison: Any) -> Comparing:
        folder.mkdir(parents=True, exist_ok=True)
        return Comparing(self, folder, comparison, ledger=self.bench.ledger)  # type: ignore[arg-type]

    def run(self, comparing: Comparing, stock: Stock | None = None) -> None:
        comparing.resolve(stock)
        comparing.save()
        list(comparing.run(self.bench.pipeline(), self.bench.cancel))

    def begin(self, asked: Request, model: str = "scripted") -> None:
        """What a process that is killed in the midst of it leaves in the ledger."""
        run = Run(id=asked.id, started_at="2026-05-08", request=asked, model=model, remote_id="p-1")
        self.bench.ledger.record(run, finished=False)

    def again(self, *models: str, seeds: tuple[int, ...] = ()) -> Comparing:
        """What a later command makes of the folder."""
        folder = self.bench.folder
        comparing = self.at(folder, extended(load(folder), models, seeds))
        self.run(comparing, Stock(folder, self.bench.ledger))
        return comparing


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    bench = Bench(tmp_path)
    yield World(bench)
    bench.ledger.close()


def states(comparing: Comparing) -> list[tuple[str, int, str]]:
    return [(cell.model, cell.seed, cell.status) for cell in comparing.comparison.cells]
