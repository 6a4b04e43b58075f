"""`imagen batch` at work: what is made, what fails, what is said."""

from __future__ import annotations

import json
import re
import signal
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from batches import SMALL, lines, pictures, plan, runs, summary
from imagen_core import hookimpl
from imagen_core.app import App
from imagen_core.cli.telling import spans
from imagen_core.tally import Tally, cost, duration
from imagen_core.terminal import Terminal
from imagen_core.types import Cost, Failure, Run
from scripted import PICTURE, request

if TYPE_CHECKING:
    from collections.abc import Callable


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
    assert done.err.count("imagen: error: row ") == 1
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


def test_rows_that_always_fail_keep_no_others_from_their_turn(imagen: Any, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    bad = "".join(f'{{"prompt": "bad {n}", "p.fail": "rejected"}}\n' for n in range(8))
    file.write_text(bad + "".join(f'{{"prompt": "good {n}"}}\n' for n in range(3)))
    args = ("batch", str(file), *SMALL, "--max-failures", "1")

    done = [imagen(*args) for _ in range(10)]

    assert sum(len(each.paths) for each in done) == 3
    # So many as were side by side when it was enough.
    stopped = r"imagen: stopped after (1 failure|[2-4] failures); the same"
    assert re.search(stopped, "".join(each.err for each in done))


def test_what_failed_is_tried_again_after_the_rest_and_longest_ago_first(
    imagen: Any, tmp_path: Path, out: Path
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("prompt,p.fail\n" + "".join(f"{n},rejected\n" for n in range(20)))
    args = ("batch", str(file), *SMALL, "--max-failures", "1", "--name", "rows")
    tried: list[int] = []
    for _ in range(8):
        imagen(*args)
        rows = [line["row"] for line in lines(out, "rows")]
        tried += rows[len(tried) :]

        [plan] = imagen(*args, "--dry-run", "--json").json()

        left = [making["row"] for making in plan["makings"]]
        last = sorted(set(tried), key=lambda row: -tried[::-1].index(row))
        assert left == [*sorted({*range(1, 21)} - {*tried}), *last]


def test_results_that_can_not_be_written_are_an_error_in_the_end(
    imagen: Any, tmp_path: Path, out: Path, small_files: Callable[[int], None]
) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("".join(f"prompt {n}\n" for n in range(12)))
    args = ("batch", str(file), *SMALL, "--no-ledger")
    imagen(*args)
    results = out / "prompts.batch.jsonl"
    results.write_text("".join(results.read_text().splitlines(keepends=True)[:8]))
    for path in pictures(out):
        path.unlink()
    small_files(results.stat().st_size + 100)

    done = imagen(*args)

    assert (done.exit_code, len(pictures(out)), len(lines(out))) == (1, 12, 8)
    assert done.err.splitlines()[-3:] == [
        done.err.splitlines()[-3],
        f"imagen: error: 12 results are not written down: cannot write {results}: File too large",
        "  hint: the pictures are there; make room, and the same command notes them",
    ]


def test_results_that_were_replaced_meanwhile_are_told(
    imagen: Any, prompts: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imagen_core.batch import Batch

    def begin(self: Batch) -> None:
        begun(self)
        (out / "prompts.batch.jsonl").unlink()
        (out / "prompts.batch.jsonl").mkdir()

    begun = Batch.begin
    monkeypatch.setattr(Batch, "begin", begin)

    done = imagen("batch", str(prompts), *SMALL)

    assert (done.exit_code, len(pictures(out))) == (1, 3)
    assert "another file is in its place by now" in done.err


def test_rows_that_failed_with_the_same_are_named_together(imagen: Any, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    fails = ["unavailable", *["rejected"] * 3, "", *["rejected"] * 200, "unavailable"]
    file.write_text("prompt,p.fail\n" + "".join(f"x,{fail}\n" for fail in fails))

    done = imagen("batch", str(file), *SMALL)

    message = "the mock was told to fail with 'rejected'"
    [first] = re.findall(rf"imagen: error: row (\d+): {message}", done.err)
    rest = spans({2, 3, 4, *range(6, 206)} - {int(first)})
    assert f"imagen: rows {rest}: the same as row {first}: {message}\n" in done.err
    assert re.search(r"^imagen: row (1|206): the same as row (206|1): ", done.err, re.MULTILINE)


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([3], "3"), ([2, 1], "1-2"), ([9, 2, 5, 4, 5, 6], "2, 4-6 and 9"), ([1, 3], "1 and 3")],
)
def test_numbers_are_told_in_spans(numbers: list[int], text: str) -> None:
    assert spans(numbers) == text


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
        "adopted": 0,
        "refused": 0,
        "backends": {"mock": 1},
        "cost_usd_estimate": 0,
        "unknown_costs": 0,
    }
    assert (making["row"], making["seed"], making["prompt"]) == (1, 3, "a cat")
    assert (out / "prompts.batch.jsonl").read_text().count("\n") == 3


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


def test_third_interrupt_says_how_to_go_on(imagen: Any, prompts: Path, tmp_path: Path) -> None:
    from imagen_core import StepSpec

    @hookimpl
    def imagen_post_generate() -> list[StepSpec]:
        return [StepSpec(name="hasty", phase="publish", run=f"{__name__}:hurry")]

    plugin = SimpleNamespace(imagen_post_generate=imagen_post_generate)
    app = App.for_test(Terminal(StringIO(), StringIO()), tmp_path, plugins={"hasty": plugin})

    done = imagen("batch", str(prompts), *SMALL, app=app)

    assert done.exit_code == 130
    assert done.err.splitlines()[-2:] == [
        "imagen: error: interrupted: 1 of 3 are done",
        "  hint: the same command goes on from there",
    ]


def hurry(*_given: object) -> None:
    """Press Ctrl-C as if nothing had come of it."""
    for _ in range(3):
        signal.raise_signal(signal.SIGINT)
