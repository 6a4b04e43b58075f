"""What holds for every test: a home of its own, no network, nothing left behind."""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def environment_unchanged() -> Iterator[None]:
    before = dict(os.environ)
    yield
    changed = {name for name, _ in before.items() ^ os.environ.items()}
    assert changed - {"PYTEST_CURRENT_TEST"} == set()


@pytest.fixture(autouse=True)
def own_home(environment_unchanged: None, imagen_home: Path) -> Path:
    del environment_unchanged
    # The order counts: what monkeypatch sets is taken back before the environment is compared.
    return imagen_home


@pytest.fixture(autouse=True)
def no_thread_left(own_home: Path) -> Iterator[None]:
    del own_home
    before = set(threading.enumerate())
    yield
    left = [thread for thread in threading.enumerate() if thread not in before]
    for thread in left:
        thread.join(30)  # on a busy machine; one that hangs stays for longer
    assert [thread for thread in left if thread.is_alive()] == []


@pytest.fixture(autouse=True)
def loopback_only(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del own_home
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            assert address[0] in ("127.0.0.1", "::1", "localhost"), f"a test asked for {address}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
