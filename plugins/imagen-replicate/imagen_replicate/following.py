"""One prediction, followed to its end, and stopped when it takes too long."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TYPE_CHECKING

from imagen_core import ImagenError, Progress, RejectedError, UnavailableError, http
from imagen_replicate.problems import Throttled

if TYPE_CHECKING:
    from imagen_replicate.client import Api, Call
    from imagen_replicate.patience import Patience
    from imagen_replicate.prediction import Prediction

FEW_CALLS = 50
"""With fewer calls left than this, looks wait for more of them."""
DONE = 0.9
"""The part of the progress bar that the steps are; the rest is for the pictures."""
STOPS = 3
"""How often it is tried to tell Replicate that a prediction shall stop."""
PAUSE_SECONDS = 0.2


class Following:
    """A prediction on its way. `now` is the last that was heard of it.

    `told`: Replicate was told to stop it, and has understood that.
    """

    def __init__(self, api: Api, made: Prediction, patience: Patience) -> None:
        self.now = made
        self.told = False
        self._api = api
        self._patience = patience

    def events(
        self, *, limit: float, wanted: float, stops: bool = True
    ) -> Generator[Progress, None, bool]:
        """Look at it until its pictures are there or it has ended; False if it was given up.

        `stops`: what is given up is told to stop. Looks that fail do not matter as long as one
        works before the `limit`.
        """
        started = time.monotonic()
        while not (self.now.ended or self.now.is_there(wanted)):
            elapsed = time.monotonic() - started
            if elapsed > limit:
                if stops:
                    yield from self.stopping(self._patience.closing)
                return self.now.status == "succeeded"
            yield progress(self.now)
            yield from http.pause(min(self._interval(elapsed), max(limit - elapsed, 0)))
            try:
                self.now = yield from self._api.prediction(self.now.id)
            except Throttled as error:
                yield from http.pause(min(error.wait or 1.0, max(limit - elapsed, 0)))
            except (RejectedError, UnavailableError):
                pass
        return True

    def stopping(self, seconds: float) -> Call[None]:
        """Stop it, and see it end, in so many seconds at most."""
        end = time.monotonic() + seconds
        tries = 0
        while not self.now.ended and time.monotonic() < end and tries < STOPS:
            try:
                if self.told:
                    self.now = yield from self._api.prediction(self.now.id)
                else:
                    tries += 1
                    self.now = yield from self._api.cancel(self.now.id)
                    self.told = True
            except ImagenError:
                tries += self.told
            if not self.now.ended:
                yield from http.pause(PAUSE_SECONDS)

    def _interval(self, elapsed: float) -> float:
        """How long until the next look."""
        patience = self._patience
        usual = patience.look if elapsed < patience.often else patience.seldom
        if self._api.limits and self._api.limits.remaining < FEW_CALLS:
            return max(usual, min(self._api.limits.reset, patience.seldom * 4))
        return usual


def progress(made: Prediction) -> Progress:
    """How far it is, by its logs."""
    if made.status == "starting":
        return Progress(message="waiting for a machine")
    if (found := made.step) is None:
        return Progress()
    step, steps = found
    return Progress(fraction=step / steps * DONE, step=step, steps=steps)
