"""A batch that goes on: what an earlier process left is taken, asked for again, or made anew."""

from __future__ import annotations

import json
import time
import tracemalloc
from io import StringIO
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from batches import summary
from imagen_core import Backend, BackendSpec, StepSpec, UnavailableError, hookimpl
from imagen_core.app import App
from imagen_core.errors import ImagenError, RejectedError
from imagen_core.tally import Tally
from imagen_core.terminal import Terminal
from imagen_core.types import About, Accepted, Cost, Failure, Image, Note, Request, Run
from scripted import png, request

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path


class World:
    """A backend that does what a script says, and counts what it is asked; and a batch of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "pictures"
        self.script: Any = self.two
        self.model = "scripted"
        self.asked: list[Request] = []
        self.published: list[str] = []
        self.app: Any = None
        (folder / "prompts.txt").write_text("a cat\n")

    def two(self, asked: Request) -> Iterator[Any]:
        """Two pictures and their cost, of a server that can be asked for them again."""
        if not asked.resume:
            yield Accepted(remote_id=f"r-{len(self.submits)}")
        yield Cost(usd=1.0, basis="price")
        yield picture(asked.seed % 250)
        yield picture(asked.seed % 250 + 1)

    @property
    def submits(self) -> list[Request]:
        """What was paid for."""
        return [request for request in self.asked if not request.resume]

    @property
    def pictures(self) -> list[str]:
        return sorted(path.name for path in self.out.glob("*.png"))

    @property
    def results(self) -> list[dict[str, Any]]:
        text = (self.out / "prompts.batch.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    @property
    def ids(self) -> list[str]:
        plan = json.loads((self.out / "prompts.batch.json").read_text())
        return [making["id"] for making in plan["makings"]]

    def lose_results(self) -> None:
        """What a kill before the results were written comes to."""
        (self.out / "prompts.batch.jsonl").write_text("")

    def edit(self, **changes: Any) -> Run:
        """Write into the ledger what a process that was killed would have left there."""
        finished = changes.pop("finished", True)
        run = self.app.ledger.get(self.ids[0])
        assert run
        run = replace(run, **changes)
        self.app.ledger.record(run, finished=finished)
        return run

    def usage(self) -> float:
        return sum(row.cost_usd_estimate or 0 for row in self.app.ledger.usage(everything=True))


def picture(shade: int) -> Image:
    return Image(data=png(4, 3, shade), mime="image/png")


def one(asked: Request) -> Iterator[Any]:
    """One picture for a dollar, of a backend that nobody can ask again."""
    yield Cost(usd=1.0, basis="price")
    yield picture(asked.seed % 250)


class ScriptedConfig(Struct, frozen=True, kw_only=True):
    """Its block has nothing but its type."""


class ScriptedBackend(Backend):
    """Asks the world of this test what to do."""

    world: World

    def __init__(self, *_: object) -> None:
        pass

    @property
    def about(self) -> About:
        return About(model=self.world.model, honours=frozenset({"seed", "size", "images"}))

    def generate(self, request: Request) -> Generator[Any, None, None]:
        self.world.asked.append(replace(request, images=()))
        yield from self.world.script(request)


def publish(done: Any, _: object) -> list[Note]:
    """A step that sends the pictures somewhere."""
    ScriptedBackend.world.published.extend(done.paths)
    return []


@hookimpl
def imagen_backends() -> list[BackendSpec]:
    config, create = f"{__name__}:ScriptedConfig", f"{__name__}:ScriptedBackend"
    return [BackendSpec(type="scripted", summary="", config=config, create=create)]


@hookimpl
def imagen_post_generate() -> list[StepSpec]:
    return [StepSpec(name="send", phase="publish", run=f"{__name__}:publish")]


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = ScriptedBackend.world = World(tmp_path)
    plugin = SimpleNamespace(
        imagen_backends=imagen_backends, imagen_post_generate=imagen_post_generate
    )
    world.app = App.for_test(
        Terminal(StringIO(), StringIO()),
        tmp_path,
        config="backends: {s: {type: scripted}}\ndefault_backend: s",
        plugins={"scripted": plugin},
    )
    return world


@pytest.fixture
def batch(imagen: Any, world: World) -> Callable[..., Any]:
    def run(*args: str) -> Any:
        file = str(world.folder / "prompts.txt")
        return imagen("batch", file, "--seed", "7", *args, app=world.app)

    return run


def test_making_of_two_pictures_that_was_killed_after_the_first_gets_the_second(
    world: World, batch: Any
) -> None:
    first, second = batch().paths
    run = world.edit(finished=False, outputs=world.app.ledger.get(world.ids[0]).outputs[:1])
    world.lose_results()
    for path in (second, second.with_name(f"{second.name}.json")):
        path.unlink()

    done = batch()

    assert [request.resume for request in world.asked] == ["", run.remote_id]
    assert done.paths == [first, second]
    assert world.pictures == sorted([first.name, second.name])
    assert len(world.results[0]["outputs"]) == 2


def test_making_that_failed_after_the_server_had_it_is_not_paid_for_again(
    world: World, batch: Any
) -> None:
    def away(asked: Request) -> Iterator[Any]:
        if asked.resume:
            yield from world.two(asked)
            return
        yield Accepted(remote_id="r-0")
        raise UnavailableError("the connection is gone")

    world.script = away

    failed, done = batch(), batch()

    assert (failed.exit_code, done.exit_code) == (1, 0)
    assert [request.resume for request in world.asked] == ["", "r-0"]
    assert len(world.pictures) == 2


def test_pictures_keep_their_names_through_a_going_on_that_failed(world: World, batch: Any) -> None:
    paths = batch().paths
    world.edit(finished=False)
    world.lose_results()
    away = [True, True, False]

    def script(asked: Request) -> Iterator[Any]:
        if len(away) == 2:  # the second time the first picture comes
            yield picture(asked.seed % 250)
        if away.pop(0):
            raise UnavailableError("the connection is gone")
        yield from world.two(asked)

    world.script = script

    codes = [batch().exit_code for _ in range(3)]

    assert codes == [1, 1, 0]
    assert world.pictures == sorted(path.name for path in paths)
    assert [kept["path"] for kept in world.results[-1]["outputs"][:2]] == [*map(str, paths)]


@pytest.mark.parametrize("error", [RejectedError, ImagenError])
def test_what_the_server_says_is_over_is_made_anew_under_another_id(
    world: World, batch: Any, error: type[ImagenError]
) -> None:
    def over(asked: Request) -> Iterator[Any]:
        if asked.resume or not world.submits[1:]:
            yield Accepted(remote_id="r-0")
            raise error("nothing will come of it")
        yield picture(1)

    world.script = over

    batch()
    before = world.ids
    done = batch()

    assert done.exit_code == 0
    assert [request.resume for request in world.asked] == ["", "r-0", ""]
    assert world.ids != before
    assert world.asked[2].id == world.ids[0] == world.results[-1]["id"]


def test_what_was_left_by_a_third_ctrl_c_is_asked_for_again(world: World, batch: Any) -> None:
    batch()
    world.edit(outputs=(), failure=Failure(code="cancelled", message="was not waited for"))
    world.lose_results()
    for path in world.out.glob("*.png*"):
        path.unlink()

    done = batch()

    assert (done.exit_code, len(world.submits)) == (0, 1)
    assert len(world.pictures) == 2


def test_picture_that_was_rescued_is_moved_to_its_place(world: World, batch: Any) -> None:
    world.script = one
    [path] = batch().paths
    rescued = world.app.paths.data / "rescued"
    rescued.mkdir(parents=True)
    kept = path.rename(rescued / path.name)
    kept.with_name(f"{kept.name}.json").write_text("{}")
    path.with_name(f"{path.name}.json").unlink()
    [output] = world.app.ledger.get(world.ids[0]).outputs
    failure = Failure(code="failed", message="could not write it")
    world.edit(outputs=(replace(output, path=str(kept)),), failure=failure)
    line = {**world.results[0], "status": "failed", "outputs": []}
    (world.out / "prompts.batch.jsonl").write_text(json.dumps(line) + "\n")

    done = batch()

    assert (done.exit_code, done.paths, len(world.asked)) == (0, [path], 1)
    assert list(rescued.iterdir()) == []
    assert path.with_name(f"{path.name}.json").is_file()
    assert world.results[-1]["status"] == "done"


def test_rescued_picture_that_can_not_be_moved_stays_where_it_is(
    world: World, batch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imagen_core import stock

    world.script = one
    [path] = batch().paths
    rescued = world.app.paths.data / "rescued"
    rescued.mkdir(parents=True)
    kept = path.rename(rescued / path.name)
    [output] = world.app.ledger.get(world.ids[0]).outputs
    failure = Failure(code="failed", message="could not write it")
    world.edit(outputs=(replace(output, path=str(kept)),), failure=failure)
    world.lose_results()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stock, "_copied", full)
    done = batch()

    assert (done.exit_code, kept.is_file(), len(world.asked)) == (1, True, 1)
    assert f"No space left on device; the picture is safe in {kept}" in done.err
    monkeypatch.undo()
    assert batch().exit_code == 0
    assert len(world.asked) == 1


def test_picture_beside_a_changed_one_is_not_made_a_second_time(world: World, batch: Any) -> None:
    world.script = one
    [path] = batch().paths
    path.write_bytes(b"edited")
    [beside] = batch().paths
    lines = (world.out / "prompts.batch.jsonl").read_text().splitlines(keepends=True)
    (world.out / "prompts.batch.jsonl").write_text(lines[0])  # killed before the second one

    done = batch()

    assert done.paths == [beside]
    assert world.pictures == sorted([path.name, beside.name])
    assert len(world.submits) == 2


def test_result_is_written_when_the_steps_are_over_and_not_with_the_next_one(
    world: World, batch: Any
) -> None:
    seen: list[tuple[int, int]] = []

    def watching(asked: Request) -> Iterator[Any]:
        if asked.prompt == "a dog":
            deadline = time.monotonic() + 60
            while not world.results and time.monotonic() < deadline:
                time.sleep(0.01)
            seen.append((len(world.published), len(world.results)))
        yield picture(asked.seed % 250)

    (world.folder / "prompts.txt").write_text("a cat\na dog\n")
    world.script = watching
    batch()

    assert seen == [(1, 1)]


def test_each_picture_that_was_paid_for_is_in_the_accounts(world: World, batch: Any) -> None:
    world.script = one
    for _ in range(3):
        [path] = batch().paths
        path.unlink()

    assert len(world.submits) == 3
    assert world.usage() == 3.0


def test_picture_that_is_gone_is_fetched_again_where_the_server_has_it(
    world: World, batch: Any
) -> None:
    for path in batch().paths:
        path.unlink()

    done = batch()

    assert len(done.paths) == 2
    assert (len(world.submits), world.usage()) == (1, 1.0)


def test_what_another_model_had_begun_is_not_picked_up_with_this_one(
    world: World, batch: Any
) -> None:
    batch()
    world.edit(finished=False, outputs=())
    world.lose_results()
    world.model = "another"
    plan = batch("--dry-run").out.splitlines()

    assert plan[:2] == ["pictures: 0", "begun by another model, and refused: 1"]
    for _ in range(2):
        done = batch()

        assert done.exit_code == 1
        assert "'s' has begun it with the model scripted, and has another" in done.err
    assert len(world.asked) == 1


def test_picture_in_a_temporary_file_is_taken_and_the_rest_is_cleaned_away(
    world: World, batch: Any
) -> None:
    world.script = one
    [path] = batch().paths
    sidecar = path.with_name(f"{path.name}.json")
    sidecar.unlink()
    path.rename(world.out / ".imagen-99999999-aa.part")
    world.edit(finished=False)
    world.lose_results()
    torn = world.out / ".imagen-99999999-bb.part"
    torn.write_bytes(png()[:40])
    double = world.out / ".imagen-99999999-cc.part"
    (world.out / "other.png").write_bytes(png(9, 9))
    double.hardlink_to(world.out / "other.png")
    busy = world.out / ".imagen-1-dd.part"  # a process that there is
    busy.write_bytes(png()[:40])

    done = batch()

    assert (done.exit_code, done.paths, len(world.submits)) == (0, [path], 1)
    assert sidecar.is_file()
    assert list(world.out.glob(".imagen-*.part")) == [busy]


def test_whole_temporary_file_that_nobody_claims_stays_and_is_told(
    world: World, batch: Any
) -> None:
    batch()
    stranger = world.out / ".imagen-99999999-aa.part"
    stranger.write_bytes(png(9, 9))

    done = batch()

    assert (done.exit_code, stranger.is_file()) == (0, True)
    told = f"pictures that nobody claims: 1 (.imagen-*.part in {world.out}); look at them, and"
    assert done.err.count(told) == 1


def test_dry_run_counts_what_is_made_already(world: World, batch: Any) -> None:
    batch()
    world.lose_results()

    done = batch("--dry-run")
    [plan] = batch("--dry-run", "--json").json()

    assert done.out.splitlines()[:2] == ["pictures: 0", "made before, and to be adopted: 1"]
    assert (plan["pictures"], plan["skipped"], plan["adopted"]) == (0, 0, 1)
    assert world.results == []
    assert summary(batch()).startswith("imagen: 0 made, 0 failed, 0 skipped, 1 adopted; ")


def test_results_that_can_not_be_read_are_told(world: World, batch: Any) -> None:
    batch()
    with (world.out / "prompts.batch.jsonl").open("a") as results:
        results.write("what is this\n")

    done = batch()

    assert done.exit_code == 0
    assert f"{world.out}/prompts.batch.jsonl: lines that can't be read: 1" in done.err


def test_what_was_made_before_says_nothing_of_how_quickly_it_goes() -> None:
    now = 0.0
    tally = Tally(10, clock=lambda: now)
    run = Run(id="1", started_at="", request=request(), cost=Cost(usd=0.5, basis="x"))
    now = 2.0
    for _ in range(5):
        tally.take(run, adopted=True)
    tally.begin()

    assert tally.progress() == ""
    now = 4.0
    tally.take(run)
    assert tally.progress() == "2.0 s each, 8.0 s left, 3 USD"


def test_what_was_cancelled_is_paid_for() -> None:
    tally = Tally(2)
    cancelled = Failure(code="cancelled", message="cancelled")
    cost = Cost(usd=0.5, basis="x")

    tally.spend(Run(id="1", started_at="", request=request(), cost=cost, failure=cancelled))

    assert tally.summary().startswith("0 made, 0 failed, 0 skipped, 2 left; 0.5 USD")


def test_input_images_are_not_all_in_memory_at_once(
    imagen: Any, world: World, tmp_path: Path
) -> None:
    rows, megabyte = 24, 2**20
    held: list[int] = []

    def script(asked: Request) -> Iterator[Any]:
        assert [len(image.data) > megabyte for image in asked.images] == [True]
        held.append(tracemalloc.get_traced_memory()[0])
        yield picture(asked.seed % 250)

    world.script = script
    for number in range(rows):
        (tmp_path / f"{number}.png").write_bytes(png(4, 3, number) + bytes(megabyte))
    lines = [{"prompt": "x", "image": str(tmp_path / f"{n}.png")} for n in range(rows)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    tracemalloc.start()
    try:
        done = imagen("batch", str(tmp_path / "rows.jsonl"), app=world.app)
    finally:
        tracemalloc.stop()

    assert (done.exit_code, len(held)) == (0, rows)
    # Reading one takes a large buffer for a moment.
    assert sorted(held)[rows // 2] < rows * megabyte / 2
