"""`tmux-img`: shows pictures in a terminal, inside tmux and outside of it.

Nothing here imports imagen_core, msgspec or argparse: the first paint is to come at once.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

from imagen_tmux.viewer.arguments import Arguments, Misuse, parse
from imagen_tmux.viewer.caption import printable

if TYPE_CHECKING:
    from collections.abc import Sequence


def run() -> NoReturn:
    """The console script. Everything is written at once, so nothing has to be taken apart."""
    os._exit(main())


def main(words: Sequence[str] | None = None) -> int:
    """Run it; the exit code is 0, 1 if a picture could not be shown, 2 if it was misused."""
    try:
        arguments = parse(sys.argv[1:] if words is None else words, os.environ)
    except Misuse as error:
        _tell(2, f"tmux-img: error: {printable(str(error))}\n  hint: {printable(error.hint)}\n")
        return 2
    if arguments.told:
        _tell(1, arguments.told)
        return 0
    return _show(arguments)


def _show(arguments: Arguments) -> int:
    if not arguments.hold:
        from imagen_tmux.viewer.inline import print_pictures

        return print_pictures(arguments)
    if not (os.isatty(0) and os.isatty(1)):
        _tell(2, "tmux-img: error: --hold needs a terminal\n  hint: leave --hold out\n")
        return 2
    from imagen_tmux.viewer.hold import hold

    return hold(arguments)


def _tell(descriptor: int, text: str) -> None:
    try:
        os.write(descriptor, text.encode("utf-8", "backslashreplace"))
    except OSError:
        return  # nobody listens


__all__ = ["main", "run"]
