"""A prediction and its record."""

from __future__ import annotations

import datetime
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagen_replicate.testing.order import Order
    from imagen_replicate.testing.problems import JSON

ENDS = ("succeeded", "failed", "canceled", "aborted")
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id() -> str:
    """Makes an id of 26 letters and digits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(26))


def iso(moment: datetime.datetime) -> str:
    """Writes a moment as the server does."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now() -> datetime.datetime:
    """Tells the time."""
    return datetime.datetime.now(datetime.UTC)


@dataclass(eq=False)
class Prediction:
    """A prediction on its way through the server; times are text, as the record has them."""

    model: str
    version: str
    input: JSON
    order: Order
    cancel_after: float | None = None
    held: str = ""
    """The status in which it stays until it is released."""
    id: str = field(default_factory=new_id)
    status: str = "starting"
    output: list[str] | str | None = None
    error: str | None = None
    metrics: JSON = field(default_factory=dict)
    pictures: int = 0
    """How many pictures were billed for it."""
    seconds_billed: float = 0.0
    created_at: str = ""
    started_at: str | None = None
    completed_at: str | None = None
    data_removed: bool = False
    last_words: str | None = ""

    def __post_init__(self) -> None:
        moment = now()
        self.created_at = iso(moment)
        self.created = time.monotonic()
        self.started: float | None = None
        self.deadline: str | None = None
        self.expires: float | None = None
        if self.cancel_after is not None:
            self.deadline = iso(moment + datetime.timedelta(seconds=self.cancel_after))
            self.expires = self.created + self.cancel_after

    @property
    def ended(self) -> bool:
        """Whether its status will not change any more."""
        return self.status in ENDS

    @property
    def logs(self) -> str | None:
        """What it has said so far."""
        if self.status != "processing" or self.started is None:
            return self.last_words
        seconds = self.order.seconds
        passed = time.monotonic() - self.started
        return self.order.progress(0.5 if self.held or not seconds else passed / seconds)

    def start(self) -> None:
        """Begins to process."""
        self.status, self.started, self.started_at = "processing", time.monotonic(), iso(now())

    def end(self, status: str) -> float:
        """Ends it, and tells how many seconds it ran."""
        ended = time.monotonic()
        self.status, self.completed_at = status, iso(now())
        if self.started is None:
            return 0.0
        seconds = ended - self.started
        total = round(ended - self.created, 6)
        self.metrics = {"predict_time": round(seconds, 6), "total_time": total}
        return seconds

    def remove_data(self) -> None:
        """Forgets what it was given and what it made."""
        self.data_removed = True
        self.input, self.output, self.last_words = {}, None, None
        self.started_at = None
        self.metrics.pop("image_count", None)

    def show(self, url: str) -> JSON:
        """Gives its record, with links below the address of the API."""
        own = f"{url}/predictions/{self.id}"
        record = {
            "id": self.id,
            "model": self.model,
            "version": self.version,
            "input": self.input,
            "logs": self.logs,
            "output": self.output,
            "data_removed": self.data_removed,
            "error": self.error,
            "status": self.status,
            "source": "api",
            "created_at": self.created_at,
            "urls": {
                "cancel": f"{own}/cancel",
                "get": own,
                "web": f"https://replicate.com/p/{self.id}",
            },
        }
        later = {
            "deadline": self.deadline,
            "started_at": self.started_at,
            "completed_at": self.completed_at,
            "metrics": self.metrics,
        }
        return {**record, **{key: value for key, value in later.items() if value}}

    def show_early(self, url: str) -> JSON:
        """Gives its record as if only its files were there yet."""
        record = self.show(url)
        for key in ("started_at", "completed_at", "metrics"):
            record.pop(key, None)
        return {**record, "status": "processing", "logs": ""}
