"""The faults that a test can ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen_replicate.testing.problems import Body, reply_body
from imagen_replicate.testing.script import ROUTES, Fate, Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen_core.testing import Reply
    from imagen_replicate.testing.script import Act, Handle
    from imagen_replicate.testing.site import Site


class Faults:
    """What can go wrong, each a method. A fault happens once, unless its method says otherwise.

    A route is "create", "get", "list", "cancel", "file", "upload" or "model".
    """

    _site: Site

    def fail_with(self, error: str, times: int = 1, logs: str = "") -> None:
        """Lets the next predictions end as failed, for that reason."""
        self._site.script.fates += [Fate(error, logs)] * times

    def withhold(self, pictures: int) -> None:
        """Lets the safety filter take so many pictures out of the next prediction.

        It succeeds with the others and is billed for all of them; if none is left, it fails.
        """
        self._site.script.fates.append(Fate(withheld=pictures))

    def answer_with(self, shape: str) -> None:
        """Gives outputs as a "list", as one "string", or as "data" URIs from now on."""
        if shape not in ("list", "string", "data"):
            raise ValueError(f"no shape of an output: {shape}")
        self._site.script.shape = shape

    def shorten_holds(self, seconds: float = 0.0) -> None:
        """Holds replies for so many seconds at most, whatever `Prefer: wait` asks for.

        Where `hold()` keeps predictions in a status, the reply waits until they are in that.
        """
        self._site.script.hold_seconds = seconds

    def files_ready_early(self, early: bool = True) -> None:
        """Answers held creates as soon as the files are there, with a record that is not final."""
        self._site.script.early = early

    def refuse(
        self,
        route: str,
        status: int,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        times: int = 1,
    ) -> None:
        """Answers with that status, without doing what was asked.

        A dict is sent as problem+json and text as HTML, unless a header says otherwise.
        """
        self._plan(route, lambda _: reply_body(status, body, headers), times=times)

    def accept_then(
        self,
        route: str,
        status: int | None,
        body: Body | None = None,
        times: int = 1,
    ) -> None:
        """Does what was asked, then answers with that status at once; None hangs up instead."""

        def act(handle: Handle) -> Reply | None:
            handle(hold=False)
            return None if status is None else reply_body(status, body)

        self._plan(route, act, times=times)

    def drop(self, route: str, times: int = 1) -> None:
        """Closes the connection, without doing what was asked."""
        self._plan(route, lambda _: None, times=times)

    def slow(self, route: str, seconds: float, times: int = 1) -> None:
        """Does what was asked, and answers so many seconds later."""

        def act(handle: Handle) -> Reply | None:
            reply = handle()
            self._site.script.closing.wait(seconds)
            return reply

        self._plan(route, act, times=times)

    def hang(self, route: str, times: int = 1) -> None:
        """Does what was asked, and says nothing until the server closes."""

        def act(handle: Handle) -> Reply | None:
            handle(hold=False)
            self._site.script.closing.wait()
            return None

        self._plan(route, act, times=times)

    def truncate(self, times: int = 1) -> None:
        """Announces the whole file and sends half of it."""
        self._site.script.downloads += ["truncate"] * times

    def damage(self, times: int = 1) -> None:
        """Sends a file of the right length that is broken inside."""
        self._site.script.downloads += ["damage"] * times

    def redirect_files(self, url: str) -> None:
        """Answers all downloads with a redirect to that address."""
        self._site.script.redirect = url

    def expire_files(self) -> None:
        """Deletes all files."""
        self._site.files.expire()

    def echo_token(self) -> None:
        """Repeats the Authorization header in all error replies of the API from now on."""
        self._site.script.echo = True

    def limit_uploads(self, size: int) -> None:
        """Refuses uploads of more bytes than that; at first it is 100 MB."""
        self._site.script.upload_limit = size

    def _plan(self, route: str, act: Act, *, times: int) -> None:
        if route not in ROUTES:
            raise ValueError(f"no route: {route}")
        with self._site.lock:
            self._site.script.faults.append(Fault(route, act, times))
