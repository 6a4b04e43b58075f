"""`imagen compare`, as a person or a script uses it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from small import SMALL


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
