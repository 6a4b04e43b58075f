"""`imagen version`."""

from __future__ import annotations

import click

from imagen_core import __version__
from imagen_core.cli.shared import app_of


@click.command("version", help="Print the version.")
@click.option("--plugins", is_flag=True, help="With the version of every plugin, too.")
@click.pass_context
def command(ctx: click.Context, *, plugins: bool) -> None:
    """Print the version; without `--plugins` nothing else is even imported."""
    ctx.find_root().command.terminal.line(f"imagen {__version__}")  # type: ignore[attr-defined]
    if plugins:
        app = app_of(ctx)
        for plugin in app.catalog.plugins[1:]:
            app.console.line(f"{plugin.distribution} {plugin.version or '?'}")
