"""The predictions, each with a thread that takes it to its end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from imagen_replicate.testing.prediction import Prediction
from imagen_replicate.testing.problems import NSFW, not_found

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from imagen_replicate.testing.site import Site


class Engine:
    """All predictions, from the first to the last."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.predictions: list[Prediction] = []
        self.finished_at: dict[str, float] = {}
        self._threads: list[threading.Thread] = []

    @property
    def idle(self) -> bool:
        """Whether no prediction is starting or processing."""
        with self.site.lock:
            return all(one.ended for one in self.predictions)

    def find(self, prediction_id: str) -> Prediction:
        """Gives a prediction, or refuses the request for it."""
        with self.site.lock:
            for one in self.predictions:
                if one.id == prediction_id:
                    return one
        raise not_found()

    def submit(self, make: Callable[[], Prediction]) -> Prediction:
        """Begins the prediction that is made."""
        with self.site.lock:
            one = make()
            one.held = self.site.script.held
            self.predictions.append(one)
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            self._threads.append(self.site.threads.start(self._work, one, name=one.id))
            self.site.lock.notify_all()
            return one

    def wait(self, one: Prediction, seconds: float) -> None:
        """Waits for the end of a prediction, if it comes in time."""
        short = self.site.script.hold_seconds
        with self.site.lock:
            if short is not None:
                # Whoever holds predictions in a status wants to see that status.
                self._wait(lambda: one.ended or one.held in ("", one.status), seconds)
                seconds = min(short, seconds)
            self._wait(lambda: one.ended, seconds)

    def cancel(self, one: Prediction) -> bool:
        """Cancels a prediction, and tells whether there was something to cancel."""
        with self.site.lock:
            if one.ended:
                return False
            one.seconds_billed = one.end("canceled")
            self._ended(one)
            return True

    def expire(self, one: Prediction) -> None:
        """Ends a prediction that has reached its deadline."""
        with self.site.lock:
            if one.started is not None:
                self.cancel(one)
            elif not one.ended:
                one.end("aborted")
                self._ended(one)

    def release(self) -> None:
        """Lets all predictions go on that are held."""
        with self.site.lock:
            self.site.script.held = ""
            for one in self.predictions:
                one.held = ""
            self.site.lock.notify_all()

    def close(self) -> None:
        """Abandons what is not at its end, and waits for the threads."""
        with self.site.lock:
            self.site.script.closing.set()
            self.site.lock.notify_all()
        for thread in self._threads:
            thread.join()

    def _wait(self, done: Callable[[], bool], seconds: float) -> None:
        closing = self.site.script.closing
        self.site.lock.wait_for(lambda: done() or closing.is_set(), timeout=seconds)

    def _work(self, one: Prediction) -> None:
        if not self._pass("starting", one, until=one.created):
            return
        with self.site.lock:
            if one.ended:
                return
            one.start()
            self.site.lock.notify_all()
            began = time.monotonic()
        # The picture is there before the prediction ends, so that nobody waits for the drawing.
        fails = bool(one.order.fate.error or not one.order.kept)
        output = None if fails else self.site.files.deliver(one)
        if self._pass("processing", one, until=began + one.order.seconds):
            self._finish(one, output)

    def _pass(self, status: str, one: Prediction, *, until: float) -> bool:
        """Waits until a status is over; False if the prediction has ended by then."""
        with self.site.lock:
            while not (one.ended or self.site.script.closing.is_set()):
                moment = time.monotonic()
                if one.expires is not None and moment >= one.expires:
                    self.expire(one)
                elif one.held != status and moment >= until:
                    return True
                else:
                    ends = [one.expires, None if one.held == status else until]
                    waits = [end - moment for end in ends if end is not None]
                    self.site.lock.wait(min(waits, default=None))
            return False

    def _finish(self, one: Prediction, output: list[str] | str | None) -> None:
        with self.site.lock:
            if one.ended:
                return
            order = one.order
            seconds = one.end("failed" if output is None else "succeeded")
            one.last_words = order.last_words(seconds)
            if output is None:
                one.error = order.fate.error or NSFW
            else:
                one.output, one.pictures = output, order.count
                one.metrics = {"image_count": order.count, **one.metrics}
            self._ended(one)

    def _ended(self, one: Prediction) -> None:
        self.finished_at[one.id] = time.monotonic()
        self.site.lock.notify_all()
