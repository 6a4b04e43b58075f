"""The conformance kit, against the fake server and its faults."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core.testing import BackendConformance
from imagen_replicate.backend import ReplicateBackend
from imagen_replicate.config import ReplicateConfig
from imagen_replicate.patience import Patience
from imagen_replicate.testing import FakeReplicate

if TYPE_CHECKING:
    from collections.abc import Iterator


class ReplicateConformance(BackendConformance):
    module = "imagen_replicate"
    faults = frozenset({"slow", "refuse", "deny", "crash"})
    own_threads = (*BackendConformance.own_threads, "fake-replicate")
    stops_within = 30.0
    environment = MappingProxyType({"REPLICATE_API_TOKEN": "r8_test-token"})
    model = ""

    @pytest.fixture
    def fake(self) -> Iterator[FakeReplicate]:
        with FakeReplicate() as server:
            yield server

    @pytest.fixture
    def backend(self, fake: FakeReplicate, context: Any) -> ReplicateBackend:
        model = self.model if "/" in self.model else f"lab/tiny:{fake.version_of('lab/tiny')}"
        config = ReplicateConfig(api_url=fake.url, model=model)
        return ReplicateBackend(config, context, patience=Patience(closing=60.0))

    @pytest.fixture
    def script(self, fake: FakeReplicate) -> Any:
        def act(how: str) -> dict[str, Any]:
            match how:
                case "slow":
                    fake.hold()
                case "refuse":
                    fake.fail_with("Service is temporarily unavailable. (E004)")
                case "deny":
                    fake.refuse("create", 401, body={"title": "Unauthenticated", "status": 401})
                case "crash":
                    fake.accept_then("create", 200, body="<html>a proxy</html>")
                    fake.refuse("list", 500, body="<html>a proxy</html>", times=9)
            return {}

        return act

    @pytest.fixture
    def remote_is_idle(self, fake: FakeReplicate) -> Any:
        return lambda: fake.idle


class TestSchnell(ReplicateConformance):
    """A model of certain sizes, with a list of pictures."""

    model = "black-forest-labs/flux-schnell"
    sizes = ((1024, 1024), (1344, 768))


class TestPro(ReplicateConformance):
    """A model of any size, with a single picture."""

    model = "black-forest-labs/flux-1.1-pro"
    sizes = ((1024, 768), (768, 1024))


class TestNanoBanana(ReplicateConformance):
    """A model without a seed."""

    model = "google/nano-banana"
    sizes = ((1024, 1024), (1024, 1024))


class TestPinned(ReplicateConformance):
    """A model that nobody knows but Replicate, at one of its versions."""

    model = "tiny"
    sizes = ((256, 192), (192, 256))
