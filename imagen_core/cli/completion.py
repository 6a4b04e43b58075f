"""`imagen completion`."""

from __future__ import annotations

import click

from imagen_core.cli.shared import pass_app
from imagen_core.protocols import App


@click.command("completion", help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@pass_app
def command(app: App, shell: str) -> None:
    """Print the script; `eval "$(imagen completion bash)"` turns completion on."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(click.Group("imagen"), {}, "imagen", "_IMAGEN_COMPLETE")
    # Not source(): that one starts a shell to look at its version first.
    app.console.line(script.source_template % script.source_vars())
