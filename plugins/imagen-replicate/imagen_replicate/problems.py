"""What the API says no with: told in one line, as the error that it stands for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from imagen_core import CredentialsError, ImagenError, RejectedError, UnavailableError
from imagen_replicate.pace import asked_wait

if TYPE_CHECKING:
    import httpx

LONGEST_TEXT = 300
"""So much of what the server says is repeated."""
TOKENS_PAGE = "https://replicate.com/account/api-tokens"
BILLING_PAGE = "https://replicate.com/account/billing"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


class Throttled(UnavailableError):
    """There were too many calls; `wait` is what the server asks for, in seconds, if it does."""

    def __init__(self, message: str, *, hint: str = "", wait: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.wait = wait


class NotFoundError(RejectedError):
    """What was asked for is not there, or not for this token."""


class InvalidError(RejectedError):
    """The input of a prediction was refused."""


class Asker(NamedTuple):
    """Who is asked, and which variable holds the token."""

    who: str
    variable: str


def refusal(response: httpx.Response, problem: Mapping[str, Any], asker: Asker) -> ImagenError:
    """The error that a reply stands for which is no success."""
    status, said = response.status_code, _said(problem)
    told = f"{asker.who} answered {status}{f': {said}' if said else ''}"
    match status:
        case 401 | 403:
            told = f"{asker.who} refuses the token ({status}){f': {said}' if said else ''}"
            hint = f"set {asker.variable} to a token that may do this; they are at {TOKENS_PAGE}"
            return CredentialsError(told, hint=hint)
        case 402:
            hint = f"add credit, or set up billing, at {BILLING_PAGE}"
            return RejectedError(f"{asker.who} wants to be paid first: {said or status}", hint=hint)
        case 404:
            return NotFoundError(told, hint="look at the name, at the token, and at api_url")
        case 413:
            told = f"{asker.who} finds the request too large"
            return RejectedError(told, hint="make the input images smaller")
        case 422:
            hint = "look at the version in the block's model" if "version" in said else ""
            return InvalidError(f"{asker.who} refuses the input: {said or status}", hint=hint)
        case 429:
            wait = asked_wait(response, problem)
            hint = f"try again in {wait:.0f} s" if wait else "try again later"
            return Throttled(told, hint=hint, wait=wait)
        case _ if status >= 500 or status in (408, 425):
            return UnavailableError(told, hint="try again later")
        case _ if response.is_redirect:
            return RejectedError(f"{asker.who} redirects", hint="look at the block's api_url")
    return RejectedError(told)


def is_own(problem: Mapping[str, Any]) -> bool:
    """Whether the API itself said this, and not something before it."""
    return bool(problem.get("detail") or problem.get("title"))


def one_line(text: str) -> str:
    """A text of the server's, short enough for a message."""
    text = _CONTROL.sub(" ", text).strip()
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"


def _said(problem: Mapping[str, Any]) -> str:
    """What the API says is wrong, in one short line."""
    fields = problem.get("invalid_fields")
    if isinstance(fields, list) and (listed := [_field(one) for one in fields if one]):
        return one_line("; ".join(listed))
    return one_line(str(problem.get("detail") or problem.get("title") or ""))


def _field(found: Any) -> str:
    """A field that was refused, and why."""
    if not isinstance(found, dict):
        return str(found)
    field = str(found.get("field") or "").removeprefix("input.")
    why = str(found.get("description") or "is refused").removeprefix(f"input.{field} ")
    return why if field in ("", "input") else f"{field}: {why}"
