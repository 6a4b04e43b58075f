"""A batch or a comparison whose folder goes away while it is at work."""

from __future__ import annotations

import json
import shutil
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import Struct

from imagen_core import Backend, BackendSpec, files, hookimpl
from imagen_core.app import App
from imagen_core.terminal import Terminal
from imagen_core.types import About, Cost, Image, Request
from scripted import PICTURE

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

AWAY = "went away, and nothing was begun after that"


class World:
    """A backend that makes one picture after the other, and what happens at the second."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "pictures"
        self.rescued = folder / "data" / "rescued"
        self.asked: list[int] = []
        self.at_second: Callable[[], object] = lambda: None
        self.app: Any = None
        (folder / "rows.txt").write_text("a\nb\nc\nd\n")

    @property
    def plan(self) -> Path:
        return self.out / "rows.batch.json"


class SlowConfig(Struct, frozen=True, kw_only=True):
    """Its block has nothing but its type."""


class SlowBackend(Backend):
    """Lets the world of this test happen in the midst of its second picture."""

    world: World
    resource = "one"

    def __init__(self, *_: object) -> None:
        pass

    @property
    def about(self) -> About:
        return About(model="slow", honours=frozenset({"seed", "size"}))

    def generate(self, request: Request) -> Generator[Any, None, None]:
        self.world.asked.append(request.seed)
        yield Cost(usd=1.0, basis="price")
        if len(self.world.asked) == 2:
            self.world.at_second()
        yield Image(data=PICTURE.data, mime="image/png", seed=request.seed)


@hookimpl
def imagen_backends() -> list[BackendSpec]:
    config, create = f"{__name__}:SlowConfig", f"{__name__}:SlowBackend"
    return [BackendSpec(type="slow", summary="", config=config, create=create)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = SlowBackend.world = World(tmp_path)
    world.app = App.for_test(
        Terminal(StringIO(), StringIO()),
        tmp_path,
        config="backends: {s: {type: slow}}\ndefault_backend: s",
        plugins={"slow": SimpleNamespace(imagen_backends=imagen_backends)},
    )
    return world


@pytest.fixture
def batch(imagen: Any, world: World) -> Callable[[], Any]:
    file = str(world.folder / "rows.txt")
    return lambda: imagen("batch", file, "--seed", "7", app=world.app)


def test_batch_whose_folder_went_away_begins_nothing_new_and_keeps_its_plan(
    world: World, batch: Any
) -> None:
    world.at_second = lambda: shutil.rmtree(world.out)

    done = batch()

    kept = world.rescued / "rows.batch.json"
    assert (done.exit_code, len(world.asked), world.out.exists()) == (1, 2, False)
    assert len(list(world.rescued.glob("*.png"))) == 1
    assert "are not written down" not in done.err
    assert done.err.splitlines()[-2:] == [
        f"imagen: error: the folder {world.out} {AWAY}",
        "  hint: put it back, and the same command goes on; if it is lost, "
        f"'mkdir -p {world.out} && cp {kept} {world.plan}' before",
    ]


def test_batch_goes_on_with_the_plan_that_was_kept_and_takes_what_was_rescued(
    world: World, batch: Any
) -> None:
    world.at_second = lambda: shutil.rmtree(world.out)
    batch()
    world.out.mkdir()
    shutil.copy(world.rescued / "rows.batch.json", world.plan)

    done = batch()

    assert (done.exit_code, len(world.asked)) == (0, 2 + 3)
    assert done.err.startswith("imagen: 3 made, 0 failed, 0 skipped, 1 adopted; ")
    assert len(list(world.out.glob("*.png"))) == 4
    assert list(world.rescued.glob("*.png")) == []


def test_plan_that_went_away_alone_is_written_anew(world: World, batch: Any) -> None:
    world.at_second = lambda: world.plan.unlink()

    done = batch()
    again = batch()

    assert (done.exit_code, again.exit_code, len(world.asked)) == (1, 0, 4)
    assert done.err.splitlines()[-2:] == [
        f"imagen: error: the plan {world.plan} {AWAY}",
        "  hint: it is there again, and the same command goes on",
    ]
    assert again.err.startswith("imagen: 2 made, 0 failed, 2 skipped; ")


def test_plan_that_nobody_takes_is_not_said_to_be_kept(world: World, batch: Any) -> None:
    def lose_all() -> None:
        shutil.rmtree(world.out)
        world.rescued.write_text("a file where a folder should be")

    world.at_second = lose_all

    done = batch()

    assert (done.exit_code, len(world.asked)) == (1, 2)
    assert done.err.endswith("  hint: put it back, and the same command goes on\n")


def test_comparison_whose_folder_went_away_begins_nothing_new_and_goes_on_without_it(
    imagen: Any, world: World
) -> None:
    world.at_second = lambda: shutil.rmtree(world.out)

    done = imagen("compare", "a", "--models", "s", "--seeds", "1..4", app=world.app)
    [kept] = [path.parent for path in world.rescued.rglob("compare.json")]
    again = imagen("compare", "--resume", str(kept), app=world.app)

    assert (done.exit_code, done.out, world.asked[:2]) == (1, "", [1, 2])
    told, hint = done.err.splitlines()[-2:]
    assert told == f"imagen: error: the folder {world.out / kept.name} {AWAY}"
    assert hint == (
        f"  hint: put it back and resume it; or 'imagen compare --resume {kept}' goes on without it"
    )
    assert (again.exit_code, world.asked[2:]) == (0, [1, 3, 4])
    cells = json.loads((kept / "compare.json").read_text())["cells"]
    assert [cell["status"] for cell in cells] == ["done"] * 4
    assert len(list(kept.glob("s-*.png"))) == 4


def test_comparison_whose_folder_is_there_again_says_why_it_began_nothing_new(
    imagen: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([False, True, False])
    monkeypatch.setattr(files, "is_gone", lambda _: next(looks))

    done = imagen("compare", "a", "--models", "s", "--seeds", "1..4", app=world.app)

    [folder] = world.out.iterdir()
    assert (done.exit_code, world.asked) == (1, [1])
    told, hint = done.err.splitlines()[-2:]
    assert told == f"imagen: error: the folder {folder} {AWAY}"
    again = f"imagen compare --resume {folder}"
    assert hint == f"  hint: it is there again, and '{again}' goes on"
