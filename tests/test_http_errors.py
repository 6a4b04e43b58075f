"""What http.py makes of a status, of Retry-After, and of each exception of httpx."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import pytest

from imagen_core import (
    CredentialsError,
    ImagenError,
    RejectedError,
    UnavailableError,
    UsageError,
    http,
)
from imagen_core.http import OutcomeUnknown

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "hf_0123456789abcdef"


def reply(status: int = 200, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=named, request=httpx.Request("GET", "http://x"))


NOW = datetime(2026, 5, 8, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", None),
        ("7", 7.0),
        (" 1.5 ", 1.5),
        ("-3", 0.0),
        ("1e9", 1e9),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("soon", None),
        ("Fri, 08 May 2026 14:31:30 GMT", 90.0),
        ("Fri, 08 May 2026 14:31:30", 90.0),
        ("Fri, 08 May 2026 16:31:30 +0200", 90.0),
        ("Fri, 08 May 2026 14:00:00 GMT", 0.0),
        ("Fri, 99 May 2026 14:00:00 GMT", None),
        ("Fri, 08 May 99999999999999 14:00:00 GMT", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(text: str, seconds: float | None) -> None:
    assert http.retry_after(reply(Retry_After=text), NOW) == seconds


def test_retry_after_is_absent() -> None:
    assert http.retry_after(reply(503)) is None


@pytest.mark.parametrize(
    ("status", "error", "message", "hint"),
    [
        (400, RejectedError, "the oven answered 400 Bad Request", ""),
        (401, CredentialsError, "the oven answered 401 Unauthorized", "set OVEN_TOKEN"),
        (403, CredentialsError, "the oven answered 403 Forbidden", "set OVEN_TOKEN"),
        (404, RejectedError, "the oven answered 404 Not Found", ""),
        (408, UnavailableError, "the oven answered 408 Request Timeout", "try again later"),
        (422, RejectedError, "the oven answered 422 Unprocessable Entity", ""),
        (425, UnavailableError, "the oven answered 425 Too Early", "try again later"),
        (429, UnavailableError, "the oven answered 429 Too Many Requests", "try again later"),
        (500, UnavailableError, "the oven answered 500 Internal Server Error", "try again later"),
        (503, UnavailableError, "the oven answered 503 Service Unavailable", "try again later"),
        (507, UnavailableError, "the oven answered 507 Insufficient Storage", "try again later"),
        (304, RejectedError, "the oven answered 304 Not Modified", ""),
        (599, UnavailableError, "the oven answered 599", "try again later"),
    ],
)
def test_status_stands_for_an_error(
    status: int, error: type[ImagenError], message: str, hint: str
) -> None:
    with pytest.raises(error) as caught:
        http.check(reply(status), who="the oven", hint="set OVEN_TOKEN")

    assert (type(caught.value), str(caught.value), caught.value.hint) == (error, message, hint)


def test_success_is_handed_on() -> None:
    answer = reply(204)

    assert http.check(answer, who="the oven") is answer


def test_hint_says_when_to_come_back() -> None:
    with pytest.raises(UnavailableError) as caught:
        http.check(reply(503, Retry_After="90"), who="the oven")

    assert caught.value.hint == "try again in 90 s"


def subclasses(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for other in kind.__subclasses__():
        yield from subclasses(other)


UNREACHABLE = (UnavailableError, "the oven is unreachable: no connection")
NOT_IN_TIME = (UnavailableError, "the oven did not accept a connection in time")
NO_ANSWER = (OutcomeUnknown, "the oven did not answer in time")
BROKE_OFF = (OutcomeUnknown, "the connection to the oven broke off")
UNREADABLE = (RejectedError, "the oven answered with something that can't be read")
BAD_ADDRESS = (UsageError, "the address of the oven is no http(s) address")
BAD_CHARACTER = (
    UsageError,
    "the request to the oven can't be sent: a header or credential has a bad character",
)
MEANING: dict[type[Exception], tuple[type[ImagenError], str]] = {
    httpx.HTTPError: BROKE_OFF,
    httpx.RequestError: BROKE_OFF,
    httpx.TransportError: BROKE_OFF,
    httpx.TimeoutException: NO_ANSWER,
    httpx.ConnectTimeout: NOT_IN_TIME,
    httpx.ReadTimeout: NO_ANSWER,
    httpx.WriteTimeout: NO_ANSWER,
    httpx.PoolTimeout: NOT_IN_TIME,
    httpx.NetworkError: BROKE_OFF,
    httpx.ReadError: BROKE_OFF,
    httpx.WriteError: BROKE_OFF,
    httpx.ConnectError: UNREACHABLE,
    httpx.CloseError: BROKE_OFF,
    httpx.ProxyError: (UnavailableError, "the oven is unreachable: the proxy refuses"),
    httpx.UnsupportedProtocol: BAD_ADDRESS,
    httpx.ProtocolError: BROKE_OFF,
    httpx.LocalProtocolError: BAD_CHARACTER,
    httpx.RemoteProtocolError: BROKE_OFF,
    httpx.DecodingError: UNREADABLE,
    httpx.TooManyRedirects: UNREADABLE,
    httpx.HTTPStatusError: BROKE_OFF,
    httpx.StreamError: BROKE_OFF,
    httpx.StreamConsumed: BROKE_OFF,
    httpx.StreamClosed: BROKE_OFF,
    httpx.ResponseNotRead: BROKE_OFF,
    httpx.RequestNotRead: BROKE_OFF,
    httpx.InvalidURL: BAD_ADDRESS,
}
ROOTS = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL)
NEVER_RAISED_BY_A_REQUEST = {httpx.CookieConflict}


def test_every_exception_of_httpx_has_a_meaning() -> None:
    public = {
        value
        for value in vars(httpx).values()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    known = {kind for root in ROOTS for kind in subclasses(root)}

    assert known == set(MEANING)
    assert public == set(MEANING) | NEVER_RAISED_BY_A_REQUEST


@pytest.mark.parametrize("kind", MEANING, ids=lambda kind: kind.__name__)
def test_exception_of_httpx_is_translated_without_its_text(kind: type[Exception]) -> None:
    error = kind.__new__(kind)
    Exception.__init__(error, f"Illegal header value b'Bearer {SECRET}'")

    found = http.translate(error, who="the oven", sent_at=NOW, hint="set OVEN_TOKEN")

    assert (type(found), str(found)) == MEANING[kind]
    assert SECRET not in f"{found} {found.hint}"
    assert found.hint == "set OVEN_TOKEN"
    assert getattr(found, "sent_at", NOW) == NOW


def test_reason_of_a_failed_connection_is_the_systems() -> None:
    error = httpx.ConnectError(SECRET)
    error.__cause__ = OSError(113, "No route to host")

    found = http.translate(error, who="the oven", sent_at=NOW)

    assert str(found) == "the oven is unreachable: No route to host"


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "nonsense://x"])
def test_proxy_that_can_not_be_used_is_told(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)

    with pytest.raises(UsageError, match="the proxy of the environment can't be used"):
        http.open_client()
