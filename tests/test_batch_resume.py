"""`imagen batch` again: what is skipped, taken over, made anew, or refused."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from batches import SMALL, PaidBackend, lines, pictures, plan, runs, summary
from imagen_core.app import App
from imagen_core.ledger import Ledger
from imagen_core.types import Run
from scripted import request


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


def test_results_whose_plan_is_gone_are_not_replaced(imagen: Any, prompts: Path, out: Path) -> None:
    first = imagen("batch", str(prompts), *SMALL)
    (out / "prompts.batch.json").unlink()
    before = (out / "prompts.batch.jsonl").read_bytes()

    done = imagen("batch", str(prompts), *SMALL)

    assert (done.exit_code, done.err) == (
        2,
        f"imagen: error: {out}/prompts.batch.jsonl has results, and their plan "
        "prompts.batch.json is gone\n"
        "  hint: put it back; or --restart makes all anew and keeps these results beside the "
        "new; or --name makes another batch\n",
    )
    assert pictures(out) == set(first.paths)
    assert (out / "prompts.batch.jsonl").read_bytes() == before


def test_restart_keeps_the_earlier_results(imagen: Any, prompts: Path, out: Path) -> None:
    imagen("batch", str(prompts), *SMALL)
    results = out / "prompts.batch.jsonl"
    first = results.read_bytes()
    done = imagen("batch", str(prompts), *SMALL, "--restart")
    second = results.read_bytes()

    imagen("batch", str(prompts), *SMALL, "--restart")

    kept = [out / f"prompts.batch.{number}.jsonl" for number in (1, 2)]
    assert [path.read_bytes() for path in kept] == [first, second]
    assert f"imagen: the earlier results are kept in {kept[0]}\n" in done.err


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
        plan = imagen("batch", str(prompts), *SMALL, "--dry-run")
        other = imagen("batch", str(prompts), *SMALL, "--name", "mine")

    assert (plan.exit_code, plan.out.splitlines()[0]) == (0, "pictures: 3")
    assert (done.exit_code, done.err) == (
        5,
        f"imagen: error: the batch 'prompts' in {out} is being made by another process\n"
        "  hint: wait for it, or give this one a name of its own with --name\n",
    )
    assert other.exit_code == 0


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden"])
def test_name_is_a_file_name(imagen: Any, prompts: Path, name: str) -> None:
    done = imagen("batch", str(prompts), *SMALL, "--name", name)

    assert done.exit_code == 2
    assert f"the name '{name}' is no file name" in done.err


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
