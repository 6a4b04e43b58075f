"""A ComfyUI server over HTTP: each call once, its reply as plain data, its faults as errors."""

from __future__ import annotations

import base64
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import quote

from imagen_core import (
    CredentialsError,
    Progress,
    RejectedError,
    UnavailableError,
    UsageError,
    http,
)

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    import httpx

    from imagen_comfyui.config import ComfyConfig
    from imagen_core import InputImage, Secret

T = TypeVar("T")
Call = Generator[Progress, None, T]

PASSING = frozenset({429, 502, 503, 504})
LOOK = http.Retry(tries=2, statuses=PASSING, lost=True)
"""For what only reads, or does no harm when it is done twice, while somebody waits for it."""

FETCH = http.Retry(tries=4, statuses=PASSING | {500}, lost=True)
"""For a picture that is there: it was made, and may have taken minutes."""

QUICK_SECONDS = 10.0
"""How long a small reply may take. While a model is loaded the server is deaf for seconds."""

UPLOAD_FOLDER = "imagen"
SUFFIXES = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "image/gif": "gif"}


class Queue(NamedTuple):
    """The ids of what runs and of what waits, the next one first."""

    running: tuple[str, ...]
    pending: tuple[str, ...]


class Server:
    """The client of one server. Use it in a `with` block; most calls yield while they wait."""

    def __init__(
        self, config: ComfyConfig, key: Secret | None, *, seconds: float = QUICK_SECONDS
    ) -> None:
        self._seconds = seconds
        self.base = config.base
        self.who = f"ComfyUI at {self.base}"
        usual = "look whether ComfyUI runs there, and at the instance's url"
        self.hint = config.unreachable_hint or usual
        self.headers: Mapping[str, str] = {}
        self._key = key
        self._variable = config.api_key_env
        self._client: httpx.Client | None = None

    def __enter__(self) -> Self:
        # Certificates take 20 ms to load, and no plain connection needs any.
        verify = self.base.lower().startswith("https:")
        try:
            self.headers = _authorization(self._key.reveal()) if self._key else {}
            self._client = http.open_client(headers=self.headers, verify=verify)
        except (UsageError, UnicodeEncodeError) as error:
            if not self._variable:
                raise
            told = f"the key for {self.who} has a character that no header takes"
            raise CredentialsError(told, hint=f"look at the value of {self._variable}") from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._client:
            self._client.close()

    def read(self, path: str, *, retry: http.Retry = LOOK, **options: Any) -> Call[Any]:
        """What a GET of this path answers, as JSON."""
        response = yield from self.send("GET", path, retry=retry, **options)
        return self.decoded(self.checked(response))

    def send(
        self, method: str, path: str, *, retry: http.Retry = http.ONCE, **options: Any
    ) -> Call[httpx.Response]:
        """The reply to this request, whatever it says."""
        assert self._client is not None, "a Server is used in its with block"
        options.setdefault("timeout", self._seconds)
        url = f"{self.base}{path}"
        return http.send(
            self._client, method, url, who=self.who, retry=retry, hint=self.hint, **options
        )

    def checked(self, response: httpx.Response) -> httpx.Response:
        """The response if it is a success; else the error that it stands for."""
        if response.is_redirect:
            # What comes behind the path may hold the state, or the secret, of a log-in.
            place = response.headers.get("location", "").partition("?")[0].partition("#")[0]
            raise RejectedError(
                f"{self.who} sends elsewhere: {place or 'it does not say where'}",
                hint="set the instance's url to the address that it names",
            )
        if response.status_code == 404:
            raise RejectedError(
                f"{self.who} answered 404 to {response.request.url.path}: no ComfyUI is there",
                hint="correct the instance's url",
            )
        try:
            return http.check(response, who=self.who, hint=self._key_hint())
        except UnavailableError as error:
            error.hint = self.hint if response.status_code in (502, 503, 504) else error.hint
            raise

    def decoded(self, response: httpx.Response) -> Any:
        """The JSON of a reply; a page of a proxy is none."""
        try:
            return response.json()
        except (ValueError, RecursionError) as error:
            raise RejectedError(
                f"{self.who} answered with something that is not JSON",
                hint="look at the instance's url: a proxy, or another server, may be there",
            ) from error

    def queue(self, *, retry: http.Retry = LOOK, **options: Any) -> Call[Queue]:
        """What runs and what waits."""
        found = yield from self.read("/queue", retry=retry, **options)
        lists = (
            [found.get(f"queue_{key}") for key in Queue._fields] if isinstance(found, dict) else []
        )
        if not lists or not all(isinstance(one, list) for one in lists):
            raise self._odd("/queue")
        return Queue(*map(_ids, lists))

    def history(self, prompt_id: str, *, retry: http.Retry = LOOK) -> Call[dict[str, Any] | None]:
        """What became of a prompt; None as long as it has not ended, or if nobody knows it."""
        found = yield from self.read(f"/history/{prompt_id}", retry=retry)
        if found == {}:
            return None
        entry = found.get(prompt_id) if isinstance(found, dict) else None
        if not isinstance(entry, dict):
            raise self._odd("/history")
        return entry

    def is_known(self, prompt_id: str) -> Call[bool]:
        """Whether the server has this prompt: it waits, runs, or has ended.

        The queue is read first: a prompt goes from there into the history, never back.
        """
        queue = yield from self.queue()
        if prompt_id in (*queue.running, *queue.pending):
            return True
        return (yield from self.history(prompt_id)) is not None

    def node(self, kind: str) -> Call[dict[str, Any]]:
        """What the server says of a class of nodes; nothing of one that it does not have."""
        found = yield from self.read(f"/object_info/{quote(kind, safe='')}")
        info = found.get(kind) if isinstance(found, dict) else None
        return info if isinstance(info, dict) else {}

    def upload(self, image: InputImage) -> Call[str]:
        """Put an input image there, named by its content; returns what LoadImage is given."""
        name = f"{image.sha256[:40]}.{SUFFIXES.get(image.mime, 'img')}"
        response = yield from self.send(
            "POST",
            "/upload/image",
            retry=LOOK,
            files={"image": (name, image.data, image.mime)},
            data={"subfolder": UPLOAD_FOLDER, "type": "input"},
            timeout=http.TIMEOUT,
        )
        stored = self.decoded(self.checked(response))
        if not isinstance(stored, dict) or not isinstance(stored.get("name"), str):
            raise self._odd("/upload/image")
        return "/".join(filter(None, (str(stored.get("subfolder") or ""), stored["name"])))

    def tell(self, path: str, body: dict[str, Any], *, timeout: float) -> Call[None]:
        """Post something whose reply says nothing."""
        response = yield from self.send("POST", path, json=body, timeout=timeout)
        self.checked(response)

    def _odd(self, path: str) -> RejectedError:
        return RejectedError(
            f"{self.who} answers {path} in another way than ComfyUI does",
            hint="look at the instance's url: a proxy, or another server, may be there",
        )

    def _key_hint(self) -> str:
        if self._variable:
            return f"set {self._variable} to a key that it accepts"
        return "name the variable that holds the key as api_key_env in the instance's block"


def _ids(items: Any) -> tuple[str, ...]:
    """The ids of a list of the queue, the first one first."""
    sound = [item for item in items if isinstance(item, list) and len(item) > 1]
    sound.sort(key=lambda item: item[0] if isinstance(item[0], int | float) else 0)
    return tuple(str(item[1]) for item in sound)


def _authorization(key: str) -> Mapping[str, str]:
    """The header of a key: as it is if it names its scheme, `user:password` as basic."""
    if key.startswith(("Basic ", "Bearer ")):
        return {"Authorization": key}
    if ":" in key:
        return {"Authorization": f"Basic {base64.b64encode(key.encode()).decode()}"}
    return {"Authorization": f"Bearer {key}"}
