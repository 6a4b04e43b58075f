"""`imagen compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imagen_core.app import App
from imagen_core.cli.options import SwitchedCommand, request_options, switched
from imagen_core.cli.shared import (
    cancelled_by_signals,
    config_option,
    json_option,
    pass_app,
    read_prompt,
    telling_what_is_left,
)
from imagen_core.errors import Cancelled, ImagenError, PartialFailure, UsageError
from imagen_core.types import Accepted, Note, Options, Run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen_core.compare import Comparing
    from imagen_core.comparison import Comparison

MOST_COLUMNS = 40


@click.command(
    "compare", cls=SwitchedCommand, help="Make one prompt with several backends, side by side."
)
@click.argument("prompt", required=False)
@click.option(
    "--models", default="", metavar="A,B,C", help="The instances, in the order of the columns."
)
@click.option(
    "--seeds", default="", metavar="LIST", help="1,2,3 or 1..8.  [default: one, drawn for all]"
)
@request_options
@click.option(
    "--output-dir",
    default="",
    metavar="DIR",
    type=click.Path(),
    help="Make the folder in here.  [default: output.dir]",
)
@click.option("--columns", default=0, help="So many tiles in a row of the sheet.  [default: fit]")
@click.option("--no-sheet", is_flag=True, help="Draw no contact sheet.")
@click.option(
    "--resume",
    default="",
    metavar="FOLDER",
    type=click.Path(),
    help="Go on there: fill what is missing, redo what failed, add --models and --seeds.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan, and ask nobody.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@json_option("Print one JSON object for the whole comparison.")
@config_option
@pass_app
def command(
    app: App,
    prompt: str | None,
    *,
    models: str,
    seeds: str,
    output_dir: str,
    columns: int,
    no_sheet: bool,
    resume: str,
    dry_run: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Plan the cells, make them, and show them on a sheet and a page."""
    app.console.quiet = quiet
    flags = switched(given)
    if not 0 <= columns <= MOST_COLUMNS:
        raise UsageError(f"--columns is 0 to {MOST_COLUMNS}, got {columns}")
    comparison = _comparison(app, prompt, models=models, seeds=seeds, resume=resume, given=given)
    app.warn_of_settings()
    if dry_run:
        from imagen_core.cli.compare_plan import print_plan

        print_plan(app, comparison, resume)
        return
    with _begun(app, comparison, resume, output_dir, flags) as comparing:
        interrupted = _make(app, comparing, flags)
        shown = comparing.finish(sheet=not no_sheet, columns=columns)
        _show(app, comparing, shown, flags)
    _exit(app, comparing, shown, interrupted=interrupted)


def _comparison(
    app: App, prompt: str | None, *, models: str, seeds: str, resume: str, given: dict[str, Any]
) -> Comparison:
    """The comparison that is asked for: a new one, or an earlier one with more in it."""
    from imagen_core.comparison import extended, load, parse_seeds, planned
    from imagen_core.files import Moment, expand_home

    names = tuple(name.strip() for name in models.split(",") if name.strip())
    for name in names:
        app.instance(name)
    numbers = parse_seeds(seeds) if seeds else ()
    if resume:
        if prompt is not None or any(given.values()):
            told = "a comparison that is resumed has its prompt and its options"
            raise UsageError(told, hint="give --resume with --models and --seeds alone")
        return extended(load(expand_home(resume)), names, numbers)
    if prompt is None:
        raise UsageError("a prompt is needed", hint='imagen compare "a cat" --models a,b')
    if not names:
        told = "name the backends to compare"
        raise UsageError(told, hint=f"--models {','.join(app.instances())}")
    from imagen_core.resolve import draw_seed

    options = Options(prompt=read_prompt(prompt), **given)
    return planned(options, names, numbers or (draw_seed(),), Moment.now())


def _begun(
    app: App, comparison: Comparison, resume: str, output_dir: str, flags: Mapping[str, str]
) -> Any:
    """The comparison in its folder, with what an earlier command made of it."""
    from contextlib import contextmanager

    from imagen_core import ledger
    from imagen_core.compare import Comparing, at_work, place
    from imagen_core.files import expand_home

    folder = expand_home(resume) if resume else _parent(app, output_dir)

    @contextmanager
    def begun() -> Any:
        known = app.ledger if app.decide(ledger.SWITCH, flags).on else None
        comparing = Comparing(app, folder, comparison, ledger=known)
        if not resume:
            # What makes no sense at all leaves no folder behind.
            comparing.resolve()
            comparing.folder = place(folder, comparison)
        with at_work(comparing.folder):
            if resume:
                comparing.take_stock()
                comparing.resolve()
            comparing.save()
            yield comparing

    return begun()


def _parent(app: App, output_dir: str) -> Path:
    from imagen_core.files import check_path, expand_home

    folder = expand_home(output_dir or app.settings.knob("output.dir").text)
    check_path(folder)
    return folder


def _make(app: App, comparing: Comparing, flags: Mapping[str, str]) -> bool:
    """Make what is left; returns whether somebody interrupted it."""
    import threading

    cancel = threading.Event()
    names = {request.id: f"{request.backend} {request.seed}" for request in comparing.requests}
    board = app.console.board(names)
    there: dict[str, str] = {}
    tell = app.console.info if getattr(app.console, "draws", False) else None
    pipeline = app.pipeline(flags)
    with cancelled_by_signals(cancel, tell), telling_what_is_left(app, there):
        for request, item in comparing.run(pipeline, cancel):
            if isinstance(item, Accepted):
                there[request.id] = f"'{request.backend}' on {item.remote_id}"
            if isinstance(item, Run):
                there.pop(request.id, None)
                board.finish(request.id, item)
            elif isinstance(item, Note):
                if item.warning:
                    app.console.warn(f"{item.step}: {item.text}")
            else:
                board.take(request.id, item)
    board.hide()
    return cancel.is_set()


def _show(app: App, comparing: Comparing, shown: list[Path], flags: Mapping[str, str]) -> None:
    """The steps that show something get the sheet, or else the pictures."""
    from imagen_core.overview import SHEET

    sheets = [str(path) for path in shown if path.name == SHEET]
    paths = sheets or comparing.pictures()
    for note in app.pipeline(flags).show(comparing.runs, paths):
        if note.warning:
            app.console.warn(f"{note.step}: {note.text}")


def _exit(app: App, comparing: Comparing, shown: list[Path], *, interrupted: bool) -> None:
    """Print what came of it, and end with the exit code of all cells together."""
    cells = comparing.comparison.cells
    failed = [cell for cell in cells if cell.status in ("failed", "cancelled")]
    if app.console.as_json:
        from msgspec import to_builtins

        paths = {"folder": str(comparing.folder), "shown": [str(path) for path in shown]}
        app.console.json({**to_builtins(comparing.comparison), **paths})
    else:
        for cell in failed:
            error = cell.error or {}
            app.console.warn(f"{cell.name}: {error.get('message', 'failed')}")
        for path in shown:
            app.console.line(str(path))
    if interrupted:
        app.console.info(f"'imagen compare --resume {comparing.folder}' goes on")
        raise click.exceptions.Exit(Cancelled.exit_code)
    if failed:
        app.console.info(
            f"{len(failed)} of {len(cells)} failed; "
            f"'imagen compare --resume {comparing.folder}' tries them again"
        )
        all_failed = len(failed) == len(cells)
        code = ImagenError.exit_code if all_failed else PartialFailure.exit_code
        raise click.exceptions.Exit(code)
