"""Many processes at once, and processes that are interrupted."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

IMAGEN = (sys.executable, "-m", "imagen_core")
SMALL = ("--size", "32x32", "--backend", "mock")


def start(*args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*IMAGEN, *args],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


LOOP = """
import sys
from imagen_core.cli import run
sys.exit(max(run(sys.argv[1:]) for _ in range(25)))
"""


def test_eight_processes_make_two_hundred_pictures_of_one_name(tmp_path: Path) -> None:
    args = ["generate", "a cat", "--seed", "1", *SMALL, "--output", f"{tmp_path}/all/"]
    processes = [
        subprocess.Popen([sys.executable, "-c", LOOP, *args], stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    printed = [line for process in processes for line in process.communicate()[0].splitlines()]

    assert [process.returncode for process in processes] == [0] * 8
    names = {path.name for path in (tmp_path / "all").iterdir()}
    pictures = {name for name in names if name.endswith(".png")}
    assert len(printed) == len(set(printed)) == 200
    assert {Path(path).name for path in printed} == pictures
    assert names == pictures | {f"{name}.json" for name in pictures}
    for name in pictures:
        data = (tmp_path / "all" / name).read_bytes()
        sidecar = json.loads((tmp_path / "all" / f"{name}.json").read_text())
        assert (sidecar["file"], sidecar["sha256"]) == (name, sha256(data).hexdigest())
    ledger = sqlite3.connect(Path(os.environ["IMAGEN_DATA_DIR"]) / "ledger.db")
    rows = ledger.execute(
        "select count(*), count(distinct path) from outputs join runs on id = run_id "
        "where finished and failure = ''"
    ).fetchall()
    ledger.close()
    assert rows == [(200, 200)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "term"])
def test_interrupted_run_ends_with_130_and_leaves_no_half_file(
    tmp_path: Path, number: signal.Signals
) -> None:
    args = ("generate", "a cat", *SMALL, "--output", f"{tmp_path}/out/", "-p", "delay_ms=60000")
    process = start(*args, "--json")
    while not (tmp_path / "out").exists():
        assert process.poll() is None

    process.send_signal(number)
    out, err = process.communicate(timeout=60)

    assert (process.returncode, err) == (130, "")
    assert json.loads(out)["error"]["code"] == "cancelled"
    assert list((tmp_path / "out").iterdir()) == []


def test_interrupted_count_keeps_what_was_made(tmp_path: Path) -> None:
    process = start(
        "generate",
        "a cat",
        *SMALL,
        "--output",
        f"{tmp_path}/",
        "--count",
        "60",
        "-p",
        "delay_ms=900",
    )
    assert process.stdout is not None
    first = process.stdout.readline().strip()

    process.send_signal(signal.SIGINT)
    rest = process.stdout.read()
    _, err = process.communicate(timeout=60)

    assert process.returncode == 130
    made = {first, *rest.split()}
    assert {str(path) for path in tmp_path.glob("*.png")} == made
    assert {str(path)[:-5] for path in tmp_path.glob("*.json")} == made
    assert 1 <= len(made) < 60
    assert "cancelled" in err


def test_reader_that_goes_away_loses_no_picture(tmp_path: Path) -> None:
    process = start(
        "generate",
        "a cat",
        *SMALL,
        "--output",
        f"{tmp_path}/",
        "--count",
        "3",
        "-p",
        "delay_ms=300",
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()

    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == ""
    process.stderr.close()
    assert len(list(tmp_path.glob("*.png"))) == len(list(tmp_path.glob("*.json"))) == 3


def test_full_standard_output_is_an_error_and_loses_no_picture(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*IMAGEN, "generate", "a cat", *SMALL, "--output", str(tmp_path / "x.png")],
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert done.returncode == 1
    assert done.stderr == (
        "imagen: error: could not write to standard output: No space left on device\n"
    )
    assert (tmp_path / "x.png.json").is_file()


@pytest.mark.parametrize(
    "args", [("--help",), ("generate", "--help"), ("--version",)], ids=" ".join
)
def test_help_into_a_full_standard_output_is_a_plain_error(args: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*IMAGEN, *args], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )

    assert (done.returncode, done.stderr) == (
        1,
        "imagen: error: could not write to standard output: No space left on device\n",
    )


def test_full_disk_tells_where_the_picture_is(tmp_path: Path) -> None:
    code = """
import resource, signal, sys
from imagen_core import mock_art, mock, making, pipeline, ledger, database  # noqa: what writes
from imagen_core.cli import run
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (60, 60))
sys.exit(run(sys.argv[1:]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "generate", "a cat", *SMALL, "--no-ledger",
         "--output", str(tmp_path / "x.png")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert (
        f"could not write {tmp_path}/x.png: File too large; nor to any other folder" in done.stderr
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", range(4))
def test_interrupt_at_any_moment_leaves_no_half_file(tmp_path: Path, seed: int) -> None:
    moments = random.Random(seed)
    for _ in range(5):
        process = start("generate", "a cat", *SMALL, "--output", f"{tmp_path}/", "--count", "2")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.03 + moments.random() * 0.2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        # Before a line of imagen has run, Python itself is what the signal ends.
        strange = not any(word in err for word in ("imagen_core", "imagen: "))
        unborn = out == "" and (process.returncode == -signal.SIGINT or strange)
        assert process.returncode in (0, 130) or unborn, err
        assert all(Path(path).is_file() for path in out.split())

    made = {path.name for path in tmp_path.glob("*.png")}
    assert {path.name for path in tmp_path.iterdir()} == made | {f"{name}.json" for name in made}
