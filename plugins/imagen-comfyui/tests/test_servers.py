"""Where a server is, who may ask it, and how it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagen_comfyui.backend import ComfyBackend, Patience
from imagen_comfyui.config import ComfyConfig
from imagen_comfyui.testing import FakeComfyUI
from imagen_core import (
    CredentialsError,
    Image,
    Preview,
    RejectedError,
    Request,
    UnavailableError,
)
from imagen_core.testing import isolated_app

SLOW = Patience(poll=30)
"""Looks so rarely that the websocket alone tells what happens."""

PATIENCE = 60.0
"""Seconds for what only a real hang takes so long."""

PEM = str(Path(__file__).parent / "transcripts" / "localhost.pem")


def heard(server: FakeComfyUI, backend: ComfyBackend, request: Request, run_beside: Any) -> Any:
    """Every Event of a run that goes on when its websocket is open, however late that is."""
    server.hold(step=1)
    thread, found = run_beside(backend.generate(request))
    server.wait_for(request.id, "held")
    server.wait_sockets(1)
    server.release()
    thread.join(PATIENCE)
    return found


def test_path_prefix(make: Any, ask: Any, images: Any) -> None:
    with FakeComfyUI(prefix="/gpu/comfy") as server:
        assert len(images(make(url=f"{server.url}/"), ask())) == 1
        assert {r.path.split("?")[0].startswith("/gpu/comfy/") for r in server.requests} == {True}


@pytest.mark.parametrize(
    ("key", "header"),
    [
        ("secret", "Bearer secret"),
        ("ada:pass", "Basic YWRhOnBhc3M="),
        ("Basic abc", "Basic abc"),
        ("Bearer abc", "Bearer abc"),
    ],
)
def test_key_goes_with_every_request(
    ask: Any, run_beside: Any, key: str, header: str, tmp_path: Path
) -> None:
    app = isolated_app(tmp_path, environment={"KEY": key})
    with FakeComfyUI(authorization=header, previews=True) as server:
        config = ComfyConfig(url=server.url, api_key_env="KEY")
        backend = ComfyBackend(config, app.context, patience=SLOW)
        found = heard(server, backend, ask(), run_beside)

    assert any(isinstance(event, Preview) for event in found)
    assert isinstance(found[-1], Image)
    app.close()


def test_refused_key_names_its_variable(make: Any, ask: Any, images: Any) -> None:
    with (
        FakeComfyUI(authorization="Bearer other") as server,
        pytest.raises(CredentialsError, match="answered 401") as caught,
    ):
        images(make(url=server.url, api_key_env="COMFY_KEY"), ask())

    assert caught.value.hint == "set COMFY_KEY to a key that it accepts"
    assert "secret-key-of-comfy" not in str(caught.value)


def test_server_that_wants_a_key_says_how_to_give_one(make: Any, ask: Any, images: Any) -> None:
    with (
        FakeComfyUI(authorization="Bearer other") as server,
        pytest.raises(CredentialsError) as caught,
    ):
        images(make(url=server.url), ask())

    assert "api_key_env" in caught.value.hint


def test_key_that_is_not_set_is_told_before_anything_is_asked(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    backend = make(api_key_env="NO_SUCH_KEY")

    assert backend.status().text == "not configured (set NO_SUCH_KEY)"
    with pytest.raises(CredentialsError, match=r"\$NO_SUCH_KEY is not set"):
        images(backend, ask())
    assert server.requests == []


@pytest.fixture
def certificate(monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A certificate for this machine, which this process trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", PEM)
    return PEM, PEM


def test_https_and_wss(certificate: tuple[str, str], make: Any, ask: Any, run_beside: Any) -> None:
    with FakeComfyUI(tls=certificate, previews=True) as server:
        found = heard(server, make(SLOW, url=server.url), ask(), run_beside)

    assert any(isinstance(event, Preview) for event in found)
    assert isinstance(found[-1], Image)


def test_certificate_that_nobody_trusts_is_refused(
    certificate: tuple[str, str],
    make: Any,
    ask: Any,
    images: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with (
        FakeComfyUI(tls=certificate) as server,
        pytest.raises(UnavailableError, match="unreachable"),
    ):
        images(make(url=server.url), ask())


def test_refused_host_shows_the_hint(make: Any, ask: Any, images: Any) -> None:
    backend = make(url="http://127.0.0.1:9", unreachable_hint="boot-whitetower mrock")

    with pytest.raises(UnavailableError, match="Connection refused") as caught:
        images(backend, ask())

    assert caught.value.hint == "boot-whitetower mrock"


def test_page_of_a_proxy_is_no_comfyui(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    server.fail("GET /queue", 200, body=b"<html>log in</html>", times=9)

    with pytest.raises(RejectedError, match="not JSON"):
        images(make(), ask())


def test_probe_tells_of_server_and_workflow(server: FakeComfyUI, make: Any) -> None:
    server.add_foreign()
    status = make().probe()

    assert status.ok
    assert status.text.startswith("ComfyUI 0.33.0, 1 in the queue, ")
    assert "NVIDIA GeForce RTX 4090" in status.text
    assert status.text.endswith("GiB free, the workflow flux1-schnell has all it needs")


def test_probe_tells_what_is_missing(server: FakeComfyUI, make: Any) -> None:
    server.files["text_encoders"] = ["clip_l.safetensors"]
    del server.classes["ModelSamplingFlux"]
    status = make().probe()

    assert not status.ok
    assert status.text.endswith(
        "the workflow flux1-schnell lacks nodes of the class ModelSamplingFlux; "
        "t5xxl_fp8_e4m3fn.safetensors in text_encoders"
    )


def test_probe_of_a_server_without_a_graphics_card(make: Any) -> None:
    with FakeComfyUI(cpu=True) as server:
        assert make(url=server.url).probe().ok


def test_key_that_is_no_text_is_told_by_its_variable(
    server: FakeComfyUI, ask: Any, images: Any, tmp_path: Path
) -> None:
    app = isolated_app(tmp_path, environment={"KEY": "user:\udcff"})
    backend = ComfyBackend(ComfyConfig(url=server.url, api_key_env="KEY"), app.context)
    app.close()

    with pytest.raises(CredentialsError, match="a character that no header takes") as caught:
        images(backend, ask())

    assert caught.value.hint == "look at the value of KEY"
