"""The preview: the first paint of `tmux-img` beside chafa and timg, and what a window adds."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench import environments
from bench.commands import clean_environment, run_timed
from bench.environments import ROOT, tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

TMUX_IMG, HELD, CHAFA, TIMG = "tmux-img", "tmux-img --hold", "chafa", "timg"
PHOTO, FLAT = "photo", "flat"
SIDE = 1024
COLUMNS, ROWS = 120, 38
"""The cells of a picture. tmux-img leaves some rows free, and has so many more to itself."""
FREE = {TMUX_IMG: 3, HELD: 2}
ROUNDS, QUICK = 30, 5
REPLIES = {
    b"\x1b[c": b"\x1b[?1;2c",
    b"\x1b]11;?": b"\x1b]11;rgb:0000/0000/0000\x1b\\",
}
"""What the terminal is asked, and what it answers at once, so that nobody waits for it."""
LAST = b"1024x1024"
"""What tmux-img paints last, and then waits for a key."""


class Paint(NamedTuple):
    """Seconds from the start of a process to its last byte, by viewer; empty if it is not there."""

    kind: str
    seconds: dict[str, list[float]]


class Added(NamedTuple):
    """Seconds of a whole `imagen generate` without and with preview, and of the step by itself.

    `bare`: of a `tmux new-window` that opens the same.
    """

    without: list[float]
    with_it: list[float]
    step: list[float]
    bare: list[float]


class Previews(NamedTuple):
    """All that was measured; `added` None without tmux."""

    paints: list[Paint]
    added: Added | None


def measure(folder: Path, *, quick: bool) -> Previews:
    """Each viewer in turns, and generate with and without preview in turns."""
    tell("the preview ...")
    installed = environments.imagen(sleepy=False)
    if installed is None:
        raise SystemExit("imagen itself could not be installed")
    _make_pictures(folder)
    rounds = QUICK if quick else ROUNDS
    viewers = _viewers(installed.script("tmux-img"))
    paints = [_paint(folder / f"{kind}.png", kind, viewers, rounds) for kind in (PHOTO, FLAT)]
    tmux = shutil.which("tmux")
    if tmux is None:
        tell("there is no tmux here (Debian package tmux): what it adds is not measured")
        return Previews(paints, None)
    with _server(tmux) as (inside, alone):
        return Previews(paints, _added(installed, folder, inside, alone, rounds))


def _make_pictures(folder: Path) -> None:
    """A photo-like picture, as the contact sheets have, and one of a single colour."""
    command = [sys.executable, "-m", "bench.sheet", "photos", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True)
    (folder / "photo-0.png").rename(folder / f"{PHOTO}.png")
    flat = [sys.executable, "-m", "bench.preview", "flat", str(folder / f"{FLAT}.png")]
    subprocess.run(flat, cwd=ROOT, check=True)


def _viewers(program: str) -> dict[str, list[str]]:
    """The command of each viewer that is there: chafa with its usual symbols, the others blocks."""
    size = f"{COLUMNS}x{ROWS}"
    found = {TMUX_IMG: [program], HELD: [program, "--hold"]}
    peers = {CHAFA: ["-s", size], TIMG: ["-ph", f"-g{size}"]}
    for name, options in peers.items():
        if path := shutil.which(name):
            found[name] = [path, *options]
        else:
            tell(f"there is no {name} here (Debian package {name}): it is not measured")
    return found


def _paint(picture: Path, kind: str, viewers: Mapping[str, Sequence[str]], rounds: int) -> Paint:
    seconds: dict[str, list[float]] = {name: [] for name in (TMUX_IMG, HELD, CHAFA, TIMG)}
    for number in range(rounds + 1):
        for name, command in viewers.items():
            rows = ROWS + FREE.get(name, 0)
            spent = _timed([*command, str(picture)], rows, LAST if name == HELD else b"")
            if number:  # the first round warms up
                seconds[name].append(spent)
    return Paint(kind, seconds)


def _timed(command: Sequence[str], rows: int, last: bytes) -> float:
    """The seconds until a process has ended, or has painted this, in a terminal of its own."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, COLUMNS, 1200, rows * 20))
    colours = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    environment = clean_environment(Path(tempfile.gettempdir()), colours)
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, close_fds=True
    )
    os.close(theirs)
    try:
        _read_to_the_end(ours, last)
        if not last:
            process.wait()
        return time.perf_counter() - started
    finally:
        process.terminate()
        process.wait()
        os.close(ours)


