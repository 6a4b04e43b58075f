"""The queue in the project: the kit for queues, as the service role and as a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from imagen_core.testing import QueueConformance
from supabase_jobs import opened_jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Elapse = Callable[[float], None]
    Spoil = Callable[[str], None]


pytestmark = pytest.mark.system

WORKERS = (
    "claim", "heartbeat", "complete", "fail", "release", "rescue", "prune", "announce",
)  # fmt: skip


class SupabaseQueues(QueueConformance):
    module = "imagen_supabase"
    forgets_images = False

    @pytest.fixture
    def elapse(self, jobs: Any) -> Elapse:
        found: Elapse = jobs.elapse
        return found

    @pytest.fixture
    def spoil(self, jobs: Any) -> Spoil:
        def spoil(job_id: str) -> None:
            jobs.sql("update imagen.jobs set checkpoint = '[7]' where id = %s", job_id)

        return spoil


class TestSupabaseQueue(SupabaseQueues):
    @pytest.fixture
    def queue(self, jobs: Any) -> Any:
        return jobs.queue()


class Shared:
    """A queue of which the worker's part is asked as a worker, and the rest as the service role."""

    def __init__(self, worker: Any, service: Any) -> None:
        self._worker = worker
        self._service = service

    def __getattr__(self, name: str) -> Any:
        return getattr(self._worker if name in WORKERS else self._service, name)


class TestSupabaseQueueOfAWorker(SupabaseQueues):
    @pytest.fixture
    def jobs(self, clusters: Any, tmp_path: Path) -> Iterator[Any]:
        with opened_jobs(clusters("system"), tmp_path) as found:
            yield found

    @pytest.fixture
    def queue(self, jobs: Any) -> Any:
        return Shared(jobs.queue("imagen_worker"), jobs.queue())
