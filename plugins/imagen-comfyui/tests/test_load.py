"""Many runs, one after the other and at once: nothing of them is left."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imagen_comfyui.testing import FakeComfyUI
from imagen_core import Options, Run
from imagen_core.testing import isolated_app

if TYPE_CHECKING:
    from collections.abc import Iterator

OPEN_FILES = Path("/proc/self/fd")
ROOM = 400_000
"""How many bytes 150 runs may leave behind: a picture has 8 kB, so a leaked one would show."""


@pytest.fixture
def url() -> Iterator[str]:
    """A fake ComfyUI in a process of its own, whose memory does not count here."""
    command = [sys.executable, "-m", "imagen_comfyui.testing"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().strip()
        process.terminate()


def make(app: Any, seed: int) -> Run:
    [request] = app.resolve(Options(prompt="a cat", seed=seed, size="64x48", steps=2))
    run: Run = app.pipeline({}).run(request, app.target())
    assert run.failure is None, run.failure
    return run


def app_for(folder: Path, url: str) -> Any:
    import imagen_comfyui

    config = f"default_backend: flux\nbackends:\n  flux: {{type: comfyui, url: '{url}'}}\n"
    return isolated_app(folder, config=config, plugins={"comfyui": imagen_comfyui})


@pytest.mark.system
@pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="counts open files by way of /proc")
def test_two_hundred_in_a_row_leave_no_socket_thread_or_memory(tmp_path: Path, url: str) -> None:
    app = app_for(tmp_path, url)
    for seed in range(1, 51):
        make(app, seed)
    gc.collect()
    files, threads = len(list(OPEN_FILES.iterdir())), threading.active_count()
    tracemalloc.start()
    for seed in range(51, 61):
        make(app, seed)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    for seed in range(61, 201):
        make(app, seed)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()

    assert len(list(OPEN_FILES.iterdir())) == files
    assert threading.active_count() == threads
    assert grown < ROOM
    app.close()


def test_twenty_at_once_get_each_its_own_and_leave_nothing(
    server: FakeComfyUI, make: Any, ask: Any
) -> None:
    backend = make()
    requests = [ask(seed=seed) for seed in range(1, 21)]

    with ThreadPoolExecutor(20) as pool:
        made = list(pool.map(lambda request: list(backend.generate(request)), requests))

    assert [events[-1].metadata["seed_used"] for events in made] == list(range(1, 21))
    assert len({events[-1].data for events in made}) == 20
    assert len(server.submits) == 20
    server.wait_sockets(0)
