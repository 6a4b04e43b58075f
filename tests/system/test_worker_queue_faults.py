"""A queue that is out of reach, slow, or at fault: nothing is done twice, and no worker hangs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from imagen_core import UnavailableError, UsageError
from imagen_core.database import DatabaseError
from shift import Log
from works import SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen_core import Job
    from shift import Shift


def raises(error: BaseException, times: int = 1) -> Callable[[int], None]:
    """Raise that, so many times."""

    def act(number: int) -> None:
        if number <= times:
            raise error

    return act


AWAY = [UnavailableError("nobody there"), DatabaseError("database is locked")]


@pytest.mark.parametrize("error", AWAY, ids=["unavailable", "locked"])
@pytest.mark.parametrize("call", ["claim", "heartbeat", "complete"])
def test_queue_that_is_away_for_a_while_costs_nothing(
    shift: Shift, call: str, error: Exception
) -> None:
    shift.queue.before[call] = raises(error)
    job_id = shift.enqueue()

    assert shift.work() == ["succeeded"]

    job = shift.job(job_id)
    assert (job.state, job.attempt, job.errors) == ("succeeded", 1, ())
    assert shift.gates.seen("submitted") == [job_id]
    assert str(error) in " ".join(shift.log.warnings)


def test_outage_that_is_over_before_the_worker_looks_is_told_too(shift: Shift) -> None:
    class Late(Log):
        def lives(self, jobs: tuple[Job, ...]) -> None:
            until(lambda: not jobs or shift.job(jobs[0].id).state == "succeeded")

    shift.log = Late()
    shift.queue.before["complete"] = raises(UnavailableError("nobody there"))
    job_id = shift.enqueue()

    assert shift.work() == ["succeeded"]
    assert shift.log.warnings == [f"job {job_id}: nobody there"]


@pytest.mark.parametrize("call", ["claim", "heartbeat", "complete"])
def test_answer_that_is_lost_changes_nothing(shift: Shift, call: str) -> None:
    shift.queue.after[call] = raises(UnavailableError("the answer is lost"))
    job_id = shift.enqueue()

    assert shift.work() == ["succeeded"]

    job = shift.job(job_id)
    assert (job.state, job.attempt) == ("succeeded", 1)
    assert shift.gates.seen("submitted") == [job_id]


@pytest.mark.parametrize("call", ["fail", "release"])
def test_end_of_another_kind_is_told_again_too(shift: Shift, call: str) -> None:
    shift.queue.before[call] = raises(DatabaseError("disk I/O error"))
    shift.gates.shut("asked", "fail" if call == "fail" else "shut", "RejectedError")
    job_id = shift.enqueue()
    shift.start(grace=0)
    shift.reached("asked")

    if call == "release":
        shift.stop.set()

    assert shift.join() == ["failed" if call == "fail" else "released"]
    job = shift.job(job_id)
    assert (job.state, job.attempt) == (("failed", 1) if call == "fail" else ("queued", 0))


@pytest.mark.parametrize("error", [UsageError("too long"), RuntimeError("a fault"), SystemExit(1)])
def test_result_that_the_queue_will_never_take_fails_the_attempt(
    shift: Shift, error: BaseException
) -> None:
    shift.queue.before["complete"] = raises(error, times=99)
    job_id = shift.enqueue(max_attempts=1)

    assert shift.work() == ["failed"]

    [failed] = shift.job(job_id).errors
    assert str(error) in failed.failure.message


@pytest.mark.parametrize("error", [RuntimeError("a fault"), SystemExit(1)])
def test_queue_that_can_end_nothing_does_not_hold_the_worker(
    shift: Shift, error: BaseException
) -> None:
    for call in ("complete", "fail"):
        shift.queue.before[call] = raises(error, times=99)
    first, second = shift.enqueue(), shift.enqueue()

    worker = shift.start(most=2)

    assert shift.join() == ["unanswered"] * 2
    assert worker.unanswered == 2
    assert {shift.job(job_id).state for job_id in (first, second)} == {"running"}
    assert len(shift.pictures()) == 2


def test_claim_that_raises_whatever_it_likes_is_tried_again(shift: Shift) -> None:
    shift.queue.before["claim"] = raises(SystemExit("a fault"))
    shift.enqueue()

    assert shift.work() == ["succeeded"]
    assert shift.log.warnings == ["SystemExit: a fault"]


def test_claim_that_is_answered_after_the_signal_is_seen_through(shift: Shift) -> None:
    job_id = shift.enqueue()
    shift.queue.after["claim"] = lambda _: shift.stop.set()

    assert shift.work(drain=False) == ["succeeded"]
    assert shift.job(job_id).state == "succeeded"


def test_claim_that_is_answered_after_the_second_signal_is_given_back(shift: Shift) -> None:
    job_id = shift.enqueue()

    def answered(_: int) -> None:
        shift.stop.set()
        shift.hurry.set()

    shift.queue.after["claim"] = answered

    assert shift.work(drain=False) == ["released"]
    assert (shift.job(job_id).state, shift.job(job_id).attempt) == ("queued", 0)


def test_no_job_is_claimed_after_the_signal(shift: Shift) -> None:
    first, second = shift.enqueue(), shift.enqueue()
    shift.queue.after["complete"] = lambda _: shift.stop.set()

    assert shift.work() == ["succeeded"]
    assert (shift.job(first).state, shift.job(second).state) == ("succeeded", "queued")


@pytest.mark.parametrize("lasting", [True, False])
def test_what_is_made_is_completed_when_the_grace_is_over(shift: Shift, lasting: bool) -> None:
    shift.configure({"gated": {"type": "gated", "lasting": lasting}})
    worker = shift.start(grace=0, drain=False)

    def slow(_: int) -> None:
        shift.stop.set()
        until(lambda: [attempt._stopped for attempt in worker._attempts.values()] == ["release"])

    shift.queue.before["complete"] = slow
    job_id = shift.enqueue()

    assert shift.join() == ["succeeded"]
    assert shift.job(job_id).state == "succeeded"


@pytest.mark.system
def test_what_is_being_completed_when_nobody_waits_any_longer_is_told(shift: Shift) -> None:
    worker = shift.start(grace=0, drain=False)

    def slow(_: int) -> None:
        shift.stop.set()
        [hold] = worker._attempts
        hold._leaving.wait(SECONDS)

    shift.queue.before["complete"] = slow
    job_id = shift.enqueue()

    assert shift.join() == ["succeeded"]
    assert (shift.job(job_id).state, worker.unanswered) == ("succeeded", 0)


def test_release_that_hangs_does_not_keep_a_worker_that_was_told_to_stop(shift: Shift) -> None:
    free = threading.Event()
    shift.queue.before["release"] = lambda _: free.wait(SECONDS)
    shift.configure({"gated": {"type": "gated", "lasting": True}})
    shift.gates.shut("running")
    job_id = shift.enqueue()
    worker = shift.start(grace=0)
    until(lambda: shift.job(job_id).checkpoint)

    shift.stop.set()

    assert shift.join() == ["unanswered"]
    assert worker.unanswered == 1
    free.set()
