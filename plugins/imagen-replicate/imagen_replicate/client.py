"""Replicate's API over HTTP: call by call, its replies as plain data, its faults as errors.

Nothing that the server says gets further than here with a secret in it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import quote, urlsplit

from imagen_core import CredentialsError, Progress, RejectedError, UnavailableError, http
from imagen_replicate.config import API_URL
from imagen_replicate.prediction import Prediction, read_prediction
from imagen_replicate.problems import TOKENS_PAGE, Asker, refusal

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    import httpx

    from imagen_core import InputImage, Secret
    from imagen_replicate.config import Reference, ReplicateConfig

T = TypeVar("T")
Call = Generator[Progress, None, T]

PASSING = frozenset({429, 500, 502, 503, 504, 520, 521, 522, 523, 524})
ONCE_MORE = http.Retry(tries=2, statuses=PASSING, lost=True, first_wait=0.2)
"""For what only reads, or does no harm when it is done twice."""

QUICK_SECONDS = 10.0
"""How long a small reply may take."""
UPLOAD_SECONDS = 120.0
PAGES = 5
"""So many pages of the list are read; each has a hundred predictions."""
SHORTEST_SECRET = 4
ADDRESSES = frozenset({"id", "output", "urls", "next"})
"""Keys whose values are used and not shown."""


class Limits(NamedTuple):
    """How many calls are left, and in how many seconds there will be more."""

    remaining: int
    reset: float


class Api:
    """The client of one server. Use it in a `with` block; most calls yield while they wait."""

    def __init__(
        self, config: ReplicateConfig, token: Secret | None, secrets: Mapping[str, Secret]
    ) -> None:
        self.base = config.base
        self.who = "Replicate" if self.base == API_URL else f"Replicate at {self.base}"
        self.variable = config.api_token_env
        self.limits: Limits | None = None
        self.skew: timedelta | None = None
        """How far the server's clock is ahead, if it tells the time."""
        self._token = token
        known = (secret.reveal() for secret in (token, *secrets.values()) if secret)
        self._hidden = [text for text in known if len(text) >= SHORTEST_SECRET]
        self._client: httpx.Client | None = None
        self._end: float | None = None

    def __enter__(self) -> Self:
        if self._token is None:
            told = f"{self.who} needs a token: ${self.variable} is not set"
            raise CredentialsError(told, hint=f"set {self.variable}; tokens are at {TOKENS_PAGE}")
        if not self._token.reveal().isascii():
            told = f"the token for {self.who} has a character that no header takes"
            raise CredentialsError(told, hint=f"look at the value of {self.variable}")
        self._client = http.open_client()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._client:
            self._client.close()

    @property
    def client(self) -> httpx.Client:
        """The connections; they carry no token by themselves."""
        assert self._client is not None, "an Api is used in its with block"
        return self._client

    def hurry(self, seconds: float) -> None:
        """Somebody waits for the end: every call from here on comes to its own in so long."""
        self._end = time.monotonic() + seconds

    def create(
        self, reference: Reference, inputs: Mapping[str, Any], *, hold: int, cancel_after: int
    ) -> http.Background[httpx.Response]:
        """Ask for a prediction, once: its reply comes when it is made, or after `hold` seconds."""
        headers = {"Cancel-After": f"{cancel_after}s", **self._authorization()}
        headers |= {"Prefer": f"wait={hold}"} if hold else {}
        path, body = "/predictions", {"version": str(reference), "input": inputs}
        if not reference.version:
            path, body = f"/models/{reference.model}/predictions", {"input": inputs}
        return http.begin(
            self.client,
            "POST",
            f"{self.base}{path}",
            who=self.who,
            headers=headers,
            json=body,
            timeout=hold + QUICK_SECONDS,
        )

    def prediction(self, id: str, *, retry: http.Retry = http.ONCE) -> Call[Prediction]:
        """A prediction as it is now."""
        response = yield from self._send("GET", f"/predictions/{quote(id, safe='')}", retry=retry)
        return self.read(response)

    def recent(self, since: datetime) -> Call[list[Prediction]]:
        """The predictions of this account that were made since then, the newest first."""
        found: list[Prediction] = []
        url = f"/predictions?created_after={quote(since.isoformat())}"
        for _ in range(PAGES):
            page = self.decoded(self.checked((yield from self._send("GET", url))))
            results = page.get("results") if isinstance(page, dict) else None
            if not isinstance(results, list):
                raise self._odd("the list of predictions")
            found += [one for one in map(read_prediction, results) if one]
            following = page.get("next")
            if not (isinstance(following, str) and self._is_own(following)):
                break
            url = following.removeprefix(self.base)
        return found

    def cancel(self, id: str) -> Call[Prediction]:
        """Stop a prediction; returns it as it is now."""
        path = f"/predictions/{quote(id, safe='')}/cancel"
        return self.read((yield from self._send("POST", path, retry=http.ONCE)))

    def describe(self, reference: Reference) -> Call[dict[str, Any]]:
        """What Replicate says of a model, or of one version of it."""
        path = f"/models/{reference.model}"
        path += f"/versions/{reference.version}" if reference.version else ""
        found = self.decoded(self.checked((yield from self._send("GET", path))))
        if not isinstance(found, dict):
            raise self._odd(f"the model {reference}")
        return found

    def upload(self, image: InputImage) -> Call[str]:
        """Lend an input image to Replicate for a day; returns its address there."""
        response = yield from self._send(
            "POST",
            "/files",
            files={"content": (f"{image.sha256[:40]}", image.data, image.mime)},
            timeout=UPLOAD_SECONDS,
        )
        stored = self.decoded(self.checked(response))
        urls = stored.get("urls") if isinstance(stored, dict) else None
        if not isinstance(urls, dict) or not isinstance(urls.get("get"), str):
            raise self._odd("an upload")
        return str(urls["get"])

    def token_for(self, url: str, *, wanted: bool) -> dict[str, str]:
        """The header for a file's host, if it wants a token and may see one."""
        return self._authorization() if wanted and self.may_have_token(url) else {}

    def may_have_token(self, url: str) -> bool:
        """Whether a file's host is Replicate itself, over an encrypted connection."""
        if self._is_own(url):
            return True
        parts = urlsplit(url)
        host = parts.hostname or ""
        files = host == "replicate.delivery" or host.endswith(".replicate.delivery")
        return parts.scheme == "https" and files and self.base == API_URL

    def read(self, response: httpx.Response) -> Prediction:
        """The prediction in this reply; raises what the reply stands for if it has none."""
        found = read_prediction(self.decoded(self.checked(response)))
        if found is None:
            raise self._odd("a prediction")
        return found

    def checked(self, response: httpx.Response) -> httpx.Response:
        """The response if it is a success; else the error that it stands for."""
        self.note(response)
        if response.is_success:
            return response
        raise refusal(response, self.problem(response), Asker(self.who, self.variable))

    def note(self, response: httpx.Response) -> None:
        """Keep what a reply tells beside its content: the calls that are left, and the time."""
        headers = response.headers
        self.limits = None
        with suppress(KeyError, ValueError):
            remaining, reset = headers["ratelimit-remaining"], headers["ratelimit-reset"]
            self.limits = Limits(int(remaining), float(reset))
        with suppress(KeyError, ValueError, TypeError):
            self.skew = parsedate_to_datetime(headers["date"]) - datetime.now(UTC)

    def problem(self, response: httpx.Response) -> dict[str, Any]:
        """What the API says in a reply, which may be a proxy's page: then nothing."""
        try:
            found = self.cleaned(json.loads(response.text))
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def decoded(self, response: httpx.Response) -> Any:
        """The JSON of a reply, without any secret; a page of a proxy is none."""
        try:
            return self.cleaned(json.loads(response.text))
        except (ValueError, RecursionError):
            raise self._odd("a call") from None

    def cleaned(self, value: Any) -> Any:
        """What the server says, without any secret that it repeats."""
        if isinstance(value, dict):
            return {
                self.cleaned(key): item if key in ADDRESSES else self.cleaned(item)
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [self.cleaned(item) for item in value]
        if isinstance(value, str):
            for hidden in self._hidden:
                value = value.replace(hidden, "***")
        return value

    def _send(
        self, method: str, path: str, *, retry: http.Retry = ONCE_MORE, **options: Any
    ) -> Call[httpx.Response]:
        options.setdefault("timeout", QUICK_SECONDS)
        if self._end is not None:
            retry, left = http.ONCE, self._end - time.monotonic()
            if left <= 0:
                raise UnavailableError(f"{self.who} did not answer in time")
            options["timeout"] = min(options["timeout"], max(left / 2, 0.1))
        url, headers = f"{self.base}{path}", self._authorization()
        return http.send(
            self.client, method, url, who=self.who, retry=retry, headers=headers, **options
        )

    def _authorization(self) -> dict[str, str]:
        assert self._token is not None, "an Api is used in its with block"
        return {"Authorization": f"Bearer {self._token.reveal()}"}

    def _is_own(self, url: str) -> bool:
        """Whether this address lies within the API."""
        return url.startswith(f"{self.base}/")

    def _odd(self, what: str) -> RejectedError:
        return RejectedError(
            f"{self.who} answers {what} in another way than Replicate does",
            hint="look at the block's api_url: a proxy, or another server, may be there",
        )
