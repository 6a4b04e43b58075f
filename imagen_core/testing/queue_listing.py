"""The part of the kit for queues that is about looking at them, and clearing up."""

from __future__ import annotations

from hashlib import sha256
from io import BytesIO
from typing import Any, ClassVar

from imagen_core.queueing import DAY, IMAGE_SECONDS, OFFER_SECONDS, Load, Offer, Queue
from imagen_core.testing.queue_claims import Claiming, Elapse


class Listing(Claiming):
    """What is seen of a queue, and what it forgets. Subclass QueueConformance, not this."""

    forgets_images: ClassVar[bool] = True
    """Whether its `prune` removes input images, too."""

    def test_jobs_are_listed_by_state_owner_and_backend(self, queue: Queue) -> None:
        """The latest come first, page by page."""
        put = [self.put(queue, owner=self.owners[0]) for _ in range(3)]
        other = self.put(queue, backend="sdxl", owner=self.owners[1])
        running = self.taken(queue).id

        def ids(**chosen: Any) -> list[str]:
            return [job.id for job in queue.jobs(**chosen)]

        assert ids() == [other, *reversed(put)]
        assert ids(states=["running"]) == [running]
        assert ids(states=["queued", "running"], backend="flux") == [*reversed(put)]
        assert ids(owner=self.owners[1]) == [other]
        assert ids(owner="") == []
        assert ids(limit=2) == [other, put[2]]
        assert ids(limit=2, before=put[2]) == [put[1], put[0]]

    def test_stats_count_by_backend(self, queue: Queue, elapse: Elapse) -> None:
        """Each state is counted, and it is told how long the oldest job has been ready."""
        self.put(queue)
        claim = self.taken(queue)
        queue.complete(claim.id, claim.token, {})
        self.put(queue)
        self.taken(queue)
        self.put(queue)
        self.put(queue, delay=1000)
        queue.cancel(self.put(queue, backend="sdxl"))
        elapse(30)
        flux, sdxl = sorted(queue.stats(), key=lambda load: load.backend)
        assert 30 <= flux.waiting_seconds < 60
        told = Load(
            backend="flux", ready=1, delayed=1, running=1, succeeded=1,
            waiting_seconds=flux.waiting_seconds,
        )  # fmt: skip
        assert flux == told
        assert sdxl == Load(backend="sdxl", cancelled=1)

    def test_prune_forgets_what_ended_long_ago(self, queue: Queue, elapse: Elapse) -> None:
        """Finished jobs go after their time, with their keys; others stay however old."""
        waiting = self.put(queue, backend="sdxl")
        done = self.put(queue, key="k")
        claim = self.taken(queue)
        queue.complete(claim.id, claim.token, {})
        cancelled = [self.put(queue), self.put(queue)]
        for job_id in cancelled:
            queue.cancel(job_id)
        elapse(31 * DAY)
        assert [queue.prune(), queue.prune()] == [1, 0]
        assert queue.complete(claim.id, claim.token, {}) == "gone"
        assert self.put(queue, key="k") != done, "a key goes with its job"
        elapse(60 * DAY)
        assert [queue.prune(limit=1), queue.prune(), queue.prune()] == [1, 1, 0]
        assert self.job(queue, waiting).state == "queued"

    def test_offers_are_what_workers_announced(self, queue: Queue, elapse: Elapse) -> None:
        """An offer is one row for each backend and resource, the latest word on it.

        To fix it: insert, and on conflict overwrite; `prune` removes those of a week ago.
        """
        flux = Offer(backend="flux", resource="gpu", max_running=2, about={"model": "flux1"})
        queue.announce("a", [flux, Offer(backend="mock")])
        first = queue.offers()
        told = [(offer.backend, offer.resource, offer.max_running) for offer in first]
        assert told == [("flux", "gpu", 2), ("mock", "", 1)]
        assert first[0].about == {"model": "flux1"}
        elapse(10)
        queue.announce("b", [Offer(backend="flux", resource="gpu", max_running=3)])
        second = queue.offers()
        assert [offer.worker for offer in second] == ["b", "a"]
        assert second[0].max_running == 3
        assert second[0].seen_at > first[0].seen_at
        elapse(OFFER_SECONDS - 5)
        queue.prune()
        assert [offer.backend for offer in queue.offers()] == ["flux"]

    def test_image_is_kept_for_its_owner(self, queue: Queue) -> None:
        """An input image is found by its sha256 by the owner who put it there, and nobody else.

        To fix it: the owner is part of what an image is kept under, also where that is nobody.
        """
        data = _picture("teal")
        first, second = self.owners
        name = queue.put_image(data, owner=first)
        assert name == sha256(data).hexdigest()
        assert queue.image(name, owner=first) == data
        for other in (second, ""):
            assert queue.image(name, owner=other) is None, "an image was given to somebody else"
        assert queue.put_image(data, owner=first) == name, "a second time it is no harm"
        assert queue.put_image(data, owner=second) == queue.put_image(data, owner="") == name
        assert queue.image(name, owner=second) == queue.image(name, owner="") == data
        assert queue.image(sha256(_picture("red")).hexdigest(), owner=first) is None

    def test_prune_forgets_images_that_were_put_long_ago(
        self, queue: Queue, elapse: Elapse
    ) -> None:
        """An image goes in time, and stays for as long as it is put there again.

        To fix it: `put_image` of what is there makes it new. A queue that can't see to that says
        so: `forgets_images = False`.
        """
        if not self.forgets_images:
            return
        pictures = _picture("gray"), _picture("gold")
        old, kept = (queue.put_image(data, owner=self.owners[0]) for data in pictures)
        elapse(IMAGE_SECONDS - 5)
        queue.prune()
        assert queue.image(old, owner=self.owners[0]) == pictures[0]
        queue.put_image(pictures[1], owner=self.owners[0])
        elapse(10)
        queue.prune()
        assert queue.image(old, owner=self.owners[0]) is None, "it is kept for ever"
        assert queue.image(kept, owner=self.owners[0]) == pictures[1], "it was put there again"

    def test_pace_and_publishing_are_told(self, queue: Queue) -> None:
        """`pace` is a number of seconds, `publishes` the switch of a step, or empty."""
        assert isinstance(queue.pace, float), "its pace is no number of seconds"
        assert queue.pace > 0, "who waits for something has to wait between two questions"
        assert isinstance(queue.publishes, str), "what it publishes by is the switch of a step"

    def test_status_is_ok(self, queue: Queue) -> None:
        """A queue that works says so, and says where it is."""
        status = queue.status()
        assert status.ok, status.text
        assert status.text


def _picture(colour: str) -> bytes:
    """One that any queue takes."""
    from PIL import Image

    file = BytesIO()
    Image.new("RGB", (16, 16), colour).save(file, "png")
    return file.getvalue()
