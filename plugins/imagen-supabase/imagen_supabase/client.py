"""The one way to a Supabase project: its bucket and its tables, with every fault as ours."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from imagen_core import Failure, UnavailableError, http
from imagen_supabase.config import needed_credentials
from imagen_supabase.problems import Asker, BusyError, ConflictError, StrangeError, odd, translated
from imagen_supabase.tables import BUCKET, SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from imagen_core import Context
    from imagen_supabase.config import Credentials
    from imagen_supabase.tables import Table

T = TypeVar("T")

CONNECT_SECONDS = 5.0
WAITS = (1 / 60, 1 / 20)
"""How long to wait before each further try after a passing fault, as parts of the time-out."""
OUTAGE_SECONDS = 30.0
"""So long nobody asks again for what was out of reach, so that a batch need not wait each time."""
PAGE = 1000


@contextmanager
def connect(context: Context) -> Iterator[Project]:
    """The project that is configured. Nobody is asked yet; use it with `Context.once`."""
    import httpx

    found = needed_credentials(context)
    seconds = context.settings("supabase").timeout
    timeout = httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))
    with http.open_client(timeout=timeout) as client:
        yield Project(found, client, patience=seconds)


class Project:
    """A Supabase project. Several threads may share one.

    What is sent twice here does no harm: an object is made without replacing, a row under an id.
    """

    def __init__(self, credentials: Credentials, client: httpx.Client, *, patience: float) -> None:
        from supabase import ClientOptions, create_client

        self.url = credentials.url
        self.who = f"Supabase at {urlsplit(credentials.url).netloc}"
        self._asker = Asker(self.who, credentials.variable, credentials.key)
        self._client = client
        self._patience = patience
        self._last = threading.local()
        self._outages: dict[str, tuple[float, Failure]] = {}
        client.event_hooks["response"].append(self._note)
        options = ClientOptions(
            httpx_client=client,
            postgrest_client_retry=False,
            auto_refresh_token=False,
            persist_session=False,
        )
        apikey = credentials.apikey or credentials.key
        if apikey is not credentials.key:
            options.headers["Authorization"] = f"Bearer {credentials.key.reveal()}"
        self._supabase = create_client(credentials.url, apikey.reveal(), options)

    @property
    def _bucket(self) -> Any:
        return self._place(BUCKET)

    def _place(self, bucket: str) -> Any:
        return self._supabase.storage.from_(bucket)

    def object_url(self, place: str) -> str:
        """The address of an object, which opens with the key or for its owner alone."""
        return f"{self.url}/storage/v1/object/{BUCKET}/{quote(place)}"

    def upload(
        self, place: str, data: bytes, *, mime: str, digest: str, bucket: str = BUCKET
    ) -> bool:
        """Make an object, unless there is one of that name: then False."""
        options = {
            "content-type": mime,
            "cache-control": "31536000",
            "upsert": "false",
            "metadata": {"sha256": digest},
        }
        try:
            self._ask("storage", lambda: self._place(bucket).upload(place, data, options))
        except ConflictError:
            return False
        return True

    def remove(self, place: str) -> None:
        """Take an object away."""
        self._ask("storage", lambda: self._bucket.remove([place]))

    def digest(self, place: str) -> str:
        """The sha256 of an object."""
        found = self._ask("storage", lambda: self._bucket.info(place))
        kept = found.get("metadata") if isinstance(found, dict) else None
        if isinstance(kept, dict) and isinstance(kept.get("sha256"), str):
            return str(kept["sha256"])
        data: bytes = self._ask("storage", lambda: self._bucket.download(place))
        return sha256(data).hexdigest()

    def download(self, place: str, *, bucket: str) -> bytes:
        """The bytes of an object; raises MissingError. A job that needs them does not wait long."""
        data: bytes = self._ask("", lambda: self._place(bucket).download(place))
        return data

    def signed_url(self, place: str, seconds: int) -> str:
        """An address that opens for anybody, for so long."""
        found = self._ask("storage", lambda: self._bucket.create_signed_url(place, seconds))
        return str(found["signedURL"])

    def names(self, folder: str) -> set[str]:
        """The objects in a folder of the bucket, with the folder in their names."""
        found: set[str] = set()
        offset = 0
        while page := self._listed(folder, offset):
            found |= {f"{folder}/{entry['name']}" for entry in page if entry.get("id")}
            offset += len(page)
        return found

    def _listed(self, folder: str, offset: int) -> list[dict[str, Any]]:
        options = {"limit": PAGE, "offset": offset}
        page = self._ask("storage", lambda: self._bucket.list(folder, options))
        return self._rows(page)

    def bucket(self, name: str) -> Any:
        """What there is to say of a bucket: `public`, `allowed_mime_types`, `file_size_limit`."""
        return self._ask("storage", lambda: self._supabase.storage.get_bucket(name))

    def insert(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> set[str]:
        """Add rows but for those whose ids are there, and give the ids of those that were added."""
        query = self._table(table).upsert(list(rows), on_conflict="id", ignore_duplicates=True)
        query.request.params = query.request.params.set("select", "id")
        return {row["id"] for row in self._rows(self._ask("database", query.execute).data)}

    def select(
        self, table: Table, columns: str, *, order: str = "id", **conditions: str
    ) -> Iterator[dict[str, Any]]:
        """Rows in the order of these columns, which tell one from another, page by page.

        `conditions` are by column, as PostgREST writes them: `sha256="eq.…"`. A page begins after
        the last row of the one before, so that rows which come meanwhile shift nothing.
        """
        keys = order.split(",")
        last: dict[str, Any] = {}
        while True:
            query = self._table(table).select(columns, count="exact")
            for column, condition in conditions.items():
                operator, _, value = condition.partition(".")
                query = query.filter(column, operator, value)
            if last:
                query = query.or_(_after(keys, last))
            for column in keys:
                query = query.order(column)
            reply = self._ask("database", query.limit(PAGE).execute)
            rows = self._rows(reply.data)
            yield from rows
            if not rows or len(rows) == reply.count:
                return
            last = rows[-1]

    def call(self, function: str, kind: Any, **arguments: Any) -> Any:
        """What a function of the schema imagen gives, as this type; it must do no harm twice.

        It is asked also if the last one got no answer: a lease does not wait. What is no answer of
        Supabase's, such as the page of a proxy, passes like an outage: a job is not to fail of it.
        """
        query = self._supabase.schema(SCHEMA).rpc(function, arguments)
        return self._ask("", lambda: msgspec.convert(query.execute().data, kind))

    def _table(self, table: Table) -> Any:
        return self._supabase.schema(table.schema).table(table.name)

    def _rows(self, data: Any) -> list[dict[str, Any]]:
        """What should be rows: a page with status 200 is none."""
        if not isinstance(data, list):
            raise odd(self._asker)
        return data

    def _ask(self, service: str, call: Callable[[], T]) -> T:
        """Do it, again after a passing fault; raises one of our errors.

        Of a service with a name it is kept that it was out of reach.
        """
        until, outage = self._outages.get(service, (0.0, None))
        if outage and time.monotonic() < until:
            raise outage.error()
        called = self._called if service else self._called_again
        waits = [part * self._patience for part in WAITS]
        end = time.monotonic() + self._patience
        while True:
            try:
                return called(call)
            except BusyError:
                raise
            except UnavailableError as error:
                # Who has kept us waiting for all that time already is not asked once more.
                if not waits or time.monotonic() + waits[0] > end:
                    if service:
                        until = time.monotonic() + OUTAGE_SECONDS
                        self._outages[service] = (until, Failure.of(error))
                    raise
            time.sleep(waits.pop(0))

    def _called_again(self, call: Callable[[], T]) -> T:
        """The same for what has to be asked until there is an answer."""
        try:
            return self._called(call)
        except StrangeError as error:
            raise UnavailableError(error.message, hint=error.hint) from None

    def _called(self, call: Callable[[], T]) -> T:
        import httpx
        from postgrest.exceptions import APIError
        from storage3.utils import StorageException

        self._last.status, self._last.response = 0, None
        sent_at = datetime.now(UTC)
        try:
            return call()
        except (
            httpx.HTTPError,
            httpx.InvalidURL,
            httpx.StreamError,
            APIError,
            StorageException,
            ValueError,
            TypeError,
            LookupError,
            RuntimeError,
            msgspec.ValidationError,
        ) as error:
            problem = translated(error, self._asker, status=self._last.status, sent_at=sent_at)
        finally:
            http.end_left(self._client, self._last.response)
            self._last.response = None
        # Outside of the handler: the library's own words may hold the row, and so the prompt.
        raise problem

    def _note(self, response: httpx.Response) -> None:
        self._last.status, self._last.response = response.status_code, response


def _after(keys: Sequence[str], row: Mapping[str, Any]) -> str:
    """The condition of PostgREST that a row comes behind this one in the order of these columns."""
    alternatives = []
    for number, key in enumerate(keys):
        same = [f"{column}.eq.{_quoted(row[column])}" for column in keys[:number]]
        alternatives.append(f"and({','.join([*same, f'{key}.gt.{_quoted(row[key])}'])})")
    return ",".join(alternatives)


def _quoted(value: Any) -> str:
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
