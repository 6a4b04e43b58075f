"""Replies: records as JSON, and refusals as problem+json."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from imagen_core.testing import Reply, reply_json

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON = dict[str, Any]
"""An object of a request or of a reply."""
Body = dict[str, Any] | str | bytes
"""What a test may let the server say: a problem, a page, or bytes."""
JSON_TYPE = "application/json; charset=UTF-8"
PROBLEM_TYPE = "application/problem+json"
NSFW = "All generated images contained NSFW content. Try running it again with a different prompt."


class ProblemError(Exception):
    """A request that is refused, with the body that says so."""

    def __init__(self, status: int, detail: str, *, title: str = "", **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.body: JSON = {"title": title} if title else {}
        self.body |= {"detail": detail, "status": status, **more}

    def reply(self) -> Reply:
        """The refusal as it is sent."""
        return reply_json(self.body, self.status, content_type=PROBLEM_TYPE)


def not_found() -> ProblemError:
    """Says that there is no such thing, or that it is not for this endpoint."""
    return ProblemError(404, "The requested resource could not be found.")


def invalid_version() -> ProblemError:
    """Says that a version is unknown."""
    return ProblemError(
        422,
        "The specified version does not exist (or perhaps you don't have permission to use it?)",
        title="Invalid version or not permitted",
    )


def unauthenticated(words: str) -> ProblemError:
    """Says that the token is missing or wrong."""
    return ProblemError(401, f"You did not pass {words}", title="Unauthenticated")


def reply_record(data: Any, status: int = 200) -> Reply:
    """Replies with a record."""
    return reply_json(data, status, content_type=JSON_TYPE)


def reply_body(status: int, body: Body | None, headers: Mapping[str, str] | None = None) -> Reply:
    """Replies with whatever a test wants to be said; by default with an empty problem."""
    if body is None:
        body = {"detail": f"Refused with {status}.", "status": status}
    if isinstance(body, dict):
        reply = Reply(status, json.dumps(body).encode(), PROBLEM_TYPE)
    elif isinstance(body, str):
        reply = Reply(status, body.encode(), "text/html")
    else:
        reply = Reply(status, body, "application/octet-stream")
    reply.headers = dict(headers or {})
    for name in reply.headers:
        if name.lower() == "content-type":
            reply.content_type = ""
    return reply


def with_echo(reply: Reply, said: str) -> Reply:
    """Adds what a request said to an error reply."""
    try:
        body = json.loads(reply.body)
        body["detail"] = f"{body.get('detail', '')} Authorization: {said}"
        reply.body = json.dumps(body).encode()
    except ValueError:
        reply.body += f" Authorization: {said}".encode()
    return reply
