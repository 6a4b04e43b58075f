"""The embedded queue: the kit for queues, and what is SQLite's own."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from imagen_core.jobs import SqliteQueue
from imagen_core.testing import QueueConformance

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagen_core.testing.queue_claims import Elapse


class Clock:
    """The time of now, and what was let pass."""

    def __init__(self) -> None:
        self.passed = 0.0

    def __call__(self) -> float:
        return time.time() + self.passed

    def elapse(self, seconds: float) -> None:
        self.passed += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(tmp_path: Path, clock: Clock) -> Iterator[SqliteQueue]:
    with contextlib.closing(SqliteQueue(tmp_path / "data", clock=clock)) as queue:
        yield queue


class TestSqliteQueue(QueueConformance):
    module = "imagen_core"

    @pytest.fixture
    def queue(self, queue: SqliteQueue) -> SqliteQueue:
        return queue

    @pytest.fixture
    def elapse(self, clock: Clock) -> Elapse:
        return clock.elapse
