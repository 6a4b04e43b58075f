"""Attempts side by side, cancelled, and gone wrong in whatever way: each ends, and so is told."""

from __future__ import annotations

import errno
import os
import shutil
from datetime import datetime
from platform import node
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from imagen_core import files
from imagen_core.worker import shared_resource
from works import until

if TYPE_CHECKING:
    from shift import Shift

CARD = {"type": "gated", "card": "gpu"}
OWNER = "6f0b7c1e-0000-4000-8000-000000000001"


def running(shift: Shift) -> list[str]:
    return sorted(job.backend for job in shift.queue.jobs(states=["running"]))


def claimed_again(shift: Shift) -> None:
    """Let it have looked for more at least twice."""
    seen = shift.queue.calls["claim"]
    until(lambda: shift.queue.calls["claim"] >= seen + 2)


def test_jobs_on_one_resource_take_turns_and_others_run_beside(shift: Shift) -> None:
    other = {"type": "gated", "card": "other"}
    shift.configure({"flux": CARD, "sdxl": CARD, "third": other, "free": {"type": "gated"}})
    shift.gates.shut("asked")
    ids = [shift.enqueue(name) for name in ("flux", "flux", "sdxl", "third")]
    shift.start(concurrency=4)
    until(lambda: len(shift.gates.seen("asked")) == 2)
    claimed_again(shift)
    assert running(shift) == ["flux", "third"]

    shift.gates.open("asked")

    assert shift.join() == ["succeeded"] * 4
    assert sorted(shift.gates.seen("asked")) == sorted(ids)


def test_jobs_without_a_resource_run_side_by_side_up_to_the_concurrency(shift: Shift) -> None:
    shift.gates.shut("asked")
    for _ in range(5):
        shift.enqueue()
    shift.start(concurrency=3)
    until(lambda: len(shift.gates.seen("asked")) == 3)
    assert len(running(shift)) == 3

    shift.gates.open("asked")

    assert shift.join() == ["succeeded"] * 5


def test_two_workers_share_a_resource(shift: Shift) -> None:
    shift.configure({"flux": CARD})
    shift.gates.shut("asked")
    for _ in range(2):
        shift.enqueue("flux")
    shift.start(name="one", drain=False)
    shift.start(name="two", drain=False)
    until(lambda: shift.gates.seen("asked"))
    claimed_again(shift)
    assert running(shift) == ["flux"]

    shift.gates.open("asked")

    until(lambda: len(shift.log.reports) == 2)
    shift.stop.set()
    assert shift.join() == ["succeeded"] * 2


def test_worker_that_has_its_hands_full_says_what_it_serves(shift: Shift) -> None:
    """Else whoever waits for a long job would hear that nobody serves its backend."""
    shift.gates.shut("running")
    shift.enqueue()
    shift.start(announce=0.0)
    shift.reached("running")
    seen = shift.queue.calls["announce"]

    until(lambda: shift.queue.calls["announce"] >= seen + 3)

    assert len(running(shift)) == 1
    shift.gates.open("running")
    assert shift.join() == ["succeeded"]


@pytest.mark.parametrize("point", ["asked", "running"])
def test_cancelled_job_is_stopped_where_it_runs(shift: Shift, point: str) -> None:
    shift.gates.shut(point)
    job_id = shift.enqueue()
    shift.start(lease=1.5)
    shift.reached(point)

    assert shift.queue.cancel(job_id) == "requested"

    assert shift.join() == ["cancelled"]
    job = shift.job(job_id)
    assert (job.state, job.attempt) == ("cancelled", 1)
    assert shift.gates.seen("stopped") == [job_id]
    assert shift.pictures() == []


