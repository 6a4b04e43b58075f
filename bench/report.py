"""The tables: ratios of medians, the targets met or missed, as text or as Markdown."""

from __future__ import annotations

import datetime
import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bench import (
    batch_tables,
    commands,
    overheads,
    preview_tables,
    queue_tables,
    sheet_tables,
    workers,
)
from bench.cells import NONE, Table, milliseconds, verdict
from bench.commands import CLICK, IMAGEN, PASS, PEERS, PYTHON, SLEEPY
from bench.environments import plugins
from imagen_core import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.batch import Batched
    from bench.cloud import Clouds
    from bench.comfyui import Overhead
    from bench.commands import Timing
    from bench.preview import Previews
    from bench.queues import Drained
    from bench.replicate import Lag
    from bench.scheduling import Spread
    from bench.sheet import Sheets
    from bench.tail import Tail
    from bench.workers import Works

TIMES_CLICK = {
    commands.VERSION: 1.3,
    commands.HELP: 2.2,
    commands.COMPLETION: 2.2,
    commands.COMPLETION_OF_BACKENDS: 2.2,
}
"""How many times `import click` each may take."""
TIMES_PLAIN = 1.1
"""What a plugin that sleeps at import may change: nothing, within noise."""
TAIL_MS = 15.0


SPREAD_TARGET = 1.15


@dataclass
class Results:
    """What one run of the bench measured; a part that was left out has none."""

    rounds: int
    timings: list[Timing] = field(default_factory=list)
    tails: list[Tail] = field(default_factory=list)
    new_processes: list[float] = field(default_factory=list)
    overheads: list[Overhead] = field(default_factory=list)
    lags: list[Lag] = field(default_factory=list)
    sheets: list[Sheets] = field(default_factory=list)
    batches: list[Batched] = field(default_factory=list)
    spread: Spread | None = None
    clouds: Clouds | None = None
    queues: list[Drained] = field(default_factory=list)
    works: Works | None = None
    previews: Previews | None = None


def tables(results: Results) -> list[Table]:
    """Everything that is reported, in its order."""
    found = [_start_up(results), _peers(results), _sleepy(results)] if results.timings else []
    found += [_tail(results)] if results.tails else []
    found += overheads.comfyui_tables(results.overheads) if results.overheads else []
    found += overheads.replicate_tables(results.lags) if results.lags else []
    found += sheet_tables.tables(results.sheets) if results.sheets else []
    found += batch_tables.tables(results.batches) if results.batches else []
    found += [_spread(results.spread)] if results.spread else []
    found += [overheads.cloud_table(results.clouds)] if results.clouds else []
    found += queue_tables.tables(results.queues) if results.queues else []
    found += workers.tables(results.works) if results.works else []
    return [*found, *preview_tables.tables(results.previews)] if results.previews else found


def about(results: Results) -> list[str]:
    """What was measured, where and when, in a few lines; no names and no paths."""
    peers = ", ".join(_peers_of(results))
    against = f", against {peers}, in environments of their own" if peers else ""
    found = [
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}: {_cpu()}, {os.cpu_count()} cores, "
        f"{platform.system()}, load {os.getloadavg()[0]:.1f} at the end; "
        f"Python {platform.python_version()}.",
        f"imagen {__version__} with {len(plugins())} first-party distributions besides the core"
        f"{against}.",
    ]
    found += _about_commands(results.rounds) if results.timings else []
    found += overheads.about_comfyui() if results.overheads else []
    found += overheads.about_replicate() if results.lags else []
    found += sheet_tables.about() if results.sheets else []
    found += batch_tables.about() if results.batches else []
    found += overheads.about_cloud(results.clouds) if results.clouds else []
    found += queue_tables.about() if results.queues else []
    found += workers.about() if results.works else []
    return [*found, *preview_tables.about()] if results.previews else found


def _spread(spread: Spread) -> Table:
    low, high = min(spread.seconds), max(spread.seconds)
    met = "met" if spread.ratio <= SPREAD_TARGET else "MISSED"
    row = (
        f"3 resources × 6 cells of 200 ms ({len(spread.seconds)} rounds)",
        f"{spread.ideal:.2f}",
        f"{spread.ratio * spread.ideal:.2f}",
        f"{low:.2f}..{high:.2f}",
        f"{spread.ratio:.2f}",
        f"≤ {SPREAD_TARGET}: {met}",
    )
    head = ("comparison", "ideal, s", "s", "min..max", "× ideal", "target")
    return Table("A comparison's cells, spread over resources", head, [row])


def _peers_of(results: Results) -> Iterator[str]:
    if results.timings:
        yield from (f"{name} {version}" for name, version in PEERS.items())
    elif results.overheads:
        yield overheads.COMFY
    if results.lags:
        yield overheads.REPLICATE


def _about_commands(rounds: int) -> list[str]:
    return [
        f"Medians of {rounds} rounds in one run: every command once a round, in a new "
        "order, as a process of its own, with a warm index and nothing of the user's own.",
        "comfy-cli runs with its telemetry off; llm, which completes no command, completes a flag.",
    ]


def as_text(results: Results) -> str:
    """The tables in columns."""
    parts = ["\n".join(about(results))]
    for table in tables(results):
        grid = [table.head, *table.rows]
        widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
        parts.append("\n".join([table.title, *("  " + _columns(row, widths) for row in grid)]))
    return "\n\n".join(parts)


