"""What an earlier process left on the disk: pictures, and the sidecars that tell of them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from imagen_core import files
from imagen_core.types import Cost, Output, Run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen_core.types import Request


class Trace(Protocol):
    """What tells one picture from any other."""

    @property
    def sha256(self) -> str:
        """The digest of its bytes."""
        ...

    @property
    def size(self) -> int:
        """How many bytes it has."""
        ...


def is_running(process: int) -> bool:
    """Whether there is a process of this number, as far as this system tells."""
    if os.name == "nt":  # there a signal that does nothing would end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def is_there(path: Path, trace: Trace) -> bool:
    """Whether that very picture lies there."""
    with contextlib.suppress(OSError):
        if path.stat().st_size == trace.size:
            return files.digest(path.read_bytes()) == trace.sha256
    return False


def sidecar_of(path: Path) -> Mapping[str, Any]:
    """What the sidecar of a picture says; nothing if there is none that can be read."""
    with contextlib.suppress(OSError, msgspec.DecodeError):
        found = msgspec.json.decode(files.sidecar_path(path).read_bytes())
        return found if isinstance(found, dict) else {}
    return {}


def forget(path: Path, run_id: str) -> None:
    """Take away the sidecar of a picture that is gone, so that its name is free again."""
    if not path.exists() and sidecar_of(path).get("id") == run_id:
        with contextlib.suppress(OSError):
            files.sidecar_path(path).unlink()


def run_of(sidecar: Mapping[str, Any], request: Request, path: Path) -> Run | None:
    """The Run that a sidecar tells of, if its picture is the one that is there."""
    cost, basis = sidecar.get("cost_usd_estimate"), sidecar.get("cost_basis")
    try:
        output = msgspec.convert({**sidecar, "path": str(path.absolute())}, Output)
        run = Run(
            id=request.id,
            started_at=str(sidecar.get("created_at")),
            request=request,
            backend_type=str(sidecar.get("type")),
            model=str(sidecar.get("model")),
            latency_ms=int(sidecar.get("latency_ms", 0)),
            outputs=(output,),
            cost=None if cost is None else Cost(usd=float(cost), basis=str(basis)),
            remote_id=str(sidecar.get("remote_id", "")),
        )
    except (msgspec.ValidationError, TypeError, ValueError):
        return None
    return run if is_there(path, output) else None
