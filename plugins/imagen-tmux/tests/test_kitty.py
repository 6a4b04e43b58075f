"""Kitty's graphics through tmux: nothing is lost that was drawn while nobody looked."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from imagen_tmux.viewer.kitty import IMAGE_CELL, MARKS
from tmux_terminal import Terminal, kitty_pictures
from tmux_world import SCRIPTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tmux_world import World

RED, GREEN, BLUE, YELLOW = (200, 10, 20), (10, 180, 30), (20, 30, 190), (220, 210, 20)
TERM = "xterm-kitty"


@pytest.fixture
def kitty(world: World, tmp_path: Path) -> Iterator[Terminal]:
    """A client of the server in a terminal that says it is kitty, with passthrough allowed."""
    described = subprocess.run(
        ["infocmp", "xterm-256color"], capture_output=True, text=True, check=True
    )
    source = tmp_path / "kitty.terminfo"
    source.write_text(described.stdout.replace("xterm-256color|", f"{TERM}|"))
    subprocess.run(["tic", "-x", "-o", tmp_path / "terminfo", source], check=True)
    world.environment["TERMINFO"] = str(tmp_path / "terminfo")
    world.tmux("set-option", "-g", "allow-passthrough", "on")
    terminal = world.attach(TERM)
    yield terminal
    terminal.close()


def test_a_window_in_the_background_shows_the_picture_when_it_is_looked_at(
    world: World, kitty: Terminal, quarters: Callable[..., str]
) -> None:
    window = world.open("tmux-img", "--hold", quarters())
    world.painted(window, "quarters.png")
    assert len(world.blocks(window)) == 22
    drawn_so_far(world, kitty)
    assert kitty_pictures(kitty.written) == []

    world.tmux("select-window", "-t", window)
    kitty.read_until(IMAGE_CELL.encode())

    [sent] = kitty_pictures(kitty.written)
    assert [sent.pixel(x, y) for y in (100, 300) for x in (100, 300)] == [RED, GREEN, BLUE, YELLOW]
    assert sent.keys["U"] == "1"
    assert (sent.keys["c"], sent.keys["r"]) == ("44", "22")


def test_placeholders_name_the_picture_and_each_place_in_it(
    world: World, kitty: Terminal, quarters: Callable[..., str]
) -> None:
    window = world.open("tmux-img", "--hold", quarters())
    world.tmux("select-window", "-t", window)
    kitty.read_until(IMAGE_CELL.encode())
    world.painted(window, "quarters.png")

    [sent] = kitty_pictures(kitty.written)
    number = int(sent.keys["i"])
    colour = number >> 16, number >> 8 & 255, number & 255
    rows = [
        re.findall(f"{IMAGE_CELL}(.)(.)", line)
        for line in world.shown(window).split("\n")
        if IMAGE_CELL in line
    ]
    assert rows == [[(MARKS[y], MARKS[x]) for x in range(44)] for y in range(22)]
    placed = [c for row in world.cells(window) for c in row if c.text == IMAGE_CELL]
    assert {cell.over for cell in placed} == {colour}


def test_the_pixels_come_again_when_somebody_comes_back_with_another_terminal(
    world: World, kitty: Terminal, quarters: Callable[..., str]
) -> None:
    world.tmux("set-option", "-g", "focus-events", "on")
    window = world.open("tmux-img", "--hold", quarters())
    world.tmux("select-window", "-t", window)
    kitty.read_until(IMAGE_CELL.encode())
    world.painted(window, "quarters.png")

    world.attach_again(kitty, TERM)
    kitty.type(b"\x1b[O\x1b[I")
    kitty.read_until(b"\x1b_Ga=T")
    kitty.read_until(IMAGE_CELL.encode(), after=kitty.written.index(b"\x1b_Ga=T"))

    [sent] = kitty_pictures(kitty.written)
    assert sent.pixel(100, 100) == RED


def test_the_pixels_come_when_the_first_terminal_could_not_show_them(
    world: World, kitty: Terminal, quarters: Callable[..., str]
) -> None:
    world.tmux("set-option", "-g", "focus-events", "on")
    world.attach_again(kitty, "xterm-256color")
    window = world.open("tmux-img", "--hold", quarters())
    world.tmux("select-window", "-t", window)
    world.painted(window, "quarters.png")
    assert len(world.blocks(window)) == 22

    world.attach_again(kitty, TERM)
    kitty.type(b"\x1b[O\x1b[I")

    kitty.read_until(IMAGE_CELL.encode())
    [sent] = kitty_pictures(kitty.written)
    assert sent.pixel(100, 100) == RED


def test_a_window_that_another_session_of_the_group_shows_is_seen(
    world: World, kitty: Terminal, quarters: Callable[..., str]
) -> None:
    window = world.open("tmux-img", "--hold", quarters())
    world.painted(window, "quarters.png")
    world.tmux("new-session", "-d", "-t", "main", "-s", "other")
    world.tmux("select-window", "-t", "other:0")

    world.tmux("select-window", "-t", f"main:{window}")

    kitty.read_until(IMAGE_CELL.encode())
    [sent] = kitty_pictures(kitty.written)
    assert sent.pixel(100, 100) == RED


@pytest.mark.parametrize("where", ["| cat", "> x; cat x"])
def test_a_pipe_gets_half_blocks(
    where: str, world: World, kitty: Terminal, quarters: Callable[..., str]
) -> None:
    said = world.run(f"cd {world.folder}; tmux-img {quarters()} {where}")

    assert said.endswith("code 0")
    assert world.blocks("main:0")
    drawn_so_far(world, kitty)
    assert kitty_pictures(kitty.written) == []


def drawn_so_far(world: World, terminal: Terminal) -> None:
    """Read what tmux has written, up to a word of our own that comes after it."""
    world.tmux("set-option", "-g", "status-left", "drained")
    world.tmux("refresh-client", "-t", world.tmux("list-clients", "-F", "#{client_name}").strip())
    terminal.read_until(b"drained")


def test_in_the_pane_of_a_shell_the_pixels_come_at_once(
    world: World, kitty: Terminal, quarters: Callable[..., str]
) -> None:
    world.run(f"tmux-img {quarters()}")

    kitty.read_until(IMAGE_CELL.encode())
    [sent] = kitty_pictures(kitty.written)
    assert sent.pixel(300, 300) == YELLOW
    assert (sent.keys["c"], sent.keys["r"]) == ("42", "21")


def test_the_picture_is_forgotten_when_the_window_closes(
    world: World, kitty: Terminal, quarters: Callable[..., str]
) -> None:
    window = world.open("tmux-img", "--hold", quarters())
    world.tmux("select-window", "-t", window)
    kitty.read_until(IMAGE_CELL.encode())
    world.painted(window, "quarters.png")

    world.tmux("send-keys", "-t", window, "q")

    [sent] = kitty_pictures(kitty.written)
    kitty.read_until(f"\x1b_Ga=d,d=I,i={sent.keys['i']},q=2\x1b\\".encode())


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT], ids=lambda n: n.name
)
@pytest.mark.parametrize("hold", [(), ("--hold",)], ids=["printed", "held"])
def test_a_sequence_that_a_signal_cuts_off_is_closed(
    hold: tuple[str, ...], number: signal.Signals, world: World, kitty: Terminal, tmp_path: Path
) -> None:
    from PIL import Image

    del kitty
    Image.frombytes("RGB", (800, 800), os.urandom(800 * 800 * 3)).save(tmp_path / "noise.png")
    command = [f"{SCRIPTS}/tmux-img", *hold, str(tmp_path / "noise.png")]
    with Terminal(command, world.inside, size=(200, 60)) as terminal:
        # Nobody reads on from here, so that it can't come to the end.
        terminal.read_until(b"\x1bPtmux;")
        terminal.process.send_signal(number)
        terminal.wait()

        assert IMAGE_CELL.encode() not in terminal.written
        # Within what passes through, escapes come in pairs.
        parts = terminal.written.split(b"\x1bPtmux;")[1:]
        assert all(b"\x1b\\" in part.replace(b"\x1b\x1b", b"") for part in parts)
        assert terminal.attributes_are_as_before()


def test_without_passthrough_there_are_half_blocks(
    world: World, kitty: Terminal, quarters: Callable[..., str]
) -> None:
    world.tmux("set-option", "-g", "allow-passthrough", "off")
    window = world.open("tmux-img", "--hold", quarters())
    world.tmux("select-window", "-t", window)

    world.painted(window, "quarters.png")

    assert len(world.blocks(window)) == 22
    drawn_so_far(world, kitty)
    assert kitty_pictures(kitty.written) == []


def test_another_terminal_gets_half_blocks(world: World, quarters: Callable[..., str]) -> None:
    world.tmux("set-option", "-g", "allow-passthrough", "on")
    with world.attach("xterm-256color") as other:
        window = world.open("tmux-img", "--hold", quarters())
        world.tmux("select-window", "-t", window)

        world.painted(window, "quarters.png")

        assert len(world.blocks(window)) == 22
        drawn_so_far(world, other)
        assert kitty_pictures(other.written) == []


def test_there_are_as_many_marks_as_kitty_knows() -> None:
    assert len({*MARKS}) == 297
    assert (MARKS[0], MARKS[1], MARKS[-1]) == ("\u0305", "\u030d", "\U0001d244")
    assert list(MARKS) == sorted(MARKS)
