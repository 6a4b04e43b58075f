"""The table of the queues: jobs per second as ratios, and how long a claim takes."""

from __future__ import annotations

from statistics import median, quantiles
from typing import TYPE_CHECKING

from bench import queues
from bench.cells import NONE, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.queues import Drained

TIMES_WORKER = 1.0
"""How many jobs per second imagen does on PostgreSQL at least, in those of the peer's worker."""
RATE = 500.0
"""How many jobs per second the embedded queue does at least."""


def about() -> list[str]:
    """What was compared."""
    return [
        f"Each queue is filled with {queues.JOBS} jobs, or {queues.QUICK_JOBS} of a first look, "
        "and drained by processes that take a job and finish it, and do nothing in between. A "
        "round does all of them, each in a new file or database; the next has the other order.",
        "SQLite has `synchronous=full`; PostgreSQL is one server on this machine, with `fsync` and "
        "`synchronous_commit` on, asked without HTTP unless PostgREST is named. SKIP LOCKED alone "
        "is a table, a `select … for update skip locked` and two updates, in the way of pgmq: no "
        "token, no owners, no limits.",
        f"{queues.PEER} {queues.VERSION} is asked by its job manager (fetch and finish), and by "
        "its own worker, with one job at a time, polling; both have an environment of their own.",
    ]


def tables(found: Sequence[Drained]) -> list[Table]:
    """Each queue by one process and by several."""
    rows = []
    for one in found:
        rates = {other.name: other.rates for other in found if other.processes == one.processes}
        worker = _ratio(one.rates, rates[queues.WORKER])
        rows.append(
            (
                f"{one.name}, {one.processes} process{'' if one.processes == 1 else 'es'}",
                *_rates(one.rates),
                _shown(_ratio(one.rates, rates[queues.SKIP_LOCKED])),
                _shown(_ratio(one.rates, rates[queues.MANAGER])),
                _shown(worker),
                *_claims(one.claims),
                _verdict(one, worker),
            )
        )
    ratios = ("× SKIP LOCKED", "× its manager", "× its worker")
    claims = ("claim p50, ms", "p99", "longest", "target")
    head = (f"queue ({len(found[0].rates)} rounds)", "jobs/s", "min..max", *ratios, *claims)
    return [Table("Queues: jobs per second", head, rows)]


def _rates(rates: Sequence[float]) -> tuple[str, str]:
    if not rates:
        return NONE, "not measured"
    return f"{median(rates):.0f}", f"{min(rates):.0f}..{max(rates):.0f}"


def _claims(seconds: Sequence[float]) -> tuple[str, ...]:
    if len(seconds) < 2:
        return NONE, NONE, NONE
    shown = (median(seconds), quantiles(seconds, n=100)[-1], max(seconds))
    return tuple(f"{one * 1000:.1f}" for one in shown)


def _ratio(rates: Sequence[float], base: Sequence[float]) -> float | None:
    return median(rates) / median(base) if rates and base else None


def _shown(ratio: float | None) -> str:
    return NONE if ratio is None else f"{ratio:.2f}"


def _verdict(one: Drained, worker: float | None) -> str:
    if one.name == queues.SQLITE and one.rates:
        return _target(f"≥ {RATE:g} jobs/s", median(one.rates) >= RATE)
    if one.name == queues.FUNCTIONS and worker is not None:
        return _target(f"≥ {TIMES_WORKER:g} × its worker", worker >= TIMES_WORKER)
    return ""


def _target(target: str, met: bool) -> str:
    return f"{target}: {'met' if met else 'MISSED'}"
