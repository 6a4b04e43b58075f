"""What the API may say no with, where it matters which no it is."""

from __future__ import annotations

from imagen_core import RejectedError, UnavailableError


class Throttled(UnavailableError):
    """There were too many calls; `wait` is what the server asks for, in seconds, if it does."""

    def __init__(self, message: str, *, hint: str = "", wait: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.wait = wait


class NotFoundError(RejectedError):
    """What was asked for is not there, or not for this token."""


class InvalidError(RejectedError):
    """The input of a prediction was refused."""
