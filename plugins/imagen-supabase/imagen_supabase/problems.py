"""What a fault of Supabase, or of its client library, means for whoever asked.

Only messages are told, never the `details` of a database error: those hold whole rows, and with
them the prompt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from imagen_core import CredentialsError, ImagenError, RejectedError, UnavailableError, http
from imagen_supabase.config import URL

if TYPE_CHECKING:
    from datetime import datetime

    from imagen_core import Secret

MIGRATE = (
    "'imagen supabase migrate' makes what is missing, 'imagen supabase check' says what that is"
)
AGAIN = "'imagen supabase migrate --again' makes it as it should be"
NO_TABLE = frozenset({"42P01", "42703", "42883", "PGRST202", "PGRST204", "PGRST205"})
"""A table, column or function that this version of imagen-supabase needs is not there."""
NO_ROLE = "22023"
NO_RIGHT = "42501"
TWICE = "23505"
REFUSED_ROW = ("22", "23", "54")
"""How the codes of PostgreSQL begin that are about the values of a row."""


class ConflictError(RejectedError):
    """Something of that name is there already."""


class MissingError(RejectedError):
    """There is no such object."""


class SetUpError(RejectedError):
    """The project lacks what a migration makes."""


class RefusedRowError(RejectedError):
    """The database refuses the row for what is in it."""


class StrangeError(RejectedError):
    """What answers is no Supabase."""


class BusyError(UnavailableError):
    """The project was asked too often, and is not asked again."""


class Asker(NamedTuple):
    """Whom a message is about, and what the reader can do about it."""

    who: str
    variable: str
    key: Secret

    def refusal(self, message: str) -> CredentialsError:
        """The key is not good for this."""
        hint = f"look at the key in ${self.variable}: it has to be the service key of this project"
        if message.startswith("permission denied"):
            hint += f"; if it is, {AGAIN}"
        return CredentialsError(f"{self.who} refuses it: {self.cleaned(message)}", hint=hint)

    def cleaned(self, message: str) -> str:
        """One line of what the server says, without the key."""
        text = message.replace(self.key.reveal(), "***")
        return " ".join(text.split()) or "it does not say why"


def translated(error: Exception, asker: Asker, *, status: int, sent_at: datetime) -> ImagenError:
    """The error of ours that stands for one of the client library.

    `status` is the HTTP status of the last reply, which the library does not keep; 0: none came.
    """
    import httpx
    from postgrest.exceptions import APIError
    from storage3.exceptions import StorageApiError

    match error:
        case APIError():
            return _of_database(error.code or "", error.message or "", status, asker)
        case StorageApiError():
            return _of_storage(str(error.status), error.code or "", error.message or "", asker)
        case httpx.HTTPError() | httpx.InvalidURL() | httpx.StreamError():
            hint = f"look at ${URL}"
            return http.translate(error, who=asker.who, sent_at=sent_at, hint=hint)
        case ValueError() if not status:
            return http.translate(error, who=asker.who, sent_at=sent_at)
        case _:
            return odd(asker)


def odd(asker: Asker) -> StrangeError:
    """What came is no answer of Supabase's."""
    return StrangeError(
        f"{asker.who} answers in another way than Supabase does",
        hint=f"look at ${URL}: a proxy, a log-in page or another server may be there",
    )


def _of_database(code: str, message: str, status: int, asker: Asker) -> ImagenError:
    text = asker.cleaned(message)
    if code == "PGRST106":
        return SetUpError(f"{asker.who} does not serve the schemas imagen and mai", hint=MIGRATE)
    if code in NO_TABLE:
        return SetUpError(
            f"{asker.who} lacks a table, a column or a function: {text}", hint=MIGRATE
        )
    if status == 404 and not (code or message):
        return SetUpError(f"{asker.who} lacks a table", hint=MIGRATE)
    if code in (NO_RIGHT, NO_ROLE) or code.startswith("PGRST3"):
        return asker.refusal(message)
    if code == TWICE:
        return ConflictError(f"{asker.who} has it already: {text}")
    if code[:2] in REFUSED_ROW and len(code) == len(TWICE):
        return RefusedRowError(f"{asker.who} refuses the row: {text}")
    return _by_status(status, text, asker)


def _of_storage(status: str, code: str, message: str, asker: Asker) -> ImagenError:
    number = int(status) if status.isdecimal() else 0
    if code == "InternalError":
        message = ""  # a page that the library could not read, or the server's own shrug
    if code == "Duplicate":
        return ConflictError(f"{asker.who} has an object of that name already")
    if code == "Bucket not found":
        return SetUpError(f"{asker.who} has no such bucket", hint=MIGRATE)
    if code == "not_found":
        return MissingError(f"{asker.who} has no such object")
    if code == "InvalidJWT":
        return asker.refusal(message)
    if number == 413:
        hint = "look at the limit of the bucket, and at that of your plan"
        return RejectedError(f"{asker.who} refuses an object of that size", hint=hint)
    return _by_status(number, asker.cleaned(message) if message else "", asker)


def _by_status(status: int, text: str, asker: Asker) -> ImagenError:
    answered = f"{asker.who} answered {status}{f': {text}' if text else ''}"
    if status in (401, 403):
        return asker.refusal(text)
    if status == 429:
        return BusyError(answered, hint="it was asked too often")
    if status >= 500:
        return UnavailableError(answered)
    if 400 <= status < 500 and status != 404:
        return RejectedError(answered)
    return odd(asker)
