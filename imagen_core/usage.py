"""What was spent: rows of a Store, grouped by week, backend, model and caller."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imagen_core.types import UsageRow


class Spent(Struct, frozen=True, kw_only=True):
    """Several Runs in one line. `unknown` of them have a cost that nobody knows."""

    week: str = ""
    backend: str = ""
    model: str = ""
    caller: str | None = None
    count: int
    mean_latency_ms: int
    cost_usd: Decimal
    unknown: int


def by_group(rows: Iterable[UsageRow]) -> list[Spent]:
    """One Spent for each week (ISO, in UTC), backend, model and caller, oldest week first."""
    groups: dict[tuple[str, str, str, str], list[UsageRow]] = {}
    for row in rows:
        key = (iso_week(row.created_at), row.backend, row.model, row.caller or "")
        groups.setdefault(key, []).append(row)
    return [
        total(members, week=week, backend=backend, model=model, caller=caller or None)
        for (week, backend, model, caller), members in sorted(groups.items())
    ]


def total(
    rows: list[UsageRow],
    *,
    week: str = "",
    backend: str = "",
    model: str = "",
    caller: str | None = None,
) -> Spent:
    """All these rows in one; costs are added as decimals, so that they stay exact."""
    costs = [row.cost_usd_estimate for row in rows]
    return Spent(
        week=week,
        backend=backend,
        model=model,
        caller=caller,
        count=len(rows),
        mean_latency_ms=round(sum(row.latency_ms for row in rows) / len(rows)) if rows else 0,
        cost_usd=sum((Decimal(str(cost)) for cost in costs if cost is not None), Decimal(0)),
        unknown=costs.count(None),
    )


def iso_week(created_at: str) -> str:
    """The ISO week of a timestamp, such as 2026-W19."""
    year, week, _ = datetime.fromisoformat(created_at).astimezone(UTC).isocalendar()
    return f"{year}-W{week:02}"
