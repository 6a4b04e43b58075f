"""A terminal that keeps what is drawn on it."""

import io
import os

import pytest


class Screen(io.StringIO):
    """A terminal, as far as anybody asks."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 0


def screen_of(monkeypatch: pytest.MonkeyPatch, columns: int, rows: int) -> Screen:
    """One of this size, as long as the test takes."""
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((columns, rows)))
    return Screen()
