"""HTTP for plugins: one way to make a client, to send, to wait, and to say what went wrong.

Whether a request may be sent again depends on what became of it. *Not sent* (no connection) and
*refused* (a status that the caller names) are safe. *Accepted, outcome unknown* (the reply was
lost) is not, unless the caller says that sending it twice does no harm: OutcomeUnknown tells
the caller to look first.
"""

from __future__ import annotations

import math
import random
import threading
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
from msgspec import Struct

from imagen_core import __version__
from imagen_core.background import (
    SLICE_SECONDS,
    THREAD_NAME as THREAD_NAME,
    Background as Background,
    in_thread as in_thread,
)
from imagen_core.errors import (
    CredentialsError,
    ImagenError,
    RejectedError,
    UnavailableError,
    UsageError,
)
from imagen_core.types import Progress

if TYPE_CHECKING:
    from collections.abc import Generator

T = TypeVar("T")

TIMEOUT = httpx.Timeout(30.0, connect=5.0)
LIMITS = httpx.Limits(max_connections=20, max_keepalive_connections=10)

TRANSIENT = frozenset({429, 500, 502, 503, 504})


class OutcomeUnknown(UnavailableError):
    """The request was sent, at `sent_at`, and no reply came: it may have been accepted."""

    def __init__(self, message: str, *, hint: str = "", sent_at: datetime) -> None:
        super().__init__(message, hint=hint)
        self.sent_at = sent_at


class Retry(Struct, frozen=True, kw_only=True):
    """When the same request may be sent again.

    `tries` in all; after a status in `statuses`; after a lost reply only if `lost`, that is if
    sending it twice does no harm. A request that was never sent may always be tried again.
    A wait that the server asks for is kept, up to `longest_wait` seconds; more is not waited for.
    """

    tries: int = 1
    statuses: frozenset[int] = frozenset()
    lost: bool = False
    first_wait: float = 0.5
    longest_wait: float = 60.0


ONCE = Retry()
READ = Retry(tries=3, statuses=TRANSIENT, lost=True)
"""For what only reads: a GET, a probe, a download."""


def open_client(
    *, user_agent: str = "", timeout: httpx.Timeout = TIMEOUT, **options: Any
) -> httpx.Client:
    """A client with imagen's time-outs, limits and User-Agent; redirects are not followed."""
    agent = f"imagen/{__version__} {user_agent}".strip()
    headers = {"User-Agent": agent, **options.pop("headers", {})}
    try:
        return httpx.Client(timeout=timeout, limits=LIMITS, headers=headers, **options)
    except UnicodeEncodeError:
        raise _bad_character("the server") from None
    except (ImportError, ValueError) as error:
        # httpx looks at the variables of proxies here, and needs more for some of them.
        raise UsageError(
            f"the proxy of the environment can't be used: {error}",
            hint="look at HTTP_PROXY, HTTPS_PROXY and ALL_PROXY, or set NO_PROXY",
        ) from error


def send(
    client: httpx.Client,
    method: str,
    url: str,
    *,
    who: str,
    retry: Retry = ONCE,
    hint: str = "",
    **options: Any,
) -> Generator[Progress, None, httpx.Response]:
    """Send a request, again where `retry` allows it; returns the last reply, whatever it says.

    Use it as `response = yield from http.send(…)` in a backend: it yields while it waits, so
    that the backend can be closed at any moment. `who` is the server's name in messages.
    """
    for number in range(1, retry.tries + 1):
        try:
            response = yield from begin(client, method, url, who=who, hint=hint, **options).result()
        except OutcomeUnknown:
            if not retry.lost or number == retry.tries:
                raise
            wait = _backoff(retry, number)
        except UnavailableError:
            if number == retry.tries:
                raise
            wait = _backoff(retry, number)
        else:
            wait = _backoff(retry, number, retry_after(response))
            last = number == retry.tries or wait > retry.longest_wait
            if last or response.status_code not in retry.statuses:
                return response
        yield from pause(wait, f"trying {who} again in {wait:.0f} s")
    raise AssertionError("a Retry has at least one try")


def call(client: httpx.Client, method: str, url: str, **options: Any) -> httpx.Response:
    """As `send`, for those who can wait: commands, probes, steps."""
    return finish(send(client, method, url, **options))


def finish(events: Generator[Progress, None, T]) -> T:
    """Drive such a generator to its end, and return what it returns."""
    while True:
        try:
            next(events)
        except StopIteration as stop:
            result: T = stop.value
            return result


