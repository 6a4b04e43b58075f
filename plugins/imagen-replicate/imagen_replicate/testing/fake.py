"""The server as a test sees it."""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from imagen_core.testing import Received, Reply, WebServer
from imagen_replicate.testing.engine import Engine
from imagen_replicate.testing.faults import Faults
from imagen_replicate.testing.models import version_id
from imagen_replicate.testing.pictures import Pictures
from imagen_replicate.testing.prediction import iso, now
from imagen_replicate.testing.problems import with_echo
from imagen_replicate.testing.routes import Routes, route_of
from imagen_replicate.testing.site import Site

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from imagen_replicate.testing.prediction import Prediction
    from imagen_replicate.testing.problems import JSON
    from imagen_replicate.testing.script import Handle
    from imagen_replicate.testing.uploads import Upload

TOKEN = "r8_test-token"


class FakeReplicate(Faults):
    """A Replicate for tests, on this machine, that also fails on demand.

    It listens within its `with` block; leaving that ends all predictions, connections and threads,
    and raises what went wrong inside the server.
    """

    def __init__(
        self,
        *,
        run_seconds: float = 0.0,
        token: str = TOKEN,
        port: int = 0,
        file_bytes: int = 0,
    ) -> None:
        self.requests: list[Received] = []
        """What came to the API."""
        self.creates: list[Received] = []
        """What came to create a prediction, also where it was refused."""
        self.downloads: list[Received] = []
        """What came for files."""
        self._site = Site(token, Pictures(file_bytes))
        self._site.script.run_seconds = run_seconds
        self._engine = Engine(self._site)
        self._routes = Routes(self._site, self._engine)
        self._port = port
        self._servers: list[WebServer] = []

    @property
    def url(self) -> str:
        """The address of the API, without a slash at the end."""
        return self._site.url

    @property
    def files_url(self) -> str:
        """The address of the files, which is another host."""
        return self._site.files_url

    @property
    def token(self) -> str:
        """What a client must show."""
        return self._site.token

    @property
    def models(self) -> dict[str, JSON]:
        """The models by name: `official`, `schema` (the inputs) and `seconds`, if it takes some.

        A test may add others; `output` is "string" for a model that gives no list, and `required`
        names the inputs that must be there, if it is not just the prompt.
        """
        return self._site.models

    @property
    def predictions(self) -> list[Prediction]:
        """The predictions, the oldest first."""
        return self._engine.predictions

    @property
    def uploads(self) -> list[Upload]:
        """The files that were uploaded."""
        return self._site.uploads

    @property
    def bills(self) -> int:
        """How many pictures were billed."""
        return sum(one.pictures for one in self.predictions)

    @property
    def run_seconds_billed(self) -> float:
        """How many seconds were billed of predictions that were canceled while they ran."""
        return sum(one.seconds_billed for one in self.predictions)

    @property
    def idle(self) -> bool:
        """Whether no prediction is starting or processing."""
        return self._engine.idle

    @property
    def errors(self) -> list[BaseException]:
        """The exceptions of its threads."""
        return self._site.threads.errors

    def version_of(self, name: str) -> str:
        """Gives the id of the version of a model."""
        return version_id(name)

    def finished_at(self, prediction_id: str) -> float:
        """Tells when a prediction ended, in the time of `time.monotonic()`."""
        return self._engine.finished_at[prediction_id]

    def wait_for(self, prediction_id: str, status: str, seconds: float = 60) -> None:
        """Waits until a prediction has a status."""
        with self._site.lock:
            one = self._engine.find(prediction_id)
            self._site.lock.wait_for(lambda: one.status == status or one.ended, timeout=seconds)
            if one.status != status:
                raise TimeoutError(f"{prediction_id} is {one.status} and did not become {status}")

    def wait_predictions(self, count: int, seconds: float = 60) -> None:
        """Waits until there are so many predictions, whatever became of them."""
        with self._site.lock:
            if not self._site.lock.wait_for(lambda: len(self.predictions) >= count, seconds):
                raise TimeoutError(f"there are {len(self.predictions)} predictions, not {count}")

    def hold(self, status: str = "processing") -> None:
        """Lets new predictions stay "starting" or "processing" until `release()`."""
        if status not in ("starting", "processing"):
            raise ValueError(f"nothing can be held in {status}")
        self._site.script.held = status

    def release(self) -> None:
        """Lets all predictions go on that are held."""
        self._engine.release()

    def deadline(self, prediction_id: str) -> None:
        """Ends a prediction as if its Cancel-After had passed."""
        with self._site.lock:
            one = self._engine.find(prediction_id)
            one.deadline = iso(now())
            self._engine.expire(one)

    def cancel_elsewhere(self, prediction_id: str) -> None:
        """Cancels a prediction as somebody does in the web page."""
        self._engine.cancel(self._engine.find(prediction_id))

    def remove_data(self, prediction_id: str) -> None:
        """Removes input, output, logs and files of a prediction, as happens after an hour."""
        with self._site.lock:
            self._engine.find(prediction_id).remove_data()
            self._site.files.expire(prediction_id)

    def __enter__(self) -> Self:
        api = WebServer(self._answer, self._site.threads, port=self._port)
        files = WebServer(self._answer_file, self._site.threads)
        self._servers = [api, files]
        self._site.url = f"http://127.0.0.1:{api.server_port}/v1"
        self._site.files_url = f"http://localhost:{files.server_port}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._engine.close()
        for server in self._servers:
            server.close()
        if error is None:
            self._site.threads.report("in the fake Replicate")

    def _answer(self, received: Received) -> Reply | None:
        self.requests.append(received)
        route, _ = route_of(received)
        if route == "create":
            self.creates.append(received)

        def handle(*, hold: bool = True) -> Reply | None:
            return self._routes.answer(received, hold=hold)

        reply = self._do(route, handle)
        if reply is not None:
            reply.headers.setdefault("Server", "cloudflare")
            reply.headers.setdefault("Date", formatdate(usegmt=True))
            if reply.status >= 400 and self._site.script.echo:
                reply = with_echo(reply, received.headers.get("authorization", ""))
        return reply

    def _answer_file(self, received: Received) -> Reply | None:
        self.downloads.append(received)
        path = urlsplit(received.path).path

        def handle(*, hold: bool = True) -> Reply:
            del hold
            return self._site.files.answer(path, received.method)

        return self._do("file", handle)

    def _do(self, route: str, handle: Handle) -> Reply | None:
        with self._site.lock:
            fault = self._site.script.fault(route)
        return handle() if fault is None else fault.act(handle)
