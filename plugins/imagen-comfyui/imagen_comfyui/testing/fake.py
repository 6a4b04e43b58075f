"""The server as a test sees it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from imagen_comfyui.testing.engine import Engine, Run
from imagen_comfyui.testing.faults import Faults, strip_api
from imagen_comfyui.testing.routes import Routes
from imagen_comfyui.testing.site import NEW, OLD, Site, Submit
from imagen_core.testing import Received, Reply, WebServer

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from imagen_comfyui.testing.schema import JSON
    from imagen_comfyui.testing.script import Answer
    from imagen_comfyui.testing.store import Store

FOREIGN_GRAPH = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "foreign"}},
}


class FakeComfyUI(Faults):
    """A ComfyUI server for tests, on this machine, that also fails on demand.

    It listens within its `with` block; leaving that ends all runs, connections and threads, and
    raises what went wrong inside the server.
    """

    def __init__(
        self,
        *,
        version: str = NEW,
        prefix: str = "",
        authorization: str = "",
        tls: tuple[str, str] | None = None,
        step_seconds: float = 0.0,
        load_seconds: float = 0.0,
        run_seconds: float = 0.0,
        previews: bool = False,
        cpu: bool = False,
        port: int = 0,
    ) -> None:
        if version not in (OLD, NEW):
            raise ValueError(f"version is {OLD} or {NEW}, not {version}")
        self.requests: list[Received] = []
        self.restarts: list[int] = []
        """How many prompts had been accepted when it restarted, each time."""
        self._site = Site(version, cpu)
        self._site.hub.welcome = lambda client_id: self._engine.welcome(client_id)
        script = self._site.script
        script.step_seconds, script.load_seconds = step_seconds, load_seconds
        script.run_seconds, script.previews = run_seconds, previews
        self._prefix = prefix.rstrip("/")
        self._authorization = authorization
        self._tls = tls
        self._port = port
        self._server: WebServer | None = None
        self._engine = Engine(self._site)
        self._routes = Routes(self._site, self._engine)

    @property
    def url(self) -> str:
        """Where it listens, with the path prefix, without a slash at the end."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}{self._prefix}"

    @property
    def submits(self) -> list[Submit]:
        """The prompts that were accepted, in order; foreign ones are not among them."""
        return self._site.log.submits

    @property
    def last(self) -> Submit:
        """The prompt that was accepted last."""
        return self.submits[-1]

    @property
    def interrupts(self) -> list[str | None]:
        """The prompts that clients asked to interrupt; None is whatever runs."""
        return self._site.log.interrupts

    @property
    def deletes(self) -> list[str]:
        """The prompts that clients asked to take out of the queue."""
        return self._site.log.deletes

    @property
    def files(self) -> dict[str, list[str]]:
        """The model files on offer, by folder; a test may change them."""
        return self._site.files

    @property
    def classes(self) -> dict[str, JSON]:
        """The node classes; a test may add or delete some."""
        return self._site.classes

    @property
    def images(self) -> Store:
        """The pictures in the folders input, output and temp."""
        return self._site.images

    @property
    def errors(self) -> list[BaseException]:
        """The exceptions of its threads."""
        return self._site.threads.errors

    @property
    def sockets(self) -> int:
        """How many websockets are open."""
        return len(self._site.hub.open)

    @property
    def idle(self) -> bool:
        """Whether the queue is empty and nothing runs."""
        return not self._engine.remaining

    def state(self, prompt_id: str) -> str:
        """Tells the state: pending, running, success, error, interrupted, deleted or unknown."""
        return self._engine.state(prompt_id)

    def finished_at(self, prompt_id: str) -> float:
        """Tells when the history entry was written, in the time of `time.monotonic()`."""
        return self._engine.finished_at[prompt_id]

    def wait_for(self, prompt_id: str, state: str, seconds: float = 60) -> None:
        """Waits for a state of a prompt, or for `held`, which it is while it stops at a point."""
        self._wait(
            lambda: state == ("held" if self._is_held(prompt_id, state) else self.state(prompt_id)),
            seconds,
            what=f"{prompt_id} did not become {state}",
        )

    def wait_sockets(self, count: int, seconds: float = 60) -> None:
        """Waits until so many websockets are open."""
        self._wait(lambda: self.sockets == count, seconds, what=f"not {count} websockets")

    def add_foreign(self, *, hold: bool = True) -> str:
        """Queues a prompt of somebody else, which stops at its first node until it is released."""
        prompt_id = str(uuid.uuid4())
        extra_data: JSON = {"client_id": uuid.uuid4().hex}

        def make(number: int) -> Run:
            run = Run(number, prompt_id, dict(FOREIGN_GRAPH), extra_data, ["2"])
            run.stops = hold
            return run

        self._engine.submit(make)
        return prompt_id

    def release(self, prompt_id: str | None = None) -> None:
        """Lets a run go on to its end; without an id all runs, and the requests that hang."""
        with self._site.lock:
            if prompt_id is None:
                self._site.script.release()
            self._engine.release(prompt_id)

    def restart(self, *, down: bool = False) -> None:
        """Forgets queue, history, cache and temp, and cuts all connections, as a crash does.

        With `down`, nobody listens until `up()`.
        """
        self._engine.stop()
        with self._site.lock:
            self._site.script.release_hung()
            self._site.images.temp.clear()
            self._start_engine()
            self.restarts.append(len(self.submits))
        self._site.hub.drop()
        if down:
            self._close()
        elif self._server is not None:
            self._server.cut()

    def up(self) -> None:
        """Listens again, at the same port."""
        self._open()

    def __enter__(self) -> Self:
        self._engine.start()
        self._open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._engine.stop()
        self._close()
        if error is None:
            self._site.threads.report("in the fake ComfyUI")

    def _start_engine(self) -> None:
        self._engine = Engine(self._site)
        self._routes = Routes(self._site, self._engine)
        self._engine.start()

    def _open(self) -> None:
        if self._server is None:
            self._site.script.closing = False
            self._server = WebServer(
                self._answer, self._site.threads, port=self._port, tls=self._tls
            )
            self._port = self._server.server_port

    def _close(self) -> None:
        with self._site.lock:
            self._site.script.closing = True
            self._site.script.release_hung()
        self._site.hub.close()
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def _answer(self, received: Received) -> Answer:
        self.requests.append(received)
        path = unquote(urlsplit(received.path).path)
        if not path.startswith(self._prefix + "/"):
            return Reply(404)
        path = strip_api(path.removeprefix(self._prefix))
        with self._site.lock:
            fault = self._site.script.fault(received.method, path)
        if fault is not None:
            return fault.act(lambda: self._handle(received, path))
        return self._handle(received, path)

    def _handle(self, received: Received, path: str) -> Answer:
        if self._authorization and received.headers.get("authorization") != self._authorization:
            return Reply(401)
        return self._routes.answer(received, path)

    def _is_held(self, prompt_id: str, wanted: str) -> bool:
        run = self._engine.running
        return wanted == "held" and run is not None and run.prompt_id == prompt_id and run.held
