"""What `compare` does while it works, and what it says in the end."""

from __future__ import annotations

import shlex
import threading
from typing import TYPE_CHECKING, NoReturn

import click

from imagen_core.cli.shared import cancelled_by_signals, print_notes, telling_what_is_left
from imagen_core.errors import Cancelled, ImagenError, PartialFailure
from imagen_core.overview import draw, write_page
from imagen_core.types import Accepted, Note, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from imagen_core.app import App
    from imagen_core.compare import Comparing
    from imagen_core.comparison import Cell


def run(app: App, comparing: Comparing, flags: Mapping[str, str], *, sheet: bool) -> NoReturn:
    """Make the cells, draw the sheet, write the page, and end with the exit code of it all."""
    cancel = threading.Event()
    tell = app.console.info if getattr(app.console, "draws", False) else None
    shown: list[Path] = []
    with cancelled_by_signals(cancel, tell):
        try:
            _make(app, comparing, flags, cancel)
        except KeyboardInterrupt:
            cancel.set()
        try:
            shown += _overviews(app, comparing, sheet=sheet)
            _show(app, comparing, shown, flags)
        except KeyboardInterrupt:
            cancel.set()
    _exit(app, comparing, shown, interrupted=cancel.is_set())


def _make(
    app: App, comparing: Comparing, flags: Mapping[str, str], cancel: threading.Event
) -> None:
    """Make what is left, with a live line for each cell."""
    requests = comparing.requests
    board = app.console.board({_key(r.backend, r.seed): _key(r.backend, r.seed) for r in requests})
    there: dict[str, str] = {}
    earlier: list[Run] = []
    with telling_what_is_left(app, there):
        for request, item in comparing.run(app.pipeline(flags), cancel):
            if isinstance(item, Accepted):
                there[request.id] = f"'{request.backend}' on {item.remote_id}"
            if isinstance(item, Run):
                there.pop(request.id, None)
                print_notes(app, item, earlier)
                earlier.append(item)
                board.finish(_key(request.backend, request.seed), item)
            elif isinstance(item, Note):
                if item.warning:
                    app.console.warn(f"{item.step}: {item.text}")
            else:
                board.take(_key(request.backend, request.seed), item)
    board.hide()


def _key(model: str, seed: int) -> str:
    return f"{model} {seed}"


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


def _show(app: App, comparing: Comparing, shown: list[Path], flags: Mapping[str, str]) -> None:
    """The steps that show something get the sheet, or else the pictures."""
    sheets = [str(path) for path in shown if path.suffix == ".png"]
    paths = sheets or comparing.pictures()
    for note in app.pipeline(flags).show(comparing.runs, paths):
        if note.warning:
            app.console.warn(f"{note.step}: {note.text}")


def _exit(app: App, comparing: Comparing, shown: list[Path], *, interrupted: bool) -> NoReturn:
    """Print what came of it, and end with the exit code of all cells together."""
    cells = comparing.comparison.cells
    failed = [cell for cell in cells if cell.status in ("failed", "cancelled")]
    for problem in filter(None, (comparing.ledger_problem, comparing.unsaved)):
        app.console.warn(problem)
    if app.console.as_json:
        from msgspec import to_builtins

        paths = {"folder": str(comparing.folder), "shown": [str(path) for path in shown]}
        app.console.json({**to_builtins(comparing.comparison), **paths})
    else:
        _tell_failures(app, failed)
        for path in shown:
            app.console.line(str(path))
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
