"""A fake server with the classes of the recorded runs, a client of it, and what was recorded."""

import contextlib
import copy
import json
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from imagen_comfyui.testing import FakeComfyUI
from imagen_comfyui.testing.transcript import comparable, write_down

TRANSCRIPTS = Path(__file__).parent.parent / "transcripts"
RUNS = comparable(json.loads((TRANSCRIPTS / "runs.json").read_text("utf-8")), {})
IMAGE = {"required": {"image": ["IMAGE"]}}
SLOW = {"required": {"image": ["IMAGE"], "steps": ["INT", {}], "salt": ["INT", {}]}}
FAULTS = {
    "FaultSlow": {"input": SLOW, "output": ["IMAGE"]},
    "FaultRaise": {"input": IMAGE, "output": ["IMAGE"]},
    "FaultOOM": {"input": IMAGE, "output": ["IMAGE"]},
}
FLAGS = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}


class Stage:
    """A fake server with the faulty node classes, and a client of it."""

    def __init__(self, server, web, sockets):
        self.server = server
        self.server.classes.update(copy.deepcopy(FAULTS))
        self.web = web
        self.sockets = sockets
        self.names = {}

    def submit(self, graph, *, client_id="client", **body):
        sender = {} if client_id is None else {"client_id": client_id}
        reply = self.web.post("/prompt", json={"prompt": graph, **sender, **body}).json()
        self.names[reply["prompt_id"]] = f"P{len(self.names) + 1}"
        return reply["prompt_id"]

    def run(self, graph, *, state="success", **body):
        prompt_id = self.submit(graph, **body)
        self.server.wait_for(prompt_id, state)
        return prompt_id

    def hold(self, graph, **body):
        return self.run(graph, state="held", **body)

    def get(self, path):
        return comparable(self.web.get(path).json(), self.names)

    def listen(self, client_id="client", *, flags=False):
        """Opens a websocket, of which the first messages are there already."""
        url = f"{self.server.url.replace('http', 'ws')}/ws?clientId={client_id}"
        listener = Listener(self.sockets.enter_context(connect(url, max_queue=None)))
        listener.take(1)
        if flags:
            listener.socket.send(json.dumps(FLAGS))
            listener.take(1)
        return listener

    def events(self, listener):
        """All that came until the server closed the socket."""
        listener.messages += list(listener.socket)
        return write_down(listener.messages, self.names)


class Listener:
    """A websocket and what came over it."""

    def __init__(self, socket):
        self.socket = socket
        self.messages = []

    def take(self, count):
        self.messages += [self.socket.recv(timeout=60) for _ in range(count)]


@pytest.fixture
def stage():
    with contextlib.ExitStack() as sockets:

        @contextlib.contextmanager
        def start(**options):
            with (
                FakeComfyUI(**options) as server,
                httpx.Client(base_url=server.url, timeout=60) as web,
            ):
                yield Stage(server, web, sockets)

        yield start


def history_of(one, prompt_id):
    [history] = one.get(f"/history/{prompt_id}").values()
    return history


def entry(history):
    """A history entry without the number of the prompt, and with its outputs in an order."""
    history = copy.deepcopy(history)
    history["prompt"][0] = 0
    history["prompt"][4].sort()
    return history


def make_room(server, history):
    """Puts files in place so that the counter goes on as it did on the real server."""
    for shown in history["outputs"].values():
        name = shown["images"][0]["filename"]
        stem, number = name.removesuffix("_.png").rsplit("_", 1)
        if int(number) > 1:
            server.images.output[f"{stem}_{int(number) - 1:05}_.png"] = b""
