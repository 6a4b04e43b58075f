"""One connection to the database of a project. No error of it has the password in it."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from imagen_core import CredentialsError, ImagenError, UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection, Error

VARIABLE = "SUPABASE_DB_URL"
WHERE = f"it is at 'Connect' in the dashboard; {VARIABLE} holds it"
SECONDS = 10
"""How long to wait for a connection."""
ENCODED = "in a password, write @ as %40, / as %2F, : as %3A and % as %25"
HOSTED = (".supabase.co", ".supabase.com")
"""How the hosts of hosted projects end."""
REFUSALS = re.compile(
    r'authentication failed|no password supplied|no pg_hba\.conf entry|role ".*" does not exist'
    r"|tenant",
    re.IGNORECASE,
)
"""What a server, or the pooler before it, says of a user or a password."""
BUSY = ("08", "53", "55P03", "57")
"""How states begin that may pass: connection, resources, locks, time-outs and shutdowns."""


class Place(NamedTuple):
    """Where a URL leads, as messages may tell it."""

    who: str
    user: str
    reach: str
    secrets: tuple[str, ...]

    def scrubbed(self, text: str) -> str:
        """The text without anything secret of the URL."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


@contextmanager
def open_database(url: str) -> Iterator[tuple[Connection[Any], Place]]:
    """A connection that commits by itself, with where it leads."""
    psycopg = driver()
    options = parse(url)
    place = _place(options, url)
    try:
        # A pooler hands sessions around, and prepared statements belong to one.
        connection = psycopg.connect(**options, autocommit=True, prepare_threshold=None)
    except psycopg.Error as error:
        problem = _refusal(str(error), place)
    else:
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        with connection:
            yield connection, place
        return
    # Outside of the handler, so that no trace leads back to the driver's own words.
    raise problem


def driver() -> Any:
    """The module psycopg, which only migrations need."""
    try:
        import psycopg
    except ImportError as error:
        raise UsageError(
            "migrating needs psycopg, which is not installed",
            hint="pip install 'imagen-supabase[migrate]', or without it: "
            f'imagen supabase migrate --print | psql -v ON_ERROR_STOP=1 "${VARIABLE}"',
        ) from error
    return psycopg


def parse(url: str) -> dict[str, Any]:
    """The parts of the URL. What is wrong with it is told without showing any of it."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    scheme, _, rest = url.partition("://")
    if scheme not in ("postgres", "postgresql"):
        raise UsageError("the database URL does not begin with postgresql://", hint=WHERE)
    if "YOUR-PASSWORD" in rest:
        told = "the database URL has no password yet, but a placeholder"
        raise UsageError(told, hint="put the password of the database there, without the brackets")
    before, at, _ = rest.rpartition("@")
    try:
        options = conninfo_to_dict(url)
    except ProgrammingError:
        options = {}
    port = str(options.get("port", "5432"))
    if not options or (at and re.search(r"[@/\s]", before)) or not re.fullmatch(r"[\d,]+", port):
        raise UsageError("the database URL can't be read", hint=ENCODED)
    host = str(options.get("host", ""))
    if host.endswith(HOSTED):
        options.setdefault("sslmode", "require")
    return {"application_name": "imagen", "connect_timeout": SECONDS, **options}


def _place(options: dict[str, Any], url: str) -> Place:
    host = options.get("host", "")
    port = "" if not host or host.startswith("/") else f":{options.get('port', 5432)}"
    secrets = [url, *(str(options[key]) for key in ("password", "sslpassword") if options.get(key))]
    secrets += [quote(secret, safe="") for secret in secrets]
    who = f"the database at {host}{port}" if host else "the database"
    hosted = "is the project paused? If not, try the address of the pooler: the direct one is IPv6"
    reach = hosted if host.endswith(HOSTED) else f"look at host and port in {VARIABLE}"
    return Place(who, str(options.get("user", "")), reach, tuple(secrets))


def _refusal(text: str, place: Place) -> ImagenError:
    """What it means that there is no connection."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    found = re.findall(r".*(?:failed: |FATAL: +|ERROR: +)(.+)", text)
    reason = place.scrubbed((found or lines or ["no reason given"])[-1])
    if REFUSALS.search(text):
        hint = f"look at user and password in {VARIABLE}; {ENCODED}"
        whom = f"the user '{place.user}'" if place.user else "the user, which the URL does not name"
        return CredentialsError(f"{place.who} refuses {whom}", hint=hint)
    if re.search(r'database ".*" does not exist', text):
        return UsageError(f"{place.who} says: {reason}", hint=WHERE)
    return UnavailableError(f"{place.who} is unreachable: {reason}", hint=place.reach)


def failure(error: Error, place: Place, *, doing: str) -> ImagenError:
    """What an error of the server means; `doing` is what it was about."""
    state = error.sqlstate or "08"
    # The server's details may have whole rows in them, prompts too.
    text = error.diag.message_primary or (str(error).splitlines() or ["no reason given"])[0]
    told = f"{doing}: {place.scrubbed(text)}"
    hint = place.scrubbed(error.diag.message_hint or "")
    if state == "42501":
        return CredentialsError(told, hint=hint or f"{VARIABLE} needs the user 'postgres'")
    if state == "55P03":
        return UnavailableError(told, hint="somebody holds a lock for long: try again later")
    if state.startswith(BUSY):
        return UnavailableError(told, hint=hint)
    return ImagenError(told, hint=hint)
