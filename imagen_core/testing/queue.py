"""The conformance kit for queues: subclass it, give three fixtures, inherit the checks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from imagen_core.queueing import KEPT_ERRORS, LEASE_EXPIRED, Queue, longest_backoff
from imagen_core.testing.queue_claims import DEADLINE, FAILURE, LEASE, Claim, Elapse
from imagen_core.testing.queue_listing import Listing
from imagen_core.types import Failure, Progress, new_id

RESULT = {"id": "r", "outputs": [{"path": "猫.png"}], "cost": None}


class QueueConformance(Listing):
    """What every queue must do, wherever its jobs lie.

    Subclass it as `TestSomething`, set `module`, and write three fixtures in the class: `queue`
    makes an empty one and closes it, `elapse` gives a function that lets so many seconds pass
    for it, `spoil` one that makes what is stored of the job of an id unreadable. Where the
    database's clock can't be set, the second is to make all times in its tables earlier. Each
    check's docstring says what holds, and how to fix it.
    """

    def beat(self, queue: Queue, claim: Claim, **fields: Any) -> str:
        """Renew the lease of a job in hand."""
        return queue.heartbeat(claim.id, claim.token, **{"lease": LEASE, **fields})

    def test_heartbeat_holds_a_job(self, queue: Queue, elapse: Elapse) -> None:
        """A job that is renewed in time stays with its worker, for longer than its lease."""
        self.put(queue)
        claim = self.taken(queue)
        for _ in range(3):
            elapse(LEASE - 5)
            assert self.beat(queue, claim) == "ok"
            assert self.take(queue) is None, "a job was claimed whose lease was renewed"

    def test_heartbeat_writes_down_progress_and_checkpoint(self, queue: Queue) -> None:
        """What a beat brings is there at once; what it does not bring stays.

        To fix it: overwrite with what is given alone. An empty checkpoint is given.
        """
        self.put(queue)
        claim = self.taken(queue)
        progress = Progress(fraction=0.5, message="half 猫", step=2, steps=4)
        self.beat(queue, claim, progress=progress, checkpoint={"remote_id": "p-1"})
        self.beat(queue, claim)
        job = self.job(queue, claim.id)
        assert (job.progress, job.checkpoint) == (progress, {"remote_id": "p-1"})
        self.beat(queue, claim, checkpoint={})
        assert self.job(queue, claim.id).checkpoint == {}

    def test_old_token_changes_nothing(self, queue: Queue, elapse: Elapse) -> None:
        """A worker that was not heard of loses its job to another one, and can't touch it.

        To fix it: every update has the token and the state `running` in its condition.
        """
        job_id = self.put(queue)
        old = self.taken(queue)
        elapse(LEASE + 1)
        assert queue.rescue() == 1
        elapse(longest_backoff(1))
        new = self.taken(queue)
        assert (new.id, new.job.attempt, new.job.crashes) == (job_id, 2, 1)
        assert new.job.started_at == old.job.started_at, "a job begins with its first attempt"
        assert self.beat(queue, old, checkpoint={"by": "old"}) == "lost"
        assert queue.complete(job_id, old.token, {"by": "old"}) == "lost"
        assert queue.fail(job_id, old.token, FAILURE, retry=False) == "lost"
        assert queue.release(job_id, old.token) == "lost"
        assert self.job(queue, job_id) == new.job, "the old token changed the job"
        assert queue.complete(job_id, new.token, RESULT) == "ok"
        assert queue.complete(job_id, old.token, {"by": "old"}) == "lost"
        assert self.job(queue, job_id).result == RESULT

    def test_claim_rescues_what_was_left(self, queue: Queue, elapse: Elapse) -> None:
        """A claim takes care of lapsed leases, so that any live worker heals dead ones."""
        self.put(queue)
        claim = self.taken(queue)
        elapse(LEASE + 1)
        assert self.take(queue) is None, "a crash is followed by a pause"
        assert self.job(queue, claim.id).state == "queued"
        elapse(longest_backoff(1))
        assert self.taken(queue).id == claim.id

    def test_lease_that_lapsed_unnoticed_may_still_end_well(
        self, queue: Queue, elapse: Elapse
    ) -> None:
        """As long as nobody has taken it over, a late worker renews or completes its job.

        To fix it: compare tokens, not times; nothing is thrown away without need.
        """
        self.put(queue)
        claim = self.taken(queue)
        elapse(LEASE + 1)
        assert self.beat(queue, claim) == "ok"
        elapse(LEASE + 1)
        assert queue.complete(claim.id, claim.token, RESULT) == "ok"

    def test_deadline_ends_what_only_beats(self, queue: Queue, elapse: Elapse) -> None:
        """No number of heartbeats holds a job beyond its deadline."""
        self.put(queue)
        claim = self.taken(queue, deadline=1.5 * LEASE)
        elapse(LEASE - 1)
        assert self.beat(queue, claim) == "ok"
        elapse(LEASE)
        assert self.beat(queue, claim) == "lost"
        assert queue.rescue() == 1
        assert self.job(queue, claim.id).errors[-1].failure.code == "deadline"

    def test_job_succeeds_once(self, queue: Queue) -> None:
        """The first `complete` counts; repeated it is `already`, by another token `lost`.

        To fix it: keep the token of the claim that succeeded.
        """
        self.put(queue)
        claim = self.taken(queue)
        assert queue.complete(claim.id, claim.token, RESULT) == "ok"
        done = self.job(queue, claim.id)
        assert (done.state, done.result, done.attempt) == ("succeeded", RESULT, 1)
        assert done.finished_at
        assert done.lease_expires_at is None
        assert queue.complete(claim.id, claim.token, {"other": 1}) == "already"
        assert queue.complete(claim.id, new_id(), {"other": 1}) == "lost"
        assert queue.fail(claim.id, claim.token, FAILURE, retry=True) == "lost"
        assert queue.release(claim.id, claim.token) == "lost"
        assert self.beat(queue, claim) == "lost"
        assert self.job(queue, claim.id) == done, "a job that succeeded was changed"

    def test_repeated_call_changes_nothing(self, queue: Queue, elapse: Elapse) -> None:
        """Whatever was done is done: the same call again, since its answer was lost, is no harm.

        To fix it: let what a call sets no longer fulfil its condition, a state or a token.
        """
        calls: dict[str, Callable[[Claim], object]] = {
            "complete": lambda c: queue.complete(c.id, c.token, RESULT),
            "fail, and retry": lambda c: queue.fail(c.id, c.token, FAILURE, retry=True),
            "fail": lambda c: queue.fail(c.id, c.token, FAILURE, retry=False),
            "release": lambda c: queue.release(c.id, c.token),
            "cancel": lambda c: queue.cancel(c.id),
            "heartbeat": lambda c: self.beat(queue, c, checkpoint={"a": 1}),
        }
        for name, call in calls.items():
            self.put(queue, backend=name)
            claim = self.taken(queue, {name: ""})
            call(claim)
            first = self.job(queue, claim.id)
            elapse(1)
            call(claim)
            second = self.job(queue, claim.id)
            if name == "heartbeat":
                second = replace(second, lease_expires_at=first.lease_expires_at)
            assert second == first, f"{name}, repeated, changes the job"

    def test_people_may_repeat_themselves(self, queue: Queue, elapse: Elapse) -> None:
        """Cancelling what is cancelled, and retrying what waits already, change nothing."""
        for call in (queue.cancel, queue.retry):
            job_id = self.put(queue)
            queue.cancel(job_id)
            call(job_id)
            first = self.job(queue, job_id)
            elapse(1)
            call(job_id)
            assert self.job(queue, job_id) == first, f"{call.__name__}, repeated, changes the job"

    def test_unknown_job_is_told_as_such(self, queue: Queue) -> None:
        """Of a job that is not there everything says so, and nothing raises."""
        nobody = new_id()
        assert queue.get(nobody) is None
        assert queue.complete(nobody, new_id(), {}) == "gone"
        assert queue.heartbeat(nobody, new_id(), lease=1) == "lost"
        assert queue.fail(nobody, new_id(), FAILURE, retry=True) == "lost"
        assert queue.release(nobody, new_id()) == "lost"
        assert (queue.cancel(nobody), queue.retry(nobody)) == ("gone", "gone")

    def test_failure_is_tried_again_after_a_pause(self, queue: Queue, elapse: Elapse) -> None:
        """A failed attempt is kept with its reason, and repeated after a while that grows.

        To fix it: 5 s after the first attempt, thrice that after each further one, 15 min at
        most, of which a random part, up to half, is left out.
        """
        self.put(queue)
        for attempt in (1, 2):
            claim = self.taken(queue)
            self.beat(queue, claim, checkpoint={"attempt": attempt}, progress=Progress())
            assert queue.fail(claim.id, claim.token, FAILURE, retry=True) == "queued"
            assert queue.fail(claim.id, claim.token, FAILURE, retry=True) == "lost"
            job = self.job(queue, claim.id)
            assert (job.state, job.attempt, job.crashes) == ("queued", attempt, 0)
            assert (job.progress, job.checkpoint) == (None, {"attempt": attempt})
            error = job.errors[-1]
            assert (error.failure, error.attempt, error.worker) == (FAILURE, attempt, "worker-1")
            pause = _seconds(error.at, job.run_at)
            longest = longest_backoff(attempt)
            assert longest / 2 - 0.01 <= pause <= longest + 0.01, f"it waits for {pause} s"
            assert self.take(queue) is None
            elapse(longest)
        assert self.taken(queue).job.checkpoint == {"attempt": 2}, "the next attempt goes on"

    def test_whatever_a_worker_says_is_written_down(self, queue: Queue) -> None:
        """Also what is no text, such as half a character of a file's name, ends an attempt.

        To fix it: put something else in its place. A job whose failure can't be told is begun
        again and again.
        """
        job_id = self.put(queue)
        claim = self.taken(queue)
        odd = "no such file: \udcff\0.png"
        assert self.beat(queue, claim, progress=Progress(message=odd)) == "ok"
        failure = Failure(code="io", message=odd, hint=odd)
        assert queue.fail(job_id, claim.token, failure, retry=False) == "failed"
        said = self.job(queue, job_id).errors[-1].failure
        assert said.code == "io"
        assert said.message.startswith("no such file: ")

    def test_pause_can_be_given(self, queue: Queue, elapse: Elapse) -> None:
        """`after` is how long to wait, such as a server asked for."""
        self.put(queue)
        claim = self.taken(queue)
        queue.fail(claim.id, claim.token, FAILURE, retry=True, after=100)
        elapse(98)
        assert self.take(queue) is None
        elapse(3)
        assert self.taken(queue).id == claim.id

    def test_dead_job_can_be_retried(self, queue: Queue) -> None:
        """Without `retry`, or attempts, a job has failed; a person may begin them anew."""
        job_id = self.put(queue, max_attempts=2)
        claim = self.taken(queue)
        assert queue.fail(job_id, claim.token, FAILURE, retry=False) == "failed"
        assert self.job(queue, job_id).finished_at
        assert self.take(queue) is None
        assert queue.retry(job_id) == "queued"
        assert queue.retry(job_id) == "queued", "a second time it is no harm"
        for ending in ("queued", "failed"):
            claim = self.taken(queue)
            assert queue.fail(job_id, claim.token, FAILURE, retry=True, after=0) == ending
        job = self.job(queue, job_id)
        assert (job.attempt, len(job.errors)) == (2, 3), "errors of earlier attempts are kept"

    def test_latest_errors_are_kept(self, queue: Queue) -> None:
        """A job that fails for ever does not grow for ever."""
        job_id = self.put(queue)
        for number in range(KEPT_ERRORS + 2):
            claim = self.taken(queue)
            failure = Failure(code="rejected", message=f"no {number}")
            queue.fail(job_id, claim.token, failure, retry=False)
            queue.retry(job_id)
        told = [error.failure.message for error in self.job(queue, job_id).errors]
        assert told == [f"no {number}" for number in range(2, KEPT_ERRORS + 2)]

    def test_released_job_has_lost_no_attempt(self, queue: Queue) -> None:
        """A job that is given back waits again at once, and the attempt does not count."""
        job_id = self.put(queue, max_attempts=1)
        for _ in range(3):
            claim = self.taken(queue)
            self.beat(queue, claim, checkpoint={"remote_id": "p-1"})
            assert queue.release(job_id, claim.token) == "queued"
            assert queue.release(job_id, claim.token) == "lost", "it is given back once"
        job = self.job(queue, job_id)
        assert (job.state, job.attempt, job.errors) == ("queued", 0, ())
        assert job.checkpoint == {"remote_id": "p-1"}

    def test_job_that_kills_its_workers_is_given_up(self, queue: Queue, elapse: Elapse) -> None:
        """Crashes count as attempts, so a job that kills workers ends; and they are counted."""
        job_id = self.put(queue, max_attempts=2)
        for attempt in (1, 2):
            self.taken(queue)
            elapse(LEASE + 1)
            assert queue.rescue() == 1
            elapse(longest_backoff(attempt))
        job = self.job(queue, job_id)
        assert (job.state, job.attempt, job.crashes) == ("failed", 2, 2)
        assert [error.failure.code for error in job.errors] == [LEASE_EXPIRED] * 2
        assert queue.retry(job_id) == "queued"
        assert self.job(queue, job_id).crashes == 0

    def test_rescue_takes_no_more_than_asked(self, queue: Queue, elapse: Elapse) -> None:
        """`rescue` handles up to `limit`, and leaves what is in good hands."""
        for _ in range(4):
            self.put(queue)
        lapsing = [self.taken(queue) for _ in range(3)]
        elapse(LEASE + 1)
        last = self.take(queue)  # which rescues the others, and is not lapsed itself
        assert last is not None
        assert queue.rescue() == 0
        assert all(self.job(queue, claim.id).state == "queued" for claim in lapsing)
        elapse(longest_backoff(1))
        for _ in range(3):
            self.taken(queue, lease=LEASE - 1)
        self.beat(queue, last, lease=3 * LEASE)
        elapse(LEASE)
        assert [queue.rescue(limit=2), queue.rescue(), queue.rescue()] == [2, 1, 0]

    def test_waiting_job_is_cancelled_at_once(self, queue: Queue) -> None:
        """A job that waits is cancelled, once and for all, unless it is retried."""
        job_id = self.put(queue)
        assert queue.cancel(job_id) == "cancelled"
        assert queue.cancel(job_id) == "cancelled"
        assert self.take(queue) is None
        assert self.job(queue, job_id).finished_at
        assert queue.retry(job_id) == "queued"
        assert self.taken(queue).id == job_id

    def test_running_job_is_asked_to_stop(self, queue: Queue) -> None:
        """The worker hears of it with its next beat; what it does then is a cancelled job."""
        endings: tuple[Callable[[Claim], str], ...] = (
            lambda c: queue.fail(c.id, c.token, FAILURE, retry=True),
            lambda c: queue.release(c.id, c.token),
        )
        for end in endings:
            self.put(queue)
            claim = self.taken(queue)
            assert queue.cancel(claim.id) == "requested"
            assert queue.cancel(claim.id) == "requested"
            assert self.job(queue, claim.id).cancel_requested
            assert self.beat(queue, claim) == "cancel"
            assert end(claim) == "cancelled"
            assert self.take(queue) is None, "a cancelled job is tried again"
            assert queue.retry(claim.id) == "queued"
            again = self.taken(queue)
            assert self.beat(queue, again) == "ok", "it is still to be stopped: forget the flag"
            queue.complete(again.id, again.token, {})

    def test_dead_workers_cancelled_job_is_not_tried_again(
        self, queue: Queue, elapse: Elapse
    ) -> None:
        """Whoever rescues a job that was to be cancelled cancels it."""
        self.put(queue)
        claim = self.taken(queue)
        queue.cancel(claim.id)
        elapse(LEASE + 1)
        assert queue.rescue() == 1
        assert self.job(queue, claim.id).state == "cancelled"

    def test_finish_beats_a_cancel(self, queue: Queue) -> None:
        """A job that was made before it could be stopped has succeeded: it is paid for."""
        self.put(queue)
        claim = self.taken(queue)
        queue.cancel(claim.id)
        assert queue.complete(claim.id, claim.token, RESULT) == "ok"
        assert queue.cancel(claim.id) == "succeeded"
        assert queue.retry(claim.id) == "succeeded"
        assert self.job(queue, claim.id).state == "succeeded"

    def test_deadline_shorter_than_the_lease_ends_it(self, queue: Queue, elapse: Elapse) -> None:
        """A lease never lasts longer than the deadline."""
        self.put(queue)
        self.taken(queue, lease=DEADLINE, deadline=10)
        elapse(11)
        assert queue.rescue() == 1


def _seconds(earlier: str, later: str) -> float:
    between = datetime.fromisoformat(later) - datetime.fromisoformat(earlier)
    return between.total_seconds()
