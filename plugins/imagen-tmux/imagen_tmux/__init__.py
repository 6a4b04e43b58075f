"""The tmux plugin of imagen. What it gives is in `hooks`, so that `tmux-img` starts without it."""

from __future__ import annotations

__version__ = "0.1.0"
