"""One prediction is asked for: its id is learned, or that there is none. Never are there two."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from imagen_core import ImagenError, RejectedError, UnavailableError, http
from imagen_replicate.claims import candidates
from imagen_replicate.client import QUICK_SECONDS
from imagen_replicate.pace import LONGEST_WAIT
from imagen_replicate.prediction import Prediction, read_prediction
from imagen_replicate.problems import Throttled, is_own

if TYPE_CHECKING:
    import httpx

    from imagen_replicate.account import Account
    from imagen_replicate.client import Api, Call
    from imagen_replicate.config import Reference
    from imagen_replicate.patience import Patience

RETRIES = {"refused": 3, "unsent": 3, "failed": 1}
"""How often a create is sent again that was refused for its rate, did not get out, or failed."""
LOOKS = 2
"""How often the list is looked at for what a lost reply may have been."""
CLOCKS = timedelta(seconds=5)
"""How far the clocks may be apart where the server does not tell the time."""
ROUNDING = timedelta(seconds=1.5)
"""How exactly a server that does, tells it."""


class Order(NamedTuple):
    """What is asked for. `secrets`: inputs that stand in no list and no record.

    `default`: what the model uses for an input. `is_known`: whether a prediction is recorded.
    """

    reference: Reference
    inputs: Mapping[str, Any]
    secrets: Mapping[str, str]
    hold: int
    cancel_after: int
    default: Callable[[str], Any]
    is_known: Callable[[str], bool]


class Creating:
    """One create, to its end."""

    def __init__(self, api: Api, order: Order, account: Account, patience: Patience) -> None:
        self._api = api
        self._order = order
        self._pace = account.pace
        self._claims = account.claims
        self._patience = patience
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

    def withdrawn(self) -> Call[Prediction | None]:
        """For whoever gives up: the prediction after all, or None if surely there is none.

        A reply that is on its way is waited for a while. Raises if nobody can tell.
        """
        if self._sending and not self._sending.wait(self._patience.late):
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
        except GeneratorExit:
            raise  # the reply may still come: `withdrawn` sees to it
        except (http.OutcomeUnknown, RejectedError) as error:
            self._answered()
            return (yield from self._found(error.message))
        except UnavailableError as error:
            self._answered()
            raise _AgainError("unsent", error) from None
        except BaseException:
            self._answered()
            raise
        self._api.note(response)
        made = read_prediction(self._api.problem(response)) if response.is_success else None
        self._answered(made.id if made else "")
        return made or (yield from self._unmade(response))

    def _unmade(self, response: httpx.Response) -> Call[Prediction]:
        """What a reply without a prediction means: refused, failed, or nobody knows."""
        status = response.status_code
        told = f"{self._api.who} answered {status}"
        if response.is_success or status >= 500 or status == 408:
            if status in (500, 503) and is_own(self._api.problem(response)):
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
        """What the list has of it, looked at more than once, since it may show up late.

        Raises if the list could not be read in the end: then nobody can tell.
        """
        self._lost = why
        inputs, end = self._order.inputs, time.monotonic() + self._order.hold + QUICK_SECONDS
        problem: ImagenError | None = None
        for number in range(looks):
            if number:
                yield from http.pause(self._patience.apart)
            while looks > 1 and self._claims.undecided(inputs) and time.monotonic() < end:
                yield from http.pause(self._patience.apart / 10)
            try:
                if adopted := (yield from self._look()):
                    self._lost = ""
                    return adopted
            except ImagenError as error:
                problem = error
            else:
                problem = None
        if problem:
            raise self._may_be_billed(f"{why}; then {problem.message}") from problem
        return None

    def _look(self) -> Call[Prediction | None]:
        """What the list has of it now, and nobody else's."""
        order, api = self._order, self._api
        recent = yield from api.recent(self._sent_at + (api.skew or timedelta()) - CLOCKS)
        # The list's own reply has told the time.
        sent_at = self._sent_at + (api.skew or timedelta())
        found = candidates(
            recent,
            order.reference,
            order.inputs,
            sent_at=sent_at,
            earliest=sent_at - (CLOCKS if api.skew is None else ROUNDING),
            default=order.default,
        )
        free = [one for one in found if not order.is_known(one.id)]
        return self._claims.adopt(order.inputs, free)

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
