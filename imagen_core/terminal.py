"""The only module that writes to a terminal: lines, JSON, tables, errors, a progress bar."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imagen_core.board import Board
    from imagen_core.errors import ImagenError
    from imagen_core.types import Event

BAR_WIDTH = 24
COLUMNS, ROWS = 80, 24
"""How wide and how high a terminal is that does not say."""
FRAME_SECONDS = 0.05


class Terminal:
    """Results go to stdout, everything else to stderr; control characters to neither."""

    def __init__(
        self,
        out: TextIO | None = None,
        err: TextIO | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.out = out or sys.stdout or _nowhere()
        self.err = err or sys.stderr or _nowhere()
        if isinstance(self.out, io.TextIOWrapper):
            # A path that is not UTF-8 is printed with the bytes that it has.
            self.out.reconfigure(errors="surrogateescape")
        self._environment = os.environ if environment is None else environment
        self.as_json = False
        self.quiet = False
        self.debug = self._environment.get("IMAGEN_DEBUG", "") not in ("", "0")
        self.out_problem = ""
        self._bar: Bar | Board | None = None

    @property
    def draws(self) -> bool:
        """Whether stderr is a terminal that can take a bar."""
        return self.err.isatty() and not self._dumb and not self.quiet

    @property
    def width(self) -> int:
        """How many columns stderr has, which may be a terminal where stdout is none."""
        return _width(self.err)

    @property
    def room(self) -> int:
        """How many columns there are for results; 0 if no terminal shows them."""
        return _width(self.out) if self.out.isatty() else 0

    @property
    def height(self) -> int:
        """How many rows it has."""
        try:
            return os.get_terminal_size(self.err.fileno()).lines or ROWS
        except (OSError, ValueError):
            return ROWS

    def styled(self, text: str, code: str) -> str:
        """The text with an SGR code, where colour is welcome."""
        plain = self._environment.get("NO_COLOR") or self._dumb or not self.err.isatty()
        return text if plain else f"\x1b[{code}m{text}\x1b[0m"

    def line(self, text: str) -> None:
        """A line of the result, on stdout: as it is, but for what could steer a terminal."""
        self._put(printable(text) if self.out.isatty() else text)

    def _put(self, text: str) -> None:
        self._hide_bar()
        try:
            self._write(f"{text}\n")
            self.out.flush()
        except (OSError, UnicodeError) as error:
            self.lose_stdout(error)

    def _write(self, text: str) -> None:
        try:
            self.out.write(text)
        except UnicodeEncodeError:
            # A path is worth more than the encoding that somebody set.
            buffer = getattr(self.out, "buffer", None)
            if buffer is None:
                raise
            self.out.flush()
            buffer.write(text.encode(errors="surrogateescape"))

    def json(self, value: Any) -> None:
        """A JSON object on one line of stdout."""
        import msgspec

        try:
            self.line(msgspec.json.encode(value, enc_hook=str).decode())
        except UnicodeEncodeError:
            # A file name that is not UTF-8: the standard library writes it as \udcXX.
            import json

            self.line(json.dumps(msgspec.to_builtins(value, enc_hook=str)))

    def info(self, text: str) -> None:
        """A line for the reader, on stderr; a text of several has the prefix on each."""
        self._tell(_lines("imagen:", text))

    def warn(self, text: str) -> None:
        """A line about something that is not as it should be; it changes no exit code."""
        self.info(text)

    def error(self, error: ImagenError, about: Mapping[str, Any] | None = None) -> None:
        """An error: on stdout as an object with `--json`, else on stderr with its hint."""
        if self.as_json:
            content = {
                "code": error.code,
                "message": str(error),
                "hint": error.hint,
                "retryable": error.retryable,
            }
            self.json({"error": content, **(about or {})})
            return
        label = self.styled("error:", "31;1")
        self._tell(_lines(f"imagen: {label}", str(error)))
        if error.hint:
            self._tell(_lines("  hint:", error.hint))

    def trace(self, error: BaseException) -> None:
        """The trace of an error, for those who asked to see it."""
        if not self.debug:
            return
        import traceback

        self._tell(printable("".join(traceback.format_exception(error))))

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Columns: aligned under their heads on a terminal, else separated by tabs."""
        if not self.out.isatty():
            for row in (head, *rows):
                self.line("\t".join(printable(cell, newlines=False) for cell in row))
            return
        first, *others = aligned((head, *rows))
        self._put(self.styled(first, "1"))
        for line in others:
            self.line(line)

    def bar(self, total: int) -> Bar:
        """A progress bar over so many makings; it draws nothing where nobody looks."""
        self._bar = Bar(self, total)
        return self._bar

    def board(self, names: Mapping[str, str]) -> Board:
        """A live line for each of these makings, by its id."""
        from imagen_core.board import Board

        self._bar = board = Board(self, names)
        return board

    @property
    def _dumb(self) -> bool:
        return self._environment.get("TERM") == "dumb"

    def _tell(self, text: str) -> None:
        self._hide_bar()
        self.draw(text)

    def draw(self, text: str) -> None:
        """Text on stderr as it is; nobody who reads it is no reason to stop."""
        with contextlib.suppress(OSError):
            self.err.write(text)
            self.err.flush()

    def _hide_bar(self) -> None:
        if self._bar:
            self._bar.hide()

    def lose_stdout(self, error: OSError | UnicodeError) -> None:
        """Nobody reads on, or there is no room: what was made must be seen through all the same."""
        if not isinstance(error, BrokenPipeError):
            self.out_problem = self.out_problem or str(getattr(error, "strerror", "") or error)
        lost, self.out = self.out, _nowhere()
        with contextlib.suppress(OSError, ValueError):
            os.dup2(self.out.fileno(), lost.fileno())


