"""A size that takes no time."""

from __future__ import annotations

SMALL = ("--size", "48x32")
