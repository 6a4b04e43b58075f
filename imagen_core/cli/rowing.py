"""What commands share that take a file of prompts: its options, and how it is read."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from imagen_core.cli.options import tell_of_mock
from imagen_core.cli.shared import STDIN
from imagen_core.errors import UsageError
from imagen_core.rows import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from imagen_core.app import App
    from imagen_core.drafting import Order
    from imagen_core.rows import Rows

Command = TypeVar("Command", bound="Callable[..., Any]")

MAX_REPEAT = 10_000


def format_option(function: Command) -> Command:
    """`--format`."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(FORMATS),
        help="What the file is.  [default: by its suffix, else text]",
    )(function)


def times_options(function: Command) -> Command:
    """`--repeat` and `--expand`."""
    repeat = click.option(
        "--repeat",
        default=1,
        show_default=True,
        type=click.IntRange(1, MAX_REPEAT),
        help="Make each row so many times.",
    )
    expand = click.option(
        "--expand",
        default="random",
        show_default=True,
        type=click.Choice(["random", "all"]),
        help="What {a|b} in a prompt gives: one of them each time, or all.",
    )
    return repeat(expand(function))


def read_rows(file: str, form: str | None) -> tuple[bytes, Rows]:
    """The bytes of the file, `-` for standard input, and the rows in them."""
    from imagen_core.rows import format_of, parse_rows

    source = "standard input" if file == STDIN else file
    data = _read(file)
    return data, parse_rows(data, form or format_of(file), source)


def _read(file: str) -> bytes:
    try:
        if file != STDIN:
            return Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the rows of {file}: {error.strerror}") from error
    if sys.stdin is None:
        raise UsageError("standard input is closed", hint="name a file, such as prompts.txt")
    return sys.stdin.buffer.read()


def order_of(app: App, rows: Rows, given: Mapping[str, Any]) -> Order:
    """What the flags say for all rows; people are told if that is the mock."""
    from imagen_core.drafting import Order

    if any("backend" not in row.options for row in rows.rows):
        tell_of_mock(app, str(given["backend"]))
    more = ("repeat", "expand")
    return Order(
        {key: value for key, value in given.items() if value and key not in more},
        backend=given["backend"] or app.settings.knob("default_backend").text,
        repeat=given["repeat"],
        every=given["expand"] == "all",
    )


@contextlib.contextmanager
def checking(app: App, rows: Rows) -> Iterator[Callable[[], None]]:
    """A bar over the rows while they are checked; gives what to call before each."""
    from imagen_core.types import Progress

    bar = app.console.bar(max(len(rows.rows), 1))

    def watch() -> None:
        bar.take("", Progress(message="checking rows"))
        bar.finish("")

    try:
        yield watch
    finally:
        bar.hide()
