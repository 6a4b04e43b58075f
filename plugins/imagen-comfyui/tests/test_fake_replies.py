"""The fake server against recorded requests and replies of real ones."""

import json
import re
from pathlib import Path

import httpx
import pytest

from imagen_comfyui.testing import FakeComfyUI

TRANSCRIPTS = Path(__file__).parent / "transcripts"
TRIMMED = {"description", "traceback", "has_intermediate_output", "create_time"}
REF = b"\x89PNG\r\n\x1a\n one picture"
OTHER = b"\x89PNG\r\n\x1a\n another picture"


def recorded(name):
    return json.loads((TRANSCRIPTS / f"{name}.json").read_text("utf-8"))


def trimmed(data):
    if isinstance(data, dict):
        return {key: trimmed(value) for key, value in data.items() if key not in TRIMMED}
    return [trimmed(value) for value in data] if isinstance(data, list) else data


def comparable(data):
    """Without what differs from run to run, and with errors in an order."""
    data = trimmed(data)
    if isinstance(data, dict):
        for node in data.get("node_errors", {}).values():
            node["errors"].sort(key=json.dumps)
        if re.fullmatch("[0-9a-f-]{36}", data.get("prompt_id", "")):
            data["prompt_id"] = "an id"
        return {**data, "number": 0} if "number" in data else data
    return data


def send(client, exchange):
    if "multipart" in exchange:
        return client.post(exchange["path"], **multipart(exchange))
    sent = {key: exchange[key] for key in ("json", "headers") if key in exchange}
    content = exchange["body"].encode() if "body" in exchange else None
    return client.request(exchange["method"], exchange["path"], content=content, **sent)


def multipart(exchange):
    fields = dict(exchange["multipart"])
    [(name, said)] = [(name, said) for name, said in fields.items() if said.startswith("<file ")]
    del fields[name]
    filename = said.removeprefix("<file ").partition(",")[0]
    content = OTHER if "other bytes" in exchange["name"] else REF
    return {"data": fields, "files": {name: (filename, content, "image/png")}}


def assert_same(response, exchange):
    assert response.status_code == exchange["status"]
    assert response.headers.get("content-type") == exchange["content_type"]
    if "reply" in exchange:
        assert comparable(response.json()) == comparable(exchange["reply"])
    elif "png" in exchange:
        assert response.content in (REF, OTHER)
    else:
        assert response.text == exchange["text"]


@pytest.mark.parametrize("exchange", recorded("replies"), ids=lambda exchange: exchange["name"])
def test_request_gets_the_recorded_reply(exchange):
    with (
        FakeComfyUI(version=exchange["version"]) as server,
        httpx.Client(base_url=server.url, timeout=60) as web,
    ):
        server.files["checkpoints"].remove("v1-5-pruned-emaonly-fp16.safetensors")
        if exchange["name"] == "prompt-400-value-not-in-long-list":
            server.files["loras"] += [f"style-{number:02}.safetensors" for number in range(30)]

        assert_same(send(web, exchange), exchange)


@pytest.mark.parametrize("exchange", recorded("views"), ids=lambda exchange: exchange["name"])
def test_view_gets_the_recorded_reply(exchange):
    with FakeComfyUI() as server, httpx.Client(base_url=server.url, timeout=60) as web:
        server.images.input.update({"ref.png": REF, "jobs/42/ref.png": REF})
        server.images.output["empty_00001_.png"] = REF

        assert_same(send(web, exchange), exchange)


def test_uploads_get_the_recorded_replies_one_after_the_other():
    with FakeComfyUI() as server, httpx.Client(base_url=server.url, timeout=60) as web:
        for exchange in recorded("uploads"):
            assert_same(send(web, exchange), exchange)

        assert list(server.images.input) == [
            "ref.png",
            "ref (1).png",
            "jobs/42/ref.png",
            "notes.png",
        ]
        assert server.images.temp == {"ref.png": REF}


def test_upload_keeps_every_byte():
    content = bytes(range(256)) + b"\r\n--\r\n\r\n"
    with FakeComfyUI() as server:
        httpx.post(f"{server.url}/upload/image", files={"image": ("a é.png", content)}, timeout=60)

        assert server.images.input == {"a é.png": content}


def test_picture_is_not_sent_again_to_who_has_it():
    with FakeComfyUI() as server, httpx.Client(base_url=server.url, timeout=60) as web:
        server.images.output["a.png"] = REF
        etag = web.get("/view?filename=a.png").headers["etag"]

        again = web.get("/view?filename=a.png", headers={"If-None-Match": etag})
        head = web.head("/view?filename=a.png")

    assert (again.status_code, again.content) == (304, b"")
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(REF)))


