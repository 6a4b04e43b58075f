"""A worker whose job is another's by now: it goes away, and leaves no trace."""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING

import pytest

import worker_chaos
from imagen_core import UnavailableError
from imagen_core.worker import Worker
from works import SECONDS, until

if TYPE_CHECKING:
    from shift import Shift
    from works import Works

FREELY = pytest.mark.parametrize("lasting", [True, False])


def accepted(shift: Shift, job_id: str) -> None:
    until(lambda: shift.job(job_id).checkpoint)


def test_lost_job_that_nobody_has_accepted_is_stopped(shift: Shift) -> None:
    shift.gates.shut("asked")
    job_id = shift.enqueue()
    worker = shift.start(most=1)
    shift.reached("asked")

    shift.steal(worker)

    assert shift.join() == ["lost"]
    assert shift.gates.seen("stopped") == [job_id]
    job = shift.job(job_id)
    assert (job.state, job.crashes, len(job.errors)) == ("queued", 1, 1)


@FREELY
def test_lost_job_that_was_accepted_is_left_to_the_other_worker(
    shift: Shift, lasting: bool
) -> None:
    shift.configure({"gated": {"type": "gated", "lasting": lasting}})
    shift.gates.shut("running")
    job_id = shift.enqueue()
    worker = shift.start(most=1)
    accepted(shift, job_id)
    shift.steal(worker)
    shift.start(name="other", most=1)
    until(lambda: shift.gates.seen("running") == [job_id] * 2)

    shift.gates.open("running")

    assert sorted(shift.join()) == ["lost", "succeeded"]
    assert shift.job(job_id).worker == "other"
    assert (shift.gates.seen("stopped"), shift.gates.seen("publishing")) == ([], [job_id])
    assert len(shift.pictures()) == 1
    [run] = shift.app.ledger.runs()
    assert (run.id, run.failure) == (job_id, None)


def test_nobody_asks_for_a_lost_job_any_more(shift: Shift) -> None:
    shift.gates.shut("running")
    job_id = shift.enqueue()
    worker = shift.start(most=1)
    accepted(shift, job_id)
    [hold] = worker._attempts

    shift.steal(worker)

    until(lambda: not hold._thread.is_alive())
    assert shift.log.reports == []
    shift.gates.open("running")
    assert shift.join() == ["lost"]


def test_lost_job_whose_time_is_up_is_not_stopped_for_the_other_worker(shift: Shift) -> None:
    shift.gates.shut("running")
    job_id = shift.enqueue()
    worker = shift.start(most=1)
    accepted(shift, job_id)

    shift.steal(worker)
    shift.overrun(worker)

    assert shift.join() == ["lost"]
    assert shift.gates.seen("stopped") == []


def test_one_worker_may_have_a_job_again_that_it_has_lost(shift: Shift) -> None:
    shift.gates.shut("running")
    job_id = shift.enqueue()
    worker = shift.start(concurrency=2)
    accepted(shift, job_id)
    shift.steal(worker)
    until(lambda: shift.gates.seen("running") == [job_id] * 2)

    shift.gates.open("running")

    assert sorted(shift.join()) == ["lost", "succeeded"]
    assert shift.log.begun_ids == [job_id] * 2
    assert len(shift.pictures()) == 1


@pytest.mark.parametrize("fault", ["fails", "hangs"])
def test_worker_that_cannot_renew_its_lease_stops_what_was_not_accepted(
    shift: Shift, fault: str
) -> None:
    free = threading.Event()

    def beat(_: int) -> None:
        if not shift.gates.seen("asked"):
            return
        if fault == "hangs":
            free.wait(SECONDS)
        raise UnavailableError("nobody there")

    shift.queue.before["heartbeat"] = beat
    shift.gates.shut("asked")
    job_id = shift.enqueue()

    assert shift.work(lease=6.0, most=1) == ["released"]

    free.set()
    assert shift.gates.seen("stopped") == [job_id]
    assert (shift.job(job_id).state, shift.job(job_id).attempt) == ("queued", 0)


def test_picture_waits_for_the_queue_to_say_whose_it_is(shift: Shift) -> None:
    """It is on the disk at once, and published when that is known."""
    away = threading.Event()

    def beat(_: int) -> None:
        if away.is_set():
            raise UnavailableError("nobody there")

    shift.queue.before["heartbeat"] = beat
    shift.gates.shut("running")
    job_id = shift.enqueue()
    shift.start(most=1)
    accepted(shift, job_id)
    away.set()
    shift.gates.open("running")
    until(shift.pictures)
    until(lambda: shift.log.warnings)
    assert shift.gates.seen("publishing") == []

    away.clear()

    assert shift.join() == ["succeeded"]
    assert shift.gates.seen("publishing") == [job_id]


@pytest.mark.system
@pytest.mark.parametrize("point", ["asked", "running", "saving"])
def test_worker_that_slept_through_its_lease_leaves_what_the_other_has_made(
    works: Works, point: str
) -> None:
    works.gates.shut(point)
    job_id = works.enqueue()
    sleeper = works.launch([sys.executable, worker_chaos.__file__, "6"])
    works.reached(point)
    until(lambda: point == "asked" or works.job(job_id).checkpoint)
    until(lambda: worker_chaos.stopped(sleeper, works.data))
    until(works.queue.rescue)
    works.gates.open(point)

    [told] = works.once("--name", "other")
    sleeper.send_signal(signal.SIGCONT)
    _, err = sleeper.communicate(timeout=SECONDS)

    assert (sleeper.returncode, err) == (0, "")
    job = works.job(job_id)
    assert (told["state"], job.worker, job.attempt) == ("succeeded", "other", 2)
    assert [str(path) for path in works.pictures()] == told["paths"]
    assert [(run.id, run.failure) for run in works.runs()] == [(job_id, None)]
    assert works.gates.seen("publishing") == [job_id]


def test_worker_that_slept_before_it_asked_for_a_picture_asks_for_none(
    shift: Shift, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks after it may wake up later than the thread that would ask."""
    monkeypatch.setattr(Worker, "_look_after", lambda *_: None)
    shift.gates.shut("resolving")
    shift.enqueue()
    worker = shift.start(most=1, lease=1.0)
    shift.reached("resolving")
    shift.steal(worker)
    shift.gates.open("resolving")

    assert shift.join() == ["lost"]
    assert shift.gates.seen("asked") == []
