"""A live line for each of several makings, drawn in place on a terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from imagen_core.script import columns, cut
from imagen_core.types import Progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imagen_core.terminal import Terminal
    from imagen_core.types import Event, Run

FRAME_SECONDS = 0.1
WAITING, RUNNING, DONE, FAILED = range(4)
COLOURS = {WAITING: "90", RUNNING: "36", DONE: "32", FAILED: "31"}


class Line(NamedTuple):
    """How one of them stands."""

    state: int = WAITING
    text: str = "waiting"
    started: float = 0.0


class Pane:
    """Lines at the foot of a terminal, drawn again in place; where nobody looks, none."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._height = 0

    @property
    def room(self) -> int:
        """How many lines there is room for."""
        return max(self._terminal.height - 2, 1)

    def show(self, lines: Sequence[str]) -> None:
        """Draw these over what was there."""
        if not self._terminal.draws:
            return
        up = f"\r\x1b[{self._height}A" if self._height else ""
        rest = "\x1b[J" if len(lines) < self._height else ""
        self._terminal.draw(up + "".join(f"{line}\x1b[K\n" for line in lines) + rest)
        self._height = len(lines)

    def hide(self) -> None:
        """Take the lines away, so that another can be printed."""
        if self._height:
            self._terminal.draw(f"\r\x1b[{self._height}A\x1b[J")
            self._height = 0


class Board:
    """The lines of several makings, in their order; those that are over make room first.

    It draws nothing where nobody looks.
    """

    def __init__(self, terminal: Terminal, names: Mapping[str, str]) -> None:
        self._terminal = terminal
        self._names = names
        self._lines = {key: Line() for key in names}
        self._drawn = 0.0
        self._pane = Pane(terminal)

    def take(self, key: str, event: Event) -> None:
        """Show what a making reports."""
        line = self._lines.get(key)
        if line is None or line.state in (DONE, FAILED):
            return
        text = line.text if line.state == RUNNING else "at work"
        if isinstance(event, Progress):
            step = f"step {event.step}/{event.steps}" if event.steps else ""
            text = " ".join(filter(None, (step, event.message))) or text
        self._lines[key] = Line(RUNNING, text, line.started or time.monotonic())
        if time.monotonic() - self._drawn >= FRAME_SECONDS:
            self.draw()

    def finish(self, key: str, run: Run) -> None:
        """One making is over."""
        if run.failure:
            self._lines[key] = Line(FAILED, f"failed: {run.failure.message}")
        else:
            self._lines[key] = Line(DONE, f"done in {run.latency_ms / 1000:.1f} s")
        self.draw()

    def hide(self) -> None:
        """Take the lines away, so that another can be printed."""
        self._pane.hide()

    def draw(self) -> None:
        """Draw them as they are now, over what was there."""
        if self._terminal.draws:
            self._drawn = time.monotonic()
            self._pane.show([self._text(key) for key in self._shown()])

    def _shown(self) -> list[str]:
        """What there is room for: first what runs or failed, then what waits or is done."""
        order = {RUNNING: 0, FAILED: 1, WAITING: 2, DONE: 3}
        best = sorted(self._lines, key=lambda key: order[self._lines[key].state])
        best = best[: self._pane.room]
        return [key for key in self._lines if key in set(best)]

    def _text(self, key: str) -> str:
        from imagen_core.terminal import printable

        line = self._lines[key]
        width = max(map(columns, self._names.values()))
        room = max(self._terminal.width - width - 4, 10)
        seconds = f"  {time.monotonic() - line.started:.1f} s" if line.state == RUNNING else ""
        told = cut(printable(f"{line.text}{seconds}", newlines=False), room)
        name = printable(self._names[key], newlines=False)
        name += " " * (width - columns(name))
        return f" {name}  {self._terminal.styled(told, COLOURS[line.state])}"