def test_new_server_shows_a_gpu_and_one_without_shows_its_processor():
    with FakeComfyUI() as server:
        [gpu] = httpx.get(f"{server.url}/system_stats", timeout=60).json()["devices"]
    with FakeComfyUI(cpu=True, version="0.3.64") as server:
        stats = httpx.get(f"{server.url}/system_stats", timeout=60).json()

    assert (gpu["name"], gpu["type"]) == ("cuda:0 NVIDIA GeForce RTX 4090", "cuda")
    assert 0 < gpu["vram_free"] < gpu["vram_total"]
    assert stats["system"]["comfyui_version"] == "0.3.64"
    assert [device["type"] for device in stats["devices"]] == ["cpu"]


def test_file_added_while_the_server_runs_is_on_offer_and_valid():
    graph = {
        "1": {"class_type": "VAELoader", "inputs": {"vae_name": "styles/new.safetensors"}},
        "2": {"class_type": "LoadImage", "inputs": {"image": "jobs/ref.png"}},
        "3": {"class_type": "VAEEncode", "inputs": {"pixels": ["2", 0], "vae": ["1", 0]}},
        "4": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["1", 0]}},
        "5": {"class_type": "SaveImage", "inputs": {"images": ["4", 0], "filename_prefix": "x"}},
    }
    with FakeComfyUI() as server, httpx.Client(base_url=server.url, timeout=60) as web:
        server.files["vae"] = ["styles/new.safetensors"]
        web.post("/upload/image", files={"image": ("ref.png", REF)}, data={"subfolder": "jobs"})

        info = web.get("/object_info/VAELoader").json()["VAELoader"]["input"]["required"]
        reply = web.post("/prompt", json={"prompt": graph}).json()

    assert info == {"vae_name": [["styles/new.safetensors", "pixel_space"]]} or info == {
        "vae_name": [["styles/new.safetensors", "pixel_space"], {}]
    }
    assert reply["node_errors"] == {}


@pytest.mark.parametrize("name", ["flux1-schnell", "flux2-klein", "sd35-medium"])
def test_graph_that_a_real_server_took_is_taken(name):
    [exchange] = [one for one in recorded("replies") if one["name"] == f"validated-{name}-response"]
    with FakeComfyUI() as server:
        reply = httpx.post(f"{server.url}/prompt", json=exchange["json"], timeout=60)

    assert (reply.status_code, reply.json()["node_errors"]) == (200, {})


def test_both_spellings_of_combo_inputs_are_in_the_schema():
    with FakeComfyUI() as server:
        info = httpx.get(f"{server.url}/object_info", timeout=60).json()

    specs = [
        spec
        for node in info.values()
        for fields in node["input"].values()
        for spec in fields.values()
        if isinstance(spec, list)
    ]
    assert len(info) == 46
    assert any(isinstance(spec[0], list) for spec in specs)
    assert any(spec[0] == "COMBO" and spec[1]["options"] for spec in specs)
    assert "<" not in json.dumps(specs)


def test_schema_agrees_with_itself():
    with FakeComfyUI() as server:
        info = httpx.get(f"{server.url}/object_info", timeout=60).json()

    for name, node in info.items():
        assert node["name"] == name
        assert len(node["output"]) == len(node["output_name"]) == len(node["output_is_list"])
        assert {kind: list(fields) for kind, fields in node["input"].items()} == node["input_order"]
    assert [name for name, node in info.items() if node["output_node"]] == [
        "SaveImage",
        "PreviewImage",
        "SaveImageWebsocket",
    ]


def test_old_server_lacks_what_came_later():
    with (
        FakeComfyUI(version="0.3.64") as server,
        httpx.Client(base_url=server.url, timeout=60) as web,
    ):
        assert web.get("/object_info/Flux2Scheduler").json() == {}
        assert web.get("/api/jobs/x").status_code == 404
        assert web.post("/api/jobs/x/cancel").status_code == 404


def test_server_below_a_prefix_knows_nothing_above_it():
    with FakeComfyUI(prefix="/comfy") as server:
        below = httpx.get(f"{server.url}/api/queue", timeout=60)
        above = httpx.get(f"{server.url.removesuffix('/comfy')}/queue", timeout=60)

    assert (below.status_code, above.status_code) == (200, 404)
    assert [one.path for one in server.requests] == ["/comfy/api/queue", "/queue"]


def test_request_without_the_right_authorization_is_refused():
    with FakeComfyUI(authorization="Bearer good") as server:
        none = httpx.get(f"{server.url}/queue", timeout=60)
        bad = httpx.get(f"{server.url}/queue", headers={"Authorization": "Bearer bad"}, timeout=60)
        good = httpx.get(
            f"{server.url}/queue", headers={"Authorization": "Bearer good"}, timeout=60
        )

    assert [none.status_code, bad.status_code, good.status_code] == [401, 401, 200]


def test_unknown_version_is_refused():
    with pytest.raises(ValueError, match=r"version is 0\.3\.64 or 0\.33\.0, not 1"):
        FakeComfyUI(version="1")
