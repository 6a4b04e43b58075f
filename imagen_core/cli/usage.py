"""`imagen usage`."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import click
import msgspec

from imagen_core.app import App
from imagen_core.cli.shared import config_option, json_option, pass_app, store_option
from imagen_core.errors import UsageError
from imagen_core.ledger import Ledger
from imagen_core.tally import cost
from imagen_core.types import UsageRow
from imagen_core.usage import Spent, ask, by_group, total


@click.command("usage", help="Show what was spent, on what, by whom.")
@click.option("--since", default="", metavar="DATE", help="From this UTC date on: 2026-05-08.")
@click.option("--raw", is_flag=True, help="Each run in a line of its own.")
@click.option("--all", "everything", is_flag=True, help="Free and failed ones, too.")
@store_option("Whom to ask: local, or the store of a plugin.")
@config_option
@json_option("Print one JSON object.")
@pass_app
def command(app: App, *, since: str, raw: bool, everything: bool, store: str) -> None:
    """Group what the store knows by week, backend, model and caller."""
    if since:
        _check_date(since)
    name, found = app.store(store)
    rows = list(found.usage(since, everything=everything)) if raw else []
    parts = list(map(Spent.of, rows)) if raw else ask(found, since, everything=everything)
    if isinstance(found, Ledger) and found.unreadable:
        app.console.warn(
            f"{found.unreadable} of the runs could not be read (written by a newer imagen?)"
        )
    local = found if isinstance(found, Ledger) and not everything else None
    left_out = total(map(Spent.of, local.left_out(since)) if local else ())
    whole = total(parts)
    groups = by_group(parts)
    if app.console.as_json:
        app.console.json(
            {"store": name, "since": since or None, "total": _plain(whole)}
            | {"left_out": _plain(left_out)}
            | (
                {"rows": [msgspec.to_builtins(row) for row in rows]}
                if raw
                else {"groups": [_plain(group) for group in groups]}
            )
        )
        return
    if raw:
        _print_rows(app, rows, whole)
    else:
        _print_groups(app, groups, whole)
    if not parts and not everything:
        told = f"no run that went well was billed, says the store '{name}'"
        more = "; --all shows the others, too" if local else ""
        app.console.info(f"{told}{more}")
    if left_out.count:
        app.console.info(
            f"not counted: {left_out.count} that failed or were stopped, and may have cost "
            f"something ({cost(float(left_out.cost_usd), left_out.unknown)}); --all counts them"
        )


def _check_date(text: str) -> None:
    try:
        date.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"'{text}' is not a date", hint="for instance --since 2026-05-08"
        ) from None
    if len(text) != len("2026-05-08"):
        raise UsageError(f"'{text}' is not YYYY-MM-DD", hint="for instance --since 2026-05-08")


def _print_groups(app: App, groups: list[Spent], whole: Spent) -> None:
    table = [
        (
            s.week,
            s.backend,
            s.model,
            s.caller or "-",
            str(s.count),
            f"{s.mean_latency_ms} ms",
            _cost(s),
        )
        for s in groups
    ]
    last = ("total", "", "", "", str(whole.count), f"{whole.mean_latency_ms} ms", _cost(whole))
    head = ("week", "backend", "model", "caller", "count", "mean latency", "cost USD")
    app.console.table(head, [*table, last])


def _print_rows(app: App, rows: list[UsageRow], whole: Spent) -> None:
    table = [
        (
            row.created_at,
            row.id,
            row.backend,
            row.model,
            str(row.seed),
            f"{row.latency_ms} ms",
            _usd(row.cost_usd_estimate),
            row.caller or "-",
            row.failure or "-",
        )
        for row in rows
    ]
    last = (
        "total",
        str(whole.count),
        "",
        "",
        "",
        f"{whole.mean_latency_ms} ms",
        _cost(whole),
        "",
        "",
    )
    head = ("created", "id", "backend", "model", "seed", "latency", "cost USD", "caller", "failure")
    app.console.table(head, [*table, last])


def _usd(cost: float | None) -> str:
    return "unknown" if cost is None else f"{Decimal(str(cost)):.6f}"


def _cost(spent: Spent) -> str:
    unknown = f" + {spent.unknown} unknown" if spent.unknown else ""
    return f"{spent.cost_usd:.6f}{unknown}"


def _plain(spent: Spent) -> dict[str, object]:
    return {
        "week": spent.week,
        "backend": spent.backend,
        "model": spent.model,
        "caller": spent.caller,
        "count": spent.count,
        "mean_latency_ms": spent.mean_latency_ms,
        "cost_usd": float(spent.cost_usd),
        "unknown": spent.unknown,
    }
