"""What was spent: the step that writes it down in the project, and the store that reads it."""

from __future__ import annotations

from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec

from imagen_core import CredentialsError, Spent, Status, UsageRow, is_billed, iso_week, usage_row
from imagen_supabase.config import KEY, URL, credentials
from imagen_supabase.pictures import storable
from imagen_supabase.tables import DAILY, USAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen_core import Context, Done, Run
    from imagen_supabase.client import Project

COLUMNS = "id,created_at,backend,model,seed,latency_ms,cost_usd_estimate,caller"


def record(done: Done, context: Context) -> tuple[()]:
    """A row for each Run that was paid for, or may have been."""
    if credentials(context) and (rows := [row(run) for run in done.runs if is_accounted(run)]):
        _project(context).insert(USAGE, rows)
    return ()


def _project(context: Context) -> Project:
    # The client takes longer to import than all the rest, and most runs have no use for it.
    from imagen_supabase.client import connect

    return context.once(connect)


def is_accounted(run: Run) -> bool:
    """Whether it cost something, or nobody knows; a failed one if it has begun elsewhere."""
    return is_billed(run) and bool(run.failure is None or run.outputs or run.remote_id)


def row(run: Run) -> dict[str, Any]:
    """The row of mai.imagen_usage; the prompt stays here."""
    about = msgspec.structs.asdict(usage_row(run))
    del about["failure"]
    prompt_hash = sha256(run.request.typed_prompt.encode()).hexdigest()
    return storable({**about, "prompt_hash": prompt_hash})


class UsageStore:
    """Answers for usage from the project's table, which all machines write."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def usage(self, since: str, *, everything: bool) -> Iterator[UsageRow]:  # noqa: ARG002
        """Rows from that UTC date on; what was free was never written."""
        conditions = {"created_at": f"gte.{since}T00:00:00Z"} if since else {}
        project = _project(self._context)
        for found in project.select(USAGE, COLUMNS, order="created_at,id", **conditions):
            yield UsageRow(**{**found, "latency_ms": found["latency_ms"] or 0})

    def spent(self, since: str, *, everything: bool) -> Iterator[Spent]:  # noqa: ARG002
        """The same in sums by day, which the database makes."""
        conditions = {"day": f"gte.{since}"} if since else {}
        project = _project(self._context)
        for found in project.select(DAILY, "*", order="day,backend,model,caller", **conditions):
            week = iso_week(f"{found.pop('day')}T00:00:00Z")
            yield Spent(**{**found, "cost_usd": Decimal(str(found["cost_usd"]))}, week=week)

    def status(self) -> Status:
        """Whether there are credentials; no network."""
        try:
            found = credentials(self._context)
        except CredentialsError as error:
            return Status(ok=False, text=f"not configured: {error}")
        if found is None:
            return Status(ok=False, text=f"not configured (set {URL} and {KEY})")
        return Status(ok=True, text=found.url)
