"""Signals that end `tmux-img`, and a terminal that is left as it was."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tmux_outside import KITTY, LEFT, PATIENT, PLAIN, run
from tmux_terminal import DEVICE, PATIENCE, Terminal, kitty_pictures

if TYPE_CHECKING:
    from collections.abc import Callable

ENDING = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT


@pytest.mark.parametrize("module", ["arguments", "caption", "hold", "picture", "screen"])
def test_an_interrupt_while_it_begins_ends_it_quietly(
    module: str, quarters: Callable[..., str]
) -> None:
    code = (
        "import os, signal, sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == 'imagen_tmux.viewer.{module}':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "from imagen_tmux.viewer import run\n"
        "run()\n"
    )
    command = [sys.executable, "-c", code, "--hold", quarters()]
    with Terminal(command, dict(os.environ)) as terminal:
        assert terminal.wait() == -signal.SIGINT
        assert terminal.written == b""
        assert terminal.attributes_are_as_before()


@pytest.mark.parametrize("number", ENDING, ids=lambda n: n.name)
@pytest.mark.parametrize("replies", [PLAIN, KITTY], ids=["blocks", "kitty"])
def test_a_signal_ends_it_and_the_terminal_is_as_before(
    number: signal.Signals, replies: dict[bytes, bytes], quarters: Callable[..., str]
) -> None:
    with run("--hold", quarters(), replies=replies, limit=PATIENT) as terminal:
        terminal.read_until(b"quarters.png")

        terminal.process.send_signal(number)

        assert terminal.wait() == -number
        assert terminal.written.endswith(LEFT)
        assert terminal.attributes_are_as_before()
        if replies is KITTY:
            [sent] = kitty_pictures(terminal.written)
            assert f"\x1b_Ga=d,d=I,i={sent.keys['i']},q=2\x1b\\".encode() in terminal.written


@pytest.mark.parametrize(
    "pair", [*itertools.permutations(ENDING, 2)], ids=lambda pair: "-".join(n.name for n in pair)
)
@pytest.mark.parametrize("replies", [PLAIN, KITTY], ids=["blocks", "kitty"])
def test_two_signals_leave_the_terminal_as_before(
    pair: tuple[signal.Signals, ...],
    replies: dict[bytes, bytes],
    quarters: Callable[..., str],
) -> None:
    with run("--hold", quarters(), replies=replies, limit=PATIENT) as terminal:
        terminal.read_until(b"quarters.png")

        for number in pair:
            terminal.process.send_signal(number)

        assert terminal.wait() in {-number for number in pair}
        assert terminal.written.endswith(LEFT)
        assert terminal.attributes_are_as_before()


@pytest.mark.parametrize(
    "numbers",
    [*((number,) for number in ENDING), *itertools.permutations(ENDING, 2)],
    ids=lambda numbers: "-".join(n.name for n in numbers),
)
def test_signals_while_the_terminal_is_asked_leave_it_as_before(
    numbers: tuple[signal.Signals, ...], quarters: Callable[..., str]
) -> None:
    patient = "import imagen_tmux.viewer as v, imagen_tmux.viewer.detect as d; d.PATIENCE = 99; "
    with Terminal([sys.executable, "-c", f"{patient}v.run()", quarters()], os.environ) as terminal:
        terminal.read_until(DEVICE)

        for number in numbers:
            terminal.process.send_signal(number)

        assert terminal.wait() in {128 + number for number in numbers}
        assert terminal.attributes_are_as_before()
        assert terminal.written.endswith(b"\x1b\\\x1b\\\x1b[0m\r\n")
        assert b"race" not in terminal.written


def test_a_terminal_that_goes_away_ends_it(quarters: Callable[..., str]) -> None:
    terminal = run("--hold", quarters(), replies=PLAIN)
    terminal.read_until(b"quarters.png")

    os.close(terminal.theirs)
    os.close(terminal.end)

    assert terminal.process.wait(PATIENCE) in (0, -signal.SIGHUP)


@pytest.mark.parametrize("hold", [(), ("--hold",)], ids=["printed", "held"])
def test_a_signal_is_heard_where_nothing_can_be_raised(
    hold: tuple[str, ...], quarters: Callable[..., str]
) -> None:
    """Python drops what is raised in the callback of a weak reference, as its imports have some."""
    code = (
        "import os, signal, sys, weakref\n"
        "import imagen_tmux.viewer as viewer, imagen_tmux.viewer.detect as detect\n"
        "class Watched: pass\n"
        "def asking(*_):\n"
        "    watched = Watched()\n"
        "    end = lambda _: os.kill(os.getpid(), signal.SIGTERM)\n"
        "    watch = weakref.ref(watched, end)\n"
        "    del watched\n"
        "    print('it goes on')\n"
        "    return ''\n"
        "detect.screen.ask = asking\n"
        "viewer.run()\n"
    )
    command = [sys.executable, "-c", code, *hold, quarters()]
    with Terminal(command, dict(os.environ)) as terminal:
        assert terminal.wait() == (-signal.SIGTERM if hold else 128 + signal.SIGTERM)
        assert b"it goes on" not in terminal.written
        assert terminal.attributes_are_as_before()
