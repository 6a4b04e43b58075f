"""What is written where: results on stdout, the rest on stderr, a bar where somebody looks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from imagen_core import CredentialsError, Image, Preview, Progress, UnavailableError
from imagen_core.terminal import Terminal, printable
from imagen_core.types import Failure, Run
from scripted import request

if TYPE_CHECKING:
    from imagen_core import ImagenError

HOSTILE = "a\x1b[2Jb\rc\x07d\x9b31me\u202ef\udcffg"
WRITTEN_OUT = "a\\x1b[2Jb\\rc\\x07d\\x9b31me\\u202ef\\udcffg"
STEP = Progress(fraction=0.5, message="sampling", step=2, steps=4)


RUN_THAT_FAILED = Run(
    id="r1",
    started_at="2026-05-08",
    request=request(),
    failure=Failure(code="unavailable", message="it is away"),
)


class Screen(StringIO):
    def isatty(self) -> bool:
        return True


class Streams(NamedTuple):
    terminal: Terminal
    out: StringIO
    err: StringIO

    @property
    def written(self) -> tuple[str, str]:
        return self.out.getvalue(), self.err.getvalue()


def on(
    out: type[StringIO] = StringIO, err: type[StringIO] = StringIO, **environment: str
) -> Streams:
    streams = out(), err()
    return Streams(Terminal(*streams, environment), *streams)


def test_results_go_to_stdout_and_everything_else_to_stderr() -> None:
    it = on()
    it.terminal.line("/p/x.png")
    it.terminal.json({"path": Path("/p/猫.png"), "n": 2**63 - 1})
    it.terminal.info("as you like")
    it.terminal.warn("careful")
    it.terminal.error(UnavailableError("no answer\nat all", hint="boot it"))

    assert it.written == (
        '/p/x.png\n{"path":"/p/猫.png","n":9223372036854775807}\n',
        "imagen: as you like\n"
        "imagen: careful\n"
        "imagen: error: no answer\n"
        "imagen: error: at all\n"
        "  hint: boot it\n",
    )


def test_result_is_written_as_it_is() -> None:
    it = on()
    it.terminal.line("two\twords")

    assert it.written == ("two\twords\n", "")


def test_each_line_on_stderr_has_its_prefix() -> None:
    it = on()
    it.terminal.info("as\nyou like")
    it.terminal.warn("what a server\r\n\n\x1b[2Jsaid\n")
    it.terminal.error(UnavailableError("no\u2028answer\nat all", hint="boot it\nor not"))

    assert it.err.getvalue().splitlines() == [
        "imagen: as",
        "imagen: you like",
        "imagen: what a server",
        "imagen: ",
        "imagen: \\x1b[2Jsaid",
        "imagen: error: no\\u2028answer",
        "imagen: error: at all",
        "  hint: boot it",
        "  hint: or not",
    ]


def test_control_characters_are_written_out_on_stderr() -> None:
    it = on(IMAGEN_DEBUG="1")
    it.terminal.info(HOSTILE)
    it.terminal.error(CredentialsError(HOSTILE, hint=HOSTILE))
    it.terminal.trace(ValueError(HOSTILE))

    assert it.err.getvalue() == (
        f"imagen: {WRITTEN_OUT}\n"
        f"imagen: error: {WRITTEN_OUT}\n"
        f"  hint: {WRITTEN_OUT}\n"
        f"ValueError: {WRITTEN_OUT}\n"
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain 猫 🐱 é", "plain 猫 🐱 é"),
        ("two\nlines\tand", "two\nlines\tand"),
        ("\x00\x7f\x85", "\\x00\\x7f\\x85"),
        ("\u2028", "\\u2028"),
        (HOSTILE, WRITTEN_OUT),
    ],
)
def test_text_is_made_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_error_with_json_is_an_object_on_stdout() -> None:
    it = on()
    it.terminal.as_json = True
    it.terminal.error(UnavailableError("no answer", hint="boot it"), {"id": "r1"})

    assert it.err.getvalue() == ""
    assert json.loads(it.out.getvalue()) == {
        "error": {
            "code": "unavailable",
            "message": "no answer",
            "hint": "boot it",
            "retryable": True,
        },
        "id": "r1",
    }


def test_file_name_that_is_not_utf_8_is_json_all_the_same() -> None:
    it = on()
    it.terminal.json({"path": os.fsdecode(b"abc\xe9.png")})

    assert json.loads(it.out.getvalue()) == {"path": os.fsdecode(b"abc\xe9.png")}
    assert it.out.getvalue().isascii()


@pytest.mark.parametrize(("debug", "shown"), [("", False), ("0", False), ("1", True)])
def test_trace_is_for_those_who_asked(debug: str, *, shown: bool) -> None:
    it = on(IMAGEN_DEBUG=debug)
    try:
        raise ValueError("inside")
    except ValueError as error:
        it.terminal.trace(error)

    assert ("test_terminal.py" in it.err.getvalue()) is shown
    assert it.err.getvalue().endswith("ValueError: inside\n") is shown


def test_table_on_a_pipe_has_tabs_and_one_line_a_row() -> None:
    it = on(err=Screen)
    it.terminal.table(("name", "type"), [("a", "x y"), ("tab\there", "two\nlines"), ("", "z")])

    assert it.written == ("name\ttype\na\tx y\ntab\\there\ttwo\\nlines\n\tz\n", "")


def test_table_on_a_terminal_is_aligned_under_a_bold_head() -> None:
    it = on(out=Screen, err=Screen)
    it.terminal.table(("name", "type"), [("a", "x"), ("longer name", "y"), ("b", "")])

    assert it.out.getvalue() == (
        "\x1b[1mname         type\x1b[0m\na            x\nlonger name  y\nb\n"
    )


def test_table_is_aligned_whatever_its_signs_take() -> None:
    it = on(out=Screen)
    it.terminal.table(("name", "type"), [("一只猫", "x"), ("e\u0301", "y"), ("\x1b", "z")])

    assert it.out.getvalue() == "name    type\n一只猫  x\ne\u0301       y\n\\x1b    z\n"


def test_table_without_rows_is_its_head() -> None:
    for out, head in ((StringIO, "a\tb\n"), (Screen, "a  b\n")):
        it = on(out=out)
        it.terminal.table(("a", "b"), [])
        assert it.out.getvalue() == head


@pytest.mark.parametrize(
    ("err", "environment", "coloured"),
    [
        (Screen, {}, True),
        (Screen, {"NO_COLOR": ""}, True),
        (Screen, {"NO_COLOR": "1"}, False),
        (Screen, {"NO_COLOR": "0"}, False),
        (Screen, {"TERM": "dumb"}, False),
        (StringIO, {}, False),
    ],
)
def test_colour_is_for_terminals_that_welcome_it(
    err: type[StringIO], environment: dict[str, str], *, coloured: bool
) -> None:
    it = on(StringIO, err, **environment)
    it.terminal.error(UnavailableError("no"))

    label = "\x1b[31;1merror:\x1b[0m" if coloured else "error:"
    assert it.err.getvalue() == f"imagen: {label} no\n"


def test_board_has_a_line_for_each_making() -> None:
    streams = on(Screen, Screen)
    board = streams.terminal.board({"1": "mock 7", "2": "flux 7"})

    board.take("1", Progress(step=3, steps=4))
    board.finish("2", RUN_THAT_FAILED)
    board.hide()

    shown = re.sub(r"\x1b\[[0-9;]*[mKJA]", "", streams.written[1])
    assert " mock 7  step 3/4  0." in shown
    assert " flux 7  failed: it is away\n" in shown


def test_board_draws_nothing_on_a_pipe() -> None:
    streams = on()
    board = streams.terminal.board({"1": "mock 7"})

    board.take("1", Progress(step=3, steps=4))
    board.hide()

    assert streams.written == ("", "")


def test_bar_shows_share_step_and_message() -> None:
    it = on(err=Screen, NO_COLOR="1")
    it.terminal.bar(1).take("r1", STEP)

    drawn = it.err.getvalue()
    assert re.fullmatch(r"\r █{12}░{12}  50%  \d\.\d s  step 2/4 sampling\x1b\[K", drawn)


def test_bar_counts_several_makings_together() -> None:
    it = on(err=Screen, NO_COLOR="1")
    bar = it.terminal.bar(4)
    bar.finish("r1")
    bar.take("r2", STEP)

    assert re.match(r"\r █{9}░{15}  38% 1/4  ", it.err.getvalue())


def test_picture_completes_its_share() -> None:
    it = on(err=Screen, NO_COLOR="1")
    it.terminal.bar(2).take("r1", Image(data=b"x", mime="image/png"))

    assert re.match(r"\r █{12}░{12}  50% 0/2  ", it.err.getvalue())


def test_event_without_a_share_keeps_the_bar_where_it_is() -> None:
    it = on(err=Screen, NO_COLOR="1")
    bar = it.terminal.bar(1)
    bar.take("r1", Preview(data=b"x", mime="image/png"))
    bar.take("r1", Progress(message="queued"))

    assert re.match(r"\r ░{24}   0%  ", it.err.getvalue())


@pytest.mark.parametrize("say", ["line", "info", "error", "trace"])
def test_bar_is_taken_away_before_anything_is_printed(say: str) -> None:
    it = on(out=Screen, err=Screen, NO_COLOR="1", IMAGEN_DEBUG="1")
    it.terminal.bar(1).take("r1", STEP)
    drawn = len(it.err.getvalue())

    error: ImagenError = UnavailableError("no")
    getattr(it.terminal, say)("text" if say in ("line", "info") else error)

    assert it.err.getvalue()[drawn:].startswith("\r\x1b[K")


def test_hidden_bar_is_cleared_once() -> None:
    it = on(err=Screen)
    bar = it.terminal.bar(1)
    bar.hide()
    assert it.err.getvalue() == ""

    bar.take("r1", STEP)
    bar.hide()
    bar.hide()

    assert it.err.getvalue().count("\r\x1b[K") == 1


def test_text_in_the_bar_steers_no_terminal() -> None:
    it = on(err=Screen, NO_COLOR="1")
    it.terminal.bar(1).take("r1", Progress(message="\x1b[2J\x07\n"))

    assert "\\x1b[2J\\x07\\n" in it.err.getvalue()


@pytest.mark.parametrize(
    ("err", "environment", "quiet"),
    [(StringIO, {}, False), (Screen, {"TERM": "dumb"}, False), (Screen, {}, True)],
    ids=["pipe", "dumb", "quiet"],
)
def test_bar_is_not_drawn_where_it_is_not_wanted(
    err: type[StringIO], environment: dict[str, str], *, quiet: bool
) -> None:
    it = on(StringIO, err, **environment)
    it.terminal.quiet = quiet
    bar = it.terminal.bar(1)
    bar.take("r1", STEP)
    bar.finish("r1")
    bar.hide()

    assert it.written == ("", "")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_bar_on_a_narrow_terminal_stays_on_its_line_although_stdout_is_a_pipe() -> None:
    import fcntl
    import struct
    import termios

    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    with open(slave, "w", encoding="utf-8") as err:  # noqa: PTH123 - a descriptor is no path
        terminal = Terminal(StringIO(), err, {"NO_COLOR": "1"})
        terminal.bar(1).take("r1", Progress(fraction=0.0, message="x" * 200))
        drawn = os.read(master, 4096).decode()
    os.close(master)

    assert len(drawn.replace("\r", "").replace("\x1b[K", "")) == 38


def python(script: str, stdout: int, stderr: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    script = f"from imagen_core.terminal import Terminal\nt = Terminal()\n{textwrap.dedent(script)}"
    return subprocess.Popen([sys.executable, "-c", script], stdout=stdout, stderr=stderr)


def closed_pipe() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


PRINT = "t.line('one'); t.line('two'); t.info(f'seen through {t.out_problem!r}')"


def test_reader_that_went_away_stops_nothing() -> None:
    writer = closed_pipe()
    process = python(PRINT, stdout=writer)
    os.close(writer)

    assert process.communicate()[1] == b"imagen: seen through ''\n"
    assert process.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_stdout_stops_nothing_and_is_remembered() -> None:
    with Path("/dev/full").open("wb") as full:
        process = python(PRINT, stdout=full.fileno())

    assert process.communicate()[1] == b"imagen: seen through 'No space left on device'\n"
    assert process.returncode == 0


def test_reader_of_stderr_that_went_away_stops_nothing() -> None:
    writer = closed_pipe()
    script = "t.info('a'); t.bar(1).hide(); t.warn('b'); t.line('/p/x.png')\nimport os\nos._exit(0)"
    process = python(script, stdout=subprocess.PIPE, stderr=writer)
    os.close(writer)

    assert process.communicate()[0] == b"/p/x.png\n"
    assert process.returncode == 0


def test_closed_streams_stop_nothing() -> None:
    script = "from imagen_core.terminal import Terminal; Terminal().line('x'); Terminal().info('y')"
    command = f'"{sys.executable}" -c "{script}" >&- 2>&-'

    assert subprocess.run(["sh", "-c", command], check=False).returncode == 0
