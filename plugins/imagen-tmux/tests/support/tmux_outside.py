"""`tmux-img` in a terminal outside of tmux."""

from __future__ import annotations

import os
import sys
from typing import Any

from tmux_terminal import DEVICE, Terminal
from tmux_world import SCRIPTS

VIEWER = str(SCRIPTS / "tmux-img")
PLAIN = {DEVICE: b"\x1b[?1;2c"}
SIXEL = {DEVICE: b"\x1b[?62;4c"}
KITTY = {DEVICE: b"\x1b_Gi=31;OK\x1b\\\x1b[?62;c"}
"""What terminals of three kinds answer."""
PATIENT = "detect.PATIENCE = 60"
"""For a terminal that answers, though maybe late, as the test that plays it is not alone."""
SLOW_LINE = "screen.REST_SECONDS = 60"
"""For one whose second half of a sequence may come as late."""
LEFT = b"\x1b[?25h\x1b[?1049l"


def viewer(limit: str = "") -> list[str]:
    """The command, with one of its limits changed."""
    if not limit:
        return [VIEWER]
    code = f"from imagen_tmux.viewer import detect, run, screen; {limit}; run()"
    return [sys.executable, "-c", code]


def run(*arguments: str, limit: str = "", **options: Any) -> Terminal:
    environment = {**os.environ, **options.pop("environment", {})}
    return Terminal([*viewer(limit), *arguments], environment, **options)


def printed(*arguments: str, **options: Any) -> str:
    with run(*arguments, **options) as terminal:
        assert terminal.wait() == 0
        assert terminal.attributes_are_as_before()
        return terminal.written.decode()
