"""What the core's tests have in common."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from batches import out, paid, prompts
from hygiene import environment_unchanged, loopback_only, no_thread_left, own_home
from imagen_core.app import App
from imagen_core.terminal import Terminal
from scripted import Bench, join_makings
from shift import Shift
from sites import Site
from works import Works
from worlds import world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "environment_unchanged",
    "loopback_only",
    "no_thread_left",
    "out",
    "own_home",
    "paid",
    "prompts",
    "world",
]

NOBODY = 65534


@pytest.fixture
def site(tmp_path: Path, imagen_home: Path) -> Site:
    """A folder on Python's path, for distributions of the test's own."""
    return Site(tmp_path / "site", imagen_home)


@pytest.fixture
def bare(tmp_path: Path) -> App:
    """An App in which no plugin is installed, whatever is there on this machine."""
    return App.for_test(Terminal(), tmp_path)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    join_makings()
    bench.ledger.close()


@pytest.fixture
def works(tmp_path: Path, imagen_home: Path) -> Iterator[Works]:
    """Worker processes on a queue of their own."""
    works = Works(imagen_home, tmp_path)
    yield works
    works.close()


@pytest.fixture
def shift(tmp_path: Path) -> Iterator[Shift]:
    """A worker in this process."""
    shift = Shift(tmp_path)
    yield shift
    shift.close()


@pytest.fixture
def small_files() -> Iterator[Callable[[int], None]]:
    """How to let no file grow beyond so many bytes, as on a disk that is full."""
    resource: Any = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


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
