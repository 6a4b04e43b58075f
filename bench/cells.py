"""What tables are made of: medians, ranges, and whether a target is met."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

NONE = "–"


class Table(NamedTuple):
    """A title, a head, and rows of cells."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]


def runs(seconds: Sequence[float]) -> str:
    """How many there were."""
    return f"{len(seconds)} run{'' if len(seconds) == 1 else 's'}"


def middle(seconds: Sequence[float]) -> float | None:
    """The median; None of nothing."""
    return median(seconds) if seconds else None


def quotient(value: float | None, base: float | None, *, less: float = 0) -> float | None:
    """How many times the base it is, after something is taken away from both."""
    return None if value is None or base is None else (value - less) / (base - less)


def milliseconds(seconds: Sequence[float], problem: str = "", *, digits: int = 0) -> list[str]:
    """The median, and the range."""
    if not seconds:
        return [NONE, problem]
    shown = [f"{s * 1000:.{digits}f}" for s in (median(seconds), min(seconds), max(seconds))]
    return [shown[0], f"{shown[1]}..{shown[2]}"]


def verdict(value: float | None, limit: float | None, *, unit: str = "") -> str:
    """The limit, and whether it is met; empty without one."""
    if limit is None:
        return ""
    if value is None:
        return f"≤ {limit:g}{unit}: not measured"
    return f"≤ {limit:g}{unit}: {'met' if value <= limit else 'MISSED'}"
