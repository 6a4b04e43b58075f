"""Messages, which nobody may be there to read."""

from __future__ import annotations

import os


def tell(descriptor: int, text: str) -> bool:
    """Whether a message could be written at all."""
    try:
        os.write(descriptor, text.encode("utf-8", "backslashreplace"))
    except OSError:
        return False
    return True
