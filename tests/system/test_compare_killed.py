"""A comparison that is killed again and again ends with every cell once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from imagen_core.ledger import Ledger

CONFIG = """
backends:
  a: {type: mock, delay_ms: 100}
  b: {type: mock, delay_ms: 150}
"""
SEEDS = 60
"""So many that it is not done before a test that is slow gets to kill it."""
CELLS = 2 * SEEDS


def start(*args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "imagen_core", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def pictures(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*/*-*.png") if path.name != "sheet.png"]


def wait_for(process: subprocess.Popen[str], folder: Path, number: int) -> bool:
    """Whether so many pictures are there before it ends."""
    while process.poll() is None:
        if len(pictures(folder)) >= number:
            return True
    return False


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "c.yaml").write_text(CONFIG)
    monkeypatch.setenv("IMAGEN_CONFIG", str(tmp_path / "c.yaml"))
    monkeypatch.setenv("IMAGEN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("IMAGEN_CACHE_DIR", str(tmp_path / "cache"))
    out = tmp_path / "out"
    out.mkdir()
    return out


def kill(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.system
@pytest.mark.parametrize("seed", [1, 2])
def test_every_cell_is_made_once_however_often_it_is_killed(
    folder: Path, tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    options = ("--size", "32x24", "--output-dir", str(folder), "--no-sheet")
    process = start("compare", "a cat", "--models", "a,b", "--seeds", f"1..{SEEDS}", *options)
    made = kills = 0
    for _ in range(5):
        made += dice.randint(1, 5)
        if not wait_for(process, folder, min(made, CELLS)):
            break
        kill(process)
        kills += process.returncode == -signal.SIGKILL
        [there] = folder.iterdir()
        process = start("compare", "--resume", str(there), "--no-sheet")
    out, err = process.communicate(timeout=60)

    assert kills == 5
    assert process.returncode == 0, err
    [there] = folder.iterdir()
    assert out.splitlines() == [str(there / "index.html")]
    found = json.loads((there / "compare.json").read_text())
    assert {cell["status"] for cell in found["cells"]} == {"done"}
    names = [name for cell in found["cells"] for name in cell["files"]]
    assert sorted(names) == sorted(path.name for path in pictures(folder))
    assert len(names) == CELLS
    left = {path.read_bytes() for path in there.glob(".imagen-*.part")}
    assert all(data.startswith(b"\x89PNG") and data.endswith(b"IEND\xaeB`\x82") for data in left)
    assert all((there / f"{name}.json").is_file() for name in names)
    ledger = Ledger(tmp_path / "data")
    by_id: dict[str, Any] = {cell["id"]: cell for cell in found["cells"]}
    runs = {run.id: run for run in ledger._read("select run from runs where ? = ''", "")}
    ledger.close()
    assert {id for id, run in runs.items() if run.outputs} == set(by_id)
