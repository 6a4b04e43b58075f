"""A fake server as a command."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class Served(Protocol):
    """What a fake server has while it runs."""

    @property
    def url(self) -> str:
        """Where it listens."""
        ...


def serve(server: AbstractContextManager[Served, Any]) -> None:
    """Run a server in the foreground until it is interrupted; its address is the first line."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), server as running:
        sys.stdout.write(f"{running.url}\n")
        sys.stdout.flush()
        threading.Event().wait()
