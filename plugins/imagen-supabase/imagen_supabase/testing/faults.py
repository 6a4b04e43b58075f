"""What can go wrong between a client and a project, each a value for `Gateway.fail`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from imagen_core.testing import Reply
from imagen_supabase.testing import problems
from imagen_supabase.testing.problems import StorageProblem, reply_compact

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, eq=False)
class Fault:
    """What happens to a request instead of its answer.

    The connection closes without a word, or stays silent, or gets a reply, which may differ
    between the two services.
    """

    name: str
    acts: bool = False
    """Whether what the request asks for is done first."""
    hangs: bool = False
    """Whether it is silent until `Gateway.release`, and then answers after all."""
    rest: Reply | None = None
    storage: Reply | None = None

    def reply(self, path: str) -> Reply | None:
        """Gives what is said on this path; None closes the connection."""
        said = self.storage if path.startswith("/storage/") else self.rest
        return replace(said, headers=dict(said.headers)) if said else None

    def __str__(self) -> str:
        return self.name


def say(
    status: int, body: Any, headers: Mapping[str, str] | None = None, *, acts: bool = False
) -> Fault:
    """Makes a fault that answers with JSON, of the gateway's own kind."""
    reply = reply_compact(body, status, "application/json")
    reply.headers |= headers or {}
    return Fault(f"JSON with {status}", acts, rest=reply, storage=reply)


def page(status: int, html: str = "<html><body>not what you asked for</body></html>") -> Fault:
    """Makes a fault that answers with a page, as proxies and captive portals do."""
    reply = Reply(status, html.encode(), "text/html")
    return Fault(f"a page with {status}", rest=reply, storage=reply)


def rate_limited(seconds: int = 1) -> Fault:
    """Makes a fault that asks the client to come back later."""
    body = {"message": "API rate limit exceeded"}
    return replace(say(429, body, {"Retry-After": str(seconds)}), name="rate limited")


def _by_service(name: str, rest: Reply, storage: StorageProblem) -> Fault:
    return Fault(name, rest=rest, storage=storage.reply())


def _postgrest(status: int, code: str, message: str, details: str | None = None) -> Reply:
    body = {"code": code, "details": details, "hint": None, "message": message}
    return reply_compact(body, status)


def _with(reply: Reply, **headers: str) -> Reply:
    reply.headers |= {name.replace("_", "-"): value for name, value in headers.items()}
    return reply


_DOWN = (
    'connection to server at "localhost", port 5432 failed: Connection refused\n'
    "\tIs the server running on that host and accepting TCP/IP connections?\n"
)

DROPPED = Fault("dropped")
REPLY_LOST = Fault("reply lost", acts=True)
HANGING = Fault("hanging", hangs=True)
ACTED_AND_HANGING = Fault("acted and hanging", acts=True, hangs=True)

NO_API_KEY = replace(
    say(
        401,
        {
            "message": "No API key found in request",
            "hint": "No `apikey` request header or url param was found.",
        },
    ),
    name="no API key",
)
BAD_API_KEY = replace(
    say(
        401,
        {
            "message": "Invalid API key",
            "hint": "Double check your Supabase `anon` or `service_role` API key.",
        },
    ),
    name="bad API key",
)
EXPIRED_KEY = _by_service(
    "expired key",
    _with(
        _postgrest(401, "PGRST301", "JWT expired"),
        WWW_Authenticate='Bearer error="invalid_token", error_description="JWT expired"',
    ),
    problems.denied('"exp" claim timestamp check failed'),
)
FORBIDDEN = _by_service(
    "forbidden",
    _postgrest(403, "42501", "permission denied for table images"),
    problems.denied(),
)
BUCKET_FULL = _by_service(
    "bucket full",
    _postgrest(500, "53100", "could not extend file: No space left on device"),
    problems.too_large(),
)
BODY_TOO_LARGE = replace(
    page(413, "<html><head><title>413 Request Entity Too Large</title></head></html>"),
    name="body too large",
)
INTERNAL_ERROR = _by_service(
    "internal error",
    _postgrest(500, "57014", "canceling statement due to statement timeout"),
    problems.internal_error(),
)
DATABASE_DOWN = _by_service(
    "database down",
    _with(
        _postgrest(503, "PGRST000", "Database connection error. Retrying the connection.", _DOWN),
        Retry_After="0",
    ),
    problems.internal_error(),
)
UNAVAILABLE = replace(say(503, {"message": "name resolution failed"}), name="unavailable")
RATE_LIMITED = rate_limited()
