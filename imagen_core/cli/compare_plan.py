"""What `compare --dry-run` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen_core.files import expand_home
from imagen_core.overview import cost_text
from imagen_core.pipeline import SIDE_BY_SIDE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imagen_core.app import App
    from imagen_core.comparison import Comparison

RECENT = 20
"""So many earlier runs of an instance say how long the next one may take."""


def print_plan(app: App, comparison: Comparison, resume: str) -> None:
    """Print each cell, what it may cost and take, and what runs beside what."""
    from imagen_core.compare import Comparing

    comparing = Comparing(app, expand_home(resume), comparison, ledger=app.ledger)
    if resume:
        comparing.take_stock()
    comparing.resolve()
    means = _means(app)
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
    for plan in plans:
        app.console.line(_line(plan))
        for warning in plan["warnings"]:
            app.console.line(f"  {warning}")
    for cell in refused:
        app.console.line(f"{cell.name}: can't be made: {(cell.error or {}).get('message')}")
    for line in _summary(whole):
        app.console.line(line)


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
        "cost_usd_estimate": round(sum(known), 6) if known else None,
        "unknown_costs": len(costs) - len(known),
        "seconds": None if None in spans else max((s for s in spans if s), default=0.0),
        "lanes": {
            name or "no resource": [f"{plan['model']}, seed {plan['seed']}" for plan in lane]
            for name, lane in lanes.items()
        },
    }


def _span(lane: Sequence[Mapping[str, Any]], beside: int) -> float | None:
    """How long these take, so many at once; None if that of any is unknown."""
    seconds = [plan["seconds"] for plan in lane]
    return None if None in seconds else round(sum(seconds) / min(beside, len(lane)), 1)


def _summary(whole: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, cells in whole["lanes"].items():
        how = "one after the other" if name != "no resource" else f"up to {SIDE_BY_SIDE} at once"
        lines.append(f"{name}: {len(cells)}, {how}")
    unknown = f" and {whole['unknown_costs']} unknown" if whole["unknown_costs"] else ""
    cost = cost_text(whole["cost_usd_estimate"])
    seconds = whole["seconds"]
    time = "time unknown" if seconds is None else f"about {seconds:.1f} s"
    return [*lines, f"all: {cost}{unknown}, {time}"]


def _means(app: App) -> dict[str, float]:
    """How long each instance took lately, in seconds, by the ledger."""
    from imagen_core.errors import ImagenError

    found: dict[str, list[int]] = {}
    try:
        for row in app.ledger.usage(everything=True):
            if not row.failure:
                found.setdefault(row.backend, []).append(row.latency_ms)
    except ImagenError:
        return {}
    return {
        name: sum(latencies[-RECENT:]) / len(latencies[-RECENT:]) / 1000
        for name, latencies in found.items()
    }
