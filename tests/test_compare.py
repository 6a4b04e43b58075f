"""`imagen compare`: each cell once, fairly scheduled, nothing lost, easy to look at."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace
from PIL import Image

from imagen_core import Accepted, CredentialsError, Options, RejectedError, UnavailableError
from imagen_core.compare import Comparing, at_work
from imagen_core.comparison import extended, load, parse_seeds, planned, save
from imagen_core.errors import UsageError
from imagen_core.files import Moment
from imagen_core.pipeline import Step
from imagen_core.protocols import Instance
from imagen_core.sidecar import write_sidecars
from imagen_core.stock import Stock
from imagen_core.types import Param, Run, Text
from scripted import PICTURE, Bench, Scripted, png, request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen_core import Request

SMALL = ("--size", "48x32")
NO_CONTEXT: Any = None


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
    meeting = threading.Barrier(2, timeout=10)

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


# Going on


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
        pytest.raises(UsageError, match="another imagen is at work in"),
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


# The command


@pytest.fixture
def config(imagen_home: Path) -> Path:
    folder = imagen_home / ".config"
    folder.mkdir(exist_ok=True)
    (folder / "imagen.yaml").write_text(
        "backends:\n"
        "  a: {type: mock}\n"
        "  b: {type: mock, format: webp}\n"
        "  bad: {type: mock, fail: rejected}\n"
    )
    return folder


def folder_of(done: Any) -> Path:
    return Path(done.out.splitlines()[0]).parent


@pytest.mark.usefixtures("config")
def test_folder_has_pictures_sidecars_sheet_page_and_state(imagen: Any) -> None:
    done = imagen("compare", "a cat", "--models", "a,b", "--seeds", "1,2", *SMALL)

    folder = folder_of(done)
    assert (done.exit_code, done.err) == (0, "")
    assert [Path(line).name for line in done.out.splitlines()] == ["sheet.png", "index.html"]
    assert {path.name for path in folder.iterdir()} == {
        "a-1.png", "a-1.png.json", "a-2.png", "a-2.png.json",
        "b-1.png", "b-1.png.json", "b-2.png", "b-2.png.json",
        "compare.json", "index.html", "sheet.png", ".imagen-lock",
    }  # fmt: skip
    assert folder.name.endswith("-a-cat")
    with Image.open(folder / "sheet.png") as sheet:
        assert sheet.width > 300


@pytest.mark.usefixtures("config")
def test_png_is_asked_for_whatever_the_block_says(imagen: Any) -> None:
    done = imagen("compare", "a cat", "--models", "b", *SMALL)

    [picture] = folder_of(done).glob("b-*.png")
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("config")
def test_one_seed_is_drawn_for_all(imagen: Any) -> None:
    [found] = imagen("compare", "a cat", "--models", "a,b", *SMALL, "--json").json()

    assert len(found["seeds"]) == 1
    assert {cell["document"]["seed"] for cell in found["cells"]} == set(found["seeds"])


@pytest.mark.usefixtures("config")
def test_some_that_failed_are_told_with_the_way_on(imagen: Any) -> None:
    done = imagen("compare", "a cat", "--models", "a,bad", "--seeds", "5", *SMALL)

    folder = folder_of(done)
    assert done.exit_code == 7
    assert done.err.splitlines() == [
        "imagen: bad, seed 5: the mock was told to fail with 'rejected'; "
        "leave out fail= to see a picture",
        f"imagen: 1 of 2 failed; 'imagen compare --resume {folder}' tries them again",
    ]


@pytest.mark.usefixtures("config")
def test_all_that_failed_is_a_failure_and_everything_is_written(imagen: Any) -> None:
    done = imagen("compare", "a cat", "--models", "bad", *SMALL)

    assert done.exit_code == 1
    assert (folder_of(done) / "sheet.png").is_file()


@pytest.mark.usefixtures("config")
def test_json_is_the_whole_comparison(imagen: Any) -> None:
    [found] = imagen("compare", "a cat", "--models", "a,bad", *SMALL, "--json").json()

    assert [cell["status"] for cell in found["cells"]] == ["done", "failed"]
    assert found["totals"]["cost_usd_estimate"] == 0
    assert [Path(path).name for path in found["shown"]] == ["sheet.png", "index.html"]
    kept = json.loads((Path(found["folder"]) / "compare.json").read_text())
    assert {key: found[key] for key in kept} == kept


@pytest.mark.usefixtures("config")
def test_sheet_can_be_left_out(imagen: Any) -> None:
    done = imagen("compare", "a cat", "--models", "a", *SMALL, "--no-sheet")

    assert [Path(line).name for line in done.out.splitlines()] == ["index.html"]


@pytest.mark.usefixtures("config")
def test_same_prompt_again_gets_a_folder_of_its_own(imagen: Any) -> None:
    first = folder_of(imagen("compare", "a cat", "--models", "a", *SMALL))
    second = folder_of(imagen("compare", "a cat", "--models", "a", *SMALL))

    assert second == first.with_name(f"{first.name}-2")


@pytest.mark.usefixtures("config")
def test_parameter_that_none_of_them_has_is_refused(imagen: Any) -> None:
    done = imagen("compare", "a cat", "--models", "a", *SMALL, "-p", "nope=1")

    assert done.exit_code == 2
    assert "has no parameter 'nope'" in done.err


@pytest.mark.usefixtures("config")
def test_dry_run_asks_nobody_and_tells_the_whole(imagen: Any, imagen_home: Path) -> None:
    done = imagen("compare", "a cat", "--models", "a,bad", "--seeds", "1..2", *SMALL, "--dry-run")

    assert done.exit_code == 0
    assert done.out.splitlines() == [
        "a, seed 1: 48x32, 4 steps, free, time unknown",
        "bad, seed 1: 48x32, 4 steps, free, time unknown",
        "a, seed 2: 48x32, 4 steps, free, time unknown",
        "bad, seed 2: 48x32, 4 steps, free, time unknown",
        "no resource: 4, up to 4 at once",
        "all: free, time unknown",
    ]
    assert list(imagen_home.rglob("compare.json")) == []


@pytest.mark.usefixtures("config")
def test_dry_run_knows_the_time_of_earlier_runs(imagen: Any) -> None:
    imagen("generate", "a cat", "--backend", "a", *SMALL)

    [plan] = imagen("compare", "a cat", "--models", "a", *SMALL, "--dry-run", "--json").json()

    assert plan["cells"][0]["seconds"] > 0
    assert plan["seconds"] is not None


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ((), "a prompt is needed"),
        (("a cat",), "name the backends to compare"),
        (("a cat", "--models", "nope"), "there is no backend 'nope'"),
        (("a cat", "--models", "a,a"), "the model a is named twice"),
        (("a cat", "--models", "a", "--seeds", "x"), "'x' is no seed"),
        (("a cat", "--models", "a", "--columns", "-1"), "--columns is 0 to 40, got -1"),
        (("a cat", "--models", "a,b", "--seeds", "1,2", "--columns", "3"), "--columns is for one"),
        (("a cat", "--resume", "x"), "a comparison that is resumed has its prompt"),
        (("--resume", "x", "--output-dir", "y"), "a comparison that is resumed has its prompt"),
        (("--resume", "/nonexistent"), "/nonexistent has no compare.json"),
        (("a cat", "--models", "a", "--size", "big"), "the size 'big' is not WIDTHxHEIGHT"),
    ],
)
@pytest.mark.usefixtures("config")
def test_what_makes_no_sense_is_refused_and_leaves_nothing(
    imagen: Any, imagen_home: Path, args: tuple[str, ...], told: str
) -> None:
    done = imagen("compare", *args)

    assert (done.exit_code, done.out) == (2, "")
    assert told in done.err
    assert list(imagen_home.rglob("*a-cat*")) == []


@pytest.mark.usefixtures("config")
def test_resume_fills_and_extends(imagen: Any) -> None:
    folder = folder_of(imagen("compare", "a cat", "--models", "a", "--seeds", "1", *SMALL))
    (folder / "a-1.png").unlink()

    done = imagen("compare", "--resume", str(folder), "--models", "b", "--seeds", "2")

    assert done.exit_code == 0
    names = {path.name for path in folder.glob("*.png")}
    assert names == {"a-1.png", "a-2.png", "b-1.png", "b-2.png", "sheet.png"}


@pytest.mark.usefixtures("config")
def test_plan_of_a_resumed_one_changes_nothing(imagen: Any) -> None:
    folder = folder_of(imagen("compare", "a cat", "--models", "a,bad", "--seeds", "1", *SMALL))
    (folder / "a-1.png").unlink()
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}

    done = imagen("compare", "--resume", str(folder), "--seeds", "2", "--dry-run")

    assert [line.partition(":")[0] for line in done.out.splitlines()[:4]] == [
        "a, seed 1", "bad, seed 1", "a, seed 2", "bad, seed 2",
    ]  # fmt: skip
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.usefixtures("config")
def test_plan_of_a_whole_comparison_is_empty(imagen: Any) -> None:
    folder = folder_of(imagen("compare", "a cat", "--models", "a", *SMALL))

    done = imagen("compare", "--resume", str(folder), "--dry-run")

    assert (done.exit_code, done.out) == (0, "nothing is left to be made\n")


@pytest.mark.usefixtures("config")
def test_ledger_that_is_damaged_stops_no_resume(imagen: Any, imagen_home: Path) -> None:
    folder = folder_of(imagen("compare", "a cat", "--models", "a", "--seeds", "1", *SMALL))
    [ledger] = imagen_home.rglob("*.db")
    ledger.write_bytes(b"no database" * 1000)

    done = imagen("compare", "--resume", str(folder), "--seeds", "2")

    assert "ledger" in done.err
    assert {path.name for path in folder.glob("a-*.png")} == {"a-1.png", "a-2.png"}


def test_block_of_one_model_that_is_broken_fails_that_one_alone(imagen: Any, config: Path) -> None:
    folder = folder_of(imagen("compare", "a cat", "--models", "a,b", "--seeds", "1", *SMALL))
    file = config / "imagen.yaml"
    file.write_text(file.read_text().replace("format: webp", "format: nope"))

    done = imagen("compare", "--resume", str(folder), "--seeds", "2")

    assert done.exit_code == 7
    assert {path.name for path in folder.glob("*-*.png")} == {"a-1.png", "b-1.png", "a-2.png"}
    assert "b, seed 2: " in done.err


@pytest.mark.usefixtures("config")
def test_same_failure_of_several_is_told_once(imagen: Any) -> None:
    done = imagen("compare", "a cat", "--models", "a,bad", "--seeds", "1..3", *SMALL)

    assert done.err.count("the mock was told to fail") == 1
    assert "bad, seed 1 and 2 more: " in done.err


@pytest.mark.usefixtures("config")
def test_picture_made_again_is_the_same(imagen: Any) -> None:
    folder = folder_of(imagen("compare", "a cat", "--models", "a", "--seeds", "1", *SMALL))
    before = (folder / "a-1.png").read_bytes()
    (folder / "a-1.png").unlink()

    imagen("compare", "--resume", str(folder))

    assert (folder / "a-1.png").read_bytes() == before


def test_time_of_a_cell_is_its_own(world: World) -> None:
    started = time.monotonic()
    world.add("a")
    comparing = world.comparing("a")

    world.run(comparing)

    [cell] = comparing.comparison.cells
    assert cell.latency_ms is not None
    assert 0 <= cell.latency_ms <= (time.monotonic() - started) * 1000 + 1
