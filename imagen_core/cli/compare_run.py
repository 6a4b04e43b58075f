"""What `compare` does while it works, and what it says in the end."""

from __future__ import annotations

import shlex
import threading
from typing import TYPE_CHECKING, NoReturn

import click

from imagen_core.cli.shared import at_the_keys, cancelled_by_signals
from imagen_core.cli.telling import Telling
from imagen_core.errors import Cancelled, ImagenError, PartialFailure
from imagen_core.overview import draw, write_page

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from imagen_core.app import App
    from imagen_core.compare import Comparing
    from imagen_core.comparison import Cell
    from imagen_core.types import Request, Run


def run(app: App, comparing: Comparing, flags: Mapping[str, str], *, sheet: bool) -> NoReturn:
    """Make the cells, draw the sheet, write the page, and end with the exit code of it all."""
    cancel = threading.Event()
    shown: list[Path] = []
    telling = Telling(app)
    with cancelled_by_signals(cancel, at_the_keys(app)):
        try:
            _make(app, comparing, flags, cancel, telling)
        except KeyboardInterrupt:
            cancel.set()
        try:
            if not comparing.lost:
                shown += _overviews(app, comparing, sheet=sheet)
                _show(app, comparing, shown, flags, telling)
        except KeyboardInterrupt:
            cancel.set()
    _exit(app, comparing, shown, interrupted=cancel.is_set())


def _make(
    app: App,
    comparing: Comparing,
    flags: Mapping[str, str],
    cancel: threading.Event,
    telling: Telling,
) -> None:
    """Make what is left, with a live line for each cell."""
    names = [_name(request) for request in comparing.requests]
    board = app.console.board(dict(zip(names, names, strict=True)))

    def take(request: Request, run: Run) -> None:
        for note in run.notes:
            telling.note(note)
        board.finish(_name(request), run)

    telling.follow(comparing.run(app.pipeline(flags), cancel), board, take, key=_name)


def _name(request: Request) -> str:
    """What its line is called: it keeps it, also if its id changes."""
    return f"{request.backend} {request.seed}"


def _overviews(app: App, comparing: Comparing, *, sheet: bool) -> list[Path]:
    """The sheet and the page; one that can't be written does not stop the other."""
    found: list[Path] = []
    drawers: list[Callable[[], Path]] = [lambda: write_page(comparing.folder, comparing.comparison)]
    if sheet:
        columns = comparing.comparison.options.columns
        drawers.insert(0, lambda: draw(comparing.folder, comparing.comparison, columns=columns))
    for make in drawers:
        try:
            found.append(make())
        except OSError as error:
            app.console.warn(f"cannot write to {comparing.folder}: {error.strerror}")
    return found


def _show(
    app: App, comparing: Comparing, shown: list[Path], flags: Mapping[str, str], telling: Telling
) -> None:
    """The steps that show something get the sheet, or else the pictures."""
    sheets = [str(path) for path in shown if path.suffix == ".png"]
    paths = sheets or comparing.pictures()
    for note in app.pipeline(flags).show(comparing.runs, paths):
        telling.note(note)


def _exit(app: App, comparing: Comparing, shown: list[Path], *, interrupted: bool) -> NoReturn:
    """Print what came of it, and end with the exit code of all cells together."""
    cells = comparing.comparison.cells
    failed = [cell for cell in cells if cell.status in ("failed", "cancelled")]
    for problem in filter(None, (comparing.ledger_problem, comparing.unclaimed, comparing.unsaved)):
        app.console.warn(problem)
    if app.console.as_json:
        from msgspec import to_builtins

        paths = {"folder": str(comparing.folder), "shown": [str(path) for path in shown]}
        app.console.json({**to_builtins(comparing.comparison), **paths})
    else:
        _tell_failures(app, failed)
        for path in shown:
            app.console.line(str(path))
    if comparing.lost:
        raise comparing.lost
    again = f"imagen compare --resume {shlex.quote(str(comparing.folder))}"
    if interrupted:
        app.console.info(f"'{again}' goes on")
        raise click.exceptions.Exit(Cancelled.exit_code)
    if failed:
        app.console.info(f"{len(failed)} of {len(cells)} failed; '{again}' tries them again")
        all_failed = len(failed) == len(cells)
        raise click.exceptions.Exit(
            ImagenError.exit_code if all_failed else PartialFailure.exit_code
        )
    raise click.exceptions.Exit(ImagenError.exit_code if comparing.unsaved else 0)


def _tell_failures(app: App, failed: list[Cell]) -> None:
    """Say once what several cells failed with, and of which of them it holds."""
    groups: dict[tuple[str, str], list[str]] = {}
    for cell in failed:
        error = cell.error or {}
        reason = (str(error.get("message")), str(error.get("hint") or ""))
        groups.setdefault(reason, []).append(cell.name)
    for (message, hint), names in groups.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        app.console.warn(f"{names[0]}{more}: {message}{f'; {hint}' if hint else ''}")
