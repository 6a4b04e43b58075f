"""`tmux-img` in a terminal outside of tmux."""

from __future__ import annotations

import os
from typing import Any

from tmux_terminal import DEVICE, Terminal
from tmux_world import SCRIPTS

VIEWER = str(SCRIPTS / "tmux-img")
PLAIN = {DEVICE: b"\x1b[?1;2c"}
SIXEL = {DEVICE: b"\x1b[?62;4c"}
KITTY = {DEVICE: b"\x1b_Gi=31;OK\x1b\\\x1b[?62;c"}
"""What terminals of three kinds answer."""
LEFT = b"\x1b[?25h\x1b[?1049l"


def run(*arguments: str, **options: Any) -> Terminal:
    environment = {**os.environ, **options.pop("environment", {})}
    return Terminal([VIEWER, *arguments], environment, **options)


def printed(*arguments: str, **options: Any) -> str:
    with run(*arguments, **options) as terminal:
        assert terminal.wait() == 0
        assert terminal.attributes_are_as_before()
        return terminal.written.decode()
