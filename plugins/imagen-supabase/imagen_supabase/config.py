"""The block `supabase:`, the credentials in the environment, and whose pictures they are."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

from msgspec import Meta, Struct

from imagen_core import ConfigError, CredentialsError, ImagenError, Status, UsageError, told

if TYPE_CHECKING:
    from imagen_core import Context, Secret

URL = "SUPABASE_URL"
KEY = "SUPABASE_SERVICE_KEY"
KEYS = (KEY, "MAI_SUPABASE_KEY")
"""The variables that may hold the key; the first one that is set counts."""
ANON_KEY = "SUPABASE_ANON_KEY"
"""Opens the gateway of a hosted project, where the key is a JWT of a role that it does not know."""
SWITCH = "cloud_sync"
WHERE = "URL and service key are in the project's dashboard, under Project Settings, API"
NOBODY = "00000000-0000-0000-0000-000000000000"
"""An id that no row has."""
LOOK_UP = "it is the id of your user: select id, email from auth.users"
SERVICE_ROLE = "service_role"
PUBLISHED = ("anon", "authenticated")
"""Roles whose keys are for web pages."""


class SupabaseConfig(Struct, frozen=True, kw_only=True):
    """The project, as far as it is no secret. `timeout`: seconds for each request."""

    url: str = ""
    timeout: Annotated[float, Meta(gt=0, le=3600)] = 30


class Credentials(NamedTuple):
    """Where the project is, and the key that opens it; `variable` holds the key.

    `apikey` is what the gateway asks for, if that is another one.
    """

    url: str
    key: Secret
    variable: str
    apikey: Secret | None = None


def credentials(context: Context) -> Credentials | None:
    """What is set of them; None if nothing is, a CredentialsError if only a half is."""
    url = context.environment.get(URL, "").strip()
    where, url = (f"${URL}", url) if url else ("supabase.url", context.settings("supabase").url)
    found = ((variable, context.secret(variable)) for variable in KEYS)
    variable, key = next(((name, secret) for name, secret in found if secret), (KEY, None))
    if not url and key is None:
        return None
    if not url:
        raise CredentialsError(f"${variable} is set and ${URL} is not", hint=WHERE)
    if key is None:
        raise CredentialsError(f"{where} is set and ${KEY} is not", hint=WHERE)
    _check_key(key, variable)
    return Credentials(_project(url), key, variable, _apikey(context, key))


def _apikey(context: Context, key: Secret) -> Secret | None:
    if role(key.reveal()) in ("", SERVICE_ROLE):
        return None
    apikey: Secret | None = context.secret(ANON_KEY)
    if apikey:
        _check_characters(apikey, ANON_KEY)
    return apikey


def needed_credentials(context: Context) -> Credentials:
    """The credentials, for those who can do nothing without."""
    if found := credentials(context):
        return found
    raise CredentialsError(
        f"no Supabase project is configured: ${URL} and ${KEY} are not set", hint=WHERE
    )


def standing(context: Context) -> Status:
    """Whether there are credentials; an error if there is only a part of what is needed."""
    if found := credentials(context):
        return Status(ok=True, text=found.url)
    return Status(ok=False, text=f"not configured (set {URL} and {KEY})")


def owner(context: Context, of_job: str = "") -> str:
    """The id of the user who is to see the pictures: of a job its own, else the configured one."""
    if of_job:
        return _of_job(of_job)
    given = context.owner_user_id.strip()
    if not given:
        raise ConfigError("owner_user_id is empty: no picture is synced", hint=LOOK_UP)
    try:
        return str(UUID(given))
    except ValueError:
        raise ConfigError(
            f"owner_user_id is no UUID, but '{given}': no picture is synced",
            hint=LOOK_UP,
        ) from None


def _of_job(given: str) -> str:
    try:
        return str(UUID(given))
    except ValueError:
        raise UsageError(
            f"the owner of the job is no UUID, but '{given}': its picture is not synced",
            hint="a job is enqueued for a user of the project, or for nobody",
        ) from None


def auto(context: Context) -> tuple[bool, str]:
    """Whether pictures are synced when nobody says so, and why."""
    try:
        if credentials(context) is None:
            return False, f"{URL} and {KEY} are not set"
    except ImagenError as error:
        return False, str(error)
    if not context.owner_user_id:
        return False, "owner_user_id is empty"
    return True, "credentials and owner_user_id are set"


def check(context: Context) -> Iterator[str]:
    """What is worth a warning of `imagen config validate`; nothing for who has no project."""
    setting = context.setting(SWITCH)
    begun = setting == "on" or bool(context.owner_user_id)
    try:
        if credentials(context):
            begun = True
        elif setting == "on":
            yield f"output.{SWITCH} is on, and ${URL} and ${KEY} are not set; {WHERE}"
    except ImagenError as error:
        begun = True
        yield told(error)
    if begun and setting != "off":
        try:
            owner(context)
        except ConfigError as error:
            yield f"output.{SWITCH} is {setting}, and {told(error)}"


def _project(url: str) -> str:
    """The address of the project, without what people paste behind it."""
    if re.match(r"postgres(ql)?://", url):
        raise CredentialsError(
            f"{URL} is the URL of a database, and should be that of the project", hint=WHERE
        )
    try:
        parts = urlsplit(url)
        sound = bool(parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:  # a port or an address in brackets that is none
        sound = False
    if not sound or parts.username or parts.query or parts.fragment or re.search(r"\s", url):
        raise CredentialsError(f"{URL} is no http(s) address", hint=WHERE)
    return re.sub(r"/(rest|storage|auth)/v1/?$", "", url).rstrip("/")


def _check_characters(key: Secret, variable: str) -> None:
    text = key.reveal()
    if not (text.isascii() and text.isprintable() and " " not in text):
        raise CredentialsError(
            f"the key in ${variable} has a character that no header takes", hint=WHERE
        )


def _check_key(key: Secret, variable: str) -> None:
    _check_characters(key, variable)
    text = key.reveal()
    if text.startswith("sb_publishable_") or role(text) in PUBLISHED:
        raise CredentialsError(
            f"${variable} holds a key for web pages, which may write nothing",
            hint="take the service key (service_role, or sb_secret_…)",
        )


def role(key: str) -> str:
    """The role that a JWT is for; empty if it is none, which the server then says."""
    try:
        payload = key.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError, binascii.Error):
        return ""
    return str(claims.get("role", "")) if isinstance(claims, dict) else ""
