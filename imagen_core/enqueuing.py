"""Enqueuing: what somebody asks for, checked as far as it can be here, and put into a queue."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, get_args

import msgspec
from msgspec.structs import replace

from imagen_core.blocks import suggestion
from imagen_core.drafting import Order, draft
from imagen_core.errors import ImagenError, UsageError
from imagen_core.instances import AbsentError
from imagen_core.payload import MARK, check_asked, payload
from imagen_core.protocols import Backend, Instance
from imagen_core.queueing import NewJob, encoded
from imagen_core.resolve import check_text, read_image, resolve
from imagen_core.rows import Problem
from imagen_core.types import About, Field, Options

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from imagen_core.app import App
    from imagen_core.files import Target
    from imagen_core.queueing import Enqueued, Offer, Queue
    from imagen_core.rows import Rows
    from imagen_core.types import Event, Request

LOCAL = "local"
"""The store that is this machine's own."""
MAX_KEY = 200
"""How many characters a key may have."""


class Terms(NamedTuple):
    """How jobs are queued. Of several, the first has the key, the others it and their number."""

    priority: int = 5
    delay: float = 0.0
    max_attempts: int = 3
    key: str = ""

    def nth_key(self, number: int) -> str:
        """The key of the job with that number, from 1."""
        return f"{self.key}#{number}" if self.key and number > 1 else self.key


class Wish(NamedTuple):
    """One picture that is to be made, by its Options; `row` 0: it is of no file."""

    options: Options
    row: int = 0
    repeat: int = 0


class Intake:
    """Checks what is to become jobs of a queue, and puts it there."""

    def __init__(self, app: App, store: str, queue: Queue) -> None:
        self.store = store
        self.queue = queue
        self.owner = _owner(app, store)
        self._app = app
        self._offered: dict[str, Instance] = {}
        self._images: dict[str, str] = {}

    @cached_property
    def offers(self) -> dict[str, Offer]:
        """What workers serve, by backend, as the last of them said it."""
        return {offer.backend: offer for offer in sorted(self.queue.offers(), key=_seen_at)}

    def instance(self, name: str) -> Instance:
        """The backend of that name: the one that is configured here, else a worker's."""
        if name in self._offered:
            return self._offered[name]
        known = self._app.instances()
        try:
            if name in known:
                return self._app.instance(name)
        except AbsentError:
            if name not in self.offers:
                raise
        if name not in self.offers:
            told = f"there is no backend '{name}' here, and no worker offers it"
            raise UsageError(told, hint=suggestion(name, {*known, *self.offers}, "there are"))
        backend = _Offered(self.offers[name])
        self._offered[name] = Instance(name, backend.type, backend)
        return self._offered[name]

    def resolve(self, options: Options) -> tuple[Request, ...]:
        """What these Options come to, so that what would fail later is refused now.

        Of a backend that is a worker's alone, the styles are known there.
        """
        settings = self._app.settings
        named = replace(options, backend=options.backend or settings.default_backend())
        about = self.instance(named.backend).backend.about
        if named.backend in self._offered and named.style not in settings.table("styles"):
            named = replace(named, style="")
        requests = resolve(named, settings, self.instance)
        check_asked(named, about)
        return requests

    def wishes(self, options: Options) -> list[Wish]:
        """A wish for each picture of these Options."""
        return [Wish(self._single(options, request)) for request in self.resolve(options)]

    def wishes_of(
        self, rows: Rows, order: Order, target: Target, watch: Callable[[], object]
    ) -> list[Wish]:
        """The wishes of all rows; a RowsError says everything that is wrong with any of them."""
        entries = draft(self.resolve, _without_outputs(rows), order, target, watch=watch)
        return [
            Wish(self._single(entry.options, entry.request), entry.row, entry.repeat)
            for entry in entries
        ]

    def _single(self, options: Options, request: Request) -> Options:
        """The Options of this one picture. A seed that nobody chose is left to the worker."""
        chosen = options.seed or self.instance(request.backend).backend.about.seed
        return replace(
            options, backend=request.backend, seed=request.seed if chosen else 0, count=1
        )

    def jobs(self, wishes: Sequence[Wish], terms: Terms) -> list[NewJob]:
        """The jobs that these wishes come to; their input images are in the queue then."""
        check_text("key", terms.key)
        if len(terms.key) > MAX_KEY:
            raise UsageError(f"the key has {len(terms.key)} characters; {MAX_KEY} is the most")
        caller = self._app.caller() or ""
        found = []
        for number, (options, *_) in enumerate(wishes, 1):
            named = replace(options, images=tuple(map(self._put, options.images)))
            job = NewJob(
                backend=options.backend,
                payload=payload(named, caller),
                key=terms.nth_key(number),
                owner=self.owner,
                priority=terms.priority,
                delay=terms.delay,
                max_attempts=terms.max_attempts,
            )
            encoded(job.payload)  # nothing is enqueued if any of them can't be
            found.append(job)
        return found

    def enqueue(self, jobs: Sequence[NewJob]) -> Iterator[tuple[NewJob, Enqueued]]:
        """Put them there one by one."""
        for job in jobs:
            yield job, self.queue.enqueue(job)

    def _put(self, path: str) -> str:
        """The name that an input image has in a payload."""
        if path not in self._images:
            self._images[path] = self.queue.put_image(read_image(path).data, owner=self.owner)
        return f"{MARK}{self._images[path]}"


class _Offered(Backend):
    """A backend that is not here: all that is known of it is what a worker said."""

    def __init__(self, offer: Offer) -> None:
        self._about = _about(offer)
        self.type = str(offer.about.get("type", ""))

    @property
    def about(self) -> About:
        return self._about

    def generate(self, request: Request) -> Generator[Event, None, None]:
        raise ImagenError(f"the backend '{request.backend}' is a worker's, and not here")


def _about(offer: Offer) -> About:
    try:
        return msgspec.convert({"params": None, **offer.about}, About)
    except msgspec.ValidationError:  # of a newer imagen, say; its worker will judge
        return About(model="", honours=frozenset(get_args(Field)), params=None)


def _seen_at(offer: Offer) -> str:
    return offer.seen_at


def _owner(app: App, store: str) -> str:
    """Whose the jobs are: on this machine nobody's, so that the owner of the day counts."""
    if store == LOCAL:
        return ""
    if not (owner := app.context.owner_user_id):
        told = f"the jobs of '{store}' belong to somebody, and no owner_user_id is configured"
        raise UsageError(told, hint="set it, or IMAGEN_OWNER_USER_ID")
    return owner


def _without_outputs(rows: Rows) -> Rows:
    """The rows, with a problem for each that wants to name its picture."""
    problems = [
        Problem(row.line, row.number, "output", "a job's picture is named where it is made")
        for row in rows.rows
        if row.output
    ]
    bare = tuple(row._replace(output="") for row in rows.rows)
    return rows._replace(rows=bare, problems=(*rows.problems, *problems))
