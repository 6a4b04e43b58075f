"""What holds for the tests of every workflow."""

from __future__ import annotations

from hygiene import environment_unchanged, loopback_only, no_thread_left, own_home

__all__ = ["environment_unchanged", "loopback_only", "no_thread_left", "own_home"]
