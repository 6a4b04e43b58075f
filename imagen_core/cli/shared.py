"""What several commands share: the App, common options, cancelling by signal, seeing through."""

from __future__ import annotations

import contextlib
import functools
import sys
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from imagen_core import protocols
    from imagen_core.app import App
    from imagen_core.files import Target
    from imagen_core.ledger import Ledger
    from imagen_core.types import Failure, Request, Run

STDIN = "-"
Command = TypeVar("Command", bound="Callable[..., Any]")


def app_of(ctx: click.Context) -> App:
    """The App of this call."""
    if ctx.obj is None:
        ctx.obj = ctx.find_root().command.app  # type: ignore[attr-defined]
    app: App = ctx.obj
    return app


def pass_app(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the App as its first argument, and close what it opened."""

    @click.pass_context
    @functools.wraps(function)
    def with_app(ctx: click.Context, *args: Any, **kwargs: Any) -> Any:
        app = app_of(ctx)
        try:
            return ctx.invoke(function, app, *args, **kwargs)
        finally:
            app.close()

    return with_app


def _use_config(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value:
        from pathlib import Path

        app_of(ctx).config_file = Path(value)


def _use_json(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.find_root().command.terminal.as_json = value  # type: ignore[attr-defined]


def config_option(function: Command) -> Command:
    """`--config FILE`."""
    return click.option(
        "--config",
        type=click.Path(),
        expose_value=False,
        is_eager=True,
        callback=_use_config,
        metavar="FILE",
        help="Use this configuration file.",
    )(function)


def json_option(help: str) -> Callable[[Command], Command]:
    """`--json`; the console then says everything as JSON."""
    return click.option(
        "--json", is_flag=True, is_eager=True, expose_value=False, callback=_use_json, help=help
    )


def store_option(help: str) -> Callable[[Command], Command]:
    """`--store NAME`."""
    return click.option(
        "--store", default="", metavar="NAME", shell_complete=completing(_stores), help=help
    )


def _stores(app: App) -> list[str]:
    from imagen_core.specs import StoreSpec

    return list(app.catalog.usable(StoreSpec))


def completing(names: Callable[[App], list[str]]) -> Callable[..., list[str]]:
    """Completion by names that the App knows; nothing at all where it has a problem."""

    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
        with contextlib.suppress(Exception, SystemExit):
            return [name for name in names(app_of(ctx)) if name.startswith(incomplete)]
        return []

    return complete


def _ending(signal: Any) -> list[int]:
    """The signals that end a command; a closed terminal is none under nohup, which ignores it."""
    hangup = getattr(signal, "SIGHUP", None)
    heeds = hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([hangup] if heeds else [])]


@contextlib.contextmanager
def cancelled_by_signals(
    cancel: threading.Event,
    tell: Callable[[str], None] | None = None,
    *,
    drain: threading.Event | None = None,
) -> Iterator[list[int]]:
    """Let Ctrl-C, SIGTERM and a closed terminal set `cancel`; a second one interrupts at once.

    With `drain` the first of them sets that, and the others come one later. Gives the signals
    that came so far.
    """
    import signal

    came: list[int] = []

    def handle(number: int, _: object) -> None:
        came.append(number)
        if cancel.is_set():
            raise KeyboardInterrupt
        if drain is None or drain.is_set():
            cancel.set()
            text = "cancelling; press Ctrl-C again to stop at once"
        else:
            drain.set()
            text = "finishing what is running; press Ctrl-C again to cancel it"
        signal.signal(number, handle)
        # A handler may come in the midst of another write to the same stream.
        with contextlib.suppress(RuntimeError):
            if tell:
                tell(text)

    before = {}
    try:
        for number in _ending(signal):
            with contextlib.suppress(ValueError):  # not the main thread: nobody to interrupt
                before[number] = signal.signal(number, handle)
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def see_through(
    app: protocols.App,
    requests: Sequence[Request],
    target: Target,
    flags: Mapping[str, str] | None = None,
    *,
    relative: bool = False,
) -> None:
    """Make every Request, print what is finished at once, and end with the exit code of it all.

    `flags`: switches by key, on or off. `relative`: print paths as seen from the working folder.
    """
    runs = _make(app, requests, target, flags or {}, relative=relative)
    end(app, [run.failure for run in runs if run.failure], len(runs))


def _make(
    app: protocols.App,
    requests: Sequence[Request],
    target: Target,
    flags: Mapping[str, str],
    *,
    relative: bool,
) -> list[Run]:
    import threading

    from imagen_core.cli.telling import Telling

    runs: list[Run] = []
    cancel = threading.Event()
    bar = app.console.bar(len(requests))
    pipeline = app.pipeline(flags)
    telling = Telling(app, relative=relative)

    def take(request: Request, run: Run) -> None:
        bar.finish(request.id)
        telling.run(run)
        runs.append(run)

    with cancelled_by_signals(cancel, at_the_keys(app)):
        telling.follow(pipeline.each(requests, target, cancel), bar, take)
    for note in pipeline.show(runs, [o.path for run in runs for o in run.outputs]):
        telling.note(note)
    return runs


def at_the_keys(app: protocols.App) -> Callable[[str], None] | None:
    """How to tell somebody at the keys something; only a Terminal that draws has anybody."""
    return app.console.info if getattr(app.console, "draws", False) else None


def known_ledger(app: App, flags: Mapping[str, str], *, look: bool = False) -> Ledger | None:
    """The ledger, if it is on; for a mere look, if it is there."""
    from imagen_core import ledger

    if not app.decide(ledger.SWITCH, flags).on or (look and not app.ledger.path.exists()):
        return None
    return app.ledger


def read_prompt(prompt: str) -> str:
    """The prompt as typed; `-` is standard input."""
    return _read_stdin() if prompt == STDIN else prompt


def _read_stdin() -> str:
    from imagen_core.errors import UsageError

    hint = f'{click.get_current_context().command_path} "a cat"'
    if sys.stdin is None:
        raise UsageError("standard input is closed", hint=hint)
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"standard input is not UTF-8 (byte {error.start})") from error
    text = text.replace("\r\n", "\n").rstrip("\n")
    if not text.strip():
        raise UsageError("standard input has no prompt", hint=hint)
    return text


def end(app: protocols.App, failures: Sequence[Failure], total: int) -> None:
    """End with the exit code of so many together; what failed has been told."""
    from imagen_core.errors import Cancelled, ImagenError, PartialFailure

    if not failures:
        return
    codes = {failure.code for failure in failures}
    if Cancelled.code in codes:
        code = Cancelled.exit_code
    elif total == 1:
        code = failures[0].error().exit_code
    else:
        code = ImagenError.exit_code if len(failures) == total else PartialFailure.exit_code
    if total > 1 and not app.console.as_json:
        app.console.info(f"{len(failures)} of {total} failed")
    raise click.exceptions.Exit(code)
