"""Keys, sequences and a shell that stops it: whose each of them is while `tmux-img` shows."""

from __future__ import annotations

import os
import select
import shlex
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tmux_outside import LEFT, PLAIN, SLOW_LINE, run, viewer
from tmux_terminal import DEVICE, PATIENCE, Terminal
from tmux_world import SCRIPTS

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_key_ends_it_and_the_terminal_is_as_before(quarters: Callable[..., str]) -> None:
    with run("--hold", quarters(), replies=PLAIN) as terminal:
        terminal.read_until(b"quarters.png")
        assert not terminal.attributes_are_as_before()

        terminal.type(b"q")

        assert terminal.wait() == 0
        assert terminal.written.endswith(LEFT)
        assert terminal.attributes_are_as_before()


def test_what_is_typed_ahead_is_for_the_shell(quarters: Callable[..., str]) -> None:
    allowed = Path("/proc/sys/dev/tty/legacy_tiocsti")
    if allowed.exists() and allowed.read_text().strip() == "0":
        pytest.skip("this system gives no keys back")
    shell = ["bash", "--norc", "--noprofile", "-i"]
    environment = {**os.environ, "PS1": "ready> ", "PATH": f"{SCRIPTS}:{os.environ['PATH']}"}
    with Terminal(shell, environment) as terminal:
        terminal.read_until(b"ready> ")
        # So long that it still asks when this is typed.
        command = [*viewer("detect.PATIENCE = 4"), quarters()]
        terminal.type(f"{shlex.join(command)}\n".encode())
        terminal.read_until(DEVICE)

        terminal.type(b"echo a''head\n\x1b[?62")

        terminal.read_until(b"ahead\r\n")
        terminal.type(b"exit\n")
        assert terminal.wait() == 0


def test_in_the_background_of_a_shell_it_is_not_stopped(quarters: Callable[..., str]) -> None:
    shell = ["bash", "--norc", "--noprofile", "-i"]
    environment = {**os.environ, "PS1": "ready> ", "PATH": f"{SCRIPTS}:{os.environ['PATH']}"}
    with Terminal(shell, environment) as terminal:
        terminal.read_until(b"ready> ")

        terminal.type(f"tmux-img {quarters()} & wait; jobs; echo en''ded\n".encode())

        said = terminal.read_until(b"ended\r\n")
        assert b"Stopped" not in said
        assert "▀".encode() in said
        terminal.type(b"exit\n")
        assert terminal.wait() == 0


def test_it_stops_and_goes_on_again(quarters: Callable[..., str]) -> None:
    with run("--hold", quarters(), replies=PLAIN) as terminal:
        terminal.read_until(b"quarters.png")

        terminal.process.send_signal(signal.SIGSTOP)
        wait_for_state(terminal.process.pid, "T")
        before = len(terminal.written)
        terminal.process.send_signal(signal.SIGCONT)

        terminal.read_until(b"quarters.png", after=before)
        terminal.type(b"q")
        assert terminal.wait() == 0
        assert terminal.attributes_are_as_before()


def test_a_shell_can_stop_it_and_go_on_with_it(quarters: Callable[..., str]) -> None:
    shell = ["bash", "--norc", "--noprofile", "-i"]
    environment = {**os.environ, "PS1": "ready> ", "PATH": f"{SCRIPTS}:{os.environ['PATH']}"}
    with Terminal(shell, environment, replies=PLAIN) as terminal:
        terminal.read_until(b"ready> ")
        terminal.type(f"tmux-img --hold {quarters()}\n".encode())
        terminal.read_until(b"400x400")

        terminal.type(b"\x1a")
        stopped = terminal.read_until(b"Stopped")
        assert LEFT in stopped
        terminal.read_until(b"ready> ", after=stopped.index(b"Stopped"))
        before = len(terminal.written)
        terminal.type(b"fg\n")

        terminal.read_until(b"400x400", after=before)
        terminal.type(b"q")
        ended = terminal.read_until(LEFT, after=before).rindex(LEFT)
        terminal.read_until(b"ready> ", after=ended)
        terminal.type(b"exit\n")
        assert terminal.wait() == 0


def wait_for_state(process: int, state: str) -> None:
    limit = time.monotonic() + PATIENCE
    while True:
        with open(f"/proc/{process}/stat", encoding="utf-8") as file:  # noqa: PTH123
            if file.read().rpartition(")")[2].split()[0] == state:
                return
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_replies_that_come_late_are_no_keys(quarters: Callable[..., str]) -> None:
    with run("--hold", quarters()) as terminal:
        terminal.read_until(b"quarters.png")

        terminal.type(b"\x1b_Gi=31;OK\x1b\\\x1b[?62;4c\x1b[O\x1b[<0;1;1M")
        before = len(terminal.written)
        terminal.type(b"r")

        terminal.read_until(b"quarters.png", after=before)
        assert terminal.process.poll() is None


@pytest.mark.parametrize(
    ("first", "rest"),
    [
        (b"\x1b[?62", b";4c"),
        (b"\x1b_Gi=31;OK", b"\x1b\\"),
        (b"\x1b_Gi=31;OK\x1b", b"\\"),
        (b"\x1b[", b"?62c"),
        (b"\x1b[6", b"~"),
        (b"\x1bO", b"C"),
    ],
)
def test_a_sequence_that_comes_in_two_is_no_key(
    first: bytes, rest: bytes, quarters: Callable[..., str]
) -> None:
    pictures = quarters("one.png"), quarters("two.png")
    with run("--hold", *pictures, replies=PLAIN, limit=SLOW_LINE) as terminal:
        terminal.read_until(b"one.png")

        before = len(terminal.written)
        terminal.type(b"r" + first)
        terminal.read_until(b"one.png", after=before)
        terminal.type(rest)
        before = len(terminal.written)
        terminal.type(b"nr")

        terminal.read_until(b"two.png", after=before)
        terminal.type(b"q")
        assert terminal.wait() == 0


@pytest.mark.parametrize("keys", [b"\x1b", b"n\x1b"])
def test_escape_ends_it_though_a_sequence_begins_so(
    keys: bytes, quarters: Callable[..., str]
) -> None:
    with run("--hold", quarters(), replies=PLAIN) as terminal:
        terminal.read_until(b"quarters.png")

        terminal.type(keys)

        assert terminal.wait() == 0


def test_half_a_sequence_does_not_swallow_keys_for_ever(quarters: Callable[..., str]) -> None:
    with run("--hold", quarters(), replies=PLAIN) as terminal:
        terminal.read_until(b"quarters.png")
        terminal.type(b"\x1b_")

        limit = time.monotonic() + PATIENCE
        while terminal.process.poll() is None:
            assert time.monotonic() < limit
            terminal.type(b"q")
            select.select([terminal.end], [], [], 0.05)


def test_a_reply_that_the_limit_cuts_in_two_is_no_key(quarters: Callable[..., str]) -> None:
    with run("--hold", quarters(), limit=SLOW_LINE) as terminal:
        terminal.read_until(DEVICE)
        terminal.type(b"\x1b[?62")
        terminal.read_until(b"quarters.png")

        terminal.type(b";4c")
        before = len(terminal.written)
        terminal.type(b"r")

        terminal.read_until(b"quarters.png", after=before)
        terminal.type(b"q")
        assert terminal.wait() == 0


def test_a_key_that_is_typed_before_the_picture_is_there_counts(
    quarters: Callable[..., str],
) -> None:
    with run("--hold", quarters()) as terminal:
        terminal.read_until(DEVICE)

        terminal.type(b"q\x1b[?1;2c")

        assert terminal.wait() == 0
        assert terminal.written.endswith(LEFT)
