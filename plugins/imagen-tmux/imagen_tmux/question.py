"""A program that is asked something, and has a time limit.

`subprocess` takes longer to import than tmux does to answer, and both the preview and the first
paint of the viewer are to cost next to nothing.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

CHUNK = 65_536
LONGEST = 1_000_000
"""Bytes of what it says that are kept; nobody who answers sensibly says more."""
PAUSE = 0.0002
"""Seconds after which it is looked for the end of a program that says nothing more, at first."""


class Answer(NamedTuple):
    """How a program ended, and what it said."""

    code: int
    out: str
    err: str


class Question:
    """A program that has begun; `answer` waits for its end."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it, without a shell; OSError if it can't be."""
        self._out, out = os.pipe()
        self._err, err = os.pipe()
        try:
            self._process = os.posix_spawnp(
                command[0],
                list(command),
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, out, 1),
                    (os.POSIX_SPAWN_DUP2, err, 2),
                ],
            )
        except OSError:
            self._close()
            raise
        finally:
            os.close(out)
            os.close(err)

    def answer(self, seconds: float) -> Answer | None:
        """What it said; None if it took longer than that, and was ended."""
        said = {self._out: bytearray(), self._err: bytearray()}
        reading = list(said)
        limit = time.monotonic() + seconds
        try:
            while reading:
                ready = select.select(reading, [], [], max(limit - time.monotonic(), 0))[0]
                # What is there counts also if it is this process that is late.
                endless = time.monotonic() > limit and LONGEST in map(len, said.values())
                if not ready or endless:
                    return None
                for end in ready:
                    data = os.read(end, CHUNK)
                    said[end] += data[: LONGEST - len(said[end])]
                    if not data:
                        reading.remove(end)
            status = self._status(limit)
            if status is None:
                return None
        finally:
            self._close()
            self._end()
        out, err = (text.decode(errors="replace") for text in said.values())
        return Answer(os.waitstatus_to_exitcode(status), out, err)

    def _status(self, limit: float) -> int | None:
        """How it ended; whoever closes what it writes to may go on for long."""
        pause = PAUSE
        while True:
            ended, status = os.waitpid(self._process, os.WNOHANG)
            if ended:
                self._process = 0
                return status
            left = limit - time.monotonic()
            if left <= 0:
                return None
            time.sleep(min(pause, left))
            pause *= 2

    def _end(self) -> None:
        if self._process:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(self._process, signal.SIGKILL)
                os.waitpid(self._process, 0)

    def _close(self) -> None:
        os.close(self._out)
        os.close(self._err)
