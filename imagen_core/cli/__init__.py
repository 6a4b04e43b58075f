"""The `imagen` command: one module a subcommand, found by name, imported when it is used."""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from imagen_core import __version__, known
from imagen_core.errors import Cancelled, ImagenError, UsageError
from imagen_core.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagen_core.app import App
    from imagen_core.specs import CommandSpec

ABOUT = """One prompt in, a picture on disk with all that is needed to make it again.

Start with: imagen generate "a cat in a fishbowl"
"""
COMPLETE = "_IMAGEN_COMPLETE"
"""The variable by which a shell asks for completions."""


class Root(click.Group):
    """The group of all commands. The core's need no plugin, and are found without the index."""

    def __init__(self, terminal: Terminal, app: App | None = None) -> None:
        super().__init__(
            "imagen",
            help=ABOUT,
            callback=self._note_debug,
            params=[click.Option(["--debug"], is_flag=True, help="Show the traces of errors.")],
            context_settings={"help_option_names": ["-h", "--help"]},
        )
        self.terminal = terminal
        self.running = "imagen"
        self._app = app
        if app is not None:
            app.console = terminal
        click.version_option(__version__, message="imagen %(version)s")(self)

    @property
    def app(self) -> App:
        """The App of this call, made when something first needs it."""
        if self._app is None:
            from imagen_core.app import App

            self._app = App(self.terminal, completing=COMPLETE in os.environ)
        return self._app

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The core's commands in their order, then the plugins'."""
        return list(self.helps())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        if cmd_name in known.COMMANDS and known.COMMANDS[cmd_name].distribution == known.CORE:
            command = import_module(f"imagen_core.cli.{cmd_name}").command
            assert isinstance(command, click.Command)
            return command
        from imagen_core.specs import CommandSpec

        ctx.obj = self.app
        spec = self.app.catalog.find(CommandSpec, cmd_name)
        if spec is None:
            return None
        self.running = f"the plugin {self.app.catalog.owner(spec)}"
        return _load_command(self.app, spec)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with a hint about what would bring an absent command."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            hint = self._advice(args[0])
            raise UsageError(f"there is no command '{args[0]}'", hint=hint) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list of commands from their one-line helps; none is imported for it."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.helps().items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Commands by their one-line helps, then the options of `imagen` itself."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=text)
            for name, text in self.helps().items()
            if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def helps(self) -> dict[str, str]:
        """Every command's one-line help."""
        from imagen_core.specs import CommandSpec

        specs = self.app.catalog.usable(CommandSpec)
        core = {n: k.help for n, k in known.COMMANDS.items() if k.distribution == known.CORE}
        return core | {name: specs[name].help for name in sorted(set(specs) - set(core))}

    def _note_debug(self, *, debug: bool) -> None:
        self.terminal.debug |= debug

    def _advice(self, name: str) -> str:
        from imagen_core.blocks import suggestion
        from imagen_core.instances import absent, unusable

        if name in known.COMMANDS:
            error = absent(self.app.catalog, known.COMMANDS[name].distribution)
            return f"it {error.message}: {error.hint}"
        hints = (suggestion(name, self.helps(), "there are"), unusable(self.app.catalog))
        return "; ".join(filter(None, hints))


def _load_command(app: App, spec: CommandSpec) -> click.Command:
    found = app.catalog.load(spec, spec.load)
    command = found if isinstance(found, click.Command) else found()
    if not isinstance(command, click.Command):
        raise TypeError(f"{spec.load} is no click command, and makes none")
    return command


def run(args: Sequence[str], *, terminal: Terminal | None = None, app: App | None = None) -> int:
    """Run one command line; returns the exit code and raises nothing."""
    terminal = terminal or Terminal()
    terminal.as_json = "--json" in args
    code = _run(args, terminal, app)
    if terminal.out_problem:
        terminal.as_json = False
        terminal.error(ImagenError(f"could not write to standard output: {terminal.out_problem}"))
        return code or ImagenError.exit_code
    return code


def _run(args: Sequence[str], terminal: Terminal, app: App | None) -> int:
    root = Root(terminal, app)
    try:
        with root.make_context("imagen", list(args)) as ctx:
            return int(root.invoke(ctx) or 0)
    except ImagenError as error:
        return _report(error, terminal)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show(file=terminal.err)
        return error.exit_code
    except click.ClickException as error:
        usage = UsageError(error.format_message(), hint=_help_hint(error))
        return _report(usage, terminal)
    except click.exceptions.Exit as error:
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _report(Cancelled("cancelled"), terminal)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a line for people, not a trace
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EPIPE):
            # Only click's own help goes to standard output without the terminal's care.
            terminal.lose_stdout(error)
            return 0
        fault = ImagenError(
            f"this is a fault in {root.running}: {type(error).__name__}: {error}",
            hint="imagen --debug … shows the trace",
        )
        fault.__cause__ = error
        return _report(fault, terminal)


def _report(error: ImagenError, terminal: Terminal) -> int:
    terminal.error(error)
    terminal.trace(error)
    return error.exit_code


def _help_hint(error: click.ClickException) -> str:
    ctx = getattr(error, "ctx", None)
    return f"'{ctx.command_path} --help' shows what it takes" if ctx else ""


def main() -> None:
    """The console script."""
    if COMPLETE in os.environ:
        Root(Terminal()).main(prog_name="imagen")
    sys.exit(run(sys.argv[1:]))