@pytest.mark.parametrize("point", ["saving", "publishing"])
def test_finish_beats_a_cancel(shift: Shift, point: str) -> None:
    shift.gates.shut(point)
    job_id = shift.enqueue()
    shift.start(lease=1.5)
    shift.reached(point)
    shift.queue.cancel(job_id)
    seen = shift.queue.calls["heartbeat"]
    until(lambda: shift.queue.calls["heartbeat"] >= seen + 2)

    shift.gates.open(point)

    assert shift.join() == ["succeeded"]
    assert shift.job(job_id).state == "succeeded"
    assert len(shift.pictures()) == 1


def test_job_whose_time_is_up_is_tried_again_and_then_fails(shift: Shift) -> None:
    shift.gates.shut("asked")
    job_id = shift.enqueue(max_attempts=2)

    assert shift.work(limit=0.5) == ["queued", "failed"]

    job = shift.job(job_id)
    assert [error.failure.code for error in job.errors] == ["deadline"] * 2
    assert (job.attempt, job.crashes) == (2, 0)


@pytest.mark.parametrize("error", ["SystemExit", "KeyboardInterrupt", "MemoryError", "ValueError"])
@pytest.mark.parametrize("point", ["resolving", "asked", "running"])
def test_backend_that_raises_whatever_it_likes_fails_its_job(
    shift: Shift, point: str, error: str
) -> None:
    """In its `check` it says nothing of the job; in `generate` it is a fault of the plugin."""
    shift.gates.shut(point, "fail", error)
    job_id = shift.enqueue(max_attempts=2)

    ended = shift.work()

    assert ended == (["queued", "failed"] if point == "resolving" else ["failed"])
    assert error in shift.job(job_id).errors[-1].failure.message
    shift.gates.open(point, "fail")
    shift.enqueue()
    assert shift.work()[-1] == "succeeded"


@pytest.mark.parametrize("point", ["saving", "publishing"])
def test_step_that_fails_is_a_warning(shift: Shift, point: str) -> None:
    shift.gates.shut(point, "fail", "SystemExit")
    job_id = shift.enqueue()

    assert shift.work() == ["succeeded"]

    notes = [note["text"] for note in (shift.job(job_id).result or {})["notes"]]
    assert "SystemExit: as it was told" in notes


@pytest.mark.parametrize("owner", [OWNER, ""])
def test_on_a_shared_queue_a_step_that_fails_is_done_again(shift: Shift, owner: str) -> None:
    """The picture is made once, and told of when its owner can see it; without one nobody waits."""
    shift.queue.publishes = "gates"
    shift.gates.shut("publishing", "fail", "UnavailableError")
    job_id = shift.enqueue(owner=owner)

    first = shift.work(most=1)

    if not owner:
        assert first == ["succeeded"]
        return
    assert first == ["queued"]
    [error] = shift.job(job_id).errors
    assert error.failure.code == "unpublished"
    assert "as it was told" in error.failure.message
    shift.gates.open("publishing", "fail")
    assert shift.work() == ["queued", "succeeded"]
    assert shift.gates.seen("asked") == [job_id]
    assert shift.gates.seen("publishing") == [job_id] * 2
    assert len(shift.pictures()) == 1


def test_what_could_not_be_published_waits_until_the_outage_may_be_over(shift: Shift) -> None:
    shift.queue.publishes = "gates"
    shift.gates.shut("publishing", "fail", "UnavailableError")
    job_id = shift.enqueue(owner=OWNER)

    shift.work(most=1, pause=60.0)

    job = shift.job(job_id)
    waits = datetime.fromisoformat(job.run_at) - datetime.fromisoformat(job.errors[0].at)
    assert waits.total_seconds() == pytest.approx(60)


def test_step_that_publishes_nothing_fails_no_job(shift: Shift) -> None:
    shift.queue.publishes = "sidecar"
    shift.gates.shut("publishing", "fail", "UnavailableError")
    job_id = shift.enqueue(owner=OWNER)

    assert shift.work() == ["succeeded"]

    assert shift.job(job_id).errors == ()


