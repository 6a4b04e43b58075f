"""A batch of a thousand small pictures, against calling the backend in a loop."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from bench.environments import ROOT, tell

ROWS = 1000
QUICK_ROWS = 100
SIZE = 64
LOOP, SYNCED, BATCH, SKIP = (
    "the mock in a loop, files written",
    "the same, each file synced",
    "imagen batch",
    "the same batch again: all is done",
)
SUBJECTS = (LOOP, SYNCED, BATCH, SKIP)


class Batched(NamedTuple):
    """One process: its seconds, how many pictures it was about, and its peak memory in bytes."""

    subject: str
    rows: int
    seconds: float
    peak: int


def measure(folder: Path, *, quick: bool) -> list[Batched]:
    """Every subject in a process of its own, one after the other."""
    rows = QUICK_ROWS if quick else ROWS
    source = folder / "prompts.txt"
    source.write_text("".join(f"prompt number {n}\n" for n in range(rows)), encoding="utf-8")
    found = []
    for subject in SUBJECTS:
        tell(f"{subject}: {rows} pictures ...")
        command = [sys.executable, "-m", "bench.batch", subject, str(folder)]
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("IMAGEN_")},
            "IMAGEN_DATA_DIR": str(folder / "data"),
            "IMAGEN_CACHE_DIR": str(folder / "cache"),
        }
        begun = time.perf_counter()
        output = subprocess.check_output(command, cwd=ROOT, env=environment)
        seconds = time.perf_counter() - begun
        found.append(Batched(subject, rows, seconds, json.loads(output.splitlines()[-1])))
    return found


def _loop(folder: Path, *, sync: bool) -> None:
    """What anybody would write: one picture after the other, in one thread."""
    from imagen_core.mock import MockBackend, MockConfig
    from imagen_core.types import Image, Request

    out = folder / ("synced" if sync else "loop")
    out.mkdir()
    backend = MockBackend(MockConfig())
    prompts = (folder / "prompts.txt").read_text(encoding="utf-8").splitlines()
    for seed, prompt in enumerate(prompts, 1):
        request = Request(
            id=str(seed),
            prompt=prompt,
            typed_prompt=prompt,
            backend="mock",
            width=SIZE,
            height=SIZE,
            seed=seed,
        )
        for event in backend.generate(request):
            if isinstance(event, Image):
                with (out / f"{seed}.png").open("wb") as file:
                    file.write(event.data)
                    if sync:
                        os.fsync(file.fileno())


def _batch(folder: Path) -> None:
    from imagen_core.cli import run
    from imagen_core.terminal import Terminal

    args = ["--backend", "mock", "--size", f"{SIZE}x{SIZE}", "--output-dir", str(folder / "out")]
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        terminal = Terminal(out=nowhere, err=sys.stderr)
        code = run(["batch", str(folder / "prompts.txt"), *args, "--quiet"], terminal=terminal)
    assert code == 0, "the batch failed"


def main() -> None:
    """Be one subject, and print the peak memory."""
    subject, folder = sys.argv[1], Path(sys.argv[2])
    if subject in (LOOP, SYNCED):
        _loop(folder, sync=subject == SYNCED)
    else:
        _batch(folder)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


if __name__ == "__main__":
    main()
