"""What was spent: rows of a Store, grouped by week, backend, model and caller."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imagen_core.protocols import Store
    from imagen_core.types import UsageRow


class Spent(Struct, frozen=True, kw_only=True):
    """Several Runs in one line. `unknown` of them have a cost that nobody knows.

    `latency_ms` is that of all of them together.
    """

    week: str = ""
    backend: str = ""
    model: str = ""
    caller: str | None = None
    count: int
    latency_ms: int
    cost_usd: Decimal
    unknown: int

    @classmethod
    def of(cls, row: UsageRow) -> Spent:
        """What one Run comes to; its cost as a decimal, so that sums stay exact."""
        cost = row.cost_usd_estimate
        return cls(
            week=iso_week(row.created_at),
            backend=row.backend,
            model=row.model,
            caller=row.caller or None,
            count=1,
            latency_ms=row.latency_ms,
            cost_usd=Decimal(0) if cost is None else Decimal(str(cost)),
            unknown=int(cost is None),
        )

    @property
    def mean_latency_ms(self) -> int:
        """How long one of them took."""
        return round(self.latency_ms / self.count) if self.count else 0


def ask(store: Store, since: str, *, everything: bool) -> list[Spent]:
    """What a store has from that UTC date on, as it can give it soonest."""
    in_groups = getattr(store, "spent", None)
    found: Iterable[Spent] | None = in_groups(since, everything=everything) if in_groups else None
    if found is None:
        found = map(Spent.of, store.usage(since, everything=everything))
    return list(found)


def by_group(parts: Iterable[Spent]) -> list[Spent]:
    """One Spent for each week (ISO, in UTC), backend, model and caller, oldest week first."""
    groups: dict[tuple[str, str, str, str], list[Spent]] = {}
    for part in parts:
        key = (part.week, part.backend, part.model, part.caller or "")
        groups.setdefault(key, []).append(part)
    return [
        total(members, week=week, backend=backend, model=model, caller=caller or None)
        for (week, backend, model, caller), members in sorted(groups.items())
    ]


def total(
    parts: Iterable[Spent],
    *,
    week: str = "",
    backend: str = "",
    model: str = "",
    caller: str | None = None,
) -> Spent:
    """All these in one."""
    parts = list(parts)
    return Spent(
        week=week,
        backend=backend,
        model=model,
        caller=caller,
        count=sum(part.count for part in parts),
        latency_ms=sum(part.latency_ms for part in parts),
        cost_usd=sum((part.cost_usd for part in parts), Decimal(0)),
        unknown=sum(part.unknown for part in parts),
    )


def iso_week(created_at: str) -> str:
    """The ISO week of a timestamp, such as 2026-W19."""
    year, week, _ = datetime.fromisoformat(created_at).astimezone(UTC).isocalendar()
    return f"{year}-W{week:02}"
