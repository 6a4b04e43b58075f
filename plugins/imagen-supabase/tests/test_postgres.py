"""The URL of a database, and what it means that nobody answers there."""

from __future__ import annotations

import traceback

import pytest

from imagen_core import CredentialsError, ImagenError, UnavailableError, UsageError
from imagen_supabase.postgres import ENCODED, Place, _place, _refusal, open_database, parse
from supabase_servers import kept_port

PLACE = Place("the database at h:1", "u", "look", ("hunter2", "hunter2%40"))
POOLER = "postgresql://postgres.abc:p%40ss@aws-0-eu.pooler.supabase.com:6543/postgres"


def test_url_of_a_hosted_project_is_encrypted_and_limited_in_time() -> None:
    assert parse(POOLER) == {
        "application_name": "imagen",
        "connect_timeout": 10,
        "user": "postgres.abc",
        "password": "p@ss",
        "host": "aws-0-eu.pooler.supabase.com",
        "port": "6543",
        "dbname": "postgres",
        "sslmode": "require",
    }


def test_what_the_url_says_itself_holds() -> None:
    found = parse(f"{POOLER}?sslmode=verify-full&connect_timeout=3&application_name=x")

    assert (found["sslmode"], found["connect_timeout"]) == ("verify-full", "3")
    assert found["application_name"] == "x"


@pytest.mark.parametrize(
    ("url", "who"),
    [
        ("postgres://u:p@h/d", "the database at h:5432"),
        ("postgres://u:p@[::1]:7/d", "the database at ::1:7"),
        ("postgres://u:p@/d?host=/run/x", "the database at /run/x"),
        ("postgres:///d", "the database"),
    ],
)
def test_place_is_told_without_user_and_password(url: str, who: str) -> None:
    assert _place(parse(url), url).who == who


@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        (
            'connection failed: FATAL:  password authentication failed for user "u"',
            CredentialsError,
            "the database at h:1 refuses the user 'u'",
        ),
        (
            'failed: FATAL:  role "u" does not exist',
            CredentialsError,
            "the database at h:1 refuses the user 'u'",
        ),
        (
            "failed: FATAL:  Tenant or user not found",
            CredentialsError,
            "the database at h:1 refuses the user 'u'",
        ),
        (
            'failed: FATAL:  database "d" does not exist',
            UsageError,
            'the database at h:1 says: database "d" does not exist',
        ),
        (
            'connection failed: connection to server at "h", port 1 failed: timed out hunter2\n'
            "\tIs the server running?",
            UnavailableError,
            "the database at h:1 is unreachable: timed out ***",
        ),
        (
            "connection timeout expired",
            UnavailableError,
            "the database at h:1 is unreachable: connection timeout expired",
        ),
        ("", UnavailableError, "the database at h:1 is unreachable: no reason given"),
    ],
)
def test_refusal_is_one_of_imagens_errors(text: str, kind: type[ImagenError], told: str) -> None:
    error = _refusal(text, PLACE)

    assert (type(error), str(error)) == (kind, told)


def test_hint_tells_how_a_password_is_written() -> None:
    assert _refusal("authentication failed", PLACE).hint.endswith(ENCODED)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2%40@127.0.0.1:PORT/d",
        "postgresql://127.0.0.1:PORT/d?user=u&password=hunter2%40",
        "postgresql://u:hunter2@hunter2@h/d",
    ],
)
def test_no_error_leads_back_to_the_password(url: str) -> None:
    kept, port = kept_port()
    address = url.replace("PORT", str(port))

    with kept, pytest.raises(ImagenError) as caught, open_database(address):
        pass

    error: BaseException = caught.value
    shown = "".join(traceback.format_exception(error)) + repr(vars(error))
    assert "hunter2" not in shown
    assert (error.__cause__, error.__context__) == (None, None)
