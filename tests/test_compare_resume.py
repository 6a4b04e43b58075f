"""A comparison that goes on: nothing is made twice, nothing is lost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from imagen_core import Accepted, CredentialsError, Options, RejectedError, UnavailableError
from imagen_core.compare import at_work
from imagen_core.comparison import load, planned, save
from imagen_core.errors import UsageError
from imagen_core.files import Moment
from imagen_core.pipeline import Step
from imagen_core.sidecar import write_sidecars
from imagen_core.types import Text
from scripted import PICTURE, png
from worlds import World, states

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen_core import Request

NO_CONTEXT: Any = None


def test_what_is_done_is_not_made_again(world: World) -> None:
    world.add("a")
    world.run(world.comparing("a", seeds=(1, 2)))
    world.asked.clear()

    world.again()

    assert world.asked == []


def test_what_failed_is_made_again_under_a_new_id(world: World) -> None:
    tries: list[str] = []

    def script(asked: Request) -> Iterator[Any]:
        tries.append(asked.id)
        if len(tries) == 1:
            raise UnavailableError("it is away")
        yield PICTURE

    world.add("a", script)
    world.run(world.comparing("a"))

    comparing = world.again()

    assert states(comparing) == [("a", 1, "done")]
    assert len(set(tries)) == 2


def test_picture_that_was_deleted_is_made_again(world: World) -> None:
    world.add("a")
    world.run(world.comparing("a"))
    (world.bench.folder / "a-1.png").unlink()
    world.asked.clear()

    world.again()

    assert [name for name, _, _ in world.asked] == ["a"]
    assert (world.bench.folder / "a-1.png").is_file()


def test_picture_that_was_saved_right_before_a_kill_is_taken(world: World) -> None:
    world.add("a")
    comparing = world.comparing("a")
    comparing.resolve()
    comparing.save()
    pipeline = world.bench.pipeline()
    list(pipeline.each(comparing.requests, comparing.target, world.bench.cancel))
    world.asked.clear()
    world.bench.steps = [Step("sidecar", "record", lambda done: write_sidecars(done, NO_CONTEXT))]

    later = world.again()

    assert world.asked == []
    assert states(later) == [("a", 1, "done")]
    assert (world.bench.folder / "a-1.png.json").is_file()


def test_what_a_backend_still_works_on_is_picked_up(world: World) -> None:
    world.add("a")
    comparing = world.comparing("a")
    comparing.resolve()
    comparing.save()
    [asked] = comparing.requests
    world.begin(asked)

    world.again()

    assert world.asked == [("a", 1, "p-1")]


def test_what_cannot_be_picked_up_is_made_anew(world: World) -> None:
    def script(asked: Request) -> Iterator[Any]:
        if asked.resume:
            raise RejectedError("it is gone")
        yield Accepted(remote_id="p-2")
        yield PICTURE

    world.add("a", script)
    comparing = world.comparing("a")
    comparing.resolve()
    comparing.save()
    [asked] = comparing.requests
    world.begin(asked)

    later = world.again()

    assert [resume for _, _, resume in world.asked] == ["p-1", ""]
    assert states(later) == [("a", 1, "done")]


def test_models_and_seeds_can_be_added(world: World) -> None:
    world.add("a")
    world.add("b")
    world.run(world.comparing("a", seeds=(1,)))
    world.asked.clear()

    world.again("b", seeds=(2,))

    assert sorted(world.asked) == [("a", 2, ""), ("b", 1, ""), ("b", 2, "")]


def test_what_nobody_could_be_asked_about_keeps_its_id(world: World) -> None:
    def script(_: Request) -> Iterator[Any]:
        if len(world.asked) == 1:
            raise CredentialsError("the token is missing")
        yield PICTURE

    world.add("a", script)
    comparing = world.comparing("a")
    comparing.resolve()
    comparing.save()
    world.begin(comparing.requests[0])

    first = world.again()
    later = world.again()

    assert states(first) == [("a", 1, "failed")]
    assert [resume for _, _, resume in world.asked] == ["p-1", "p-1"]
    assert states(later) == [("a", 1, "done")]


def test_what_another_model_had_begun_is_not_picked_up(world: World) -> None:
    world.add("a")
    world.add("b")
    comparing = world.comparing("a", "b")
    comparing.resolve()
    comparing.save()
    world.begin(comparing.requests[0], model="older")

    later = world.again()

    assert states(later) == [("a", 1, "failed"), ("b", 1, "done")]
    assert world.asked == [("b", 1, "")]


def test_folder_that_was_moved_is_known_by_its_ledger(world: World) -> None:
    world.add("a")
    comparing = world.comparing("a")
    comparing.resolve()
    comparing.save()
    list(world.bench.pipeline().each(comparing.requests, comparing.target, world.bench.cancel))
    world.asked.clear()
    moved = world.bench.folder.with_name("moved")
    world.bench.folder.rename(moved)
    world.bench.folder = moved

    later = world.again()

    assert world.asked == []
    assert later.pictures() == [str(moved / "a-1.png")]
    assert states(later) == [("a", 1, "done")]


def test_picture_of_several_that_was_there_before_a_kill_keeps_its_name(world: World) -> None:
    def script(_: Request) -> Iterator[Any]:
        yield Accepted(remote_id="p-1")
        yield PICTURE
        yield replace(PICTURE, data=png(5, 3))

    world.add("a", script)
    world.run(world.comparing("a"))
    folder = world.bench.folder
    [cell] = load(folder).cells
    (folder / cell.files[1]).unlink()
    found = load(folder)
    save(folder, found.with_cell(replace(cell, status="waiting", files=(), document=None)))

    later = world.again()

    pictures = [folder / file for file in later.comparison.cells[0].files]
    assert pictures[0].name == cell.files[0]
    assert [path.read_bytes() for path in pictures] == [png(), png(5, 3)]
    assert len(list(folder.glob("*.png"))) == 2
    assert [resume for _, _, resume in world.asked] == ["", "p-1"]


def test_picture_whose_folder_went_away_is_fetched_from_where_it_was_rescued(
    world: World,
) -> None:
    def script(_: Request) -> Iterator[Any]:
        world.bench.folder.rmdir()
        world.bench.folder.write_bytes(b"")
        yield PICTURE

    world.add("a", script)
    comparing = world.comparing("a")
    comparing.resolve()
    list(comparing.run(world.bench.pipeline(), world.bench.cancel))
    world.bench.folder.unlink()
    world.bench.folder.mkdir()
    comparison = comparing.comparison
    waiting = replace(comparison.cells[0], status="waiting", files=(), document=None)
    save(world.bench.folder, comparison.with_cell(waiting))
    world.asked.clear()

    later = world.again()

    assert world.asked == []
    assert (world.bench.folder / "a-1.png").read_bytes() == PICTURE.data
    assert states(later) == [("a", 1, "done")]


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        at_work(tmp_path),
        pytest.raises(UnavailableError, match="another imagen is at work in"),
        at_work(tmp_path),
    ):
        pass


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "has no compare.json"),
        (b"{", "can't be read"),
        (b"[]", "can't be read"),
        (b'{"schema": 2}', "can't be read"),
    ],
)
def test_folder_that_is_no_comparison_is_told(
    tmp_path: Path, content: bytes | None, told: str
) -> None:
    if content is not None:
        (tmp_path / "compare.json").write_bytes(content)

    with pytest.raises(UsageError, match=told):
        load(tmp_path)


def test_comparison_of_a_newer_imagen_is_left_alone(tmp_path: Path) -> None:
    comparison = planned(Options(prompt="x"), ["a"], [1], Moment.now())
    save(tmp_path, replace(comparison, schema=99))

    with pytest.raises(UsageError, match=r"of a newer imagen \(schema 99\)"):
        load(tmp_path)


def test_parameters_are_read_again_as_they_were_typed(tmp_path: Path) -> None:
    options = Options(prompt="x", params={"delay_ms": Text("5"), "name": Text("5")})
    save(tmp_path, planned(options, ["a"], [1], Moment.now()))

    found = load(tmp_path)

    given = found.options_of(found.cells[0]).params
    assert given == {"delay_ms": "5", "name": "5"}
    assert {type(value) for value in given.values()} == {Text}
