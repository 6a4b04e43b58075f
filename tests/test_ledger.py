"""The record of every Run, and what `usage` reads from it."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from imagen_core import Cost, Failure, InputImage, Note, Output, Request, Run, Status, UsageRow
from imagen_core.errors import ImagenError
from imagen_core.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SEED = 2**63 - 1
REQUEST = Request(
    id="r1",
    prompt="a 猫, ink",
    typed_prompt="a 猫",
    backend="flux",
    width=64,
    height=32,
    seed=SEED,
    params={"cfg": 1.5, "nested": {"deep": [1, None]}},
    images=(InputImage(name="in.png", mime="image/png", sha256="ab", size=6, data=b"SECRET"),),
)
OUTPUT = Output(
    path="/p/x.png",
    mime="image/png",
    width=64,
    height=32,
    sha256="cd",
    size=9,
    date="2026-05-08",
    time="143015",
    slug="a",
    seed=SEED,
    metadata={"sampler": "euler"},
)
RUN = Run(
    id="r1",
    started_at="2026-05-08T12:00:00.000+00:00",
    request=REQUEST,
    backend_type="comfyui",
    model="flux1",
    latency_ms=1234,
    caller="agent",
    outputs=(OUTPUT,),
    cost=Cost(usd=0.003, basis="table"),
    remote_id="p-1",
    notes=(Note(step="cloud", text="there", url="https://x"),),
)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with contextlib.closing(Ledger(tmp_path / "data")) as found:
        yield found


def made(run_id: str, **changes: Any) -> Run:
    return replace(RUN, id=run_id, **changes)


def raw(ledger: Ledger, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in ledger.database.rows(query)]


def test_run_is_found_by_its_remote_id(ledger: Ledger) -> None:
    ledger.record(made("r1", remote_id="p-1"), finished=True)
    ledger.record(made("r2", remote_id="p-2"), finished=True)

    found = ledger.with_remote_id("p-2")

    assert found is not None
    assert found.id == "r2"
    assert ledger.with_remote_id("p-3") is None


def test_run_comes_back_as_it_was_but_for_the_bytes_of_its_input_images(ledger: Ledger) -> None:
    ledger.record(RUN, finished=True)

    found = ledger.get("r1")

    image = replace(REQUEST.images[0], data=b"")
    assert found == replace(RUN, request=replace(REQUEST, images=(image,)))


def test_bytes_of_input_images_are_nowhere_in_the_file(ledger: Ledger) -> None:
    ledger.record(RUN, finished=True)
    ledger.close()

    stored = b"".join(path.read_bytes() for path in ledger.path.parent.iterdir())
    assert b"in.png" in stored
    assert b"SECRET" not in stored
    assert b"U0VDUkVU" not in stored


def test_unknown_id_has_no_run(ledger: Ledger) -> None:
    assert ledger.get("nobody") is None


def test_seed_of_64_bits_is_exact_everywhere(ledger: Ledger) -> None:
    ledger.record(RUN, finished=True)

    (row,) = ledger.usage()
    (text,) = raw(ledger, "select run from runs")[0]

    assert row.seed == SEED
    assert json.loads(text)["request"]["seed"] == SEED


def test_recording_twice_leaves_one_row_with_the_latest_state(ledger: Ledger) -> None:
    begun = replace(RUN, outputs=(), cost=None, latency_ms=0)
    second = replace(OUTPUT, path="/p/x-2.png", ordinal=1)
    ledger.record(begun, finished=False)
    ledger.record(replace(RUN, outputs=(OUTPUT, second)), finished=False)
    moved = replace(OUTPUT, path="/rescued/x.png")

    ledger.record(replace(RUN, outputs=(moved,)), finished=True)

    assert raw(ledger, "select id, finished, failure, billed from runs") == [("r1", 1, "", 1)]
    assert raw(ledger, "select * from outputs") == [("r1", 0, "/rescued/x.png", "cd")]


def test_later_attempt_under_one_id_counts_at_its_own_time(ledger: Ledger) -> None:
    ledger.record(replace(RUN, started_at="2026-05-01T00:00:00.000+00:00"), finished=False)

    ledger.record(RUN, finished=True)

    assert [row.created_at for row in ledger.usage("2026-05-08")] == [RUN.started_at]


def test_run_of_a_newer_imagen_is_read_without_the_fields_that_nobody_knows_yet(
    ledger: Ledger,
) -> None:
    ledger.record(RUN, finished=True)
    (text,) = raw(ledger, "select run from runs")[0]
    newer = json.loads(text)
    newer["mood"] = "fine"
    newer["request"]["lens"] = {"mm": 50}
    newer["outputs"][0]["depth"] = 16
    with ledger.database.write() as connection:
        connection.execute("update runs set run = ?", (json.dumps(newer),))

    assert ledger.get("r1") == replace(
        RUN, request=replace(REQUEST, images=(replace(REQUEST.images[0], data=b""),))
    )
    assert len(list(ledger.usage())) == 1


def test_finished_runs_come_oldest_first_from_a_date_on(ledger: Ledger) -> None:
    days = {"late": "2026-05-09", "early": "2026-05-07", "middle": "2026-05-08"}
    for name, day in days.items():
        ledger.record(made(name, started_at=f"{day}T00:00:00.000+00:00"), finished=True)
    ledger.record(made("unfinished"), finished=False)

    found = [[run.id for run in ledger.runs(since)] for since in ("", "2026-05-08")]

    assert found == [["early", "middle", "late"], ["middle", "late"]]


FAILED = Failure(code="rejected", message="no")
LOST = Failure(code="unavailable", message="it may have been accepted")


@pytest.mark.parametrize(
    ("changes", "counted", "cost"),
    [
        ({"cost": Cost(usd=0.003, basis="table")}, True, 0.003),
        ({"cost": Cost(usd=0.000001, basis="table")}, True, 0.000001),
        ({"cost": None}, True, None),
        ({"cost": Cost(usd=0, basis="local")}, False, 0.0),
        ({"failure": FAILED}, False, 0.003),
        ({"failure": FAILED, "cost": None, "outputs": (), "remote_id": ""}, False, 0.0),
        ({"failure": FAILED, "cost": None, "outputs": ()}, False, None),
        ({"failure": LOST, "cost": None, "outputs": (), "remote_id": ""}, False, None),
        ({"failure": Failure(code="cancelled", message="")}, False, 0.003),
    ],
    ids=["billed", "tiny", "unknown", "free", "failed", "refused", "begun", "lost", "cancelled"],
)
def test_usage_counts_what_succeeded_and_is_not_free(
    ledger: Ledger, changes: dict[str, Any], *, counted: bool, cost: float | None
) -> None:
    ledger.record(made("r", **changes), finished=True)

    assert [row.cost_usd_estimate for row in ledger.usage()] == [cost] * counted
    assert [row.cost_usd_estimate for row in ledger.usage(everything=True)] == [cost]


def test_failed_run_that_may_have_been_paid_for_is_left_out_with_its_cost(ledger: Ledger) -> None:
    runs: dict[str, dict[str, Any]] = {
        "well": {},
        "paid": {"failure": FAILED},
        "unknown": {"failure": FAILED, "cost": None},
        "free": {"failure": FAILED, "cost": Cost(usd=0, basis="local")},
        "refused": {"failure": FAILED, "cost": None, "outputs": (), "remote_id": ""},
    }
    for name, changes in runs.items():
        ledger.record(made(name, **changes), finished=True)

    found = [(row.id, row.cost_usd_estimate) for row in ledger.left_out("2026-05-08")]
    assert found == [("paid", 0.003), ("unknown", None)]
    assert list(ledger.left_out("2026-05-09")) == []


def test_unfinished_run_is_never_counted(ledger: Ledger) -> None:
    ledger.record(RUN, finished=False)

    assert list(ledger.usage(everything=True)) == []


def test_usage_row_has_what_the_accounts_need_and_no_prompt(ledger: Ledger) -> None:
    ledger.record(replace(RUN, failure=FAILED, outputs=()), finished=True)

    assert list(ledger.usage(everything=True)) == [
        UsageRow(
            id="r1",
            created_at="2026-05-08T12:00:00.000+00:00",
            backend="flux",
            model="flux1",
            seed=SEED,
            latency_ms=1234,
            cost_usd_estimate=0.003,
            caller="agent",
            failure="rejected",
        )
    ]


def test_seed_that_the_backend_really_used_is_the_one_in_the_accounts(ledger: Ledger) -> None:
    ledger.record(replace(RUN, outputs=(replace(OUTPUT, seed=7),)), finished=True)

    assert [row.seed for row in ledger.usage()] == [7]


@pytest.mark.parametrize(
    ("since", "found"),
    [
        ("", ["a", "b", "c"]),
        ("2026-05-07", ["a", "b", "c"]),
        ("2026-05-08", ["b", "c"]),
        ("2026-05-09", ["c"]),
        ("2026-05-10", []),
    ],
)
def test_since_is_an_inclusive_date_in_utc(ledger: Ledger, since: str, found: list[str]) -> None:
    ledger.record(made("a", started_at="2026-05-07T23:59:59.999+00:00"), finished=True)
    ledger.record(made("b", started_at="2026-05-08T00:00:00.000+00:00"), finished=True)
    ledger.record(made("c", started_at="2026-05-09T23:59:59.999+00:00"), finished=True)

    assert [row.id for row in ledger.usage(since)] == found


@pytest.mark.parametrize("value", [object(), {1, 2}, {("a", "b"): 1}, 2**70, float("nan"), b"x"])
def test_metadata_of_any_kind_is_written_down_somehow(ledger: Ledger, value: Any) -> None:
    ledger.record(replace(RUN, outputs=(replace(OUTPUT, metadata={"odd": value}),)), finished=True)

    assert ledger.get("r1") is not None


def test_run_that_cannot_be_written_down_is_an_error_that_imagen_expects(ledger: Ledger) -> None:
    with pytest.raises(ImagenError, match="the run r1 cannot be written down"):
        ledger.record(replace(RUN, model="broken \udcff"), finished=True)

    assert ledger.get("r1") is None


def test_status_says_where_it_is_or_what_is_wrong(ledger: Ledger) -> None:
    assert ledger.status() == Status(ok=True, text=str(ledger.path))
    ledger.close()
    ledger.path.write_bytes(b"not a database, and long enough to see that" * 9)

    told = f"{ledger.path}: file is not a database"
    assert ledger.status() == Status(ok=False, text=told)


def test_threads_that_come_first_at_once_share_one_file(ledger: Ledger) -> None:
    start = threading.Barrier(8)

    def work(name: int) -> None:
        start.wait()
        for number in range(10):
            ledger.record(made(f"{name}-{number}"), finished=True)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert raw(ledger, "select count(*) from runs") == [(80,)]


def test_processes_that_write_at_once_lose_no_run_and_double_none(tmp_path: Path) -> None:
    script = f"""
        import os
        from pathlib import Path
        from imagen_core import Request, Run
        from imagen_core.ledger import Ledger
        ledger = Ledger(Path({str(tmp_path)!r}))
        for number in range(20):
            for run_id in (f"{{os.getpid()}}-{{number}}", f"shared-{{number}}"):
                request = Request(id=run_id, prompt="p", typed_prompt="p", backend="b",
                                  width=1, height=1, seed=1)
                run = Run(id=run_id, started_at="2026-05-08", request=request)
                ledger.record(run, finished=False)
                ledger.record(run, finished=True)
        ledger.close()
    """
    crowd = [subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)]) for _ in range(6)]

    assert [process.wait() for process in crowd] == [0] * 6
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        count = connection.execute("select count(*), sum(finished) from runs").fetchone()
    assert count == (6 * 20 + 20, 6 * 20 + 20)


def test_row_that_cannot_be_decoded_is_left_out_and_counted(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.record(RUN, finished=True)
    with ledger.database.write() as connection:
        connection.execute("insert into runs values ('r2', '2026-05-09', 1, '', 1, '{\"id\": 5}')")

    assert [row.id for row in ledger.usage()] == ["r1"]
    assert ledger.unreadable == 1
    assert [run.id for run in ledger.runs()] == ["r1"]
    assert ledger.unreadable == 1
    with pytest.raises(ImagenError, match="the run r2 can't be read"):
        ledger.get("r2")
    ledger.close()


def test_latencies_are_of_the_latest_that_went_well(ledger: Ledger) -> None:
    failure = Failure(code="failed", message="no")
    for number in range(5):
        ledger.record(made(f"r{number}", started_at=f"2026-05-0{number + 1}", latency_ms=number),
                      finished=True)  # fmt: skip
    other = replace(REQUEST, backend="sdxl")
    ledger.record(made("o", started_at="2026-06", request=other), finished=True)
    ledger.record(made("f", started_at="2026-06", failure=failure), finished=True)
    ledger.record(made("u", started_at="2026-06"), finished=False)

    assert ledger.latencies("flux", 3) == [4, 3, 2]
    assert ledger.latencies("nope", 3) == []