def _read_to_the_end(terminal: int, last: bytes) -> None:
    """Read until it is closed, or until this was written; questions are answered."""
    said, replies = b"", dict(REPLIES)
    while not (last and last in said[-4096:]):
        try:
            select.select([terminal], [], [])
            data = os.read(terminal, 65_536)
        except OSError:  # nobody has the other end any more
            return
        if not data:
            return
        said += data
        for question in [question for question in replies if question in said[:4096]]:
            os.write(terminal, replies.pop(question))


@contextmanager
def _server(tmux: str) -> Iterator[tuple[dict[str, str], Callable[[], object]]]:
    """A tmux server of its own.

    Gives the variables of a process in its first pane, and what closes all other windows.
    """
    with tempfile.TemporaryDirectory(prefix="imagen-bench-") as sockets:
        environment = clean_environment(Path(sockets), {"TMUX_TMPDIR": sockets, "TERM": "screen"})
        server = [tmux, "-L", "bench", "-f", os.devnull]

        def ask(*words: str) -> str:
            command = [*server, *words]
            return subprocess.check_output(command, env=environment, text=True).strip()

        ask("new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), "sleep 100000")
        try:
            told = ask("display-message", "-p", "#{socket_path},#{pid},0 #{pane_id}").split()
            inside = {"TMUX": told[0], "TMUX_PANE": told[1]}
            yield inside, lambda: ask("kill-window", "-a", "-t", ":{start}")
        finally:
            ask("kill-server")


def _added(
    installed: environments.Environment,
    folder: Path,
    inside: Mapping[str, str],
    alone: Callable[[], object],
    rounds: int,
) -> Added:
    """Whole processes in turns, and the step within processes of its own.

    The viewer of one does not compete with the next.
    """
    found = Added([], [], [], [])
    environment = clean_environment(folder, inside)
    words = ("generate", "a cat", "--backend", "mock", "--seed", "42", "--size", "64x64")
    generate = [installed.script("imagen"), *words, "--output", str(folder / "cat.png")]
    step = [installed.python, "-m", "bench.preview", "step", *words, "--output"]
    python = {**environment, "PYTHONPATH": str(ROOT)}
    window = ["tmux", "new-window", "-d", "--", installed.script("tmux-img"), "--hold"]
    for number in range(rounds + 1):
        without, _ = run_timed([*generate, "--no-preview"], environment)
        with_it, _ = run_timed([*generate, "--preview"], environment)
        alone()
        spent = subprocess.check_output(
            [*step, str(folder / "cat.png"), "--preview"], env=python, cwd=folder, text=True
        )
        alone()
        bare, _ = run_timed([*window, str(folder / "cat.png")], environment)
        alone()
        if number:
            found.bare.append(bare)
            found.without.append(without)
            found.with_it.append(with_it)
            found.step.append(float(spent.split()[-1]))
    return found


def _main(what: str, *words: str) -> None:
    if what == FLAT:
        from PIL import Image

        Image.new("RGB", (SIDE, SIDE), (20, 120, 200)).save(words[0])
        return
    from imagen_core.cli import run
    from imagen_core.pipeline import Pipeline
    from imagen_core.terminal import Terminal

    original = Pipeline.show
    spent = []

    def timed(self: Pipeline, runs: Sequence[object], paths: Sequence[str]) -> object:
        started = time.perf_counter()
        notes = original(self, runs, paths)  # type: ignore[arg-type]
        spent.append(time.perf_counter() - started)
        return notes

    Pipeline.show = timed  # type: ignore[assignment, method-assign]
    assert run(list(words), terminal=Terminal()) == 0
    print(sum(spent))


if __name__ == "__main__":
    _main(*sys.argv[1:])
