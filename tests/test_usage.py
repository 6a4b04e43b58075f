"""What was spent, by week, backend, model and caller."""

from __future__ import annotations

import contextlib
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from imagen_core import Cost, Failure, Request, Run, UsageRow
from imagen_core.ledger import Ledger
from imagen_core.usage import Spent, by_group, iso_week, total


def row(created_at: str = "2026-05-08T12:00:00+00:00", **changes: object) -> UsageRow:
    values = {"backend": "flux", "model": "schnell", "cost_usd_estimate": 0.003, **changes}
    return UsageRow(id="r", created_at=created_at, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("created_at", "week"),
    [
        ("2026-05-08T12:00:00.000+00:00", "2026-W19"),
        ("2026-05-08T12:00:00Z", "2026-W19"),
        ("2026-01-01T00:00:00+00:00", "2026-W01"),
        ("2025-12-29T00:00:00+00:00", "2026-W01"),
        ("2025-12-28T23:59:59+00:00", "2025-W52"),
        ("2026-12-31T23:59:59+00:00", "2026-W53"),
        ("2027-01-03T23:59:59+00:00", "2026-W53"),
        ("2027-01-04T00:00:00+00:00", "2027-W01"),
        ("2024-12-30T00:00:00+00:00", "2025-W01"),
        ("2023-01-01T12:00:00+00:00", "2022-W52"),
        ("2026-01-05T01:00:00+02:00", "2026-W01"),
        ("2026-01-04T22:00:00-05:00", "2026-W02"),
    ],
)
def test_week_is_the_iso_week_in_utc(created_at: str, week: str) -> None:
    assert iso_week(created_at) == week


def test_rows_are_grouped_by_week_backend_model_and_caller_oldest_week_first() -> None:
    rows = [
        row("2026-01-01T00:00:00+00:00", latency_ms=100),
        row("2025-12-28T00:00:00+00:00", caller="agent", latency_ms=10),
        row("2025-12-29T00:00:00+00:00", latency_ms=201, cost_usd_estimate=None),
        row("2025-12-28T00:00:00+00:00", model="dev", cost_usd_estimate=0.025),
        row("2025-12-28T00:00:00+00:00", backend="alpha", cost_usd_estimate=0.0),
        row("2025-12-28T00:00:00+00:00", caller="", latency_ms=30),
    ]

    def spent(week: str, backend: str, model: str, caller: str | None, **more: object) -> Spent:
        values = {"count": 1, "latency_ms": 0, "unknown": 0, **more}
        return Spent(week=week, backend=backend, model=model, caller=caller, **values)  # type: ignore[arg-type]

    assert by_group(map(Spent.of, rows)) == [
        spent("2025-W52", "alpha", "schnell", None, cost_usd=Decimal(0)),
        spent("2025-W52", "flux", "dev", None, cost_usd=Decimal("0.025")),
        spent("2025-W52", "flux", "schnell", None, cost_usd=Decimal("0.003"), latency_ms=30),
        spent("2025-W52", "flux", "schnell", "agent", cost_usd=Decimal("0.003"), latency_ms=10),
        spent(
            "2026-W01",
            "flux",
            "schnell",
            None,
            count=2,
            cost_usd=Decimal("0.003"),
            latency_ms=301,
            unknown=1,
        ),
    ]


@pytest.mark.parametrize(
    ("costs", "sum_of_them"),
    [
        ([0.000001] * 10_000, "0.01"),
        ([0.1] * 10, "1"),
        ([0.1, 0.2], "0.3"),
        ([0.003] * 999 + [1_000_000.0], "1000002.997"),
        ([1e-7, 1e-6], "0.0000011"),
        ([0.0] * 5, "0"),
    ],
)
def test_costs_add_up_exactly(costs: list[float], sum_of_them: str) -> None:
    spent = total(Spent.of(row(cost_usd_estimate=cost)) for cost in costs)

    assert spent.cost_usd == Decimal(sum_of_them)
    assert spent.unknown == 0


def test_unknown_costs_are_counted_and_not_taken_for_free() -> None:
    spent = total(Spent.of(row(cost_usd_estimate=cost)) for cost in (None, 0.0, 0.5, None))

    assert (spent.count, spent.unknown, spent.cost_usd) == (4, 2, Decimal("0.5"))


@pytest.mark.parametrize(("latencies", "mean"), [([], 0), ([100, 201], 150), ([1, 1, 2], 1)])
def test_mean_is_that_of_one_run(latencies: list[int], mean: int) -> None:
    spent = total(Spent.of(row(latency_ms=latency)) for latency in latencies)

    assert spent.mean_latency_ms == mean


def test_nothing_costs_nothing() -> None:
    assert by_group([]) == []
    assert total([]) == Spent(count=0, latency_ms=0, cost_usd=Decimal(0), unknown=0)


def spend(name: str, usd: float | None, failure: str = "") -> None:
    """Write a Run down that a server had."""
    request = Request(
        id=name, prompt="a cat", typed_prompt="a cat", backend="flux", width=8, height=8, seed=1
    )
    run = Run(
        id=name,
        started_at="2026-05-08T12:00:00.000+00:00",
        request=request,
        cost=None if usd is None else Cost(usd=usd, basis="table"),
        remote_id=name,
        failure=Failure(code=failure, message="") if failure else None,
    )
    with contextlib.closing(Ledger(Path(os.environ["IMAGEN_DATA_DIR"]))) as ledger:
        ledger.record(run, finished=True)


def test_what_failed_and_may_have_cost_something_is_told(imagen: Any) -> None:
    spend("well", 0.003)
    spend("stopped", None, "cancelled")
    spend("charged", 0.002, "failed")
    spend("free", 0, "cancelled")

    some = imagen("usage")
    whole = imagen("usage", "--all")
    (found,) = imagen("usage", "--json").json()

    assert some.out.splitlines()[-1] == "total\t\t\t\t1\t0 ms\t0.003000"
    assert some.err == (
        "imagen: not counted: 2 that failed or were stopped, and may have cost something "
        "(0.002 USD and 1 of unknown cost); --all counts them\n"
    )
    assert whole.out.splitlines()[-1] == "total\t\t\t\t4\t0 ms\t0.005000 + 1 unknown"
    assert whole.err == ""
    left = found["left_out"]
    assert (left["count"], left["cost_usd"], left["unknown"]) == (2, 0.002, 1)
