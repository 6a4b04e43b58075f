"""The faults that a test can ask for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from imagen_comfyui.testing.script import END, Fault, Gate, Raise
from imagen_core.testing import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen_comfyui.testing.script import Act, Answer
    from imagen_comfyui.testing.site import Site

OOM = "torch.OutOfMemoryError"
OOM_MESSAGE = (
    "CUDA out of memory. Tried to allocate 4.50 GiB. GPU 0 has a total capacity of 11.63 GiB of "
    "which 1.02 GiB is free."
)


class Faults:
    """What can go wrong, each a method. A fault happens once, unless its method says otherwise.

    A path such as `/prompt` stands for all requests for it and below it, with or without `/api`;
    `POST /prompt` for those of that method.
    """

    _site: Site

    def refuse_sockets(self, status: int = 404) -> None:
        """Answers every further websocket request with that status, until `allow_sockets()`."""
        self._site.script.refuse_sockets = status

    def allow_sockets(self) -> None:
        """Lets websockets open again."""
        self._site.script.refuse_sockets = 0

    def drop_sockets(self, *, after: int = 0, late: bool = False) -> None:
        """Tears all open websockets down (RST), now or after so many more messages.

        With `late`, the server notices only when the client is back, and then forgets its id: the
        new websocket stays open and gets nothing but its first messages.
        """
        self._site.hub.drop(after=after, late=late)

    def silence_sockets(self) -> None:
        """Sends nothing over websockets until `unsilence_sockets()`, and keeps nothing for then."""
        self._site.hub.silent = True

    def unsilence_sockets(self) -> None:
        """Sends over websockets again."""
        self._site.hub.silent = False

    def drop_reply(self, path: str, *, times: int = 1) -> None:
        """Handles the request, then closes the connection without a reply."""

        def act(handle: Callable[[], Answer]) -> Answer:
            handle()
            return None

        self._plan(path, act, times=times)

    def drop_request(self, path: str, *, times: int = 1) -> None:
        """Closes the connection without handling the request."""
        self._plan(path, lambda _: None, times=times)

    def fail(
        self,
        path: str,
        status: int = 503,
        *,
        times: int = 1,
        accept: bool = False,
        body: bytes = b"",
        content_type: str = "text/html",
    ) -> None:
        """Answers with that status, without handling the request unless `accept` is set."""

        def act(handle: Callable[[], Answer]) -> Answer:
            if accept:
                handle()
            return Reply(status, body, content_type)

        self._plan(path, act, times=times)

    def hang(self, path: str, *, accept: bool = False, times: int = 1) -> None:
        """Says nothing until `release()`: then the reply if `accept` is set, else nothing ever."""

        def act(handle: Callable[[], Answer]) -> Answer:
            answer = handle() if accept else None
            self._site.script.hang(self._site.lock)
            return answer

        self._plan(path, act, times=times)

    def delay(self, path: str, seconds: float, *, times: int = 1) -> None:
        """Waits before the request is handled."""

        def act(handle: Callable[[], Answer]) -> Answer:
            self._site.script.hang(self._site.lock, seconds=seconds)
            return handle()

        self._plan(path, act, times=times)

    def truncate_view(self, *, times: int = 1) -> None:
        """Announces the whole picture and sends half of it."""
        self._site.script.views += ["truncate"] * times

    def corrupt_view(self, *, times: int = 1) -> None:
        """Sends half a picture as if it were all of it."""
        self._site.script.views += ["corrupt"] * times

    def forget_output(self) -> None:
        """Deletes the output pictures, which the history goes on naming."""
        with self._site.lock:
            self._site.images.output.clear()

    def raise_in(
        self,
        class_type: str,
        *,
        exception_type: str = OOM,
        message: str = "",
        times: int = 1,
    ) -> None:
        """Raises an exception in the next node of that class, by default for want of GPU memory."""
        said = message or (OOM_MESSAGE if exception_type == OOM else "deliberate failure")
        self._site.script.raises.append(Raise(class_type, exception_type, said, times))

    def black(self) -> None:
        """Makes all further pictures black, as a model does that yields NaN."""
        self._site.script.black = True

    def string_messages(self) -> None:
        """Writes the messages in the history as plain strings from now on, as a fork does."""
        self._site.script.plain_messages = True

    def mute_history(self, looks: int = 1) -> None:
        """Hides ended prompts from so many looks at their history, though they left the queue."""
        self._site.script.muted = looks

    def hold(self, class_type: str = "", step: int = 1) -> None:
        """Stops runs after that step of nodes of a class until `release()`.

        Without a class it is whatever node samples. A node that does not sample stops before its
        work is done. Step 0 is right after the node was announced.
        """
        with self._site.lock:
            self._site.script.gates.append(Gate(class_type, step))

    def hold_end(self) -> None:
        """Stops runs between their success event and their history entry until `release()`."""
        with self._site.lock:
            self._site.script.gates.append(Gate(END, 0))

    def wait_hung(self, seconds: float = 60) -> None:
        """Waits until a request hangs."""
        self._wait(lambda: bool(self._site.script.hung), seconds, what="no request hangs")

    def _wait(self, done: Callable[[], bool], seconds: float, *, what: str) -> None:
        deadline = time.monotonic() + seconds
        with self._site.lock:
            if not self._site.lock.wait_for(done, timeout=deadline - time.monotonic()):
                raise TimeoutError(what)

    def _plan(self, path: str, act: Act, *, times: int) -> None:
        method, _, below = path.rpartition(" ")
        with self._site.lock:
            self._site.script.faults.append(Fault(method, strip_api(below), act, times))


def strip_api(path: str) -> str:
    """Takes `/api` off a path, except from those that exist only with it."""
    jobs = path == "/api/jobs" or path.startswith("/api/jobs/")
    return path.removeprefix("/api") if path.startswith("/api/") and not jobs else path
