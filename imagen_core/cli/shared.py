"""What several commands share: the App, common options, completion, cancelling by signal."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from imagen_core.app import App

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
    if value is not None:
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
    cancel: threading.Event, tell: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and a closed terminal set `cancel`; a second one interrupts at once."""
    import signal

    def handle(number: int, _: object) -> None:
        if cancel.is_set():
            raise KeyboardInterrupt
        cancel.set()
        signal.signal(number, handle)
        # A handler may come in the midst of another write to the same stream.
        with contextlib.suppress(RuntimeError):
            if tell:
                tell("cancelling; press Ctrl-C again to stop at once")

    before = {}
    try:
        for number in _ending(signal):
            with contextlib.suppress(ValueError):  # not the main thread: nobody to interrupt
                before[number] = signal.signal(number, handle)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
