"""The way in: `imagen`, and `python -m imagen_core`. Ctrl-C is 130 from the first moment on."""

from __future__ import annotations

import gc
import os
import signal

SIGNALS = (signal.SIGINT, signal.SIGTERM)
INTERRUPTED = 130


def main() -> None:
    """Run the command; a signal before or after it leaves no trace."""
    for number in SIGNALS:
        signal.signal(number, _leave)
    try:
        from imagen_core import cli

        for number in SIGNALS:
            signal.signal(number, signal.default_int_handler)
        cli.main()
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        # Collecting what the end of the process frees anyway takes Python tens of milliseconds.
        gc.freeze()


def _leave(*_: object) -> None:
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
