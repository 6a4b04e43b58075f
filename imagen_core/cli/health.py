"""The file by which a supervisor sees that a worker is alive."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from imagen_core.errors import UsageError
from imagen_core.files import Moment, check_path, reason, write_atomically
from imagen_core.leftovers import is_running

SECONDS = 5.0
"""How often it is written."""
HINT = "choose another --health-file"


class HealthFile:
    """Written again and again while a worker lives, and removed when it ends."""

    def __init__(self, path: Path) -> None:
        check_path(path)
        self._path = path
        try:
            self._refuse_others()
        except OSError as error:
            raise self._unwritable(error) from error

    def write(self, ids: tuple[str, ...], ended: int) -> None:
        """Say that the worker has these jobs in hand; a UsageError if it can't be said."""
        about = _Health(Moment.now().utc, os.getpid(), ids, ended)
        try:
            write_atomically(self._path, msgspec.json.encode(about) + b"\n")
        except OSError as error:
            raise self._unwritable(error) from error

    def remove(self) -> None:
        """There is nobody any more whose health it could be."""
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _refuse_others(self) -> None:
        """Leave alone what no worker has written: it would be replaced, and in the end removed."""
        if not self._path.exists() or self._path.is_dir():
            return
        if not self._path.is_file():
            # Replacing /dev/null would take it from the whole system.
            raise UsageError(f"{self._path} is not a regular file", hint=HINT)
        written = self._path.read_bytes()
        pid = _pid(written)
        if written and pid is None:
            raise UsageError(f"{self._path} is there, and is no health file", hint=HINT)
        recent = 0 <= time.time() - self._path.stat().st_mtime < 3 * SECONDS
        if recent and pid and pid != os.getpid() and is_running(pid):
            told = f"{self._path} is the health file of another worker, process {pid}"
            raise UsageError(told, hint=HINT)

    def _unwritable(self, error: OSError) -> UsageError:
        return UsageError(f"cannot write the health file {self._path}: {reason(error)}", hint=HINT)


class _Health(Struct):
    at: str
    pid: int
    jobs: tuple[str, ...]
    ended: int


def _pid(written: bytes) -> int | None:
    """Which process has written that; None if it tells of no health."""
    try:
        return msgspec.json.decode(written, type=_Health).pid
    except msgspec.DecodeError:
        return None
