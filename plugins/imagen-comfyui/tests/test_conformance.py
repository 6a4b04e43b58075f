"""The conformance kit, against the fake server and its faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from imagen_comfyui.backend import ComfyBackend, Patience
from imagen_comfyui.config import ComfyConfig
from imagen_comfyui.testing import FakeComfyUI
from imagen_core.testing import BackendConformance

if TYPE_CHECKING:
    from collections.abc import Iterator


class ComfyConformance(BackendConformance):
    module = "imagen_comfyui"
    faults = frozenset({"slow", "refuse", "deny", "crash"})
    own_threads = (*BackendConformance.own_threads, "fake-comfyui")
    stops_within = 30.0
    workflow = "flux1-schnell"

    @pytest.fixture
    def fake(self) -> Iterator[FakeComfyUI]:
        with FakeComfyUI(previews=True) as server:
            yield server

    @pytest.fixture
    def backend(self, fake: FakeComfyUI, context: Any) -> ComfyBackend:
        config = ComfyConfig(url=fake.url, workflow=self.workflow)
        return ComfyBackend(config, context, patience=Patience(poll=0.001, offline=0.2, closing=60))

    @pytest.fixture
    def script(self, fake: FakeComfyUI) -> Any:
        def act(how: str) -> dict[str, Any]:
            match how:
                case "slow":
                    fake.hold(step=1)
                case "refuse":
                    fake.fail("/prompt", 503, times=2)
                case "deny":
                    fake.fail("/queue", 401)
                case "crash":
                    fake.fail("/prompt", 200, body=b"<html>a proxy</html>")
            return {}

        return act

    @pytest.fixture
    def remote_is_idle(self, fake: FakeComfyUI) -> Any:
        return lambda: fake.idle


class TestFlux(ComfyConformance):
    """A graph with one sampler node."""


class TestFlux2(ComfyConformance):
    """A graph whose seed, steps and size lie in nodes of their own."""

    workflow = "flux2-klein"


class TestStableDiffusion(ComfyConformance):
    """A graph that takes a negative prompt."""

    workflow = "sd15"
