"""Comparing: each cell once, fairly scheduled, whatever fails."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from imagen_core import Options, UnavailableError
from imagen_core.compare import Comparing
from imagen_core.comparison import load, parse_seeds, planned
from imagen_core.errors import UsageError
from imagen_core.files import Moment
from imagen_core.types import Param, Run, Text
from scripted import PICTURE
from worlds import World, states

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen_core import Request


# Seeds


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("7", (7,)), ("1,2,3", (1, 2, 3)), ("1..4", (1, 2, 3, 4)), ("1..2, 9", (1, 2, 9))],
)
def test_seeds_are_a_list_with_ranges(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a", "'a' is no seed"),
        ("1,,2", "'' is no seed"),
        ("-1", "'-1' is no seed"),
        ("0", "the seeds '0' are out of range"),
        ("5..2", "the seeds '5..2' run backwards"),
        ("9223372036854775808", "the seeds '9223372036854775808' are out of range"),
        ("1..1000", "'1..1000' are 1000 seeds"),
        ("1..300,301..500", "'1..300,301..500' are too many seeds"),
    ],
)
def test_seeds_that_make_no_sense_are_refused(text: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_seeds(text)

    assert str(caught.value) == told


def test_too_many_cells_are_refused() -> None:
    with pytest.raises(UsageError, match="21 models with 20 seeds are 420 cells, and 400"):
        planned(Options(prompt="x"), [f"m{n}" for n in range(21)], range(1, 21), Moment.now())


# Running


def test_every_model_makes_every_seed(world: World) -> None:
    world.add("a")
    world.add("b")
    comparing = world.comparing("a", "b", seeds=(1, 2))

    world.run(comparing)

    assert sorted(world.asked) == [("a", 1, ""), ("a", 2, ""), ("b", 1, ""), ("b", 2, "")]
    assert states(comparing) == [
        ("a", 1, "done"), ("b", 1, "done"), ("a", 2, "done"), ("b", 2, "done"),
    ]  # fmt: skip
    assert sorted(path.name for path in world.bench.folder.glob("*.png")) == [
        "a-1.png", "a-2.png", "b-1.png", "b-2.png",
    ]  # fmt: skip


def test_one_resource_makes_one_at_a_time_and_others_run_beside(world: World) -> None:
    at_work: set[str] = set()
    together: list[frozenset[str]] = []
    lock = threading.Lock()
    meeting = threading.Barrier(2, timeout=60)

    def script(asked: Request) -> Iterator[Any]:
        with lock:
            at_work.add(asked.backend)
            together.append(frozenset(at_work))
        if asked.backend != "gpu-b":
            meeting.wait()  # the card's first one and the cloud must be there at once
        with lock:
            at_work.remove(asked.backend)
        yield PICTURE

    world.add("gpu-a", script, "card")
    world.add("gpu-b", script, "card")
    world.add("cloud", script)

    world.run(world.comparing("gpu-a", "gpu-b", "cloud"))

    assert {"gpu-a", "cloud"} in together
    assert not any({"gpu-a", "gpu-b"} <= group for group in together)


def test_one_failure_does_not_stop_the_others(world: World) -> None:
    def failing(_: Request) -> Iterator[Any]:
        raise UnavailableError("it is away", hint="boot it")
        yield

    world.add("a")
    world.add("bad", failing)
    comparing = world.comparing("a", "bad", "a2")
    world.add("a2")

    world.run(comparing)

    assert states(comparing) == [("a", 1, "done"), ("bad", 1, "failed"), ("a2", 1, "done")]
    assert comparing.comparison.cells[1].error == {
        "code": "unavailable", "message": "it is away", "hint": "boot it", "retryable": True,
    }  # fmt: skip


def test_cell_that_cannot_work_has_failed_before_it_began(world: World) -> None:
    world.add("a")
    world.add("picky")
    comparing = world.comparing("a", "picky")

    world.run(comparing)

    assert states(comparing) == [("a", 1, "done"), ("picky", 1, "failed")]
    assert [name for name, _, _ in world.asked] == ["a"]


def test_comparison_of_which_nothing_can_work_is_refused(world: World) -> None:
    world.add("picky")

    with pytest.raises(UsageError, match="it takes no cats"):
        world.comparing("picky").resolve()


def test_state_is_written_after_each_cell_that_no_ledger_knows(world: World) -> None:
    world.add("a", resource="card")
    folder = world.bench.folder
    folder.mkdir()
    comparison = planned(Options(prompt="a cat"), ["a"], [1, 2], Moment.now())
    comparing = Comparing(world, folder, comparison)  # type: ignore[arg-type]
    comparing.resolve()
    comparing.save()
    seen = []

    for _, item in comparing.run(world.bench.pipeline(), world.bench.cancel):
        if isinstance(item, Run):
            seen.append([cell.status for cell in load(world.bench.folder).cells])

    assert seen == [["done", "waiting"], ["done", "done"]]


def test_parameter_that_one_of_them_lacks_is_left_out_there(world: World) -> None:
    world.add("a")
    world.add("b")
    about = world.bench.backends["a"]._about
    world.bench.backends["a"]._about = replace(about, params=(Param(name="cfg", type="float"),))
    options = Options(prompt="a cat", params={"cfg": Text("3")})
    comparison = planned(options, ("a", "b"), (1,), Moment.now())

    comparing = world.at(world.bench.folder, comparison)
    comparing.resolve()

    assert [cell.notes for cell in comparing.comparison.cells] == [
        (),
        ("the backend 'b' has no parameter 'cfg'",),
    ]


def test_time_of_a_cell_is_its_own(world: World) -> None:
    started = time.monotonic()
    world.add("a")
    comparing = world.comparing("a")

    world.run(comparing)

    [cell] = comparing.comparison.cells
    assert cell.latency_ms is not None
    assert 0 <= cell.latency_ms <= (time.monotonic() - started) * 1000 + 1
