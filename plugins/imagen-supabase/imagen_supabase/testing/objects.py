"""What objects there are, and who may do what with them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from imagen_supabase.testing.problems import database_error, denied, duplicate
from imagen_supabase.testing.tokens import SERVER, Visitor

if TYPE_CHECKING:
    from collections.abc import Iterable

BUCKET = "imagen-generated"
ROLES = ("anon", "authenticated", "service_role")


def now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


def iso(moment: datetime) -> str:
    """Writes a time as JavaScript does."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Bucket:
    """A bucket and its limits."""

    id: str
    public: bool = False
    file_size_limit: int | None = None
    allowed_mime_types: tuple[str, ...] | None = None
    owner: str = ""
    created_at: datetime = field(default_factory=now)
    updated_at: datetime = field(default_factory=now)


@dataclass(frozen=True)
class Entry:
    """An object's row: all of it but its bytes."""

    bucket: str
    name: str
    metadata: dict[str, Any]
    user_metadata: dict[str, Any] | None = None
    owner: str = ""
    id: str = field(default_factory=lambda: str(uuid4()))
    version: str = field(default_factory=lambda: str(uuid4()))
    created_at: datetime = field(default_factory=now)
    updated_at: datetime = field(default_factory=now)
    last_accessed_at: datetime = field(default_factory=now)


class Objects(Protocol):
    """The rows of Storage, which decide who may do what; Storage makes one call at a time.

    All raise StorageProblem where the visitor has no right, or a role that nobody knows. What a
    visitor may not see is not there.
    """

    def buckets(self, visitor: Visitor) -> list[Bucket]:
        """Gives the buckets."""
        ...

    def add_bucket(self, visitor: Visitor, bucket: Bucket) -> None:
        """Makes a bucket that is not there yet."""
        ...

    def find(self, visitor: Visitor, bucket: str, name: str) -> Entry | None:
        """Gives an object."""
        ...

    def search(self, visitor: Visitor, bucket: str, prefix: str) -> list[Entry]:
        """Gives the objects whose names begin like this, in the order of their names."""
        ...

    def put(self, visitor: Visitor, entry: Entry, *, upsert: bool) -> Entry:
        """Adds an object; with `upsert` one that is there keeps its id and time of creation."""
        ...

    def remove(self, visitor: Visitor, bucket: str, names: Iterable[str]) -> list[Entry]:
        """Removes objects, and gives those that it has removed."""
        ...


class MemoryObjects:
    """Rows in memory: the service role may do all, and nobody else anything.

    A test may override `may_read`.
    """

    def __init__(self, *buckets: Bucket) -> None:
        mimes = ("image/png", "image/jpeg", "image/webp")
        self._buckets = {one.id: one for one in buckets or [Bucket(BUCKET, False, None, mimes)]}
        self._entries: dict[tuple[str, str], Entry] = {}

    def may_read(self, visitor: Visitor, entry: Entry) -> bool:
        """Whether somebody who is not the service role may read this."""
        del visitor, entry
        return False

    def buckets(self, visitor: Visitor) -> list[Bucket]:
        """Gives the buckets."""
        return list(self._buckets.values()) if _may_all(visitor) else []

    def add_bucket(self, visitor: Visitor, bucket: Bucket) -> None:
        """Makes a bucket."""
        if not _may_all(visitor):
            raise denied()
        if bucket.id in self._buckets:
            raise duplicate("BucketAlreadyExists")
        self._buckets[bucket.id] = bucket

    def find(self, visitor: Visitor, bucket: str, name: str) -> Entry | None:
        """Gives an object."""
        entry = self._entries.get((bucket, name))
        return entry if entry and self._sees(visitor, entry) else None

    def search(self, visitor: Visitor, bucket: str, prefix: str) -> list[Entry]:
        """Gives the objects whose names begin like this."""
        entries = sorted(self._entries.values(), key=lambda entry: entry.name)
        found = [one for one in entries if one.bucket == bucket and one.name.startswith(prefix)]
        return [entry for entry in found if self._sees(visitor, entry)]

    def put(self, visitor: Visitor, entry: Entry, *, upsert: bool) -> Entry:
        """Adds an object."""
        if not _may_all(visitor):
            raise denied()
        old = self._entries.get((entry.bucket, entry.name))
        if old and not upsert:
            raise duplicate("KeyAlreadyExists")
        if old:
            entry = replace(entry, id=old.id, created_at=old.created_at)
        self._entries[entry.bucket, entry.name] = entry
        return entry

    def remove(self, visitor: Visitor, bucket: str, names: Iterable[str]) -> list[Entry]:
        """Removes objects."""
        if not _may_all(visitor):
            return []
        found = [self._entries.pop((bucket, name), None) for name in names]
        return [entry for entry in found if entry]

    def _sees(self, visitor: Visitor, entry: Entry) -> bool:
        return _may_all(visitor) or self.may_read(visitor, entry)


def _may_all(visitor: Visitor) -> bool:
    if visitor.role not in ROLES:
        raise database_error("22023")
    return visitor.role == SERVER.role
