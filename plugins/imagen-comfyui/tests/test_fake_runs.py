"""The fake server against recorded runs: what they tell, and what history keeps."""

import copy
import struct

import pytest

from comfy_stage import RUNS, entry, history_of, make_room


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
