"""`tmux-img --hold PATH…`: one picture at a time on the whole screen, until a key is pressed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from imagen_tmux.viewer.caption import BOLD, DIM, RESET, caption, cut, printable, width
from imagen_tmux.viewer.detect import Found, Probe
from imagen_tmux.viewer.drawing import draw
from imagen_tmux.viewer.painting import Painting
from imagen_tmux.viewer.picture import load
from imagen_tmux.viewer.screen import (
    CLOSED,
    CONTINUED,
    PATIENCE,
    RESIZED,
    STOPPED,
    Screen,
    canvas,
    owing,
    write,
)

if TYPE_CHECKING:
    from imagen_tmux.viewer.arguments import Arguments
    from imagen_tmux.viewer.painting import Canvas
    from imagen_tmux.viewer.picture import Picture
    from imagen_tmux.viewer.screen import Owed

LOOK_SECONDS = 1.0
"""How often it is asked whether somebody looks, until the first who does."""
CAPTION_ROWS = 2
LEAST_ROWS = 6
"""A screen with fewer rows has no caption."""

NEXT = {"n", "l", "j", " ", "\x1b[C", "\x1b[B", "\x1bOC", "\x1bOB", "\x1b[6~"}
BEFORE = {"p", "h", "k", "\x7f", "\b", "\x1b[D", "\x1b[A", "\x1bOD", "\x1bOA", "\x1b[5~"}
FIRST = {"g", "\x1b[H", "\x1bOH", "\x1b[1~", "\x1b[7~"}
LAST = {"G", "\x1b[F", "\x1bOF", "\x1b[4~", "\x1b[8~"}
AGAIN = {"r", "\x0c", RESIZED}
STOP = {"\x1a", STOPPED}
LOOKED_AT = "\x1b[I"


def hold(arguments: Arguments) -> int:
    """Show the pictures until a key ends it, or a signal does."""
    screen = Screen()
    with screen.taken() as owed:
        _Viewer(screen, arguments).run(owed)
    return 0


class _Viewer:
    def __init__(self, screen: Screen, arguments: Arguments) -> None:
        self._screen = screen
        self._paths = arguments.paths
        self._protocol = arguments.protocol
        self._warning = [printable(arguments.warning)] if arguments.warning else []
        self._at = 0
        self._found = Found("blocks")
        self._painting = Painting(0, 0)

    def run(self, owed: Owed) -> None:
        """Draw, and do what the keys say."""
        with owing(owed, self._clear):
            self._draw()
            while self._goes_on():
                pass

    def _clear(self) -> None:
        if self._painting.after:
            write(CLOSED + self._painting.after, PATIENCE)

    def _goes_on(self) -> bool:
        event = self._screen.event(LOOK_SECONDS if self._found.waits else None)
        last = len(self._paths) - 1
        if event in ("", LOOKED_AT):
            self._look()
        elif event in NEXT or event in BEFORE:
            self._turn_to(min(max(self._at + (1 if event in NEXT else -1), 0), last))
        elif event in FIRST or event in LAST:
            self._turn_to(0 if event in FIRST else last)
        elif event in AGAIN:
            self._draw()
        elif event in STOP:
            self._screen.stop()
            self._draw()
        elif event == CONTINUED:
            self._screen.resume()
            self._draw()
        else:
            # Other sequences are no keys: a reply that came late, or a focus that went away.
            return event.startswith("\x1b") and len(event) > 1
        return True

    def _turn_to(self, number: int) -> None:
        if number != self._at:
            self._at = number
            self._draw()

    def _look(self) -> None:
        """What was drawn while nobody looked, or for another terminal, may have to be again."""
        if self._found.tmux:
            probe = Probe(self._protocol, os.environ, replies=True)
            found = probe.found()
            self._screen.unread(probe.typed)
            if found != self._found:
                self._draw()

    def _draw(self) -> None:
        room = canvas(os.environ)
        rows = CAPTION_ROWS + len(self._warning) if room.rows >= LEAST_ROWS else 0
        upper = room._replace(rows=room.rows - rows)
        probe = Probe(self._protocol, os.environ, replies=True)
        path = self._paths[self._at]
        picture = load(path, upper.pixels)
        self._found = probe.found()
        self._screen.unread(probe.typed)
        before = self._painting.after
        self._painting, problem = draw(picture, upper, self._found)
        # The caption has the name of the file.
        told = [problem] if rows else [printable(path), problem]
        shown = _message(told, upper) if problem else _placed(self._painting, upper)
        write(f"{before}\x1b[0m\x1b[2J{shown}{self._caption(path, picture, room) if rows else ''}")

    def _caption(self, path: str, picture: Picture, room: Canvas) -> str:
        number = self._at + 1, len(self._paths)
        said = [*self._warning, *caption(path, picture.size, number)]
        lines = [cut(line, room.columns) for line in said]
        styles = *[BOLD for _ in self._warning], "", DIM
        first = room.rows - len(lines) + 1
        placed = (
            f"{_at(first + index, 1 + (room.columns - width(line)) // 2)}{style}{line}{RESET}"
            for index, (line, style) in enumerate(zip(lines, styles, strict=True))
        )
        return "".join(placed)


def _at(row: int, column: int) -> str:
    return f"\x1b[{row};{column}H"


def _placed(painting: Painting, room: Canvas) -> str:
    """The painting in the middle of the room."""
    top = (room.rows - painting.rows) // 2 + 1
    left = (room.columns - painting.columns) // 2 + 1
    lines = (f"{_at(top + row, left)}{line}" for row, line in enumerate(painting.lines))
    image = f"{_at(top, left)}{painting.image}" if painting.image else ""
    return f"{painting.before}{''.join(lines)}{image}"


def _message(told: list[str], room: Canvas) -> str:
    """What is wrong, in the middle of the room where the picture would be."""
    lines = [cut(line, room.columns) for line in told]
    top = max((room.rows - len(lines)) // 2 + 1, 1)
    placed = (
        f"{_at(top + index, max(1, 1 + (room.columns - width(line)) // 2))}{line}"
        for index, line in enumerate(lines)
    )
    return "".join(placed)
