"""The half of the kit for queues that is about what goes in and who gets it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, NamedTuple, TypeVar

import pytest

from imagen_core.errors import UsageError
from imagen_core.queueing import UNREADABLE, Job, NewJob, Offer, Queue, longest_backoff
from imagen_core.testing.conformance import Conformance
from imagen_core.types import Failure, new_id

T = TypeVar("T")
Elapse = Callable[[float], None]
Spoil = Callable[[str], None]
LEASE = 60.0
DEADLINE = 600.0
FAILURE = Failure(code="unavailable", message="busy", hint="later", retryable=True)
PAYLOAD = {"prompt": "a 猫, ink", "seed": 2**53 - 1, "params": {"cfg": 1.5, "deep": [None, True]}}


class Claim(NamedTuple):
    """A job in hand."""

    job: Job
    token: str

    @property
    def id(self) -> str:
        """The job's id."""
        return self.job.id


class Claiming(Conformance):
    """What goes into a queue, and who gets it. Subclass QueueConformance, not this."""

    owners: ClassVar[tuple[str, str]] = (
        "00000000-0000-4000-8000-00000000000a",
        "00000000-0000-4000-8000-00000000000b",
    )
    """Two owners that the queue takes jobs of."""

    crowd: ClassVar[int] = 40
    """How many jobs the checks take that need many."""

    threads: ClassVar[int] = 4
    """How many threads ask the queue at once."""

    def put(self, queue: Queue, **fields: Any) -> str:
        """Enqueue a job for `flux`, or as the fields say; its id."""
        return queue.enqueue(NewJob(**{"backend": "flux", "payload": PAYLOAD, **fields})).id

    def job(self, queue: Queue, job_id: str) -> Job:
        """The job as it is now."""
        job = queue.get(job_id)
        assert job is not None, "get() does not find a job that is there"
        return job

    def take(
        self,
        queue: Queue,
        backends: Mapping[str, str] | None = None,
        *,
        lease: float = LEASE,
        deadline: float = DEADLINE,
        token: str = "",
    ) -> Claim | None:
        """Claim what is next, if there is something; with a new token, unless one is given."""
        token = token or new_id()
        served = {"flux": ""} if backends is None else backends
        job = queue.claim("worker-1", token, backends=served, lease=lease, deadline=deadline)
        return Claim(job, token) if job else None

    def taken(self, queue: Queue, backends: Mapping[str, str] | None = None, **how: Any) -> Claim:
        """Claim what is next, which is there."""
        claim = self.take(queue, backends, **how)
        assert claim is not None, "claim() gave nothing, though a job waits that it may have"
        return claim

    def at_once(self, work: Callable[[int], T]) -> list[T]:
        """Let several threads do this at the same moment, each with its number."""
        barrier = threading.Barrier(self.threads, timeout=30)

        def meet(number: int) -> T:
            barrier.wait()
            return work(number)

        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(meet, range(self.threads)))

    def test_job_comes_back_as_it_was_put(self, queue: Queue) -> None:
        """All fields of a job are kept, its payload as the JSON that it is.

        To fix it: keep the payload as JSON; the times are the database's.
        """
        new = NewJob(
            backend="flux",
            payload=PAYLOAD,
            payload_version=7,
            key="k",
            owner=self.owners[0],
            priority=3,
            max_attempts=9,
        )
        enqueued = queue.enqueue(new)
        assert (enqueued.id, enqueued.created) == (new.id, True)
        job = self.job(queue, new.id)
        for name in NewJob.__struct_fields__:
            if name != "delay":
                assert getattr(job, name) == getattr(new, name), f"its {name} is another one"
        assert (job.state, job.attempt, job.crashes) == ("queued", 0, 0)
        assert (job.started_at, job.finished_at, job.lease_expires_at) == (None, None, None)

    def test_job_enqueued_again_is_the_same_job(self, queue: Queue) -> None:
        """A repeated enqueue adds nothing and changes nothing, whatever became of the job.

        To fix it: insert with `on conflict do nothing`, then look for the row that is there.
        """
        new = NewJob(backend="flux", payload={"prompt": "a"})
        assert queue.enqueue(new).created
        claim = self.taken(queue)
        assert queue.enqueue(new) == queue.enqueue(new)
        assert not queue.enqueue(new).created, "a job that was there is told as created"
        assert queue.get(new.id) == claim.job, "enqueuing it again changed the job"
        queue.complete(new.id, claim.token, {})
        assert not queue.enqueue(new).created
        assert self.take(queue) is None, "a job that succeeded can be claimed again"

    def test_key_is_one_job_for_each_owner(self, queue: Queue) -> None:
        """Of one key there is one job an owner; jobs without a key have nothing in common.

        To fix it: a unique index on owner and key, also where nobody is the owner, for rows that
        have a key.
        """
        first = self.put(queue, key="k", owner=self.owners[0])
        assert self.put(queue, key="k", owner=self.owners[0], payload={}) == first
        assert self.put(queue, key="k", owner=self.owners[1]) != first
        nobodys = self.put(queue, key="k")
        assert self.put(queue, key="k") == nobodys, "a key without an owner counts, too"
        assert self.put(queue) != self.put(queue), "an empty key is none"

    def test_key_enqueued_by_many_at_once_is_one_job(self, queue: Queue) -> None:
        """Of several that enqueue under one key at once, one creates the job.

        To fix it: let the unique index decide, not a look beforehand.
        """
        made = self.at_once(
            lambda _: queue.enqueue(NewJob(backend="flux", payload=PAYLOAD, key="k"))
        )
        assert len({one.id for one in made}) == 1, "one key became several jobs"
        assert sum(one.created for one in made) == 1, "several were told that they created it"

    def test_id_of_somebody_elses_job_is_refused(self, queue: Queue) -> None:
        """An id that another owner's job has is a UsageError, and tells nothing of that job.

        To fix it: compare the owner of the row that is there.
        """
        taken = self.put(queue, owner=self.owners[0])
        with pytest.raises(UsageError):
            self.put(queue, id=taken, owner=self.owners[1])

    def test_claim_begins_an_attempt(self, queue: Queue) -> None:
        """A claimed job runs, by that worker, with a lease, and nobody else gets it.

        To fix it: set the state, the worker, the lease and the attempt in one transaction.
        """
        job_id = self.put(queue)
        job = self.taken(queue, {"flux": "gpu"}).job
        assert (job.id, job.state, job.attempt) == (job_id, "running", 1)
        assert (job.worker, job.resource, job.payload) == ("worker-1", "gpu", PAYLOAD)
        assert job.started_at
        assert job.started_at < (job.lease_expires_at or "") < (job.deadline_at or "")
        assert queue.get(job_id) == job
        assert self.take(queue) is None, "a job that runs was claimed again"

    def test_claim_whose_answer_was_lost_can_be_repeated(self, queue: Queue) -> None:
        """The same token gets the same job, as the same attempt.

        To fix it: look first for a running job with this token.
        """
        self.put(queue)
        self.put(queue)
        token = new_id()
        first, second = (
            queue.claim("w", token, backends={"flux": ""}, lease=LEASE, deadline=DEADLINE)
            for _ in range(2)
        )
        assert first == second, "the same token got another job, or another attempt"
        assert first is not None
        assert first.attempt == 1

    def test_token_gets_one_job(self, queue: Queue, elapse: Elapse) -> None:
        """A token whose job has ended, however it did, gets no other; nor the same one again.

        To fix it: keep the token in the row until that is claimed anew, look first for a row of
        this token, and let its state decide.
        """

        def rescue(_: Claim) -> None:
            elapse(LEASE + 1)
            queue.rescue()
            elapse(longest_backoff(1))

        endings: dict[str, Callable[[Claim], object]] = {
            "complete": lambda c: queue.complete(c.id, c.token, {}),
            "fail": lambda c: queue.fail(c.id, c.token, FAILURE, retry=False),
            "fail, and retry": lambda c: queue.fail(c.id, c.token, FAILURE, retry=True, after=0),
            "release": lambda c: queue.release(c.id, c.token),
            "rescue": rescue,
        }
        for name, end in endings.items():
            self.put(queue, backend=name)
            claim = self.taken(queue, {name: ""})
            self.put(queue, backend=name)
            end(claim)
            ended = self.job(queue, claim.id)
            for _ in range(2):
                again = self.take(queue, {name: ""}, token=claim.token)
                assert again is None, f"after {name} its token got a job"
            assert self.job(queue, claim.id) == ended, f"after {name} its token changed the job"
            said = queue.complete(claim.id, claim.token, {})
            assert said == ("already" if name == "complete" else "lost")
            assert self.take(queue, {name: ""}), f"after {name} a new token gets nothing"

    def test_job_that_cannot_be_read_fails_and_the_next_is_taken(
        self, queue: Queue, spoil: Spoil
    ) -> None:
        """A job that a newer imagen wrote, or nobody in their senses, kills no worker.

        To fix it: end it within `claim`, as failed for good with the code `unreadable` and the
        reason, and go on. Let `get` and `jobs` leave out what they can't read.
        """
        first, second = self.put(queue, priority=1), self.put(queue, priority=1)
        spoil(first)
        token = new_id()
        claim = self.taken(queue, token=token)
        assert claim.id == second
        assert self.taken(queue, token=token) == claim, "the claim, repeated, gives another job"
        dead = self.job(queue, first)
        assert dead.state == "failed"
        assert dead.errors, "it is not told why"
        failure = dead.errors[-1].failure
        assert (failure.code, failure.retryable) == (UNREADABLE, False)
        assert failure.message, "it is not told why"
        assert [job.id for job in queue.jobs()] == [second, first]
        spoil(self.put(queue))
        assert self.take(queue) is None
        assert [job.state for job in queue.jobs(states=["failed"])] == ["failed"] * 2
        assert queue.retry(first) == "queued", "a newer imagen may want to try it"

    def test_worker_gets_only_what_it_serves(self, queue: Queue) -> None:
        """A job goes to those who serve its backend; who serves nothing gets nothing."""
        flux, sdxl = self.put(queue), self.put(queue, backend="sdxl")
        assert self.take(queue, {}) is None
        assert self.take(queue, {"other": ""}) is None
        assert self.taken(queue, {"sdxl": "", "other": ""}).id == sdxl
        assert self.taken(queue, {"sdxl": "", "flux": ""}).id == flux

    def test_lower_priority_runs_first_then_the_oldest(self, queue: Queue) -> None:
        """Jobs come by priority, and in the order in which they were enqueued.

        To fix it: order by priority, time and a number that grows with each row; ids are random.
        """
        late = self.put(queue, priority=9)
        usual = [self.put(queue) for _ in range(5)]
        soon = self.put(queue, priority=0, backend="sdxl")
        got = [self.taken(queue, {"flux": "", "sdxl": ""}).id for _ in range(7)]
        assert got == [soon, *usual, late]

    def test_delayed_job_waits_and_holds_up_nobody(self, queue: Queue, elapse: Elapse) -> None:
        """A job with a delay is not there before, and others pass it, those of its kind, too.

        To fix it: order by `run_at` within a priority, so that what waits is behind what is ready.
        """
        later = self.put(queue, delay=30, priority=0)
        same, other = self.put(queue, priority=0), self.put(queue, priority=9)
        assert [self.taken(queue).id for _ in range(2)] == [same, other]
        assert self.take(queue) is None, "a job was claimed before its time"
        elapse(31)
        assert self.taken(queue).id == later

    def test_each_job_goes_to_one_of_many_at_once(self, queue: Queue) -> None:
        """Workers that claim at once get all jobs, and none of them twice.

        To fix it: serialise claims, by a lock that the transaction holds.
        """
        put = {self.put(queue) for _ in range(self.crowd)}

        def drain(_: int) -> list[str]:
            got = []
            while claim := self.take(queue):
                got.append(claim.id)
            return got

        got = Counter(job for one in self.at_once(drain) for job in one)
        twice = [job for job, times in got.items() if times > 1]
        assert not twice, f"{len(twice)} jobs went to two workers: serialise claims"
        assert set(got) == put, f"{len(put) - len(got)} jobs went to nobody"

    def test_resource_has_room_for_as_many_as_announced(self, queue: Queue) -> None:
        """A resource takes what its offer says, under all its names, and one without an offer.

        To fix it: count the running jobs by the resource that their claims named.
        """
        offers = [Offer(backend=name, resource="gpu", max_running=2) for name in ("flux", "sdxl")]
        queue.announce("worker-1", offers)
        served = {"flux": "gpu", "sdxl": "gpu"}
        for name in ("flux", "sdxl", "flux"):
            self.put(queue, backend=name)
        first = self.taken(queue, served)
        self.taken(queue, served)
        assert self.take(queue, served) is None, "a third job runs where two may"
        another = self.taken(queue, {"flux": "another gpu"})
        self.put(queue)
        assert self.take(queue, {"flux": "another gpu"}) is None, "without an offer, it is one"
        queue.complete(first.id, first.token, {})
        assert self.taken(queue, served), "a finished job frees its resource"
        queue.release(another.id, another.token)
        assert self.taken(queue, {"flux": "another gpu"}), "so does one that was given back"

    def test_full_resource_holds_up_no_other(self, queue: Queue) -> None:
        """Where a resource is full, the jobs behind those that need it are claimed."""
        served = {"flux": "gpu", "mock": ""}
        for _ in range(3):
            self.put(queue, priority=0)
        free = [self.put(queue, backend="mock") for _ in range(2)]
        self.taken(queue, served)
        got = [self.take(queue, served) for _ in range(3)]
        assert [claim and claim.id for claim in got] == [*free, None]

    def test_limit_holds_for_many_at_once(self, queue: Queue) -> None:
        """Also workers that claim at once never run more than a resource takes.

        To fix it: count under the lock that serialises claims.
        """
        queue.announce("w", [Offer(backend="flux", resource="gpu", max_running=2)])
        for _ in range(self.crowd):
            self.put(queue)
        got = self.at_once(lambda _: [self.take(queue, {"flux": "gpu"}) for _ in range(3)])
        running = [claim for one in got for claim in one if claim]
        assert len(running) == 2, f"{len(running)} jobs run where two may"

    def test_owners_take_turns(self, queue: Queue) -> None:
        """Whoever enqueued many jobs waits after each for the others, also with one worker.

        To fix it: order by the owner's running jobs, then by when the owner was served last; and
        look at all owners, not at those of the first rows.
        """
        for _ in range(self.crowd):
            self.put(queue, owner=self.owners[0])
        rare = [self.put(queue, owner=self.owners[1]) for _ in range(2)]
        got = []
        for _ in range(4):
            claim = self.taken(queue)
            queue.complete(claim.id, claim.token, {})
            got.append(claim.id)
        assert [job in rare for job in got] == [False, True, False, True]

    def test_owner_with_fewer_running_jobs_is_first(self, queue: Queue) -> None:
        """Among jobs of one priority, those of the owner with the fewest running come first."""
        for _ in range(3):
            self.put(queue, owner=self.owners[0])
        self.taken(queue)
        self.taken(queue)
        other = [self.put(queue, owner=self.owners[1]) for _ in range(2)]
        assert [self.taken(queue).id for _ in range(2)] == other
        urgent = self.put(queue, owner=self.owners[1], priority=0)
        assert self.taken(queue).id == urgent, "the priority comes before the owner"
