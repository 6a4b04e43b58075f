"""What the backend kit asks of a backend under stress: closing, crowds, failing servers."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import msgspec
import pytest

from imagen_core.errors import (
    CredentialsError,
    ImagenError,
    RejectedError,
    UnavailableError,
    UsageError,
)
from imagen_core.resolve import resolve_params
from imagen_core.testing.asking import SEEDS, Asking
from imagen_core.testing.driving import (
    at_once,
    close_early,
    decode,
    failure,
    images,
    pictures,
    until,
)
from imagen_core.types import Accepted, Text

if TYPE_CHECKING:
    from imagen_core.protocols import Backend
    from imagen_core.testing.asking import IsIdle, Script

OPTION = "no_such_option"


class Behaviour(Asking):
    """The checks that need a fault, a second run, or an early end."""

    def test_closing_stops_the_remote_and_leaves_no_thread(
        self, backend: Backend, script: Script, remote_is_idle: IsIdle
    ) -> None:
        """Closed after its first Event, it stops the remote side and leaves no thread.

        To fix it: cancel at the server in a `finally` around the `yield`s, and end the threads
        that you started; never block for long, but yield a Progress meanwhile (as
        `imagen_core.http.send` does). `own_threads` says which may stay.
        """
        request = self.ask(backend, script, "slow" if "slow" in self.faults else "ok")
        before = set(threading.enumerate())
        seconds = self.stops_within
        closed = close_early(backend, request, seconds)
        assert closed, f"closing took over {seconds:g} s: yield more often, wait in slices"
        idle = until(remote_is_idle, seconds)
        assert idle, f"the remote side still works after {seconds:g} s: cancel it in a `finally`"
        ended = until(lambda: not self._started_since(before), seconds)
        assert ended, f"threads are left: {self._started_since(before)}; end them in a `finally`"

    def test_two_runs_at_once_do_not_mix(self, backend: Backend, script: Script) -> None:
        """Two requests at once, in two threads, get each its own Events and picture.

        To fix it: keep what belongs to a request in local variables of `generate`, not in the
        backend; take from a shared stream only the events of your own remote id.
        """
        seeds = "seed" in backend.about.honours
        requests = [self.ask(backend, script, seed=seed) for seed in SEEDS]
        alone = [pictures(backend, request) for request in requests] if seeds else []
        requests = [self.ask(backend, script, seed=seed) for seed in SEEDS]
        both = at_once(backend, requests)
        made = [[decode(image) for image in images(events)] for events in both]
        remote_ids = [[e.remote_id for e in events if isinstance(e, Accepted)] for events in both]
        shared = set(remote_ids[0]) & set(remote_ids[1])
        assert not shared, f"two requests have one remote id: {sorted(shared)}"
        mixed = seeds and made != alone
        assert not mixed, "at once, a request got another's picture: share nothing between runs"

    def test_bad_option_is_refused_by_name(self, backend: Backend, script: Script) -> None:
        """A parameter that does not exist is refused by an error that names it.

        To fix it: declare the parameters in `about.params`, and the core refuses all others;
        if only the server knows them (`params=None`), raise a RejectedError or UsageError with
        the name in its message.
        """
        request = self.ask(backend, script)
        error: Exception | None
        if backend.about.params is None:
            params = {**request.params, OPTION: 1}
            error = failure(backend, msgspec.structs.replace(request, params=params))
        else:
            with pytest.raises(UsageError) as caught:
                resolve_params("tested", {OPTION: Text("1")}, backend.about.params)
            error = caught.value
        refused = isinstance(error, RejectedError | UsageError) and OPTION in str(error)
        assert refused, f"'{OPTION}' gave {error!r}: raise a RejectedError that names it"

    def test_refused_is_unavailable(self, backend: Backend, script: Script) -> None:
        """A server that is down, too slow or overloaded gives an UnavailableError.

        To fix it: send with `imagen_core.http.send`, and check the reply with
        `imagen_core.http.check`: both raise the right error.
        """
        error = self._fault(backend, script, "refuse")
        assert isinstance(error, UnavailableError), f"{error!r}: raise UnavailableError instead"

    def test_denied_is_a_credentials_error_with_a_hint(
        self, backend: Backend, script: Script
    ) -> None:
        """Refused credentials give a CredentialsError, whose hint names the variable to set.

        To fix it: `imagen_core.http.check(response, who=…, hint="set MY_TOKEN")`.
        """
        error = self._fault(backend, script, "deny")
        assert isinstance(error, CredentialsError), f"{error!r}: raise CredentialsError instead"
        assert error.hint, "the CredentialsError has no hint: name the variable to set"

    def test_crash_is_an_imagen_error(self, backend: Backend, script: Script) -> None:
        """Whatever the server does, no foreign exception comes out of a backend.

        To fix it: catch what your libraries raise where you call them, and raise the
        ImagenError that says what happened to which server.
        """
        error = self._fault(backend, script, "crash")
        assert isinstance(error, ImagenError), f"{error!r}: raise an ImagenError instead"

    def _fault(self, backend: Backend, script: Script, fault: str) -> Exception | None:
        if fault not in self.faults:
            pytest.skip(f"`faults` has no '{fault}', so this was not tried")
        return failure(backend, self.ask(backend, script, fault))

    def _started_since(self, before: set[threading.Thread]) -> list[str]:
        threads = (thread for thread in threading.enumerate() if thread not in before)
        return [thread.name for thread in threads if not thread.name.startswith(self.own_threads)]
