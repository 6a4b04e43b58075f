"""A worker that is told to stop, wherever it is: its job is finished or given back."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from works import SECONDS, line_with, until

if TYPE_CHECKING:
    from works import Works

pytestmark = pytest.mark.system

SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["term", "int"])
FINISHING = "finishing what is running"


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=SECONDS)
    assert "Traceback" not in err
    return process.returncode, out


def told(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> None:
    """Tell it to stop, and see that it has understood."""
    process.send_signal(number)
    line_with(FINISHING, process)


@SIGNALS
def test_idle_worker_ends_well(works: Works, number: signal.Signals) -> None:
    process = works.start("--name", "idler")
    until(works.queue.offers)

    process.send_signal(number)

    assert ended(process) == (0, "")
    assert [offer.worker for offer in works.queue.offers()] == ["idler"] * 2


@pytest.mark.parametrize("point", ["resolving", "asked", "running", "saving", "publishing"])
def test_job_in_hand_is_finished_at_the_first_signal(works: Works, point: str) -> None:
    works.gates.shut(point)
    job_id, later = works.enqueue(), works.enqueue()
    process = works.start("--json")
    works.reached(point)
    told(process)

    works.gates.open(point)

    code, out = ended(process)
    assert (code, [json.loads(line)["state"] for line in out.splitlines()]) == (0, ["succeeded"])
    assert (works.job(job_id).state, works.job(later).attempt) == ("succeeded", 0)
    assert len(works.pictures()) == 1


def test_job_whose_end_is_on_its_way_to_the_queue_is_finished(works: Works) -> None:
    works.gates.shut("publishing")
    job_id = works.enqueue()
    process = works.start("--json")
    works.reached("publishing")
    with works.locked():
        works.gates.open("publishing")
        told(process)

    assert ended(process)[0] == 0
    assert works.job(job_id).state == "succeeded"


@pytest.mark.parametrize("point", ["asked", "running"])
def test_job_that_takes_longer_than_the_grace_is_given_back(works: Works, point: str) -> None:
    works.gates.shut(point)
    job_id = works.enqueue()
    process = works.start("--json", "--grace", "0")
    works.reached(point)

    process.send_signal(signal.SIGTERM)

    code, out = ended(process)
    assert (code, json.loads(out)["state"]) == (0, "released")
    job = works.job(job_id)
    assert (job.state, job.attempt, job.crashes, job.errors) == ("queued", 0, 0, ())
    assert works.gates.seen("stopped") == [job_id]
    works.gates.open(point)
    [again] = works.once()
    assert (again["state"], again["attempt"]) == ("succeeded", 1)
    assert len(works.pictures()) == 1


def test_job_that_hangs_is_given_back_and_another_worker_makes_it(works: Works) -> None:
    point = "publishing"
    works.gates.shut(point, "hang")
    job_id = works.enqueue()
    process = works.start("--json", "--grace", "0")
    works.reached(point)

    process.send_signal(signal.SIGTERM)

    code, out = ended(process)
    assert (code, json.loads(out)["state"]) == (0, "released")
    works.gates.open(point, "hang")
    [again] = works.once()
    assert (again["state"], again["attempt"]) == ("succeeded", 1)
    assert len(works.pictures()) == 1
    assert [run.id for run in works.runs()] == [job_id]


@SIGNALS
def test_second_signal_gives_the_job_back_at_once(works: Works, number: signal.Signals) -> None:
    works.gates.shut("running")
    job_id = works.enqueue()
    process = works.start("--json")
    works.reached("running")
    told(process, number)

    process.send_signal(number)

    code, out = ended(process)
    assert (code, json.loads(out)["state"]) == (128 + number, "released")
    job = works.job(job_id)
    assert (job.state, job.attempt) == ("queued", 0)


def test_what_was_accepted_and_lasts_is_left_to_the_next_worker(works: Works) -> None:
    works.configure({"gated": {"type": "gated", "lasting": True}})
    works.gates.shut("running")
    job_id = works.enqueue()
    process = works.start("--json", "--grace", "0")
    until(lambda: works.job(job_id).checkpoint)

    process.send_signal(signal.SIGTERM)

    assert ended(process)[0] == 0
    assert (works.job(job_id).state, works.job(job_id).attempt) == ("queued", 0)
    assert works.gates.seen("stopped") == []
    works.gates.open("running")
    [again] = works.once()
    assert (again["id"], again["state"], again["attempt"]) == (job_id, "succeeded", 1)
    assert works.gates.seen("submitted") == [job_id]
