"""A worker that leaves: what it owes is written down, and what it says is so."""

from __future__ import annotations

import shutil
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from imagen_core import CredentialsError, RejectedError, UnavailableError, hold, worker
from works import SECONDS, lapse, until

if TYPE_CHECKING:
    from shift import Shift

LASTING = {"gated": {"type": "gated", "lasting": True}}
AWAY = UnavailableError("nobody there")


class Outage:
    """The queue is away for some calls as long as it is on."""

    def __init__(self, shift: Shift, *calls: str) -> None:
        self.is_on = True
        for call in calls:
            shift.queue.before[call] = self

    def __call__(self, _: int) -> None:
        if self.is_on:
            raise AWAY


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two tries lies the longest pause."""
    monkeypatch.setattr(hold, "backoff", lambda _: 1000.0)


@pytest.fixture
def sleep(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the machine has slept so far, by which its clock is ahead."""
    slept = [0.0]
    for module in (hold, worker):
        monkeypatch.setattr(module, "clock", lambda: time.monotonic() + slept[0])
    return slept


def at_work(shift: Shift, job_id: str) -> None:
    """Whoever is told to leave now finds it accepted, and nowhere near its end."""
    until(lambda: job_id in shift.gates.seen("running"))


def remote(shift: Shift, job_id: str) -> str:
    """The id at the remote side, as the next attempt on any machine knows it."""
    found = shift.job(job_id).checkpoint.get("remote_id", "")
    assert isinstance(found, str)
    return found


def test_beat_that_hangs_keeps_no_checkpoint_waiting(shift: Shift) -> None:
    free = threading.Event()
    shift.queue.before["heartbeat"] = lambda number: number > 1 or free.wait(SECONDS)
    shift.configure(LASTING)
    shift.gates.shut("asked")
    shift.gates.shut("running")
    job_id = shift.enqueue()
    shift.start(grace=0)
    until(lambda: shift.queue.calls["heartbeat"])
    shift.gates.open("asked")
    at_work(shift, job_id)

    shift.stop.set()

    assert shift.join() == ["released"]
    assert remote(shift, job_id) == f"r-{job_id}"
    free.set()


@pytest.mark.usefixtures("patient")
def test_checkpoint_that_nobody_could_write_down_goes_before_the_release(shift: Shift) -> None:
    outage = Outage(shift, "heartbeat")
    shift.configure(LASTING)
    shift.gates.shut("running")
    job_id = shift.enqueue()
    shift.start(grace=0)
    until(lambda: shift.log.warnings)
    assert not remote(shift, job_id)
    outage.is_on = False

    shift.stop.set()

    assert shift.join() == ["released"]
    assert remote(shift, job_id) == f"r-{job_id}"


def test_what_the_ledger_alone_knew_is_in_the_row_of_a_job_that_is_given_back(
    shift: Shift,
) -> None:
    shift.configure(LASTING)
    shift.gates.shut("running")
    job_id = shift.enqueue()
    shift.start(grace=0)
    at_work(shift, job_id)
    shift.stop.set()
    shift.join()
    with shift.queue._change() as (connection, _):
        connection.execute("update jobs set checkpoint = '{}'")
    shift.stop.clear()
    shift.gates.shut("asked")
    shift.start(grace=0)
    until(lambda: len(shift.gates.seen("asked")) == 2)

    shift.stop.set()

    assert shift.join() == ["released", "released"]
    assert remote(shift, job_id) == f"r-{job_id}"
    assert shift.gates.seen("submitted") == [job_id]


def test_lost_job_that_hangs_takes_no_room_though_somebody_wants_it_cancelled(
    shift: Shift,
) -> None:
    shift.gates.shut("publishing", "hang")
    job_id = shift.enqueue()
    working = shift.start(lease=1.5, limit=1.0, most=1)
    shift.reached("publishing")
    [held] = working._attempts
    shift.queue.cancel(job_id)
    until(lambda: held.wants_cancel)

    shift.steal(working)

    assert shift.join() == ["lost"]


