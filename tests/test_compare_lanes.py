"""What runs beside what in a comparison, seen in its Events."""

from __future__ import annotations

import threading
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core import Options, Progress
from imagen_core.compare import Comparing
from imagen_core.comparison import planned
from imagen_core.files import Moment
from imagen_core.protocols import Instance
from scripted import PICTURE, Bench, Scripted, request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagen_core import Request


class World:
    """As much of an App as a comparison needs."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def instance(self, name: str) -> Instance:
        return Instance(name, "scripted", self.bench.backends[name])

    def resolve(self, options: Options, *, lenient: bool = False) -> tuple[Request, ...]:
        assert lenient
        return (request(options.backend, options.seed),)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.ledger.close()


def test_instances_of_one_resource_never_overlap_and_others_do(bench: Bench) -> None:
    meeting = threading.Barrier(2, timeout=60)

    def script(asked: Request) -> Iterator[Any]:
        for step in range(3):
            yield Progress(step=step, steps=3)
            if asked.seed == 1 and asked.backend != "card-b":
                meeting.wait()  # the card's first one and the cloud are there at once
        yield PICTURE

    resources = {"card-a": "card", "card-b": "card", "cloud": None}
    for name, resource in resources.items():
        bench.backends[name] = Scripted(script, resource)
    comparison = planned(Options(prompt="a cat"), tuple(resources), (1, 2), Moment.now())
    bench.folder.mkdir()
    comparing = Comparing(World(bench), bench.folder, comparison)  # type: ignore[arg-type]
    comparing.resolve()

    happened = [
        (asked.backend, asked.seed)
        for asked, item in comparing.run(bench.pipeline(), bench.cancel)
        if isinstance(item, Progress)
    ]

    on_card = [cell for cell in happened if cell[0] != "cloud"]
    assert len(list(groupby(on_card))) == 4, on_card
    first = [place for place, cell in enumerate(happened) if cell == ("card-a", 1)]
    assert ("cloud", 1) in happened[first[0] : first[-1]]
