"""The tables of the preview: the first paint beside chafa and timg, and what it adds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench import preview
from bench.cells import NONE, Table, middle, milliseconds, quotient, runs, verdict

if TYPE_CHECKING:
    from bench.preview import Added, Paint, Previews

TIMES_CHAFA = {preview.PHOTO: 1.5, preview.FLAT: 2.5}
"""How many times as long as chafa the first paint may take."""
ADDED_MS = 15.0


def about() -> list[str]:
    """What was compared."""
    return [
        f"A PNG of {preview.SIDE}x{preview.SIDE} is painted in {preview.COLUMNS}x{preview.ROWS} "
        "cells of true colour by whole processes that take turns, in a terminal that answers at "
        "once: tmux-img with all that it asks, chafa with its usual symbols, timg with half "
        "blocks. With --hold the time is that to the end of the caption.",
        "What the preview adds is measured on a tmux server of the bench's own: as the "
        "difference of whole processes with and without it, in which the viewer that starts "
        "competes for the processor, and as the step alone, imports included. A bare call of tmux "
        "that opens the same window is the least that it can take.",
    ]


def tables(previews: Previews) -> list[Table]:
    """First paints, and what the preview adds to generate."""
    found = [_paints(previews.paints)]
    return [*found, _added(previews.added)] if previews.added else found


def as_json(previews: Previews) -> dict[str, Any]:
    """The raw numbers, in seconds."""
    paints = {paint.kind: paint.seconds for paint in previews.paints}
    return {"paints": paints, "added": previews.added._asdict() if previews.added else None}


def _paints(paints: list[Paint]) -> Table:
    rows = []
    for paint in paints:
        own = middle(paint.seconds[preview.TMUX_IMG])
        chafa = quotient(own, middle(paint.seconds[preview.CHAFA]))
        timg = quotient(own, middle(paint.seconds[preview.TIMG]))
        cells = [
            cell
            for name, seconds in paint.seconds.items()
            for cell in milliseconds(seconds, "not measured")[: 1 if name == preview.HELD else 2]
        ]
        count = runs(paint.seconds[preview.TMUX_IMG])
        ratios = (NONE if ratio is None else f"{ratio:.2f}" for ratio in (chafa, timg))
        target = verdict(chafa, TIMES_CHAFA[paint.kind])
        rows.append((f"{paint.kind} ({count})", *cells, *ratios, target))
    head = ("picture", "tmux-img, ms", "min..max", "with --hold, ms", "chafa, ms", "min..max")
    more = ("timg, ms", "min..max", "tmux-img / chafa", "tmux-img / timg", "target")
    return Table("The first paint of a picture", (*head, *more), rows)


def _added(added: Added) -> Table:
    difference = [b - a for a, b in zip(added.without, added.with_it, strict=True)]
    median = middle(added.step)
    rows = [
        ("imagen generate --no-preview", *milliseconds(added.without), ""),
        ("imagen generate --preview", *milliseconds(added.with_it), ""),
        ("the difference of both", *milliseconds(difference), ""),
        (
            f"the step alone ({runs(added.step)})",
            *milliseconds(added.step, digits=1),
            verdict(None if median is None else median * 1000, ADDED_MS, unit=" ms"),
        ),
        ("tmux new-window, with the same viewer", *milliseconds(added.bare, digits=1), ""),
    ]
    return Table(
        "What the preview adds to a picture", ("process", "ms", "min..max", "target"), rows
    )
