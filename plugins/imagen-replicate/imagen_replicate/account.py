"""What all makings on one account have in common in this process."""

from __future__ import annotations

import functools

from imagen_replicate.claims import Claims
from imagen_replicate.pace import Pace


class Account:
    """One token at one server, whatever instances use it."""

    def __init__(self) -> None:
        self.pace = Pace()
        self.claims = Claims()


@functools.cache
def account(base: str, variable: str) -> Account:
    """The account behind this address and the variable of its token."""
    del base, variable
    return Account()
