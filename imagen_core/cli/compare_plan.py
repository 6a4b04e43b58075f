"""What `compare --dry-run` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen_core.crew import SIDE_BY_SIDE
from imagen_core.files import expand_home
from imagen_core.overview import cost_text
from imagen_core.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from imagen_core.app import App
    from imagen_core.comparison import Cell, Comparison
    from imagen_core.ledger import Ledger

RECENT = 20
"""So many earlier runs of an instance say how long the next one may take."""


def print_plan(app: App, comparison: Comparison, resume: str, known: Ledger | None) -> None:
    """Print each cell, what it may cost and take, and what runs beside what."""
    from imagen_core.compare import Comparing
    from imagen_core.stock import Stock

    folder = expand_home(resume)
    comparing = Comparing(app, folder, comparison, ledger=known)
    comparing.resolve(Stock(folder, known) if resume else None)
    means = _means(known, comparison.models)
    plans = [
        {**comparing.plan(request), "seconds": means.get(request.backend)}
        for request in comparing.requests
    ]
    refused = [cell for cell in comparing.comparison.cells if cell.status == "failed"]
    whole = _whole(plans)
    if app.console.as_json:
        cells = [{"model": c.model, "seed": c.seed, "error": c.error} for c in refused]
        app.console.json({"dry_run": True, "cells": plans, "refused": cells, **whole})
        return
    for line in (*_cells(plans), *_refused(refused), *_summary(plans, whole)):
        app.console.line(printable(line, newlines=False))


def _cells(plans: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for plan in plans:
        yield _line(plan)
        yield from (f"  {warning}" for warning in plan["warnings"])


def _refused(cells: Sequence[Cell]) -> Iterator[str]:
    for cell in cells:
        yield f"{cell.name}: can't be made: {(cell.error or {}).get('message')}"


def _line(plan: Mapping[str, Any]) -> str:
    steps = f", {plan['steps']} steps" if plan["steps"] else ""
    cost = cost_text(plan["cost_usd_estimate"])
    return f"{plan['model']}, seed {plan['seed']}: {plan['size']}{steps}, {cost}, {_time(plan)}"


def _time(plan: Mapping[str, Any]) -> str:
    seconds = plan["seconds"]
    return "time unknown" if seconds is None else f"about {seconds:.1f} s"


def _whole(plans: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All together: the cost, the time, and what is made one after the other."""
    costs = [plan["cost_usd_estimate"] for plan in plans]
    known = [cost for cost in costs if cost is not None]
    lanes: dict[str, list[Mapping[str, Any]]] = {}
    for plan in plans:
        lanes.setdefault(plan["resource"] or "", []).append(plan)
    spans = [_span(lane, 1 if name else SIDE_BY_SIDE) for name, lane in lanes.items()]
    return {
        "cost_usd_estimate": round(sum(known), 6) if len(known) == len(costs) else None,
        "known_cost_usd": round(sum(known), 6),
        "unknown_costs": len(costs) - len(known),
        "seconds": None if None in spans else max((s for s in spans if s), default=0.0),
        "lanes": {
            name or "no resource": [f"{plan['model']}, seed {plan['seed']}" for plan in lane]
            for name, lane in lanes.items()
        },
    }


def _span(lane: Sequence[Mapping[str, Any]], beside: int) -> float | None:
    """How long these take, so many at once; None if that of any is unknown."""
    seconds = sorted(plan["seconds"] for plan in lane if plan["seconds"] is not None)[::-1]
    if len(seconds) < len(lane):
        return None
    ends = [0.0] * beside
    for one in seconds:
        ends[ends.index(min(ends))] += one
    return round(max(ends), 1)


def _summary(plans: Sequence[Mapping[str, Any]], whole: Mapping[str, Any]) -> list[str]:
    if not plans:
        return ["nothing is left to be made"]
    lines = []
    for name, cells in whole["lanes"].items():
        how = "one after the other" if name != "no resource" else f"up to {SIDE_BY_SIDE} at once"
        lines.append(f"{name}: {len(cells)}, {how}")
    number = whole["unknown_costs"]
    unknown = f" and {number} of unknown cost" if number else ""
    cost = cost_text(whole["known_cost_usd"])
    seconds = whole["seconds"]
    time = "time unknown" if seconds is None else f"about {seconds:.1f} s"
    return [*lines, f"all: {cost}{unknown}, {time}"]


def _means(known: Ledger | None, models: Iterable[str]) -> dict[str, float]:
    """How long each instance took lately, in seconds, by the ledger."""
    from imagen_core.errors import ImagenError

    try:
        found = {model: known.latencies(model, RECENT) for model in models} if known else {}
    except ImagenError:
        return {}
    return {name: sum(took) / len(took) / 1000 for name, took in found.items() if took}
