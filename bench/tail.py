"""Own time: from a backend's last byte to the printed path, for a picture of 1.5 MB."""

from __future__ import annotations

import functools
import json
import os
import struct
import subprocess
import sys
import time
import zlib
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Struct

from bench.environments import ROOT
from imagen_core import About, Backend, BackendSpec, Image, Progress, hookimpl
from imagen_core.app import App
from imagen_core.cli import run
from imagen_core.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from imagen_core import Request

SIDE = 708
"""Pixels: a square of noise with this side is a PNG of 1.5 MB."""


class NoiseConfig(Struct, frozen=True, kw_only=True):
    """The block of a noise instance: nothing."""


class NoiseBackend(Backend):
    """Gives a picture of noise, and says in its metadata when the last byte was there."""

    about = About(model="noise", honours=frozenset({"size", "seed"}))

    def __init__(self, *_: object) -> None:
        self._data = noise_png()

    def generate(self, request: Request) -> Generator[Progress | Image, None, None]:
        """Yield one Progress, then the picture."""
        yield Progress(fraction=0.5)
        noted = {"last_byte": time.perf_counter()}
        yield Image(data=self._data, mime="image/png", seed=request.seed, metadata=noted)


class TimedTerminal(Terminal):
    """A terminal that notes which line it printed last, and when."""

    printed = 0.0
    path = Path()

    def line(self, text: str) -> None:
        """Print the line, then look at the clock."""
        super().line(text)
        self.printed = time.perf_counter()
        self.path = Path(text)


class Tail(NamedTuple):
    """Seconds of one run: all of it, and what went into syncing files and into the ledger."""

    total: float
    sync: float
    ledger: float
    bare: float


@functools.cache
def noise_png() -> bytes:
    """A PNG of random pixels, about 1.5 MB."""
    rows = b"".join(b"\0" + os.urandom(3 * SIDE) for _ in range(SIDE))
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def measure(folder: Path, runs: int) -> list[Tail]:
    """So many runs in this process, each with an App of its own; two more warm up."""
    return [_taken_apart(folder) for _ in range(runs + 2)][2:]


def measure_new_processes(folder: Path, runs: int) -> list[float]:
    """The same, each in a new process: nothing is imported or opened before."""
    command = [sys.executable, "-m", "bench.tail", str(folder)]
    return [float(subprocess.check_output(command, cwd=ROOT)) for _ in range(runs)]


def run_once(folder: Path) -> float:
    """Make one picture as `imagen generate` does; returns the seconds after its last byte."""

    @hookimpl
    def imagen_backends() -> list[BackendSpec]:
        place = "bench.tail:Noise"
        what: dict[str, Any] = {"config": f"{place}Config", "create": f"{place}Backend"}
        return [BackendSpec(type="noise", summary="noise", **what)]

    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        terminal = TimedTerminal(out=nowhere, err=sys.stderr, environment={})
        app = App.for_test(
            terminal,
            folder,
            config="backends: {noise: {type: noise}}",
            plugins={"noise": SimpleNamespace(imagen_backends=imagen_backends)},
        )
        code = run(["generate", "noise", "--backend", "noise"], terminal=terminal, app=app)
    assert code == 0, "the toy backend failed"
    sidecar = terminal.path.with_name(f"{terminal.path.name}.json")
    last_byte = json.loads(sidecar.read_bytes())["metadata"]["last_byte"]
    terminal.path.unlink()
    sidecar.unlink()
    return float(terminal.printed - last_byte)


def _taken_apart(folder: Path) -> Tail:
    from imagen_core.ledger import Ledger

    with _timed(os, "fsync") as syncs, _timed(Ledger, "record") as records:
        total = run_once(folder)
    return Tail(total, sum(syncs), sum(records), _bare(folder / "bare"))


def _bare(path: Path) -> float:
    """How long writing and syncing the same bytes takes without imagen."""
    data = noise_png()
    started = time.perf_counter()
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    spent = time.perf_counter() - started
    path.unlink()
    return spent


@contextmanager
def _timed(owner: Any, name: str) -> Iterator[list[float]]:
    """Collect how long each call of this function takes."""
    spent: list[float] = []
    original = getattr(owner, name)

    @functools.wraps(original)
    def timed(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            spent.append(time.perf_counter() - started)

    setattr(owner, name, timed)
    try:
        yield spent
    finally:
        setattr(owner, name, original)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


if __name__ == "__main__":
    print(run_once(Path(sys.argv[1])))
