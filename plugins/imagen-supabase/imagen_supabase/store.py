"""The project as a store: what was spent on all machines, and the jobs that they share."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from imagen_core import Spent, UsageRow, iso_week
from imagen_supabase.config import standing
from imagen_supabase.tables import DAILY, USAGE
from imagen_supabase.usage import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen_core import Context, Queue, Status
    from imagen_supabase.client import Project


class SupabaseStore:
    """Answers for usage from the project's table, which all machines write, and has its queue."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def usage(self, since: str, *, everything: bool) -> Iterator[UsageRow]:  # noqa: ARG002
        """Rows from that UTC date on; what was free was never written."""
        conditions = {"created_at": f"gte.{since}T00:00:00Z"} if since else {}
        for found in self._project.select(USAGE, COLUMNS, order="created_at,id", **conditions):
            yield UsageRow(**{**found, "latency_ms": found["latency_ms"] or 0})

    def spent(self, since: str, *, everything: bool) -> Iterator[Spent]:  # noqa: ARG002
        """The same in sums by day, which the database makes."""
        conditions = {"day": f"gte.{since}"} if since else {}
        order = "day,backend,model,caller"
        for found in self._project.select(DAILY, "*", order=order, **conditions):
            week = iso_week(f"{found.pop('day')}T00:00:00Z")
            yield Spent(**{**found, "cost_usd": Decimal(str(found["cost_usd"]))}, week=week)

    def queue(self) -> Queue:
        """The jobs of all machines."""
        from imagen_supabase.queue import SupabaseQueue

        return SupabaseQueue(self._context)

    def status(self) -> Status:
        """Whether there are credentials; no network."""
        return standing(self._context)

    @property
    def _project(self) -> Project:
        from imagen_supabase.client import connect

        return self._context.once(connect)