class Bar:
    """One line at the bottom of the terminal, drawn again at most twenty times a second."""

    def __init__(self, terminal: Terminal, total: int) -> None:
        self._terminal = terminal
        self._total = total
        self._finished = 0
        self._fractions: dict[str, float] = {}
        self._text = ""
        self._said = ""
        self._started = time.monotonic()
        self._drawn = 0.0
        self._visible = False

    def take(self, key: str, event: Event) -> None:
        """Show what a making reports."""
        from imagen_core.types import Image, Progress

        if isinstance(event, Progress):
            if event.fraction is not None:
                self._fractions[key] = event.fraction
            step = f"step {event.step}/{event.steps}" if event.steps else ""
            self._text = " ".join(filter(None, (step, event.message))) or self._text
        elif isinstance(event, Image):
            self._fractions[key] = 1.0
        if time.monotonic() - self._drawn >= FRAME_SECONDS:
            self._draw()

    def say(self, text: str) -> None:
        """Show this from now on, in place of what the makings report."""
        self._said = text

    def finish(self, key: str) -> None:
        """One making is over."""
        self._fractions.pop(key, None)
        self._finished += 1

    def hide(self) -> None:
        """Take the bar away, so that a line can be printed."""
        if self._visible:
            self._terminal.draw("\r\x1b[K")
            self._visible = False

    def _draw(self) -> None:
        if not self._terminal.draws:
            return
        from imagen_core.script import cut

        self._drawn = time.monotonic()
        share = (self._finished + sum(self._fractions.values())) / self._total
        width = min(BAR_WIDTH, self._terminal.width - len(" 100%") - 3)
        if width < 1:
            return
        full = int(share * width)
        bar = self._terminal.styled("█" * full, "36") + "░" * (width - full)
        count = f" {self._finished}/{self._total}" if self._total > 1 else ""
        text = printable(self._said or self._text, newlines=False)
        tail = f"{share:4.0%}{count}  {self._drawn - self._started:.1f} s  {text}"
        room = self._terminal.width - width - 4
        self._terminal.draw(f"\r {bar} {cut(tail, max(room, 0))}\x1b[K")
        self._visible = True


def _width(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or COLUMNS
    except (OSError, ValueError):
        return COLUMNS


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123


def _lines(prefix: str, text: str) -> str:
    """The text, made printable, with the prefix before each of its lines."""
    lines = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    return "".join(f"{prefix} {printable(line)}\n" for line in lines)


def printable(text: str, *, newlines: bool = True) -> str:
    """The text with every character that could steer a terminal written out."""
    kept = "\n\t" if newlines else ""
    if all(character.isprintable() or character in kept for character in text):
        return text
    return "".join(
        character
        if character.isprintable() or character in kept
        else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """A line a row, the cells below each other however many columns their signs take."""
    from imagen_core.script import columns

    cells = [[printable(cell, newlines=False) for cell in row] for row in rows]
    widths = [max(map(columns, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell + " " * (width - columns(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in cells
    ]
