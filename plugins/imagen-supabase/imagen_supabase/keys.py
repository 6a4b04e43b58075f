"""Keys of a role, signed with the project's own secret, and how long things last."""

from __future__ import annotations

import base64
import hmac
import json
import re
import time
from typing import TYPE_CHECKING, Any

from imagen_core import UsageError

if TYPE_CHECKING:
    from imagen_core import Secret

SECRET = "SUPABASE_JWT_SECRET"
WHERE = "it is in the dashboard, under Project Settings, JWT keys; no worker needs it"
WORKER = "imagen_worker"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST_SECONDS = 10 * 365 * 86400


def worker_key(secret: Secret, seconds: int) -> str:
    """A JWT of the workers' role, good for so long."""
    claims = {"role": WORKER, "iss": "imagen", "exp": int(time.time()) + seconds}
    signed = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(claims)}"
    digest = hmac.digest(secret.reveal().encode(), signed.encode(), "sha256")
    return f"{signed}.{_base64(digest)}"


def seconds_of(text: str) -> int:
    """The seconds of `3600`, `10m`, `12h` or `7d`."""
    found = re.fullmatch(r"(\d{1,12})([smhd]?)", text.strip().lower())
    seconds = int(found[1]) * UNITS[found[2] or "s"] if found else 0
    if not 1 <= seconds <= LONGEST_SECONDS:
        raise UsageError(
            f"'{text}' is no time to expire in", hint="for instance 3600, 10m, 12h or 7d"
        )
    return seconds


def _part(content: dict[str, Any]) -> str:
    return _base64(json.dumps(content, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
