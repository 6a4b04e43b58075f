"""Batches in processes of their own, which are killed and interrupted."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.system

IMAGEN = (sys.executable, "-m", "imagen_core", "batch")
SMALL = ("--size", "16x16", "--backend", "mock")
MANY = 2000
ROWS = 120
"""So many of 0.2 s each are not done before a test that is slow gets to its signal."""


def start(*args: str, **options: Any) -> subprocess.Popen[str]:
    """A batch that prints its paths as it makes them."""
    return subprocess.Popen(
        [*IMAGEN, *args],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        **options,
    )


def read_lines(process: subprocess.Popen[str], count: int) -> list[str]:
    """The next so many lines of its stdout; this is how long it is waited for."""
    assert process.stdout is not None
    found = [process.stdout.readline() for _ in range(count)]
    assert "" not in found, process.communicate()
    return [line.strip() for line in found]


def results(folder: Path, name: str = "prompts") -> list[dict[str, Any]]:
    """The lines that are whole."""
    text = (folder / f"{name}.batch.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def in_ledger() -> list[tuple[str, str]]:
    """Id and path of every picture of a Run that went well."""
    ledger = sqlite3.connect(Path(os.environ["IMAGEN_DATA_DIR"]) / "ledger.db")
    rows = ledger.execute(
        "select id, path from outputs join runs on id = run_id where finished and failure = ''"
    ).fetchall()
    ledger.close()
    return rows


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_five_times_it_makes_each_picture_once(tmp_path: Path, seed: int) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("".join(f"{{red|blue}} prompt {n}\n" for n in range(MANY)))
    moments = random.Random(seed)
    args = (str(prompts), *SMALL, "--output-dir", str(tmp_path / "out"))
    for _ in range(5):
        process = start(*args)
        read_lines(process, moments.randint(1, MANY // 6))
        process.kill()
        process.communicate()

    process = start(*args)
    _, err = process.communicate()

    assert process.returncode == 0, err
    lines = results(tmp_path / "out")
    pictures = {str(path) for path in (tmp_path / "out").glob("*.png")}
    plan = json.loads((tmp_path / "out" / "prompts.batch.json").read_text())
    assert len(pictures) == MANY
    assert [line["status"] for line in lines] == ["done"] * MANY
    assert sorted((line["id"], line["outputs"][0]["path"]) for line in lines) == sorted(in_ledger())
    assert {line["outputs"][0]["path"] for line in lines} == pictures
    assert {making["id"] for making in plan["makings"]} == {line["id"] for line in lines}
    for line in lines:
        sidecar = json.loads(Path(f"{line['outputs'][0]['path']}.json").read_text())
        assert (sidecar["id"], sidecar["prompt"]) == (line["id"], line["prompt"])


def test_without_a_ledger_a_kill_makes_none_twice_that_has_its_sidecar(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("".join(f"prompt {n}\n" for n in range(60)))
    args = (str(prompts), *SMALL, "--output-dir", str(tmp_path / "out"), "--no-ledger")
    for count in (5, 10):
        process = start(*args)
        read_lines(process, count)
        process.kill()
        process.communicate()

    process = start(*args)
    process.communicate()

    lines = results(tmp_path / "out")
    assert process.returncode == 0
    assert len(lines) == len({line["id"] for line in lines}) == 60
    # A picture in hand may be there twice: up to four for each kill.
    assert 60 <= len(list((tmp_path / "out").glob("*.png"))) <= 68


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "term"])
def test_first_signal_finishes_what_is_running(tmp_path: Path, number: signal.Signals) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("".join(f"prompt {n}\n" for n in range(ROWS)))
    out = tmp_path / "out"
    args = (str(prompts), *SMALL, "--output-dir", str(out), "-p", "delay_ms=200")
    process = start(*args)
    read_lines(process, 2)

    process.send_signal(number)
    _, err = process.communicate(timeout=60)

    lines = results(out)
    assert process.returncode == 130
    assert 2 <= len(lines) < ROWS
    assert {line["status"] for line in lines} == {"done"}
    assert err.splitlines()[-2:] == [
        f"imagen: error: interrupted: {len(lines)} of {ROWS} are done",
        "  hint: the same command goes on from there",
    ]
    assert len(in_ledger()) == len(list(out.glob("*.png"))) == len(lines)

    process = start(*args)
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert len(list(out.glob("*.png"))) == len(results(out)) == ROWS


def test_second_signal_cancels_what_is_running(tmp_path: Path) -> None:
    rows = tmp_path / "prompts.jsonl"
    row = '{"prompt": "prompt %d", "params": {"delay_ms": %d}}\n'
    rows.write_text("".join(row % (n, 0 if n < 3 else 120_000) for n in range(20)))
    out = tmp_path / "out"
    process = start(str(rows), *SMALL, "--output-dir", str(out))
    read_lines(process, 3)

    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "imagen: error: interrupted: 3 of 20 are done" in err
    assert len(results(out)) == len(list(out.glob("*.png"))) == 3


def test_two_processes_do_not_make_one_batch(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("".join(f"prompt {n}\n" for n in range(200)))
    args = (str(prompts), *SMALL, "--output-dir", str(tmp_path / "out"))
    # Its paths do not fit into the pipe: it can't end before they are read.
    first = start(*args, pipesize=4096)
    read_lines(first, 1)

    second = start(*args)
    _, err = second.communicate(timeout=60)

    assert second.returncode == 5
    assert "is being made by another process" in err
    read_lines(first, 199)
    first.communicate(timeout=60)
    assert first.returncode == 0
    assert len(results(tmp_path / "out")) == 200
