"""The fake server against recorded runs: what they tell, and what history keeps."""

import contextlib
import copy
import json
import struct
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from imagen_comfyui.testing import FakeComfyUI
from imagen_comfyui.testing.transcript import comparable, write_down

TRANSCRIPTS = Path(__file__).parent / "transcripts"
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
        self.messages += [self.socket.recv(timeout=10) for _ in range(count)]


@pytest.fixture
def stage():
    with contextlib.ExitStack() as sockets:

        @contextlib.contextmanager
        def start(**options):
            with FakeComfyUI(**options) as server, httpx.Client(base_url=server.url) as web:
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


@pytest.mark.parametrize("name", ["flux1", "flux2", "stream", "stream with metadata"])
def test_run_tells_and_keeps_what_was_recorded(stage, name):
    recorded = RUNS[name]
    with stage(previews=True) as one:
        socket = one.listen(flags="metadata" in name)
        prompt_id = one.run(recorded["graphs"][0])
        history = history_of(one, prompt_id)

    assert one.events(socket) == recorded["events"]
    if "history" in recorded:
        assert entry(history) == entry(recorded["history"][0])


def test_cold_run_and_a_second_prompt_go_as_recorded(stage):
    recorded = RUNS["cold"]
    first, second = recorded["graphs"]
    with stage(previews=True) as one:
        one.server.images.output["empty_00005_.png"] = b""
        socket = one.listen()
        one.server.hold("CheckpointLoaderSimple")
        held = one.hold(first, extra_data=recorded["extra_data"])
        before = one.web.get(f"/history/{held}").json()
        last = one.submit(second)
        one.server.release()
        one.server.wait_for(last, "success")
        history = history_of(one, held)

    assert before == {}
    assert one.events(socket) == recorded["events"]
    assert entry(history) == entry(recorded["history"][0])


def test_batch_of_saved_and_temporary_pictures_goes_as_recorded(stage):
    recorded = RUNS["batch"]
    graph = recorded["graphs"][0]
    other = copy.deepcopy(graph)
    other["4"]["inputs"]["batch_size"] = 1
    del other["7"]
    with stage(previews=True) as one:
        one.run(other)
        one.server.images.temp.clear()
        one.names.clear()
        socket = one.listen(flags=True)
        prompt_id = one.run(graph)
        history = history_of(one, prompt_id)

    assert one.events(socket) == recorded["events"]
    assert entry(history) == entry(recorded["history"][0])


@pytest.mark.parametrize(("name", "prefix"), [("cached", "cachetest"), ("save only", "lt/first")])
def test_run_right_after_the_same_one_takes_what_is_cached(stage, name, prefix):
    recorded = RUNS[name]
    graph = recorded["graphs"][0]
    before = copy.deepcopy(graph)
    before["7"]["inputs"]["filename_prefix"] = prefix
    with stage() as one:
        one.run(before)
        one.names.clear()
        socket = one.listen()
        prompt_id = one.run(graph)
        history = history_of(one, prompt_id)

    assert one.events(socket) == recorded["events"]
    assert entry(history) == entry(recorded["history"][0])


def test_deleted_picture_is_named_by_a_cached_run_but_gone(stage):
    graph = RUNS["cached"]["graphs"][0]
    with stage() as one:
        one.run(graph)
        one.server.forget_output()
        history = history_of(one, one.run(graph))
        image = history["outputs"]["7"]["images"][0]
        gone = one.web.get("/view", params=image)

    assert image["filename"] == "cachetest_00001_.png"
    assert gone.status_code == 404


@pytest.mark.parametrize(
    ("name", "fault", "kind", "message"),
    [
        ("exception", "FaultRaise", "ValueError", "deliberate failure"),
        ("oom", "FaultOOM", "torch.OutOfMemoryError", ""),
        (
            "empty model file",
            "VAELoader",
            "safetensors._safetensors_rust.SafetensorError",
            "Error while deserializing header: header too small",
        ),
        ("partial outputs", "FaultRaise", "ValueError", "deliberate failure"),
        ("prefix outside", "", "", ""),
    ],
)
def test_failing_run_tells_and_keeps_what_was_recorded(stage, name, fault, kind, message):
    recorded = RUNS[name]
    graph = recorded["graphs"][0]
    own = recorded["history"][0]["prompt"][3].get("client_id")
    with stage() as one:
        if fault:
            one.server.raise_in(fault, exception_type=kind, message=message)
        if name == "oom":
            saved = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
            one.run({"1": graph["1"], "2": saved})
            one.names.clear()
        make_room(one.server, recorded["history"][0])
        socket = one.listen()
        prompt_id = one.run(graph, client_id=own, state="error")
        history = history_of(one, prompt_id)
        job = one.get(f"/api/jobs/{prompt_id}")

    assert entry(history) == entry(recorded["history"][0])
    if "events" in recorded:
        assert one.events(socket) == recorded["events"]
    if "job" in recorded:
        recorded["job"]["priority"] = job["priority"]
        assert job == recorded["job"]


def test_valid_half_of_a_graph_runs_as_recorded(stage):
    recorded = RUNS["partial graph"]["history"][0]
    with stage() as one:
        history = history_of(one, one.run(recorded["prompt"][2], client_id=None))

    assert entry(history) == entry(recorded)


def test_saved_picture_carries_the_recorded_chunks(stage):
    with stage() as one:
        graph = RUNS["cold"]["graphs"][0]
        one.run(graph, extra_data=RUNS["cold"]["extra_data"])
        picture = one.server.images.output["lt/real_00001_.png"]

    assert texts(picture) == RUNS["chunks"]


def texts(picture):
    chunks, at = {}, 8
    while at < len(picture):
        length, kind = struct.unpack(">I4s", picture[at : at + 8])
        if kind == b"tEXt":
            key, _, text = picture[at + 8 : at + 8 + length].partition(b"\0")
            chunks[key.decode("ascii")] = text.decode("ascii")
        at += 12 + length
    return chunks
