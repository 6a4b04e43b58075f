"""`tmux-img`: shows pictures in a terminal, inside tmux and outside of it.

Nothing here imports imagen_core, msgspec or argparse: the first paint is to come at once.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing is imported where an interrupt is waited for already
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from imagen_tmux.viewer.arguments import Arguments

STANDARD_ERROR = 2
INTERRUPTED = 130


def run() -> NoReturn:
    """The console script. Everything is written at once, so nothing has to be taken apart."""
    try:
        import signal

        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            # Ctrl-C ends it quietly also before there is something to give back, and after that.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)
    _fill_descriptors()
    os._exit(main())


def main(words: Sequence[str] | None = None) -> int:
    """Run it; the exit code is 0, 1 if a picture could not be shown, 2 if it was misused."""
    from imagen_tmux.viewer.arguments import Misuse, parse
    from imagen_tmux.viewer.caption import printable
    from imagen_tmux.viewer.telling import tell

    try:
        arguments = parse(sys.argv[1:] if words is None else words, os.environ)
    except Misuse as error:
        tell(2, f"tmux-img: error: {printable(str(error))}\n  hint: {printable(error.hint)}\n")
        return 2
    if arguments.told:
        return 0 if tell(1, arguments.told) else 1
    return _show(arguments)


def _show(arguments: Arguments) -> int:
    if not arguments.hold:
        from imagen_tmux.viewer.inline import print_pictures

        return print_pictures(arguments)
    if not (os.isatty(0) and os.isatty(1)):
        from imagen_tmux.viewer.telling import tell

        tell(2, "tmux-img: error: --hold needs a terminal\n  hint: leave --hold out\n")
        return 2
    from imagen_tmux.viewer.hold import hold

    return hold(arguments)


def _fill_descriptors() -> None:
    """No file that is opened takes the place of a closed standard stream.

    What stands there can't be written to, so that nothing counts as printed.
    """
    while (opened := os.open(os.devnull, os.O_RDONLY)) <= STANDARD_ERROR:
        pass
    os.close(opened)


__all__ = ["main", "run"]
