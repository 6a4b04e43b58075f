"""`imagen batch`."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imagen_core.app import App
from imagen_core.cli.batch_run import BatchMaking
from imagen_core.cli.options import (
    SwitchedCommand,
    instances,
    request_options,
    switched,
)
from imagen_core.cli.rowing import checking, format_option, order_of, read_rows, times_options
from imagen_core.cli.shared import (
    STDIN,
    completing,
    config_option,
    json_option,
    known_ledger,
    pass_app,
)
from imagen_core.errors import UsageError
from imagen_core.files import digest, expand_home
from imagen_core.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen_core.batch import Batch, Left
    from imagen_core.types import Request

STDIN_NAME = "batch"
SHOWN = 5
"""How many seeds and paths a dry run prints."""


@click.command(
    "batch",
    cls=SwitchedCommand,
    help="Make the pictures of a file: a prompt, or a row of options, a line.",
)
@click.argument("file", type=click.Path())
@format_option
@click.option(
    "--backend",
    default="",
    metavar="NAME",
    shell_complete=completing(instances),
    help="The instance for rows that name none.  [default: default_backend of the configuration]",
)
@click.option("--seed", default=0, help="0 draws one for each row.", show_default=True)
@request_options
@times_options
@click.option(
    "--max-failures",
    default=0,
    type=click.IntRange(0),
    metavar="INTEGER",
    help="Begin nothing new after so many.  [default: 0, no limit]",
)
@click.option(
    "--output-dir",
    default="",
    metavar="DIR",
    type=click.Path(),
    help="Where pictures and state go.  [default: output.dir]",
)
@click.option("--name", default="", help="What its state is called.  [default: the file's name]")
@click.option("--restart", is_flag=True, help="Plan it anew; what is made stays as it is.")
@click.option("--dry-run", is_flag=True, help="Print what would be made, and ask nobody.")
@click.option("--quiet", is_flag=True, help="No progress and no summary on stderr.")
@json_option("Print one JSON object an image on stdout, errors too.")
@config_option
@pass_app
def command(
    app: App,
    file: str,
    *,
    form: str | None,
    output_dir: str,
    name: str,
    restart: bool,
    max_failures: int,
    dry_run: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Check all rows, make what is not made yet, print a path each."""
    app.console.quiet = quiet
    flags = switched(given)
    batch = _open(
        app, file, form=form, output_dir=output_dir, name=name, restart=restart, given=given
    )
    app.warn_of_settings()
    if dry_run:
        _print_outline(app, batch, batch.sort_out(known_ledger(app, flags, look=True)))
        return
    for kind in dict.fromkeys(app.instance(e.request.backend).type for e in batch.entries):
        app.warn_of_plugins(kind)
    try:
        if kept := batch.begin():
            app.console.info(f"the earlier results are kept in {kept}")
        relative = bool(output_dir) and not expand_home(output_dir).is_absolute()
        BatchMaking(app, batch, flags, max_failures=max_failures, relative=relative).run()
    finally:
        batch.close()


def _open(
    app: App,
    file: str,
    *,
    form: str | None,
    output_dir: str,
    name: str,
    restart: bool,
    given: Mapping[str, Any],
) -> Batch:
    from imagen_core.batch import Batch
    from imagen_core.batch_state import State

    data, rows = read_rows(file, form)
    target = app.target(f"{output_dir}/" if output_dir else "", "--output-dir")
    name = name or (STDIN_NAME if file == STDIN else Path(file).stem)
    _refuse_file(target.folder)
    order = order_of(app, rows, given)
    with checking(app, rows) as watch:
        return Batch(
            app,
            rows,
            order,
            target=target,
            state=State(target.folder, name),
            digest=digest(data),
            restart=restart,
            watch=watch,
        )


def _refuse_file(folder: Path) -> None:
    """Refuse what is below a file, or is one; a folder that is not there yet is fine."""
    for path in (folder, *folder.parents):
        if os.path.isfile(path):  # noqa: PTH113
            raise UsageError(f"{path} is no folder", hint="choose another --output-dir")


def _print_outline(app: App, batch: Batch, left: Left) -> None:
    """Print what would be made; with `--json` all of it."""
    from imagen_core.tally import cost

    plans = [_plan(app, batch, request) for request in left.requests]
    costs = [plan["cost_usd_estimate"] for plan in plans]
    known, unknown = sum(usd for usd in costs if usd is not None), costs.count(None)
    adopted = sum(find.run is not None for _, find in left.found)
    refused = len(left.found) - adopted
    counts = Counter(str(plan["backend"]) for plan in plans)
    if app.console.as_json:
        before = {"skipped": left.skipped, "adopted": adopted, "refused": refused}
        counted = {"pictures": len(plans), **before, "backends": counts}
        money = {"cost_usd_estimate": known, "unknown_costs": unknown}
        app.console.json({"dry_run": True, **counted, **money, "makings": plans})
        return
    rest = ", …" if len(plans) > SHOWN else ""
    lines = [
        f"pictures: {len(plans)}",
        *([f"done before: {left.skipped}"] if left.skipped else []),
        *([f"made before, and to be adopted: {adopted}"] if adopted else []),
        *([f"begun by another model, and refused: {refused}"] if refused else []),
        *(f"backend {name}: {number}" for name, number in counts.items()),
        f"cost: {cost(known, unknown)}",
        f"seeds: {', '.join(str(plan['seed']) for plan in plans[:SHOWN])}{rest}",
        *(f"path: {plan['path']}" for plan in plans[:SHOWN]),
    ]
    for line in lines:
        app.console.line(printable(line, newlines=False))


def _plan(app: App, batch: Batch, request: Request) -> dict[str, Any]:
    from imagen_core.making import expected_values

    backend = app.instance(request.backend).backend
    estimate = backend.estimate(request)
    entry = batch.entry(request)
    return {
        "row": entry.row,
        "repeat": entry.repeat,
        "backend": request.backend,
        "prompt": request.typed_prompt,
        "template": entry.template,
        "size": f"{request.width}x{request.height}",
        "seed": request.seed,
        "path": str(entry.target.free(expected_values(request, backend.about))),
        "cost_usd_estimate": estimate.usd if estimate else None,
    }
