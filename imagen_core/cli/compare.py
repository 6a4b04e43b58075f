"""`imagen compare`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imagen_core.app import App
from imagen_core.cli.options import SwitchedCommand, request_options, switched
from imagen_core.cli.shared import config_option, json_option, known_ledger, pass_app, read_prompt
from imagen_core.errors import UsageError
from imagen_core.types import Options

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen_core.compare import Comparing
    from imagen_core.comparison import Comparison
    from imagen_core.ledger import Ledger

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
    from imagen_core.cli.compare_run import run

    app.console.quiet = quiet
    flags = switched(given)
    more = _axes(app, models, seeds)
    if resume:
        _refuse_with_resume(prompt, output_dir, columns, given)
        planned = None
    else:
        planned = _planned(app, prompt, more, columns, given)
    app.warn_of_settings()
    if dry_run:
        from imagen_core.cli.compare_plan import print_plan

        print_plan(
            app, planned or _resumed(resume, more), resume, known_ledger(app, flags, look=True)
        )
        return
    folder = _parent(app, output_dir) if planned else Path(resume)
    with _begun(app, planned, folder, more, known_ledger(app, flags)) as comparing:
        run(app, comparing, flags, sheet=not no_sheet)


Axes = tuple[tuple[str, ...], tuple[int, ...]]


def _axes(app: App, models: str, seeds: str) -> Axes:
    """The models and seeds that are named, each of which there is."""
    from imagen_core.comparison import parse_seeds

    names = tuple(name.strip() for name in models.split(",") if name.strip())
    for name in names:
        app.instance(name)
    return names, parse_seeds(seeds) if seeds else ()


def _refuse_with_resume(
    prompt: str | None, output_dir: str, columns: int, given: Mapping[str, Any]
) -> None:
    if prompt is not None or output_dir or columns or any(given.values()):
        told = "a comparison that is resumed has its prompt and its options"
        raise UsageError(told, hint="give --resume with --models and --seeds alone")


def _planned(
    app: App, prompt: str | None, axes: Axes, columns: int, given: dict[str, Any]
) -> Comparison:
    """A new comparison, with nothing done yet."""
    from msgspec.structs import replace

    from imagen_core.comparison import planned
    from imagen_core.files import Moment
    from imagen_core.resolve import draw_seed

    models, seeds = axes
    if not 0 <= columns <= MOST_COLUMNS:
        raise UsageError(f"--columns is 0 to {MOST_COLUMNS}, got {columns}")
    if columns and len(models) > 1 and len(seeds) > 1:
        raise UsageError("--columns is for one axis", hint="two axes have a column a model")
    if prompt is None:
        raise UsageError("a prompt is needed", hint='imagen compare "a cat" --models a,b')
    if not models:
        told = "name the backends to compare"
        raise UsageError(told, hint=f"--models {','.join(app.instances())}")
    options = Options(prompt=read_prompt(prompt), **given)
    if not options.prompt.strip():
        app.console.warn("the prompt is empty")
    found = planned(options, models, seeds or (draw_seed(),), Moment.now())
    return replace(found, options=replace(found.options, columns=columns))


def _resumed(folder: str, axes: Axes) -> Comparison:
    """An earlier comparison, with more in it."""
    from imagen_core.comparison import extended, load
    from imagen_core.files import expand_home

    return extended(load(expand_home(folder)), *axes)


@contextlib.contextmanager
def _begun(
    app: App, planned: Comparison | None, folder: Path, axes: Axes, known: Ledger | None
) -> Iterator[Comparing]:
    """The comparison in its folder, which is this process's alone."""
    from imagen_core.compare import Comparing, at_work, place
    from imagen_core.comparison import load
    from imagen_core.files import expand_home
    from imagen_core.stock import Stock

    if planned:
        comparing = Comparing(app, folder, planned, ledger=known)
        # What makes no sense at all leaves no folder behind.
        comparing.resolve()
        comparing.folder = place(folder, planned)
        with at_work(comparing.folder):
            comparing.begin()
            yield comparing
        return
    folder = expand_home(str(folder))
    load(folder)
    with at_work(folder):
        comparing = Comparing(app, folder, _resumed(str(folder), axes), ledger=known)
        comparing.resolve(Stock(folder, known))
        comparing.begin()
        yield comparing


def _parent(app: App, output_dir: str) -> Path:
    from imagen_core.files import check_path, expand_home

    folder = expand_home(output_dir or app.settings.knob("output.dir").text)
    check_path(folder)
    return folder
