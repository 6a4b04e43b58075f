"""A comparison that goes on: what becomes of the files that an earlier command left."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from imagen_core import Accepted, Options
from imagen_core.compare import Comparing
from imagen_core.comparison import load, planned
from imagen_core.files import Moment
from imagen_core.pipeline import Step
from imagen_core.protocols import Instance
from imagen_core.sidecar import write_sidecars
from imagen_core.stock import Stock
from imagen_core.types import Failure
from scripted import PICTURE, Bench, Scripted, png, request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen_core import Request

NO_CONTEXT: Any = None


class World:
    """A comparison of one model, whose backend gives two pictures."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.folder = bench.folder
        self.asked: list[str] = []
        self.remote = True
        bench.backends["a"] = Scripted(self.make)
        bench.steps = [Step("sidecar", "record", lambda done: write_sidecars(done, NO_CONTEXT))]

    def make(self, asked: Request) -> Iterator[Any]:
        self.asked.append(asked.resume)
        if self.remote and not asked.resume:
            yield Accepted(remote_id="r-1")
        yield PICTURE
        yield replace(PICTURE, data=png(5, 3))

    def instance(self, name: str) -> Instance:
        return Instance(name, "scripted", self.bench.backends[name])

    def resolve(self, options: Options, *, lenient: bool = False) -> tuple[Request, ...]:
        assert lenient
        return (request(options.backend, options.seed),)

    def run(self, *, on: bool = False) -> Comparing:
        self.folder.mkdir(parents=True, exist_ok=True)
        new = planned(Options(prompt="a cat"), ["a"], [1], Moment.now())
        comparison = load(self.folder) if on else new
        ledger = self.bench.ledger
        comparing = Comparing(self, self.folder, comparison, ledger=ledger)  # type: ignore[arg-type]
        comparing.resolve(Stock(self.folder, ledger) if on else None)
        comparing.save()
        list(comparing.run(self.bench.pipeline(), self.bench.cancel))
        return comparing

    @property
    def files(self) -> set[str]:
        return {path.name for path in self.folder.glob("a-*")}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    bench = Bench(tmp_path)
    yield World(bench)
    bench.ledger.close()


@pytest.mark.parametrize("remote", [True, False])
@pytest.mark.parametrize("number", [0, 1])
def test_one_of_several_pictures_that_was_deleted_leaves_no_sidecar_behind(
    world: World, remote: bool, number: int
) -> None:
    world.remote = remote
    world.run()
    names = load(world.folder).cells[0].files
    (world.folder / names[number]).unlink()

    world.run(on=True)

    pictures = {name for name in world.files if not name.endswith(".json")}
    assert world.files == pictures | {f"{name}.json" for name in pictures}
    assert set(load(world.folder).cells[0].files) <= pictures
    if remote:
        assert pictures == set(names)


def test_picture_that_can_not_leave_where_it_was_rescued_fails_its_cell_and_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imagen_core import stock

    world.run()
    [cell] = load(world.folder).cells
    run = world.bench.ledger.get(cell.id)
    assert run
    rescued = world.bench.data / "rescued"
    rescued.mkdir(parents=True)
    outputs = []
    for output in run.outputs:
        kept = Path(output.path).rename(rescued / Path(output.path).name)
        Path(f"{output.path}.json").rename(rescued / f"{kept.name}.json")
        outputs.append(replace(output, path=str(kept)))
    failure = Failure(code="failed", message="could not write it")
    world.bench.ledger.record(replace(run, outputs=tuple(outputs), failure=failure), finished=True)
    before = {path.name for path in rescued.iterdir()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stock, "_copied", full)
    first = world.run(on=True)
    after = {path.name for path in rescued.iterdir()}
    monkeypatch.undo()
    second = world.run(on=True)

    error = first.comparison.cells[0].error
    assert error
    assert error["message"].endswith(f"is safe in {rescued}/a-1.png")
    assert after == before
    assert [cell.status for cell in second.comparison.cells] == ["done"]
    assert list(rescued.iterdir()) == []
    assert world.asked == [""]
