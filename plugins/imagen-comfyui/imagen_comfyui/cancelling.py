"""Ending a prompt at its server: by its id, and nobody else's."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from imagen_core import ImagenError, http

if TYPE_CHECKING:
    from imagen_comfyui.client import Call, Server

PAUSE_SECONDS = 0.1
FAULTS = 2
"""After how many calls that fail it is given up."""


def cancelling(
    server: Server, prompt_id: str, *, seconds: float, arriving: bool = False
) -> Call[str]:
    """Delete or interrupt this very prompt; returns what can't be confirmed, or an empty text.

    `seconds`: how long it is tried. `arriving`: it was sent, and may not be in the queue yet. A
    prompt is interrupted only when it was just seen running: with another id an old server would
    stop whatever runs.
    """
    end = time.monotonic() + seconds
    faults, told = 0, False
    while faults < FAULTS and time.monotonic() < end:
        try:
            queue = yield from server.queue(retry=http.ONCE, timeout=seconds / 2)
            if prompt_id in queue.pending:
                yield from server.tell("/queue", {"delete": [prompt_id]}, timeout=seconds / 2)
            elif prompt_id in queue.running and not told:
                yield from server.tell("/interrupt", {"prompt_id": prompt_id}, timeout=seconds / 2)
                told = True
            elif prompt_id not in queue.running and not arriving:
                return ""
            arriving = arriving and prompt_id not in (*queue.running, *queue.pending)
        except ImagenError:
            faults += 1
        yield from http.pause(PAUSE_SECONDS)
    if told:
        return f"was told to stop the prompt {prompt_id}, and has not confirmed it"
    return f"may still make the prompt {prompt_id}: look at its queue"
