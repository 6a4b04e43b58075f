"""Connections of a push that ended while its threads were still at work."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpcore
import pytest

from imagen_supabase.client import connect

pytestmark = [pytest.mark.system, pytest.mark.parametrize("cluster", ["system"], indirect=True)]


class ClosedMeanwhile(httpcore.NetworkBackend):
    """Connects, and meanwhile somebody closes the client."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._real = httpcore.SyncBackend()
        self.streams: list[Any] = []

    def connect_tcp(self, *args: Any, **options: Any) -> Any:
        self._client.close()
        self.streams.append(self._real.connect_tcp(*args, **options))
        return self.streams[-1]


def test_connection_that_was_being_made_is_ended_after_its_upload(jobs: Any) -> None:
    project = jobs.queue()._context.once(connect)
    backend = ClosedMeanwhile(project._client)
    project._client._transport._pool._network_backend = backend

    assert project.upload(f"2026-05-08/{uuid4()}.png", b"x", mime="image/png", digest="0")

    [stream] = backend.streams
    assert stream.get_extra_info("socket").fileno() == -1
