"""What `preview: auto` comes to. Every command that makes pictures asks, so it imports nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagen_core import Context


def wanted(context: Context) -> tuple[bool, str]:
    """Whether there should be a window, and why."""
    if not context.environment.get("TMUX"):
        return False, "not inside tmux"
    if not _on_a_terminal():
        return False, "standard output is no terminal"
    return True, "a terminal inside tmux"


def _on_a_terminal() -> bool:
    try:
        return sys.stdout is not None and sys.stdout.isatty()
    except ValueError:  # it is closed
        return False
