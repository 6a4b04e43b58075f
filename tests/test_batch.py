"""`imagen batch`: what is made, what is skipped, what is said."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import Struct

from imagen_core import Backend, BackendSpec, hookimpl
from imagen_core.app import App
from imagen_core.ledger import Ledger
from imagen_core.tally import Tally, cost, duration
from imagen_core.terminal import Terminal
from imagen_core.types import About, Cost, Failure, Image, Request, Run
from scripted import PICTURE, request

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


def test_each_row_is_a_picture_whose_path_is_printed(imagen: Any, prompts: Path, out: Path) -> None:
    done = imagen("batch", str(prompts), *SMALL)

    assert done.exit_code == 0
    assert summary(done) == "imagen: 3 made, 0 failed, 0 skipped; 0 USD"
    assert set(done.paths) == pictures(out)
    assert len(done.paths) == 3
    for found in lines(out):
        [kept] = found["outputs"]
        sidecar = json.loads(Path(f"{kept['path']}.json").read_text())
        assert (found["id"], found["seed"], kept["sha256"], kept["size"]) == (
            sidecar["id"], sidecar["seed"], sidecar["sha256"], sidecar["size"],
        )  # fmt: skip
        assert (found["status"], found["backend"], found["error"]) == ("done", "mock", None)
        assert (found["prompt"], found["template"]) == (sidecar["prompt"], "")
    makings = plan(out)["makings"]
    assert [(m["row"], m["repeat"]) for m in makings] == [(1, 1), (2, 1), (3, 1)]
    assert {m["id"] for m in makings} == {run.id for run in runs()}


def test_row_beats_the_flags(imagen: Any, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(
        "prompt,size,seed,negative,p.format,output\n"
        "a cat,24x16,7,dogs,webp,cats/one.webp\n"
        "a dog,,,,,\n"
    )

    done = imagen(
        "batch", str(file), *SMALL, "--seed", "5", "-p", "format=jpeg", "-p", "delay_ms=1",
        "--output-dir", f"{tmp_path}/in", "--json",
    )  # fmt: skip

    first, second = sorted(done.json(), key=lambda found: found["row"])
    assert (first["seed"], first["width"], first["negative"]) == (7, 24, "dogs")
    assert first["params"] == {"format": "webp", "delay_ms": 1}
    assert first["path"] == f"{tmp_path}/in/cats/one.webp"
    assert (second["seed"], second["width"], second["mime"]) == (5, 16, "image/jpeg")
    assert second["params"] == {"format": "jpeg", "delay_ms": 1}
    assert done.err.count("ignores the negative prompt") == 1


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("text", "a cat\na dog\n"),
        ("jsonl", '{"prompt":"a cat"}\n{"prompt":"a dog"}\n'),
        ("csv", "prompt\na cat\na dog\n"),
        ("yaml", "- a cat\n- prompt: a dog\n"),
    ],
)
def test_rows_come_from_standard_input(imagen: Any, out: Path, form: str, text: str) -> None:
    done = imagen("batch", "-", "--format", form, *SMALL, input=text)

    assert done.exit_code == 0
    assert {found["prompt"] for found in lines(out, "batch")} == {"a cat", "a dog"}
    assert plan(out, "batch")["source"] == "standard input"


def test_everything_that_is_wrong_is_told_before_anything_is_made(
    imagen: Any, tmp_path: Path, out: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    rows: list[dict[str, Any]] = [
        {"prompt": "a cat", "sede": 5},
        {"prompt": "a\x07", "size": "big", "style": "noir", "params": {"formt": "png"}},
        {"prompt": "a", "backend": "moc", "size": "big"},
        {"prompt": "fine", "count": 0, "image": "none.png"},
        {"size": "0x0"},
        {"prompt": "a", "output": "x.png"},
        {"prompt": "a", "output": "./x.png"},
        {"prompt": "fine"},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    done = imagen("batch", str(file), "--backend", "mock", "--steps", "-1")

    assert done.exit_code == 2
    assert done.out == ""
    assert [line.replace(str(file), "F") for line in done.err.splitlines()] == [
        f"imagen: error: {line}"
        for line in (
            "F: --steps: the number of steps is at least 0, got -1",
            "F:1: row 1, sede: unknown column; did you mean 'seed'?",
            "F:2: row 2, prompt: the prompt has a control character (U+0007) at position 2; "
            "remove it; newlines and tabs are fine",
            "F:2: row 2, size: the size 'big' is not WIDTHxHEIGHT; for instance --size 1024x768",
            "F:2: row 2, style: there is no style 'noir'; the configuration has none",
            "F:2: row 2, params.formt: the backend 'mock' has no parameter 'formt'; "
            "did you mean 'format'?",
            "F:3: row 3, backend: there is no backend 'moc'; did you mean 'mock'?",
            "F:4: row 4, count: the count is 1 to 10000, got 0",
            "F:4: row 4, images: the backend 'mock' takes no input images; leave out --image",
            "F:5: row 5, prompt: is missing",
            "F:5: row 5, size: the size '0x0' is out of range: 1 to 16384 pixels a side",
            "F:7: row 7, output: is that of row 6, too",
        )
    ]  # fmt: skip
    assert not out.exists()


def test_what_only_goes_wrong_together_is_told_of_the_row(imagen: Any, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"prompt": "a", "seed": 2**63 - 1, "count": 2}))

    done = imagen("batch", str(file), *SMALL)

    assert f"{file}:1: row 1: seeds go up to 9223372036854775807" in done.err


def test_output_that_can_not_be_is_told_with_its_row(imagen: Any, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(f"prompt,output\na cat,{file}/x.png\na dog,{'n' * 250}.png\n")

    done = imagen("batch", str(file), *SMALL)

    assert done.exit_code == 2
    assert f"{file}:3: row 2, output: the name 'nnnn" in done.err
    file.write_text(f"prompt,output\na cat,{file}/x.png\n")
    done = imagen("batch", str(file), *SMALL)
    assert f"{file}:2: row 1, output: cannot make the folder {file}: File exists" in done.err


def test_unwritable_folder_is_refused(
    imagen: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out.mkdir(mode=0o500)
    if os.geteuid() == 0:
        monkeypatch.setattr(os, "access", lambda *_, **__: False)  # nothing is locked for root

    done = imagen("batch", "-", *SMALL, input="a cat")

    assert (done.exit_code, done.err) == (
        2,
        f"imagen: error: cannot write to the folder {out}: Permission denied\n"
        "  hint: choose another with --output-dir, or set output.dir\n",
    )


def test_file_that_is_not_there_is_refused(imagen: Any) -> None:
    done = imagen("batch", "none.txt", *SMALL)

    assert (done.exit_code, done.err) == (
        2,
        "imagen: error: cannot read the rows of none.txt: No such file or directory\n",
    )


def test_second_run_skips_what_is_there(imagen: Any, prompts: Path, out: Path) -> None:
    imagen("batch", str(prompts), *SMALL)
    before = {path: path.read_bytes() for path in out.iterdir()}

    done = imagen("batch", str(prompts), *SMALL)

    assert (done.exit_code, done.out) == (0, "")
    assert summary(done) == "imagen: 0 made, 0 failed, 3 skipped; 0 USD"
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_picture_that_is_gone_is_made_again_under_its_name(imagen: Any, prompts: Path) -> None:
    first = imagen("batch", str(prompts), *SMALL)
    gone = first.paths[1]
    data = gone.read_bytes()
    gone.unlink()

    done = imagen("batch", str(prompts), *SMALL)

    assert done.paths == [gone]
    assert gone.read_bytes() == data
    assert "imagen: gone or changed, and made again: 1" in done.err
    assert summary(done) == "imagen: 1 made, 0 failed, 2 skipped; 0 USD"
    assert len(runs()) == 4  # each with its own cost


def test_picture_that_was_changed_is_left_alone_and_made_anew(
    imagen: Any, prompts: Path, out: Path
) -> None:
    first = imagen("batch", str(prompts), *SMALL)
    changed = first.paths[0]
    changed.write_bytes(b"edited by hand")

    done = imagen("batch", str(prompts), *SMALL)

    assert changed.read_bytes() == b"edited by hand"
    assert done.paths == [changed.with_stem(f"{changed.stem}-2")]
    assert len(pictures(out)) == 4


def test_folder_that_was_moved_is_still_the_batch(
    imagen: Any, prompts: Path, tmp_path: Path
) -> None:
    imagen("batch", str(prompts), *SMALL, "--output-dir", f"{tmp_path}/a")
    shutil.move(tmp_path / "a", tmp_path / "b")

    done = imagen("batch", str(prompts), *SMALL, "--output-dir", f"{tmp_path}/b")

    assert summary(done) == "imagen: 0 made, 0 failed, 3 skipped; 0 USD"


def test_torn_line_of_the_results_is_adopted_from_the_ledger(
    imagen: Any, prompts: Path, out: Path
) -> None:
    first = imagen("batch", str(prompts), *SMALL)
    results = out / "prompts.batch.jsonl"
    whole = results.read_bytes()
    lost = json.loads(whole.splitlines()[-1])
    results.write_bytes(whole[:-40])
    path = Path(lost["outputs"][0]["path"])
    sidecar = json.loads(Path(f"{path}.json").read_text())
    Path(f"{path}.json").unlink()

    done = imagen("batch", str(prompts), *SMALL)

    assert done.paths == [path]
    assert json.loads(Path(f"{path}.json").read_text()) == sidecar
    assert pictures(out) == set(first.paths)
    assert sorted(found["id"] for found in lines(out)) == sorted(run.id for run in runs())


def test_line_that_can_not_be_read_costs_nothing(imagen: Any, prompts: Path, out: Path) -> None:
    imagen("batch", str(prompts), *SMALL)
    with (out / "prompts.batch.jsonl").open("a") as results:
        results.write("what is this\n")

    done = imagen("batch", str(prompts), *SMALL)

    assert summary(done) == "imagen: 0 made, 0 failed, 3 skipped; 0 USD"


def test_without_a_ledger_the_sidecar_tells_whose_a_picture_is(
    imagen: Any, prompts: Path, out: Path
) -> None:
    first = imagen("batch", str(prompts), *SMALL, "--no-ledger")
    (out / "prompts.batch.jsonl").unlink()
    stranger = first.paths[0]
    sidecar = Path(f"{stranger}.json")
    sidecar.write_text(sidecar.read_text().replace('"id": "', '"id": "x'))

    done = imagen("batch", str(prompts), *SMALL, "--no-ledger")

    adopted = set(first.paths[1:])
    again = stranger.with_stem(f"{stranger.stem}-2")
    assert set(done.paths) == {*adopted, again}
    assert pictures(out) == {*first.paths, again}
    assert runs() == []


def test_two_makings_never_share_one_picture(imagen: Any, tmp_path: Path, out: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("a cat\na cat\n")
    args = ("batch", str(file), *SMALL, "--seed", "3")
    first = imagen(*args)
    ids = [making["id"] for making in plan(out)["makings"]]
    ledger = Ledger(Path(os.environ["IMAGEN_DATA_DIR"]))
    one, two = (ledger.get(id) for id in ids)
    assert one
    assert two
    from msgspec.structs import replace

    ledger.record(replace(two, outputs=one.outputs), finished=False)
    ledger.close()
    (out / "prompts.batch.jsonl").unlink()
    Path(f"{two.outputs[0].path}.json").unlink()
    Path(two.outputs[0].path).unlink()

    imagen(*args)

    assert pictures(out) == set(first.paths)
    assert len({found["outputs"][0]["path"] for found in lines(out)}) == 2


def test_source_that_changed_is_refused_and_says_the_ways_out(
    imagen: Any, prompts: Path, out: Path
) -> None:
    first = imagen("batch", str(prompts), *SMALL)
    prompts.write_text("a cat\na bird\n")

    done = imagen("batch", str(prompts), *SMALL, "--repeat", "2")

    assert (done.exit_code, done.err) == (
        2,
        f"imagen: error: the batch 'prompts' in {out} was begun otherwise: {prompts} has changed; "
        "--repeat was '1' and is '2'\n"
        "  hint: --restart plans it anew and leaves the pictures alone; --name makes another one\n",
    )
    other = imagen("batch", str(prompts), *SMALL, "--name", "birds")
    anew = imagen("batch", str(prompts), *SMALL, "--restart")
    assert (len(other.paths), len(anew.paths)) == (2, 2)
    assert pictures(out) == {*first.paths, *other.paths, *anew.paths}
    assert len(lines(out)) == 2


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--size", "32x32"), "--size was '16x16' and is '32x32'"),
        (("--negative", "dogs"), "--negative was not given and is 'dogs'"),
        (("-p", "format=webp"), "-p was not given and is 'format=webp'"),
        (("--expand", "all"), "--expand was 'random' and is 'all'"),
    ],
)
def test_flags_that_changed_are_named(
    imagen: Any, prompts: Path, args: tuple[str, ...], told: str
) -> None:
    imagen("batch", str(prompts), *SMALL)

    done = imagen("batch", str(prompts), *SMALL, *args)

    assert done.exit_code == 2
    assert told in done.err


def test_plan_that_can_not_be_read_is_refused(imagen: Any, prompts: Path, out: Path) -> None:
    imagen("batch", str(prompts), *SMALL)
    (out / "prompts.batch.json").write_text("{}")

    done = imagen("batch", str(prompts), *SMALL)
    anew = imagen("batch", str(prompts), *SMALL, "--restart")

    assert done.exit_code == 2
    assert f"the plan {out}/prompts.batch.json can't be read: " in done.err
    assert anew.exit_code == 0


def test_plan_of_other_rows_is_refused(imagen: Any, prompts: Path, out: Path) -> None:
    imagen("batch", str(prompts), *SMALL)
    path = out / "prompts.batch.json"
    path.write_text(path.read_text().replace('"row": 3', '"row": 4'))

    done = imagen("batch", str(prompts), *SMALL)

    assert done.exit_code == 2
    assert "was begun otherwise: its rows come to other pictures" in done.err


def test_two_processes_do_not_work_on_one_batch(imagen: Any, prompts: Path, out: Path) -> None:
    out.mkdir()
    with (out / "prompts.batch.jsonl").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = imagen("batch", str(prompts), *SMALL)
        other = imagen("batch", str(prompts), *SMALL, "--name", "mine")

    assert (done.exit_code, done.err) == (
        2,
        f"imagen: error: the batch 'prompts' in {out} is being made by another process\n"
        "  hint: wait for it, or give this one a name of its own with --name\n",
    )
    assert other.exit_code == 0


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden"])
def test_name_is_a_file_name(imagen: Any, prompts: Path, name: str) -> None:
    done = imagen("batch", str(prompts), *SMALL, "--name", name)

    assert done.exit_code == 2
    assert f"the name '{name}' is no file name" in done.err


def test_some_failed_is_seven_and_they_are_tried_again(
    imagen: Any, tmp_path: Path, out: Path
) -> None:
    file = tmp_path / "prompts.jsonl"
    rows: list[dict[str, Any]] = [
        {"prompt": "a"},
        {"prompt": "b", "params": {"fail": "unavailable"}},
        {"prompt": "c", "params": {"fail": "unavailable"}},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    done = imagen("batch", str(file), *SMALL)
    again = imagen("batch", str(file), *SMALL)

    assert (done.exit_code, len(done.paths)) == (7, 1)
    assert done.err.count("the mock was told to fail with 'unavailable'") == 1
    assert "imagen: error: row " in done.err
    assert summary(done) == "imagen: 1 made, 2 failed, 0 skipped; 0 USD"
    failed = [found for found in lines(out) if found["status"] == "failed"]
    assert failed[0]["error"]["code"] == "unavailable"
    assert (again.exit_code, again.out) == (7, "")
    assert summary(again) == "imagen: 0 made, 2 failed, 1 skipped; 0 USD"


def test_all_failed_is_one(imagen: Any, prompts: Path) -> None:
    done = imagen("batch", str(prompts), *SMALL, "-p", "fail=rejected")

    assert (done.exit_code, done.out) == (1, "")


def test_json_has_an_object_a_making(imagen: Any, tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt":"{a|b}"}\n{"prompt":"c","seed":4,"p.fail":"rejected"}\n')

    done = imagen("batch", str(file), *SMALL, "--json")

    made, failed = sorted(done.json(), key=lambda found: found["row"])
    assert (made["row"], made["repeat"], made["template"]) == (1, 1, "{a|b}")
    assert made["prompt"] in ("a", "b")
    assert (failed["row"], failed["seed"], failed["error"]["code"]) == (2, 4, "rejected")
    assert done.exit_code == 7


def test_max_failures_begins_nothing_new(imagen: Any, tmp_path: Path, out: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("".join(f"prompt {n}\n" for n in range(100)))

    done = imagen("batch", str(file), *SMALL, "-p", "fail=rejected", "--max-failures", "3")

    assert done.exit_code == 1
    failed = len(lines(out))
    assert 3 <= failed <= 6  # up to four run side by side
    assert f"imagen: stopped after {failed} failures; the same command goes on" in done.err


def test_repeat_makes_each_row_again_with_other_seeds_and_choices(
    imagen: Any, tmp_path: Path, out: Path
) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("{a|b|c|d|e|f|g|h} cat\na dog\n")

    imagen("batch", str(file), *SMALL, "--repeat", "8", "--seed", "7")

    makings = plan(out)["makings"]
    assert [m["seed"] for m in makings] == [*range(7, 15)] * 2
    assert [m["repeat"] for m in makings] == [*range(1, 9)] * 2
    chosen = [m["prompt"] for m in makings[:8]]
    assert len(set(chosen)) > 1
    assert {found["template"] for found in lines(out)} == {"{a|b|c|d|e|f|g|h} cat", ""}
    assert {f["prompt"] for f in lines(out)} == {*chosen, "a dog"}


def test_choices_follow_from_seed_and_place(imagen: Any, tmp_path: Path, out: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("{a|b|c|d|e|f|g|h} cat\n" * 5)
    args = ("batch", str(file), *SMALL, "--seed", "7")

    imagen(*args)
    imagen(*args, "--name", "other")

    first = [making["prompt"] for making in plan(out)["makings"]]
    assert first == [making["prompt"] for making in plan(out, "other")["makings"]]
    assert len(set(first)) > 1


def test_resumed_batch_keeps_seeds_and_choices(imagen: Any, tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("{a|b|c|d|e|f|g|h} cat\n" * 5)
    args = ("batch", str(file), *SMALL, "--repeat", "2")
    first = imagen(*args)
    before = {path: path.read_bytes() for path in first.paths}
    for path in first.paths:
        path.unlink()

    second = imagen(*args)

    assert {path: path.read_bytes() for path in second.paths} == before


def test_expand_all_makes_the_whole_product(imagen: Any, tmp_path: Path, out: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("a {red|blue} {cat|dog}\na fox\n")

    done = imagen("batch", str(file), *SMALL, "--expand", "all", "--seed", "1")
    again = imagen("batch", str(file), *SMALL, "--expand", "all", "--seed", "1")

    assert len(done.paths) == 5
    assert [m.get("prompt", "") for m in plan(out)["makings"]] == [
        "a red cat", "a red dog", "a blue cat", "a blue dog", "",
    ]  # fmt: skip
    assert {m["seed"] for m in plan(out)["makings"]} == {1}
    assert summary(again) == "imagen: 0 made, 0 failed, 5 skipped; 0 USD"


def test_product_has_a_limit(imagen: Any, tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("{0|1|2|3|4|5|6|7|8|9}" * 5)

    done = imagen("batch", str(file), *SMALL, "--expand", "all")

    assert done.exit_code == 2
    assert "row 1: its choices come to 100000 prompts; 10000 is the most" in done.err


def test_count_of_a_row_makes_several_beside_its_output(
    imagen: Any, tmp_path: Path, out: Path
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("prompt,count,output\na cat,2,x.png\na dog,,sub/\n")
    (out / "sub").mkdir(parents=True)
    (out / "x.png").write_bytes(b"mine")

    done = imagen("batch", str(file), *SMALL, "--repeat", "2")

    assert (out / "x.png").read_bytes() == b"mine"
    assert {path.name for path in done.paths if path.parent == out} == {
        f"x-{n}.png" for n in range(2, 6)
    }
    assert len([path for path in done.paths if path.parent == out / "sub"]) == 2


def test_dry_run_says_what_would_be_made_and_writes_nothing(
    imagen: Any, tmp_path: Path, out: Path
) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("a cat\na {red|red} dog\n")

    done = imagen("batch", str(file), *SMALL, "--seed", "3", "--repeat", "3", "--dry-run")

    [one] = {path.name[:11] for path in [Path(done.out.splitlines()[-1])]}
    assert (done.exit_code, done.err) == (0, "")
    date = one[:10]
    assert done.out.splitlines()[:4] == [
        "pictures: 6", "backend mock: 6", "cost: 0 USD", "seeds: 3, 4, 5, 3, 4, …",
    ]  # fmt: skip
    assert done.out.splitlines()[4] == f"path: {out}/{date}-a-cat-3.png"
    assert len(done.out.splitlines()) == 9
    assert not out.exists()


def test_dry_run_as_json_has_all_of_it(imagen: Any, prompts: Path, out: Path) -> None:
    imagen("batch", str(prompts), *SMALL, "--seed", "3")
    next(iter(out.glob("*cat*.png"))).unlink()

    [found] = imagen("batch", str(prompts), *SMALL, "--seed", "3", "--dry-run", "--json").json()

    [making] = found.pop("makings")
    assert found == {
        "dry_run": True,
        "pictures": 1,
        "skipped": 2,
        "backends": {"mock": 1},
        "cost_usd_estimate": 0,
        "unknown_costs": 0,
    }
    assert (making["row"], making["seed"], making["prompt"]) == (1, 3, "a cat")
    assert (out / "prompts.batch.jsonl").read_text().count("\n") == 3


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


def test_unknown_costs_are_said_and_not_taken_for_nothing(
    imagen: Any, tmp_path: Path, paid: App
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("prompt,backend\na,known\nb,known\nc,dear\n")

    plan = imagen("batch", str(file), "--dry-run", app=paid)
    done = imagen("batch", str(file), app=paid)

    assert "cost: 0.1 USD and 1 of unknown cost" in plan.out
    assert "backend known: 2\nbackend dear: 1\n" in plan.out
    assert summary(done).endswith("; 0.1 USD and 1 of unknown cost")


def test_input_images_are_read_when_they_are_needed(imagen: Any, tmp_path: Path, paid: App) -> None:
    (tmp_path / "in.png").write_bytes(PICTURE.data)
    file = tmp_path / "prompts.txt"
    file.write_text("a {red|blue} cat\na dog\n")

    done = imagen(
        "batch", str(file), "--backend", "known", "--image", str(tmp_path / "in.png"), app=paid
    )

    assert (done.exit_code, len(done.paths)) == (0, 2)


def test_making_that_was_cut_off_is_picked_up_at_the_server(
    imagen: Any, tmp_path: Path, paid: App
) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("a cat\na dog\n")
    imagen("batch", str(file), "--backend", "known", app=paid)
    out = tmp_path / "pictures"
    cut_off = plan(out)["makings"][0]["id"]
    paid.ledger.record(_unfinished(cut_off), finished=False)
    kept = [line for line in lines(out) if line["id"] != cut_off]
    (out / "prompts.batch.jsonl").write_text("".join(json.dumps(k) + "\n" for k in kept))

    done = imagen("batch", str(file), "--backend", "known", app=paid)

    assert len(done.paths) == 1
    assert PaidBackend.resumed[2:] == ("remote-7",)


def _unfinished(run_id: str) -> Run:
    return Run(id=run_id, started_at="2026-05-08", request=request("known"), remote_id="remote-7")


def test_tally_has_rate_time_left_and_cost() -> None:
    now = 0.0
    tally = Tally(10, 2, clock=lambda: now)
    assert tally.progress() == ""

    now = 2.0
    run = Run(id="1", started_at="", request=request(), cost=Cost(usd=0.25, basis="x"))
    failed = Run(
        id="2", started_at="", request=request(), failure=Failure(code="failed", message="")
    )
    unknown = Run(id="3", started_at="", request=request())
    for each in (run, failed, unknown):
        tally.take(each)

    assert tally.progress() == "1.5/s, 3.3 s left, 0.25 USD and 1 of unknown cost"
    assert tally.summary() == (
        "2 made, 1 failed, 2 skipped, 5 left; 0.25 USD and 1 of unknown cost; 2.0 s"
    )
    now = 60.0
    assert tally.progress().startswith("20.0 s each, 1:40 min left, ")


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.24, "4.2 s"), (65, "1:05 min"), (7420, "2:03:40 h")]
)
def test_duration_is_readable(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_cost_is_readable() -> None:
    assert (cost(0, 0), cost(0.0126, 0), cost(1.5, 2)) == (
        "0 USD", "0.0126 USD", "1.5 USD and 2 of unknown cost",
    )  # fmt: skip


def test_bar_shows_what_is_said() -> None:
    class Screen(StringIO):
        def isatty(self) -> bool:
            return True

    err = Screen()
    bar = Terminal(StringIO(), err, {"NO_COLOR": "1"}).bar(4)
    bar.finish("a")
    bar.say("2.0/s, 1.5 s left, 0 USD")
    bar.take("b", PICTURE)

    assert "50% 1/4  0.0 s  2.0/s, 1.5 s left" in err.getvalue()


def test_quiet_says_nothing_of_what_went_well(imagen: Any, prompts: Path) -> None:
    done = imagen("batch", str(prompts), *SMALL, "--quiet")

    assert (done.exit_code, done.err) == (0, "")


def test_steps_that_show_see_all_new_pictures_once(
    imagen: Any, prompts: Path, tmp_path: Path
) -> None:
    from imagen_core import StepSpec

    SEEN.clear()

    @hookimpl
    def imagen_post_generate() -> list[StepSpec]:
        return [StepSpec(name="look", phase="show", run=f"{__name__}:look")]

    plugin = SimpleNamespace(imagen_post_generate=imagen_post_generate)
    app = App.for_test(Terminal(StringIO(), StringIO()), tmp_path, plugins={"look": plugin})

    done = imagen("batch", str(prompts), *SMALL, app=app)

    assert [sorted(paths) for paths in SEEN] == [sorted(map(str, done.paths))]


SEEN: list[tuple[str, ...]] = []


def look(done: Any, _: object) -> None:
    """Remember what there is to show."""
    SEEN.append(done.paths)
