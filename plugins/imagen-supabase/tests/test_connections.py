"""Connections of a push that ended while its threads were still at work."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from imagen_supabase.client import connect
from meanwhile import ClosedMeanwhile

pytestmark = [pytest.mark.system, pytest.mark.parametrize("cluster", ["system"], indirect=True)]


def test_connection_that_was_being_made_is_ended_after_its_upload(jobs: Any) -> None:
    project = jobs.queue()._context.once(connect)
    backend = ClosedMeanwhile(project._client)
    project._client._transport._pool._network_backend = backend

    assert project.upload(f"2026-05-08/{uuid4()}.png", b"x", mime="image/png", digest="0")

    [stream] = backend.streams
    assert stream.get_extra_info("socket").fileno() == -1
