"""The kit for queues: queues that do one thing wrong fail that check, and the good one passes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from imagen_core import Enqueued, Failure, NewJob
from imagen_core.job_rows import job_of
from imagen_core.jobs import SqliteQueue
from imagen_core.testing import QueueConformance
from imagen_core.types import new_id
from toys import check

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imagen_core.queueing import Beat, Completion, Ending, Job

LONG = 10_000.0


class ToyQueues(QueueConformance):
    module = "imagen_core"
    crowd = 12


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        # Two calls of one moment are told apart.
        self.now += 0.001
        return self.now

    def elapse(self, seconds: float) -> None:
        self.now += seconds


class Rowdy(SqliteQueue):
    """Changes its table by hand."""

    def change(self, statement: str, *values: Any) -> None:
        with self.database.write() as connection:
            connection.execute(statement, values)


class LosesTheDelay(Rowdy):
    def enqueue(self, job: NewJob) -> Enqueued:
        return super().enqueue(replace(job, delay=0.0))


class ForgetsKeys(Rowdy):
    def enqueue(self, job: NewJob) -> Enqueued:
        return super().enqueue(replace(job, key=""))


class SharesKeys(Rowdy):
    def enqueue(self, job: NewJob) -> Enqueued:
        return super().enqueue(replace(job, owner=""))


class CreatesAgain(Rowdy):
    def enqueue(self, job: NewJob) -> Enqueued:
        return replace(super().enqueue(job), created=True)


class ForgetsTheToken(Rowdy):
    def claim(self, worker: str, token: str, **how: Any) -> Job | None:
        job = super().claim(worker, new_id(), **how)
        if job:
            self.change("update jobs set token = ? where id = ?", token, job.id)
        return job


class NeverRescues(Rowdy):
    def _rescue(self, *_: Any) -> int:
        return 0


class KnowsNoLimit(Rowdy):
    def claim(self, worker: str, token: str, *, backends: Any, **how: Any) -> Job | None:
        free = dict.fromkeys(backends, "")
        return super().claim(worker, token, backends=free, **how)


class ForgetsTurns(Rowdy):
    def claim(self, worker: str, token: str, **how: Any) -> Job | None:
        self.change("delete from owners")
        return super().claim(worker, token, **how)


class KnowsNoFence(Rowdy):
    """Takes any token for that of the running claim."""

    def complete(self, job_id: str, token: str, result: Any) -> Completion:
        self.change("update jobs set token = ? where id = ?", token, job_id)
        return super().complete(job_id, token, result)


class BeatsWithoutEnd(Rowdy):
    def heartbeat(self, job_id: str, token: str, **fields: Any) -> Beat:
        self.change("update jobs set deadline_at = deadline_at + ?", LONG)
        return super().heartbeat(job_id, token, **fields)


class HidesCancelling(Rowdy):
    def heartbeat(self, job_id: str, token: str, **fields: Any) -> Beat:
        said = super().heartbeat(job_id, token, **fields)
        return "ok" if said == "cancel" else said


class CountsWhatWasGivenBack(Rowdy):
    def release(self, job_id: str, token: str) -> Ending:
        ending = super().release(job_id, token)
        self.change("update jobs set attempt = attempt + 1 where id = ?", job_id)
        return ending


class FailsTwice(Rowdy):
    def fail(self, job_id: str, token: str, failure: Failure, **how: Any) -> Ending:
        lease = "lease_expires_at = 1, deadline_at = 1"
        self.change(
            f"update jobs set state = 'running', finished_at = null, token = ?, {lease} "
            "where id = ?",
            *(token, job_id),
        )
        return super().fail(job_id, token, failure, **how)


class RetriesWhatWaits(Rowdy):
    def retry(self, job_id: str) -> Any:
        state = super().retry(job_id)
        self.change("update jobs set run_at = run_at + 5 where id = ?", job_id)
        return state


class DropsCheckpoints(Rowdy):
    def fail(self, job_id: str, token: str, failure: Failure, **how: Any) -> Ending:
        ending = super().fail(job_id, token, failure, **how)
        self.change("update jobs set checkpoint = '{}' where id = ?", job_id)
        return ending


class TriesAgainAtOnce(Rowdy):
    def fail(self, job_id: str, token: str, failure: Failure, **how: Any) -> Ending:
        return super().fail(job_id, token, failure, **{**how, "after": 0})


class TakesTextsAsTheyAre(Rowdy):
    def fail(self, job_id: str, token: str, failure: Failure, **how: Any) -> Ending:
        assert failure.message.isprintable(), "as a database might"
        return super().fail(job_id, token, failure, **how)


class HidesWhatIsBehind(Rowdy):
    """Looks at the job that was put there first, whenever that may run."""

    def claim(self, worker: str, token: str, **how: Any) -> Job | None:
        first = "select min(seq) from jobs where state = 'queued'"
        later = f"update jobs set run_at = run_at + ? where state = 'queued' and seq > ({first})"
        self.change(f"{later} and exists ({first} and run_at > created_at)", LONG)
        return super().claim(worker, token, **how)


class NeverGivesUp(Rowdy):
    def rescue(self, limit: int = 20) -> int:
        self.change("update jobs set max_attempts = 20")
        return super().rescue(limit)


class KeepsTheFlag(Rowdy):
    def retry(self, job_id: str) -> Any:
        state = super().retry(job_id)
        self.change("update jobs set cancel_requested = 1 where id = ?", job_id)
        return state


class ForgetsTooMuch(Rowdy):
    def prune(self, **how: Any) -> int:
        self.change("delete from jobs where state = 'queued'")
        return super().prune(**how)


class GivesMoreForAToken(Rowdy):
    """Forgets the token with the attempt, as if it had not been."""

    def claim(self, worker: str, token: str, **how: Any) -> Job | None:
        self.change("update jobs set token = null where state <> 'running'")
        return super().claim(worker, token, **how)


class TakesTheTokenForTheState(Rowdy):
    """Completes what has failed: the token is still that of the row."""

    def complete(self, job_id: str, token: str, result: Any) -> Completion:
        said = super().complete(job_id, token, result)
        held = self.database.rows("select 1 from jobs where id = ? and token = ?", (job_id, token))
        return "already" if held else said


class DiesOfWhatItReads(Rowdy):
    def _readable(self, _: Any, row: Any, *__: Any) -> Job | None:
        try:
            return job_of(row)
        except ValueError as error:
            raise AssertionError from error


class PassesOverWhatItCannotRead(Rowdy):
    def _fail(self, connection: Any, row: Any, *how: Any, **more: Any) -> Ending:
        ending = super()._fail(connection, row, *how, **more)
        connection.execute("update jobs set errors = '[]' where seq = ?", (row["seq"],))
        return ending


class SharesImages(Rowdy):
    def image(self, sha256: str, **_: Any) -> bytes | None:
        rows = self.database.rows("select data from images where sha256 = ?", (sha256,))
        return rows[0]["data"] if rows else None


class OwnsAnImageOnce(Rowdy):
    def put_image(self, data: bytes, *, owner: str) -> str:
        sha256 = super().put_image(data, owner=owner)
        self.change("delete from images where sha256 = ? and owner <> ?", sha256, owner)
        return sha256


class KeepsImages(Rowdy):
    def prune(self, **how: Any) -> int:
        self.change("update images set put_at = put_at + ?", LONG * LONG)
        return super().prune(**how)


class KeepsNoImageLonger(Rowdy):
    def put_image(self, data: bytes, *, owner: str) -> str:
        held = self.database.rows("select put_at from images where data = ?", (data,))
        sha256 = super().put_image(data, owner=owner)
        for row in held:
            self.change("update images set put_at = ? where sha256 = ?", row["put_at"], sha256)
        return sha256


class KnowsNoPace(Rowdy):
    pace = 0.0


class PublishesAlways(Rowdy):
    publishes = True  # type: ignore[assignment]


BAD_QUEUES: list[tuple[str, type[SqliteQueue]]] = [
    ("delayed_job_waits_and_holds_up_nobody", LosesTheDelay),
    ("delayed_job_waits_and_holds_up_nobody", HidesWhatIsBehind),
    ("key_is_one_job_for_each_owner", ForgetsKeys),
    ("key_is_one_job_for_each_owner", SharesKeys),
    ("key_enqueued_by_many_at_once_is_one_job", CreatesAgain),
    ("job_enqueued_again_is_the_same_job", CreatesAgain),
    ("claim_whose_answer_was_lost_can_be_repeated", ForgetsTheToken),
    ("claim_rescues_what_was_left", NeverRescues),
    ("resource_has_room_for_as_many_as_announced", KnowsNoLimit),
    ("limit_holds_for_many_at_once", KnowsNoLimit),
    ("full_resource_holds_up_no_other", KnowsNoLimit),
    ("owners_take_turns", ForgetsTurns),
    ("old_token_changes_nothing", KnowsNoFence),
    ("job_succeeds_once", KnowsNoFence),
    ("repeated_call_changes_nothing", FailsTwice),
    ("people_may_repeat_themselves", RetriesWhatWaits),
    ("deadline_ends_what_only_beats", BeatsWithoutEnd),
    ("running_job_is_asked_to_stop", HidesCancelling),
    ("running_job_is_asked_to_stop", KeepsTheFlag),
    ("released_job_has_lost_no_attempt", CountsWhatWasGivenBack),
    ("failure_is_tried_again_after_a_pause", DropsCheckpoints),
    ("failure_is_tried_again_after_a_pause", TriesAgainAtOnce),
    ("pause_can_be_given", TriesAgainAtOnce),
    ("whatever_a_worker_says_is_written_down", TakesTextsAsTheyAre),
    ("job_that_kills_its_workers_is_given_up", NeverGivesUp),
    ("prune_forgets_what_ended_long_ago", ForgetsTooMuch),
    ("token_gets_one_job", GivesMoreForAToken),
    ("token_gets_one_job", TakesTheTokenForTheState),
    ("job_that_cannot_be_read_fails_and_the_next_is_taken", DiesOfWhatItReads),
    ("job_that_cannot_be_read_fails_and_the_next_is_taken", PassesOverWhatItCannotRead),
    ("image_is_kept_for_its_owner", SharesImages),
    ("image_is_kept_for_its_owner", OwnsAnImageOnce),
    ("prune_forgets_images_that_were_put_long_ago", KeepsImages),
    ("prune_forgets_images_that_were_put_long_ago", KeepsNoImageLonger),
    ("pace_and_publishing_are_told", KnowsNoPace),
    ("pace_and_publishing_are_told", PublishesAlways),
]


def check_queue(name: str, kind: Callable[..., SqliteQueue], folder: Path) -> None:
    clock = Clock()
    with contextlib.closing(kind(folder, clock=clock)) as queue:

        def spoil(job_id: str) -> None:
            with queue.database.write() as connection:
                connection.execute("update jobs set payload = '[' where id = ?", (job_id,))

        check(ToyQueues(), name, queue=queue, elapse=clock.elapse, spoil=spoil)


@pytest.mark.parametrize(("name", "kind"), BAD_QUEUES)
def test_bad_queue_fails_the_check(name: str, kind: type[SqliteQueue], tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        check_queue(name, kind, tmp_path)


@pytest.mark.parametrize("name", sorted({name for name, _ in BAD_QUEUES}))
def test_good_queue_passes_the_check(name: str, tmp_path: Path) -> None:
    check_queue(name, SqliteQueue, tmp_path)
