"""The block of an instance: by the command, with file, line and key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other plugins may have something to say of a configuration, too."""
    monkeypatch.setenv("IMAGEN_LOAD_PLUGINS", "comfyui")


def validate(imagen: Any, tmp_path: Path, block: str) -> str:
    file = tmp_path / "imagen.yaml"
    file.write_text(f"backends:\n  flux: {{type: comfyui, {block}}}\n")
    done = imagen("config", "validate", "--config", str(file))
    assert done.exit_code == (2 if "error" in done.err else 0)
    return str(done.err).replace(str(file), "FILE")


@pytest.mark.parametrize(
    "block",
    [
        "url: 'http://box:8188'",
        "url: 'https://example.org/comfy/'",
        "url: 'http://[::1]:8188'",
        "workflow: sd35-medium, negative: dogs, size: 512x512",
        "width: 512, height: 768",
        "params: {batch_size: 2, 8.denoise: 0.5}",
        "url: 'HTTP://box:8188', filename_prefix: fox..v2",
        "workflow: sd15-img2img, image: there.png, denoise: 0.4",
        "api_key_env: COMFY_KEY, preview_method: auto, timeout: 30, queue_timeout: 1.5",
    ],
)
def test_block_that_is_fine(imagen: Any, tmp_path: Path, block: str) -> None:
    assert validate(imagen, tmp_path, block) == "imagen: FILE is fine\n"


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("url: 'box:8188'", "flux.url: expected http://HOST:PORT, got 'box:8188'"),
        ("url: 'ftp://box'", "flux.url: expected http://HOST:PORT, got 'ftp://box'"),
        ("url: 'http://box/?a=b'", "flux.url: expected http://HOST:PORT; a key"),
        ("url: 'http://:8188'", "flux.url: expected http://HOST:PORT, got 'http://:8188'"),
        ("url: 'http://a:b'", "flux.url: expected http://HOST:PORT, got 'http://a:b'"),
        ("url: 'http://a:99999'", "flux.url: expected http://HOST:PORT, got"),
        ("url: 'http://[::1'", "flux.url: expected http://HOST:PORT, got"),
        ("url: 'http://a..b'", "flux.url: expected http://HOST:PORT, got"),
        ("url: ''", "flux.url: expected http://HOST:PORT, got ''"),
        ("url: 5", "flux.url: expected str, got int"),
        ("workflow: flux1-schnel", "flux.workflow: there is no workflow 'flux1-schnel'"),
        ("workflow: /none.json", "flux.workflow: there is no workflow at /none.json"),
        (f"workflow: /{'a' * 300}.json", "flux.workflow: there is no workflow at /aaa"),
        (
            "params: {filename_prefix: 5}",
            "flux.params.filename_prefix: the parameter",
        ),
        ("workflow: ''", "flux.workflow: expected str of length >= 1"),
        ("steps: many", "flux.steps: expected int, got str"),
        ("steps: 0", "flux.steps: expected int >= 1"),
        ("steps: 99999", "flux.steps: the parameter steps is at least 1 and at most 10000"),
        ("cfg: 101", "flux.cfg: the parameter cfg is at least 0 and at most 100; got 101.0"),
        ("cgf: 1", "flux.cgf: unknown key"),
        ("negative: dogs", "flux.negative: the workflow 'flux1-schnell' has no placeholder"),
        ("size: big", "flux.size: expected WIDTHxHEIGHT, got 'big'"),
        ("size: 64x64, width: 64", "flux.size: this and width or height are one thing"),
        ("params: {shift: 3}", "flux.params.shift: the workflow 'flux1-schnell' has no such"),
        ("params: [1]", "flux.params: expected keys and values, got a list"),
        (
            "filename_prefix: ../up",
            "flux.filename_prefix: the prefix '../up' leads out",
        ),
        (
            "filename_prefix: /root",
            "flux.filename_prefix: the prefix '/root' leads out",
        ),
        ("timeout: 0", "flux.timeout: expected float > 0"),
        ("size: 1x1", "flux.size: the workflow 'flux1-schnell' makes pictures of 16 to 16384"),
        ("width: 511", "flux.width: the workflow 'flux1-schnell' makes pictures of 16 to 16384"),
        ("seed: 9223372036854775808", "flux.seed: expected int <= 9223372036854775807"),
        ("api_key_env: sk-0123", "flux.api_key_env: expected the name of an environment variable"),
        ("params: {8.cfg: 2}", "flux.params.8.cfg: this input is the placeholder ${cfg}"),
        ("preview_method: best", "flux.preview_method: expected one of '', none, auto"),
    ],
)
def test_block_that_is_wrong_is_told_with_its_place(
    imagen: Any, tmp_path: Path, block: str, message: str
) -> None:
    assert f"imagen: error: FILE:2: backends.{message}" in validate(imagen, tmp_path, block)


def test_every_problem_of_a_block_is_told_at_once(imagen: Any, tmp_path: Path) -> None:
    told = validate(imagen, tmp_path, "cfg: 1000, checkpoint: x, params: {shift: 1, batch_size: 0}")

    assert told.count("imagen: error: ") == 4


@pytest.mark.parametrize(
    "block",
    [
        "url: 'http://ada:hunter2@box:8188'",
        "url: 'ada:hunter2@box:8188'",
        "url: 'http://ada:pa/hunter2@box'",
        "url: 'http://box/?token=hunter2'",
        "api_key_env: sk-hunter2",
    ],
)
def test_what_may_be_a_secret_is_refused_and_not_repeated(
    imagen: Any, tmp_path: Path, block: str
) -> None:
    told = validate(imagen, tmp_path, block)

    assert "imagen: error: FILE:2: backends.flux." in told
    assert "hunter2" not in told


def test_sample_has_the_three_instances_and_validates(imagen: Any, tmp_path: Path) -> None:
    file = tmp_path / "imagen.yaml"
    file.write_text(imagen("config", "init").out)

    listed = imagen("backends", "--config", str(file), "--json").json()[0]
    done = imagen("config", "validate", "--config", str(file))

    assert (done.exit_code, done.err) == (0, f"imagen: {file} is fine\n")
    found = [i for i in listed["instances"] if i["type"] == "comfyui"]
    assert [(i["name"], i["model"], i["default"]) for i in found] == [
        ("flux-schnell-local", "flux1-schnell.safetensors", True),
        ("flux2-klein-local", "flux-2-klein-4b.safetensors", False),
        ("sd35-medium-local", "sd3.5_medium.safetensors", False),
    ]
