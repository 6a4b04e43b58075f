"""Who is asking: what somebody wrote into the option `@mai-name` of this pane."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagen_core import Context

OPTION = "@mai-name"
LONGEST = 64

_UNSAFE = re.compile(r"[^\w .:@/+-]+")


def pane_name(context: Context) -> str | None:
    """The name of the pane, of safe characters alone; None if it has none, or nobody knows."""
    environment = context.environment
    pane = environment.get("TMUX_PANE")
    if not pane or not environment.get("TMUX"):
        return None
    from imagen_core import ImagenError
    from imagen_tmux.server import Server

    # The option itself and not a format: that would fall back to those of window and session.
    try:
        said = Server(environment).ask("show-options", "-pqv", "-t", pane, OPTION)
    except ImagenError:
        return None  # the name is a courtesy; what is wrong with tmux, the preview tells
    return cleaned(said) or None


def cleaned(text: str) -> str:
    """The text without what a shell, a terminal or a tmux format could mistake for orders."""
    words = " ".join(_UNSAFE.sub(" ", text).split())
    return words[:LONGEST].strip()