@pytest.mark.usefixtures("patient")
def test_who_waits_for_the_next_try_has_it_when_told_to_leave(shift: Shift) -> None:
    outage = Outage(shift, "complete")
    job_id = shift.enqueue()
    shift.start(grace=0)
    until(lambda: shift.log.warnings)
    outage.is_on = False

    shift.stop.set()

    assert shift.join() == ["succeeded"]
    assert shift.job(job_id).state == "succeeded"


@pytest.mark.usefixtures("patient")
def test_worker_that_can_not_ask_whether_a_picture_is_its_own_says_that_nobody_knows(
    shift: Shift,
) -> None:
    outage = Outage(shift, "heartbeat", "release")
    outage.is_on = False
    shift.gates.shut("running")
    job_id = shift.enqueue()
    working = shift.start(grace=0)
    until(lambda: remote(shift, job_id))
    outage.is_on = True
    shift.gates.open("running")
    until(lambda: shift.pictures() and shift.log.warnings)

    shift.stop.set()

    assert shift.join() == ["unanswered"]
    assert working.unanswered == 1
    assert shift.log.reports[0][1].seconds > 0


def test_job_that_is_released_while_its_picture_comes_is_told_as_released(shift: Shift) -> None:
    def making() -> int:
        return sum(thread.name.startswith("imagen-job") for thread in threading.enumerate())

    def slow(_: int) -> None:
        shift.gates.open("running")
        until(lambda: making() == 1)

    shift.queue.before["release"] = slow
    shift.configure(LASTING)
    shift.gates.shut("running")
    job_id = shift.enqueue()
    working = shift.start(grace=0)
    until(lambda: remote(shift, job_id))

    shift.stop.set()

    assert shift.join() == ["released"]
    assert (shift.job(job_id).state, working.unanswered) == ("queued", 0)
    assert shift.log.reports[0][1].seconds > 0


def test_job_that_was_given_without_an_answer_is_given_back(shift: Shift) -> None:
    def lost(number: int) -> None:
        if number == 1:
            shift.stop.set()
            raise AWAY

    shift.queue.after["claim"] = lost
    job_id = shift.enqueue()

    assert shift.work() == ["released"]
    assert (shift.job(job_id).state, shift.job(job_id).attempt) == ("queued", 0)
    assert shift.gates.seen("asked") == []


def test_lease_counts_from_the_first_time_that_a_job_was_asked_for(
    shift: Shift, sleep: list[float]
) -> None:
    def answered(number: int) -> None:
        if number == 1:
            sleep[0] += 3600.0
            raise AWAY
        lapse(shift.queue)

    shift.queue.after["claim"] = answered
    shift.enqueue()

    assert shift.work(most=1) == ["lost"]
    assert shift.gates.seen("asked") == []


def test_first_job_after_an_outage_is_made(shift: Shift, sleep: list[float]) -> None:
    def answered(number: int) -> None:
        if number == 1:
            sleep[0] += 3600.0
            raise AWAY

    shift.queue.after["claim"] = answered
    shift.enqueue()

    assert shift.work(most=1) == ["succeeded"]


def test_what_was_paid_for_outlives_an_outage_while_its_request_is_read(
    shift: Shift, sleep: list[float]
) -> None:
    shift.configure(LASTING)
    shift.gates.shut("resolving")
    job_id = shift.enqueue()
    with shift.queue._change() as (connection, _):
        connection.execute("update jobs set checkpoint = ?", ('{"making":1,"remote_id":"r-1"}',))
    outage = Outage(shift, "heartbeat")
    outage.is_on = False
    shift.start(most=1)
    shift.reached("resolving")
    outage.is_on = True
    sleep[0] += 3600.0
    until(lambda: shift.log.warnings)
    outage.is_on = False
    shift.gates.open("resolving")

    assert shift.join() == ["succeeded"]
    assert (shift.gates.seen("asked"), shift.gates.seen("submitted")) == ([job_id], [])


