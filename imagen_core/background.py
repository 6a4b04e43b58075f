"""Blocking work in a thread of its own, beside a generator that goes on yielding."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from imagen_core.types import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

T = TypeVar("T")

SLICE_SECONDS = 0.25
"""How long a call or a wait goes on before its generator yields."""
THREAD_NAME = "imagen-background"
"""What these threads are called; one that was closed early may live on for a while."""


class Background(Generic[T]):
    """Work in a thread of its own. Whoever gives up waiting for its result may ask again later."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._results: list[T] = []
        self._errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
        self._thread.start()

    def result(self) -> Generator[Progress, None, T]:
        """Yield until it is done; closed early, it leaves the work to end by its own time-out."""
        self._thread.join(SLICE_SECONDS)
        while self._thread.is_alive():
            yield Progress()
            self._thread.join(SLICE_SECONDS)
        if self._errors:
            raise self._errors[0]
        return self._results[0]

    def wait(self, seconds: float) -> bool:
        """Whether it is done within this time; for those who can't yield any more."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._results.append(self._work())
        except BaseException as error:  # noqa: BLE001 - raised again where the result is wanted
            self._errors.append(error)


def in_thread(work: Callable[[], T]) -> Generator[Progress, None, T]:
    """Do blocking work in a thread of its own, and yield until it is done."""
    return (yield from Background(work).result())
