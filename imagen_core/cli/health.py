"""The file by which a supervisor sees that a worker is alive."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from imagen_core.errors import UsageError
from imagen_core.files import Moment, check_path, reason, write_atomically

KEYS = {"at", "pid", "jobs", "ended"}
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
        about = {"at": Moment.now().utc, "pid": os.getpid(), "jobs": ids, "ended": ended}
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
        if (written := self._path.read_bytes()) and not _tells_of_health(written):
            raise UsageError(f"{self._path} is there, and is no health file", hint=HINT)

    def _unwritable(self, error: OSError) -> UsageError:
        return UsageError(f"cannot write the health file {self._path}: {reason(error)}", hint=HINT)


def _tells_of_health(written: bytes) -> bool:
    try:
        about = msgspec.json.decode(written)
    except msgspec.DecodeError:
        return False
    return isinstance(about, dict) and about.keys() >= KEYS