def test_folder_that_cannot_be_written_any_more_costs_no_picture(shift: Shift) -> None:
    shift.gates.shut("running")
    job_id = shift.enqueue()
    shift.start(most=1)
    shift.reached("running")
    shutil.rmtree(shift.app.target().folder)
    shift.app.target().folder.write_text("no folder")
    shift.gates.open("running")

    assert shift.join() == ["queued"]
    told = shift.job(job_id).errors[0].failure.message
    assert "the picture is safe in" in told

    shift.app.target().folder.unlink()
    assert shift.work() == ["queued", "succeeded"]
    assert shift.gates.seen("asked") == [job_id]
    assert len(shift.pictures()) == 1


def test_folder_that_is_lost_after_the_claim_is_told_without_a_flag_that_is_none(
    shift: Shift,
) -> None:
    job_id = shift.enqueue()
    folder = shift.app.target().folder

    def lose(_: int) -> None:
        shutil.rmtree(folder)
        folder.write_text("no folder")

    shift.queue.after["claim"] = lose

    assert shift.work(most=1) == ["queued"]

    failure = shift.job(job_id).errors[0].failure
    assert "cannot make the folder" in failure.message
    assert failure.hint == "set output.dir"


def test_picture_that_no_folder_takes_is_fetched_again_and_not_paid_for_again(
    shift: Shift, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift.configure({"gated": {"type": "gated", "lasting": True}})
    job_id = shift.enqueue()
    with monkeypatch.context() as patch:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        patch.setattr(files, "place", mock.Mock(side_effect=full))
        assert shift.work(most=1) == ["queued"]
    [error] = shift.job(job_id).errors
    assert (error.failure.code, shift.pictures()) == ("unsaved", [])

    assert shift.work() == ["queued", "succeeded"]

    assert shift.gates.seen("submitted") == [job_id]
    assert len(shift.pictures()) == 1


def test_nothing_is_claimed_while_there_is_no_room_for_a_picture(
    shift: Shift, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [0]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free[0]))
    job_id = shift.enqueue()
    shift.start()
    until(lambda: shift.log.warnings)
    job = shift.job(job_id)
    assert (job.state, job.attempt) == ("queued", 0)
    free[0] = 2**40

    assert shift.join() == ["succeeded"]
    [told] = shift.log.warnings
    assert "there is no room in" in told


@pytest.mark.parametrize(
    ("resource", "is_local"),
    [
        ("http://127.0.0.1:8188", True),
        ("http://127.0.1.1:8188", True),
        ("http://[::1]:8188/comfy", True),
        ("http://localhost:8188", True),
        ("http://10.0.0.0:8188", False),
        ("http://mylocalhost:8188", False),
        ("gpu", False),
        ("", False),
        (None, False),
    ],
)
def test_resource_of_this_machine_is_no_other_machines(resource: str, is_local: bool) -> None:
    assert shared_resource(resource) == (f"{resource} at {node()}" if is_local else resource or "")


def test_model_that_was_changed_meanwhile_picks_nothing_up(shift: Shift) -> None:
    job_id = shift.enqueue(max_attempts=1)
    with shift.queue._change() as (connection, _):
        connection.execute(
            "update jobs set checkpoint = ?",
            ('{"making": 1, "remote_id": "r-1", "model": "another"}',),
        )

    assert shift.work() == ["failed"]
    assert "has begun it with the model another" in shift.job(job_id).errors[0].failure.message


@pytest.mark.parametrize("checkpoint", ['{"making": "x"}', '{"remote_id": 7}', '{"a": 1}'])
def test_checkpoint_that_makes_no_sense_is_none(shift: Shift, checkpoint: str) -> None:
    job_id = shift.enqueue()
    with shift.queue._change() as (connection, _):
        connection.execute("update jobs set checkpoint = ?", (checkpoint,))

    result: Any = shift.work()

    assert result == ["succeeded"]
    assert shift.job(job_id).checkpoint["remote_id"] == f"r-{job_id}"