def as_markdown(results: Results) -> str:
    """The tables as Markdown, for the docs."""
    parts = ["\n".join(f"- {line}" for line in about(results))]
    for table in tables(results):
        rule = ("---", *("---:" for _ in table.head[1:]))
        rows = (f"| {' | '.join(row)} |" for row in (table.head, rule, *table.rows))
        parts += [f"## {table.title}", "\n".join(rows)]
    return "\n\n".join(parts)


def as_json(results: Results) -> dict[str, Any]:
    """The raw numbers, in seconds."""
    return {
        "about": about(results),
        "commands": [
            {
                "subject": timing.case.subject,
                "action": timing.case.action,
                "problem": timing.problem,
                "seconds": timing.seconds,
            }
            for timing in results.timings
        ],
        "comfyui": [overhead._asdict() for overhead in results.overheads],
        "replicate": [lag._asdict() for lag in results.lags],
        "scheduling": results.spread._asdict() if results.spread else None,
        "batches": [batched._asdict() for batched in results.batches],
        "cloud": results.clouds._asdict() if results.clouds else None,
        "queues": [drained._asdict() for drained in results.queues],
        "workers": workers.raw(results.works),
        "sheets": [sheets._asdict() for sheets in results.sheets],
        "preview": preview_tables.as_json(results.previews) if results.previews else None,
        "tails": [tail._asdict() for tail in results.tails],
        "tails_in_new_processes": results.new_processes,
    }


def _start_up(results: Results) -> Table:
    bare, click = (_of(results, PYTHON, action) for action in (PASS, CLICK))
    rows = []
    for timing in results.timings:
        subject, action = timing.case.subject, timing.case.action
        if subject == SLEEPY:
            continue
        name = action if subject == PYTHON else f"{subject}: {action}"
        limit = TIMES_CLICK.get(action) if subject == IMAGEN else None
        rows.append(
            (
                name,
                *milliseconds(timing.seconds, timing.problem),
                _times(timing, bare),
                _times(timing, click, digits=2),
                verdict(_ratio(timing, click), limit),
            )
        )
    head = ("command", "ms", "min..max", "× pass", "× import click", "target")
    return Table("Commands", head, rows)


def _peers(results: Results) -> Table:
    subjects = [f"{name} {version}" for name, version in PEERS.items()]
    rows = []
    for action in (commands.VERSION, commands.HELP, commands.COMPLETION):
        own = _of(results, IMAGEN, action)
        peers = (_times(_of(results, subject, action), own) for subject in subjects)
        rows.append((action, "1.0", *peers))
    return Table("Against the peers (imagen = 1)", ("command", "imagen", *subjects), rows)


def _sleepy(results: Results) -> Table:
    rows = []
    for timing in (timing for timing in results.timings if timing.case.subject == SLEEPY):
        plain = _of(results, IMAGEN, timing.case.action)
        rows.append(
            (
                timing.case.action,
                milliseconds(plain.seconds, plain.problem)[0],
                *milliseconds(timing.seconds, timing.problem),
                _times(timing, plain, digits=2),
                verdict(_ratio(timing, plain), TIMES_PLAIN),
            )
        )
    head = ("imagen", "ms without", "ms with", "min..max", "× without", "target")
    return Table("With a plugin that sleeps two seconds at import", head, rows)


def _tail(results: Results) -> Table:
    tails = results.tails
    rest = [tail.total - tail.sync - tail.ledger for tail in tails]
    parts = (
        (f"all, in one process ({len(tails)} runs)", [tail.total for tail in tails], TAIL_MS),
        ("– syncing the picture and its folder, and the sidecar", [t.sync for t in tails], None),
        ("– the ledger, with its own syncing", [tail.ledger for tail in tails], None),
        ("– everything else", rest, None),
        ("the same bytes written and synced without imagen", [t.bare for t in tails], None),
        (f"all, new processes ({len(results.new_processes)})", results.new_processes, TAIL_MS),
    )
    rows = []
    for name, seconds, limit in parts:
        value = median(seconds) * 1000
        rows.append((name, *milliseconds(seconds, digits=2), verdict(value, limit, unit=" ms")))
    title = "From a backend's last byte to the printed path, a PNG of 1.5 MB"
    return Table(title, ("own time", "ms", "min..max", "target"), rows)


def _of(results: Results, subject: str, action: str) -> Timing:
    return next(t for t in results.timings if t.case[:2] == (subject, action))


def _ratio(timing: Timing, base: Timing) -> float | None:
    if not timing.seconds or not base.seconds:
        return None
    return median(timing.seconds) / median(base.seconds)


def _times(timing: Timing, base: Timing, *, digits: int = 1) -> str:
    ratio = _ratio(timing, base)
    return NONE if ratio is None else f"{ratio:.{digits}f}"


def _columns(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.ljust(width) if index == 0 else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join((first, *others)).rstrip()


def _cpu() -> str:
    return next(_cpu_names(), platform.machine())


def _cpu_names() -> Iterator[str]:
    """The model as Linux tells it; elsewhere what Python knows."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                yield line.partition(":")[2].strip()
    if name := platform.processor():
        yield name