def test_making_that_is_stopped_before_it_goes_on_is_not_over(shift: Shift) -> None:
    shift.configure(LASTING)
    shift.gates.shut("resolving")
    job_id = shift.enqueue()
    with shift.queue._change() as (connection, _):
        connection.execute("update jobs set checkpoint = ?", ('{"making":1,"remote_id":"r-1"}',))
    working = shift.start(most=1)
    shift.reached("resolving")
    [attempt] = working._attempts.values()
    attempt.stop("cancel")
    shift.gates.open("resolving")

    shift.join()

    assert shift.job(job_id).checkpoint == {"making": 1, "remote_id": "r-1"}


def test_checkpoint_that_the_queue_refuses_keeps_no_job_from_ending(shift: Shift) -> None:
    def refuse(_: int) -> None:
        if shift.gates.seen("submitted"):
            raise RejectedError("no such thing is written down")

    shift.queue.before["heartbeat"] = refuse
    job_id = shift.enqueue()

    assert shift.work(most=1) == ["queued"]
    assert shift.job(job_id).errors[0].failure.message == "no such thing is written down"


def test_claim_without_an_answer_is_asked_for_again_though_the_disk_is_full(
    shift: Shift, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(number: int) -> None:
        if number == 1:
            monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
            shift.stop.set()
            raise AWAY

    shift.queue.after["claim"] = lost
    job_id = shift.enqueue()

    assert shift.work() == ["released"]
    assert shift.job(job_id).state == "queued"


def test_chore_that_the_queue_refuses_keeps_nobody_from_working(
    shift: Shift, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = CredentialsError("this key may not prune")
    monkeypatch.setattr(shift.queue, "prune", mock.Mock(side_effect=refused))
    shift.enqueue()

    assert shift.work(drain=True) == ["succeeded"]
    assert shift.log.warnings == [str(refused)]


def test_worker_whose_machine_slept_asks_whose_its_job_is(shift: Shift, sleep: list[float]) -> None:
    shift.gates.shut("resolving")
    shift.enqueue()
    shift.start(most=1)
    shift.reached("resolving")
    lapse(shift.queue)
    sleep[0] += 3600.0
    shift.gates.open("resolving")

    assert shift.join() == ["lost"]
    assert shift.gates.seen("asked") == []


def test_clock_goes_on_while_the_machine_sleeps_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "CLOCK_BOOTTIME", 7, raising=False)
    monkeypatch.setattr(time, "clock_gettime", {7: 123.0}.__getitem__)
    assert hold.clock() == 123.0

    monkeypatch.delattr(time, "CLOCK_BOOTTIME")
    before = time.monotonic()
    assert before <= hold.clock() <= time.monotonic()


def test_key_that_is_refused_ends_the_worker_when_its_jobs_are_done(shift: Shift) -> None:
    def refuse(number: int) -> None:
        if number > 1:
            until(lambda: shift.gates.seen("asked"))
            raise CredentialsError("the key is too old")

    shift.queue.before["claim"] = refuse
    job_id = shift.enqueue()

    with pytest.raises(CredentialsError, match="too old"):
        shift.worker(concurrency=2).run(shift.stop, shift.hurry)

    assert shift.job(job_id).state == "succeeded"


def test_job_for_which_there_is_no_thread_is_given_back(
    shift: Shift, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def scarce(thread: threading.Thread) -> None:
        if thread.name.startswith("imagen-job"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", scarce)
    job_id = shift.enqueue()

    with pytest.raises(UnavailableError, match="can't start new thread"):
        shift.worker(drain=False).run(shift.stop, shift.hurry)

    assert [report.result for _, report in shift.log.reports] == ["released"]
    assert (shift.job(job_id).state, shift.job(job_id).attempt) == ("queued", 0)


def test_fault_that_stays_is_told_once(shift: Shift, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hold, "backoff", lambda _: 1.0)

    def away(number: int) -> None:
        beats = shift.queue.calls["heartbeat"]
        until(lambda: shift.queue.calls["heartbeat"] > beats + 1)
        if number < 4:
            raise AWAY

    shift.queue.before["complete"] = away
    shift.enqueue()

    assert shift.work(lease=0.6) == ["succeeded"]
    assert [warning.partition(": ")[2] for warning in shift.log.warnings] == [str(AWAY)]
