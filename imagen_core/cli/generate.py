"""`imagen generate`."""

from __future__ import annotations

from typing import Any

import click

from imagen_core.app import App
from imagen_core.cli.options import (
    SwitchedCommand,
    instances,
    request_options,
    switched,
    tell_of_mock,
)
from imagen_core.cli.shared import (
    completing,
    config_option,
    json_option,
    pass_app,
    read_prompt,
    see_through,
)
from imagen_core.files import expand_home
from imagen_core.types import Options


@click.command("generate", cls=SwitchedCommand, help="Make an image, or several, from one prompt.")
@click.argument("prompt")
@click.option(
    "--backend",
    default="",
    metavar="NAME",
    shell_complete=completing(instances),
    help="A configured instance.  [default: default_backend of the configuration]",
)
@click.option("--seed", default=0, help="0 draws one, and records it.", show_default=True)
@click.option("--count", default=1, show_default=True, help="So many, with consecutive seeds.")
@request_options
@click.option(
    "--output",
    default="",
    metavar="PATH",
    type=click.Path(),
    help="Write here, over what is there; a folder keeps the naming template.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be done, and ask nobody.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@json_option("Print one JSON object an image on stdout, errors too.")
@config_option
@pass_app
def command(
    app: App, prompt: str, *, output: str, dry_run: bool, quiet: bool, **given: Any
) -> None:
    """Resolve the flags, make the pictures, print a path each."""
    app.console.quiet = quiet
    flags = switched(given)
    options = Options(prompt=read_prompt(prompt), **given)
    tell_of_mock(app, options.backend)
    requests = app.resolve(options)
    target = app.target(output)
    app.warn_of_settings()
    if dry_run:
        from imagen_core.cli.plan import origins, print_plan

        places = origins(app, target, backend=options.backend, output=output)
        print_plan(app, requests, target, flags, places)
        return
    if not options.prompt.strip():
        app.console.warn("the prompt is empty")
    app.warn_of_plugins(app.instance(requests[0].backend).type)
    relative = bool(output) and not expand_home(output).is_absolute()
    see_through(app, requests, target, flags, relative=relative)
