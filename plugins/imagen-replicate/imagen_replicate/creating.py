"""One prediction is asked for: its id is learned, or that there is none. Never are there two."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from imagen_core import ImagenError, RejectedError, UnavailableError, http
from imagen_replicate.claims import candidates
from imagen_replicate.client import QUICK_SECONDS
from imagen_replicate.pace import LONGEST_WAIT
from imagen_replicate.prediction import Prediction, read_prediction
from imagen_replicate.problems import Throttled

if TYPE_CHECKING:
    import httpx

    from imagen_replicate.claims import Claims
    from imagen_replicate.client import Api, Call
    from imagen_replicate.config import Reference
    from imagen_replicate.pace import Pace

RETRIES = {"refused": 3, "unsent": 3, "failed": 1}
"""How often a create is sent again that was refused for its rate, did not get out, or failed."""
LOOKS = 2
LOOK_SECONDS = 1.0
"""How often, and how far apart, the list is looked at for what a lost reply may have been."""
BEFORE = timedelta(seconds=5)
"""How far the clocks may be apart."""


class Order(NamedTuple):
    """What is asked for. `secrets`: inputs that stand in no list and no record."""

    reference: Reference
    inputs: Mapping[str, Any]
    secrets: Mapping[str, str]
    hold: int
    cancel_after: int


class Creating:
    """One create, to its end."""

    def __init__(self, api: Api, order: Order, *, pace: Pace, claims: Claims) -> None:
        self._api = api
        self._order = order
        self._pace = pace
        self._claims = claims
        self._sending: http.Background[httpx.Response] | None = None
        self._lost = ""
        self._sent_at = datetime.now(UTC)

    def prediction(self) -> Call[Prediction]:
        """The prediction that was made; raises if there is none, or nobody can tell."""
        left = dict(RETRIES)
        while True:
            yield from self._pace.turn(self._api.who)
            self._send()
            try:
                return (yield from self._outcome())
            except _AgainError as again:
                wait = _wait(again, RETRIES[again.kind] - left[again.kind])
                left[again.kind] -= 1
                if left[again.kind] < 0 or wait > LONGEST_WAIT:
                    raise again.error from None
                if again.kind == "refused":
                    wait = self._pace.refused(wait)
            yield from http.pause(wait, f"trying {self._api.who} again in {wait:.0f} s")

    def withdrawn(self, seconds: float) -> Call[Prediction | None]:
        """For whoever gives up: the prediction after all, or None if surely there is none.

        A reply that is on its way is waited for so long. Raises if nobody can tell.
        """
        if self._sending and not self._sending.wait(seconds):
            self._answered()
            return (yield from self._found(f"{self._api.who} did not answer yet", looks=1))
        try:
            if self._sending:
                return (yield from self._outcome())
            if self._lost:
                return (yield from self._found(self._lost, looks=1))
        except (RejectedError, _AgainError):
            pass
        return None

    def _send(self) -> None:
        order = self._order
        self._lost = ""
        self._sent_at = datetime.now(UTC)
        self._claims.sent(order.inputs)
        self._sending = self._api.create(
            order.reference,
            {**order.inputs, **order.secrets},
            hold=order.hold,
            cancel_after=order.cancel_after,
        )

    def _outcome(self) -> Call[Prediction]:
        """What became of the create that was sent."""
        assert self._sending is not None
        try:
            response = yield from self._sending.result()
        except (http.OutcomeUnknown, RejectedError) as error:
            self._answered()
            return (yield from self._found(error.message))
        except ImagenError as error:
            self._answered()
            if isinstance(error, UnavailableError):
                raise _AgainError("unsent", error) from None
            raise
        made = self._made(response)
        self._answered(made.id if made else "")
        return made or (yield from self._unmade(response))

    def _made(self, response: httpx.Response) -> Prediction | None:
        problem = self._api.problem(response) if response.is_success else None
        return read_prediction(problem)

    def _unmade(self, response: httpx.Response) -> Call[Prediction]:
        """What a reply without a prediction means: refused, failed, or nobody knows."""
        status = response.status_code
        told = f"{self._api.who} answered {status}"
        if response.is_success or status >= 500 or status == 408:
            if status in (500, 503) and self._api.problem(response):
                if found := (yield from self._looked_up(told)):
                    return found
                told = f"{told}, and made nothing of the request"
                raise _AgainError("failed", UnavailableError(told, hint="try again later"))
            return (yield from self._found(told))
        try:
            self._api.checked(response)
        except Throttled as error:
            raise _AgainError("refused", error) from None
        raise AssertionError("a reply that is no success is an error")

    def _found(self, why: str, *, looks: int = LOOKS) -> Call[Prediction]:
        """The prediction of a create whose reply is lost; raises if the list does not have it."""
        if found := (yield from self._looked_up(why, looks=looks)):
            return found
        raise self._may_be_billed(f"{why}, and no such prediction is listed")

    def _looked_up(self, why: str, *, looks: int = LOOKS) -> Call[Prediction | None]:
        """What the list has of it, looked at more than once, since it may show up late."""
        self._lost = why
        end = time.monotonic() + self._order.hold + QUICK_SECONDS
        while looks:
            adopted = yield from self._look(why)
            if adopted:
                self._lost = ""
                return adopted
            if self._claims.undecided(self._order.inputs) and time.monotonic() < end:
                yield from http.pause(LOOK_SECONDS / 10)
                continue  # whatever was listed may have been that one's
            looks -= 1
            yield from http.pause(LOOK_SECONDS if looks else 0)
        return None

    def _look(self, why: str) -> Call[Prediction | None]:
        """What the list has of it now, and nobody else's."""
        order, moment = self._order, self._sent_at + self._api.skew
        try:
            recent = yield from self._api.recent(moment - BEFORE)
        except ImagenError as error:
            raise self._may_be_billed(f"{why}; then {error.message}") from error
        found = candidates(recent, order.reference, order.inputs, sent_at=moment)
        return self._claims.adopt(order.inputs, found)

    def _may_be_billed(self, why: str) -> ImagenError:
        self._lost = ""
        return ImagenError(
            f"{why}: the request sent at {self._sent_at:%H:%M:%S} UTC "
            "may have been accepted, and billed",
            hint="look at https://replicate.com/predictions; "
            "'imagen replicate fetch ID' gets what is there",
        )

    def _answered(self, id: str = "") -> None:
        self._sending = None
        self._claims.answered(self._order.inputs, id)


def _wait(again: _AgainError, earlier: int) -> float:
    """How long to wait before it is sent again: what is asked for, else ever longer."""
    if again.kind == "failed":
        return 0.0
    wait: float = 2.0**earlier
    if again.kind == "unsent":
        return wait / 4
    asked = again.error.wait if isinstance(again.error, Throttled) else None
    return wait if asked is None else asked


class _AgainError(Exception):
    """It may be sent again, since surely nothing was made: why, and the error if it may not."""

    def __init__(
        self, kind: Literal["refused", "unsent", "failed"], error: UnavailableError
    ) -> None:
        super().__init__(kind)
        self.kind = kind
        self.error = error
