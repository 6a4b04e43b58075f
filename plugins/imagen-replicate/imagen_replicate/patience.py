"""How long to wait for what, in seconds."""

from __future__ import annotations

from typing import NamedTuple


class Patience(NamedTuple):
    """Waits that a server's answer does not shorten; tests take shorter ones."""

    look: float = 0.1
    """Between two looks at a prediction at first."""
    often: float = 5.0
    """For how long it is looked at so often; after that every `seldom`."""
    seldom: float = 0.5
    apart: float = 1.0
    """Between two looks at the list for a prediction whose reply was lost."""
    again: float = 0.3
    """Before a picture is fetched once more; twice as long each time."""
    late: float = 4.0
    """For a reply that is still to come once nobody wants it any more."""
    closing: float = 8.0
    """For all that is done once nobody wants it any more: nobody waits longer than ten."""
    download: float = 120.0
    """For a picture to come whole."""


USUAL = Patience()
