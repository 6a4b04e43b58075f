"""`tmux-img PATH…`: the pictures one below the other, between the lines of a shell."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING

from imagen_tmux.viewer import screen
from imagen_tmux.viewer.caption import DIM, RESET, caption, cut, printable
from imagen_tmux.viewer.detect import Probe, can_reply
from imagen_tmux.viewer.drawing import draw
from imagen_tmux.viewer.picture import load
from imagen_tmux.viewer.telling import tell

if TYPE_CHECKING:
    from imagen_tmux.viewer.arguments import Arguments
    from imagen_tmux.viewer.detect import Found
    from imagen_tmux.viewer.painting import Canvas, Painting
    from imagen_tmux.viewer.picture import Picture

BELOW = 3
"""Rows that a picture leaves free: for its caption, and for the next prompt."""


def print_pictures(arguments: Arguments) -> int:
    """Print them; the exit code is 1 if one of them could not be shown."""
    if arguments.warning:
        tell(2, f"tmux-img: {printable(arguments.warning)}\n")
    with screen.ending(_leave) as owed:
        return _print_pictures(arguments, owed)


def _leave(number: int) -> None:
    screen.write(f"{screen.CLOSED}{RESET}\n", screen.PATIENCE)
    os._exit(128 + number)


def _print_pictures(arguments: Arguments, owed: screen.Owed) -> int:
    room = screen.canvas(os.environ)
    room = room._replace(rows=max(room.rows - BELOW, 1))
    first, found = _first(arguments, room, owed)
    code = 0
    for index, path in enumerate(arguments.paths):
        picture = load(path, room.pixels) if index else first
        drawn = draw(picture, room, found)
        if drawn.problem:
            tell(2, f"tmux-img: {printable(path)}: {drawn.problem}\n")
            code = 1
            continue
        about = caption(path, picture.size, (index + 1, len(arguments.paths)))
        lines = [f"{DIM}{cut(line, room.columns)}{RESET}" for line in about if line]
        try:
            screen.send(_placed(drawn.painting) + "\n".join([*lines, ""]))
        except BrokenPipeError:
            return 1  # nobody reads it any more, and needs to be told
        except OSError as error:
            tell(2, f"tmux-img: cannot print the picture: {error.strerror}\n")
            return 1
    return code


def _first(arguments: Arguments, room: Canvas, owed: screen.Owed) -> tuple[Picture, Found]:
    """The first picture, decoded while the terminal is asked what it can do."""
    replies = arguments.protocol == "auto" and can_reply()
    with screen.raw(owed) if replies else nullcontext():
        probe = Probe(arguments.protocol, os.environ, replies=replies)
        first, found = load(arguments.paths[0], room.pixels), probe.found()
    screen.give_back(probe.typed)  # a Ctrl-C among the keys is one now
    return first, found


def _placed(painting: Painting) -> str:
    """The painting, with the cursor on the line below it."""
    if not painting.image:
        return painting.before + "".join(f"{line}\n" for line in painting.lines)
    # Room is made first, since an image that scrolls is not where the cursor thinks it is.
    down = "\n" * painting.rows
    up = f"\x1b[{painting.rows}A"
    return f"{down}{up}\x1b7{painting.image}\x1b8\x1b[{painting.rows}B\r"
