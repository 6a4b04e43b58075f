"""What holds for every test: a home of its own, no network, nothing left behind."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from scripted import Bench, join_makings
from sites import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534


@pytest.fixture(autouse=True)
def _environment_unchanged() -> Iterator[None]:
    before = dict(os.environ)
    yield
    changed = {name for name, _ in before.items() ^ os.environ.items()}
    assert changed - {"PYTEST_CURRENT_TEST"} == set()


@pytest.fixture(autouse=True)
def _own_home(_environment_unchanged: None, imagen_home: Path) -> Path:
    # The order counts: what monkeypatch sets is taken back before the environment is compared.
    return imagen_home


@pytest.fixture(autouse=True)
def _no_thread_left(_own_home: Path) -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = [thread for thread in threading.enumerate() if thread not in before]
    for thread in left:
        thread.join(2)
    assert [thread for thread in left if thread.is_alive()] == []


@pytest.fixture(autouse=True)
def _loopback_only(_own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            assert address[0] in ("127.0.0.1", "::1", "localhost"), f"a test asked for {address}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def site(tmp_path: Path, imagen_home: Path) -> Site:
    """A folder on Python's path, for distributions of the test's own."""
    return Site(tmp_path / "site", imagen_home)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    join_makings()
    bench.ledger.close()


@pytest.fixture
def read_only_folder() -> Iterator[Path]:
    """A folder where this process may not write, also if root runs the tests."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    if root := os.geteuid() == 0:
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        folder.rmdir()
