"""A project's one address: the database behind `/rest/v1`, files behind `/storage/v1`."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from imagen_core.testing import Received, Reply, ServerThreads, WebServer
from imagen_supabase.testing import faults
from imagen_supabase.testing.forwarding import forward
from imagen_supabase.testing.objects import BUCKET
from imagen_supabase.testing.problems import reply_compact
from imagen_supabase.testing.storage import LIMIT, Storage
from imagen_supabase.testing.tokens import SECRET, user_token
from imagen_supabase.testing.waiting import Silence

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self
    from uuid import UUID

    from imagen_supabase.testing.faults import Fault
    from imagen_supabase.testing.objects import Objects

_REST, _STORAGE = "/rest/v1", "/storage/v1"


@dataclass
class _Planned:
    fault: Fault
    method: str
    path: str
    times: int

    def meets(self, received: Received) -> bool:
        right = self.method in ("*", received.method)
        return right and self.times > 0 and bool(re.match(self.path, received.path))


class Gateway:
    """A Supabase project for tests, on this machine, that also fails on demand.

    `rest` is the address of a PostgREST; without one, `/rest/v1` answers 503. `storage` has the
    rows of Storage; by default they are in memory. It listens within its `with` block; leaving
    that ends all connections and threads, and raises what went wrong inside.
    """

    def __init__(
        self,
        *,
        rest: str | None = None,
        storage: Objects | None = None,
        secret: str = SECRET,
        limit: int = LIMIT,
        port: int = 0,
    ) -> None:
        self.requests: list[Received] = []
        """What came in, in its order."""
        self._rest = rest
        self._secret = secret
        self._storage = Storage(storage, secret=secret, limit=limit)
        self._port = port
        self._planned: list[_Planned] = []
        self._hanging = 0
        self._lock = threading.Condition()
        self._threads = ServerThreads("fake-supabase")

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def service_key(self) -> str:
        """A key of the service role."""
        return self.token("service_role")

    @property
    def objects(self) -> dict[str, bytes]:
        """What was uploaded to the bucket of pictures and is there: bytes by names."""
        return self._storage.contents(BUCKET)

    def token(self, role: str, owner: UUID | str | None = None, seconds: float = 3600) -> str:
        """Makes a token; one of negative seconds has expired."""
        return user_token(role, owner, seconds, self._secret)

    def fail(self, fault: Fault, *, method: str = "*", path: str = "/", times: int = 1) -> None:
        """Lets the next requests of that method fail whose path begins with a regular expression.

        Faults that are planned first happen first.
        """
        with self._lock:
            self._planned.append(_Planned(fault, method, path, times))

    def mend(self) -> None:
        """Lets no request fail any more, and answers those that hang."""
        with self._lock:
            self._planned.clear()
        self.release()

    def wait_hanging(self, count: int = 1, seconds: float = 60) -> None:
        """Waits until just so many requests hang, those that act having done so."""
        with self._lock:
            if not self._lock.wait_for(lambda: self._hanging == count, seconds):
                raise TimeoutError(f"{self._hanging} requests hang, not {count}")

    def release(self) -> None:
        """Answers all requests that hang; later ones hang again."""
        with self._lock:
            self._silences[-1].end()
            self._silences.append(Silence())

    def __enter__(self) -> Self:
        self._silences = [Silence()]
        self._server = WebServer(self._answer, self._threads, port=self._port)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for silence in self._silences:
            silence.close()
        if error is None:
            self._threads.report("in the fake Supabase")

    def _answer(self, received: Received) -> Reply | Callable[[socket.socket], None] | None:
        with self._lock:
            self.requests.append(received)
            planned = next((one for one in self._planned if one.meets(received)), None)
            if planned is not None:
                planned.times -= 1
            silence = self._silences[-1]
        if planned is None:
            return self._act(received)
        fault = planned.fault
        done = self._act(received) if fault.acts else None
        if fault.hangs:
            return partial(self._hang, silence, received, done)
        return fault.reply(received.path)

    def _hang(
        self, silence: Silence, received: Received, done: Reply | None, connection: socket.socket
    ) -> None:
        with self._lock:
            self._hanging += 1
            self._lock.notify_all()
        waited = silence.keep(connection)
        with self._lock:
            self._hanging -= 1
            self._lock.notify_all()
        if waited:
            reply = done or self._act(received)
            reply.headers["Connection"] = "close"
            body = b"" if received.method == "HEAD" else reply.body
            connection.sendall(reply.head() + body)

    def _act(self, received: Received) -> Reply:
        if (path := _below(_STORAGE, received.path)) is not None:
            return self._storage.answer(received._replace(path=path))
        if (path := _below(_REST, received.path)) is not None:
            return self._ask_rest(received, path)
        return reply_compact({"message": "no Route matched with those values"}, 404)

    def _ask_rest(self, received: Received, path: str) -> Reply:
        key = received.headers.get("apikey")
        if key is None:
            return faults.NO_API_KEY.reply(received.path) or Reply(401)
        if self._rest is None:
            return reply_compact({"message": "there is no PostgREST behind this gateway"}, 503)
        headers = {"authorization": f"Bearer {key}", **received.headers}
        return forward(received._replace(headers=headers), self._rest, path)


def _below(prefix: str, path: str) -> str | None:
    if not re.match(f"{prefix}([/?]|$)", path):
        return None
    rest = path.removeprefix(prefix)
    return rest if rest.startswith("/") else f"/{rest}"