def check(response: httpx.Response, *, who: str, hint: str = "") -> httpx.Response:
    """The response if it is a success; else the error that its status stands for.

    `hint` is used for missing or refused credentials, where it should name the variable.
    """
    status = response.status_code
    if response.is_success:
        return response
    told = f"{who} answered {status} {response.reason_phrase}".rstrip()
    if status in (401, 403):
        raise CredentialsError(told, hint=hint)
    if status in (408, 425) or status in TRANSIENT or status >= 500:
        wait = retry_after(response)
        raise UnavailableError(
            told, hint=f"try again in {wait:.0f} s" if wait else "try again later"
        )
    raise RejectedError(told)


def retry_after(response: httpx.Response, now: datetime | None = None) -> float | None:
    """The seconds that `Retry-After` asks for, given as a number or as a date; None without."""
    text = response.headers.get("Retry-After", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        return _seconds_until(text, now or datetime.now(UTC))
    return max(0.0, seconds) if math.isfinite(seconds) else None


def pause(seconds: float, message: str = "") -> Generator[Progress, None, None]:
    """Wait, and yield while waiting."""
    end = time.monotonic() + seconds
    idle = threading.Event()
    while (left := end - time.monotonic()) > 0:
        yield Progress(message=message)
        idle.wait(min(left, SLICE_SECONDS))


def begin(
    client: httpx.Client, method: str, url: str, *, who: str, hint: str = "", **options: Any
) -> Background[httpx.Response]:
    """Send a request once, and go on: its reply is the `result()`, which may come late.

    For what must be undone if it was accepted, also by somebody who did not wait for the reply.
    """
    return Background(lambda: _send(client, method, url, who, hint, options))


def translate(error: Exception, *, who: str, sent_at: datetime, hint: str = "") -> ImagenError:
    """What an exception of httpx means for whoever asked. Its text may hold secrets: left out."""
    match error:
        case UnicodeEncodeError(encoding="utf-8"):
            return UsageError(f"the request to {who} can't be sent: a text is not valid Unicode")
        case httpx.LocalProtocolError() | UnicodeEncodeError(encoding="ascii"):
            return _bad_character(who, hint)
        case ValueError() if not isinstance(error, UnicodeError):
            return UsageError(f"the request to {who} can't be sent: a value is no JSON", hint=hint)
        case httpx.InvalidURL() | httpx.UnsupportedProtocol() | UnicodeError():
            return UsageError(f"the address of {who} is no http(s) address", hint=hint)
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return UnavailableError(f"{who} did not accept a connection in time", hint=hint)
        case httpx.ProxyError():
            return UnavailableError(f"{who} is unreachable: the proxy refuses", hint=hint)
        case httpx.ConnectError():
            return UnavailableError(f"{who} is unreachable: {_reason(error)}", hint=hint)
        case httpx.TooManyRedirects() | httpx.DecodingError():
            return RejectedError(f"{who} answered with something that can't be read", hint=hint)
        case httpx.TimeoutException():
            text = f"{who} did not answer in time"
        case _:
            text = f"the connection to {who} broke off"
    return OutcomeUnknown(text, hint=hint, sent_at=sent_at)


def _send(
    client: httpx.Client, method: str, url: str, who: str, hint: str, options: dict[str, Any]
) -> httpx.Response:
    sent_at = datetime.now(UTC)
    response = None
    try:
        response = client.request(method, url, **options)
        return response
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ValueError) as error:
        raise translate(error, who=who, sent_at=sent_at, hint=hint) from None
    finally:
        end_left(client, response)


def end_left(client: httpx.Client, response: httpx.Response | None = None) -> None:
    """End the connection of a call in whose midst the client was closed: nobody else would.

    `response` is what came, if anything did: a connection that was being made when the client was
    closed is known to nobody else.
    """
    if client.is_closed:
        client._transport.close()
        stream = response.extensions.get("network_stream") if response is not None else None
        if stream:
            stream.close()


def _backoff(retry: Retry, number: int, asked: float | None = None) -> float:
    """How long to wait after try `number`: what was asked for, else twice as long each time."""
    if asked is not None:
        return asked
    wait: float = retry.first_wait * 2 ** (number - 1) * random.uniform(1.0, 1.25)
    return min(wait, retry.longest_wait)


def _reason(error: BaseException) -> str:
    """The operating system's word on a failed connection, from the innermost exception."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return getattr(error, "strerror", None) or "no connection"


def _bad_character(who: str, hint: str = "") -> UsageError:
    return UsageError(
        f"the request to {who} can't be sent: a header or credential has a bad character",
        hint=hint or "look for a newline or a space in the token",
    )


def _seconds_until(date: str, now: datetime) -> float | None:
    try:
        until = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - now).total_seconds())
