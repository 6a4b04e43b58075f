"""`tmux-img` in a terminal outside of tmux: what is asked of it, and what is drawn."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imagen_tmux.viewer.detect import Found
from imagen_tmux.viewer.drawing import draw
from imagen_tmux.viewer.painting import Canvas
from imagen_tmux.viewer.picture import Picture
from tmux_outside import KITTY, PATIENT, PLAIN, SIXEL, VIEWER, printed
from tmux_terminal import decode_sixel, kitty_pictures
from tmux_world import apart

if TYPE_CHECKING:
    from collections.abc import Callable

RED, GREEN, BLUE, YELLOW = (200, 10, 20), (10, 180, 30), (20, 30, 190), (220, 210, 20)


@pytest.mark.parametrize(
    ("environment", "code"),
    [
        ({"COLORTERM": "truecolor"}, "38;2;200;10;20"),
        ({"TERM": "xterm-kitty"}, "38;2;200;10;20"),
        ({"TERM_PROGRAM": "iTerm.app"}, "38;2;200;10;20"),
        ({"TERM": "xterm-256color"}, "38;5;160"),
        ({"TERM": "linux"}, "38;5;160"),
    ],
)
def test_colours_are_those_that_the_terminal_has(
    environment: dict[str, str], code: str, quarters: Callable[..., str]
) -> None:
    assert code in printed(quarters(), environment=environment, replies=PLAIN)


def test_a_terminal_that_does_not_answer_gets_half_blocks(quarters: Callable[..., str]) -> None:
    assert "▀" in printed(quarters())


@pytest.mark.parametrize("term", ["tmux-256color", "screen"])
def test_a_multiplexer_is_not_asked_what_it_would_take_for_a_title(
    term: str, quarters: Callable[..., str]
) -> None:
    said = printed(quarters(), environment={"TERM": term}, replies=PLAIN)

    assert "\x1b[c" in said
    assert "\x1b_" not in said


def test_a_terminal_with_kitty_s_graphics_gets_the_pixels(quarters: Callable[..., str]) -> None:
    said = printed(quarters(), size=(100, 33), replies=KITTY, limit=PATIENT)

    [sent] = kitty_pictures(said.encode())
    width, height = int(sent.keys["s"]), int(sent.keys["v"])
    assert (width, height) == (400, 400)
    assert (sent.keys["c"], sent.keys["r"]) == ("60", "30")
    assert [sent.pixel(x, y) for y in (100, 300) for x in (100, 300)] == [RED, GREEN, BLUE, YELLOW]
    assert "U" not in sent.keys


def test_a_terminal_with_sixels_gets_the_pixels(quarters: Callable[..., str]) -> None:
    said = printed(quarters(), size=(40, 15), replies=SIXEL, limit=PATIENT)

    pixels = decode_sixel(said)
    wide, high = max(x for x, _ in pixels) + 1, max(y for _, y in pixels) + 1
    assert (wide, high) == (240, 240)
    for place, wanted in {
        (60, 60): RED,
        (180, 60): GREEN,
        (60, 180): BLUE,
        (180, 180): YELLOW,
    }.items():
        assert apart(pixels[place], wanted) <= 8


def test_sixels_stay_below_what_tmux_takes(tmp_path: Path) -> None:
    from PIL import Image

    Image.frombytes("RGB", (1500, 1500), os.urandom(1500 * 1500 * 3)).save(tmp_path / "noise.png")

    said = printed("--protocol", "sixel", str(tmp_path / "noise.png"), size=(200, 100))

    assert 100_000 < said.index("\x1b\\") - said.index("\x1bP") < 2**20


@pytest.mark.parametrize(
    ("protocol", "mark"),
    [("kitty", "\x1b_G"), ("sixel", "\x1bP"), ("blocks", "38;2;"), ("blocks-256", "38;5;")],
)
@pytest.mark.parametrize("replies", [PLAIN, KITTY, SIXEL])
def test_the_flag_is_stronger_than_what_was_found(
    protocol: str, mark: str, replies: dict[bytes, bytes], quarters: Callable[..., str]
) -> None:
    environment = {"TMUX_IMG_PROTOCOL": "auto", "COLORTERM": "truecolor"}
    for words in (["--protocol", protocol], [f"--protocol={protocol}"]):
        assert mark in printed(*words, quarters(), replies=replies, environment=environment)
    environment["TMUX_IMG_PROTOCOL"] = protocol
    assert mark in printed(quarters(), replies=replies, environment=environment)


def test_pictures_are_printed_with_their_captions(quarters: Callable[..., str]) -> None:
    one, two = quarters("one.png"), quarters("two.png")

    said = printed(one, two, replies=PLAIN, size=(40, 13), limit=PATIENT)

    lines = said.replace("\r\n", "\n").split("\n")

    texts = [line.replace("\x1b[2m", "").replace("\x1b[0m", "") for line in lines]
    assert [line for line in texts if line and "▀" not in line and "\x1b" not in line] == [
        *("one.png", "1/2 · 400x400", "two.png", "2/2 · 400x400")
    ]
    assert sum("▀" in line for line in lines) == 20


def test_a_pipe_gets_half_blocks(quarters: Callable[..., str]) -> None:
    environment = {**os.environ, "COLUMNS": "20", "LINES": "13", "COLORTERM": "truecolor"}
    done = subprocess.run(
        [VIEWER, quarters()],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert done.stdout.split("\n")[0].count("▀") == 20
    assert done.stderr == ""


def test_nobody_who_reads_is_no_crash(quarters: Callable[..., str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [VIEWER, quarters()],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    os.close(writing)

    assert done.stderr == ""


@pytest.mark.parametrize("words", ["{0}", "--protocol kitty {0} {0}", "--version"])
@pytest.mark.parametrize("where", [">/dev/full", ">&-"])
def test_what_can_not_be_written_is_no_success(
    where: str, words: str, quarters: Callable[..., str]
) -> None:
    line = f"{VIEWER} {words.format(quarters())} {where}"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    problem = "tmux-img: cannot print the picture: " * (words != "--version")
    assert done.stderr.startswith(problem)
    assert done.stderr.count("\n") == bool(problem)


def test_a_complaint_that_nobody_takes_costs_no_picture(quarters: Callable[..., str]) -> None:
    line = f"{VIEWER} --protocol blocks /none.png {quarters()} 2>&-"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "▀" in done.stdout


def test_what_can_not_be_shown_is_told_and_the_others_are_shown(
    quarters: Callable[..., str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [VIEWER, "--protocol", "blocks", str(tmp_path / "none.png"), quarters()],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 1
    assert done.stderr == f"tmux-img: {tmp_path}/none.png: the file is gone\n"
    assert "▀" in done.stdout


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        ([], "no picture is named", "tmux-img picture.png"),
        (["--holdd", "x"], "there is no option '--holdd'", "a path that begins so goes behind --"),
        (["--hold=1", "x"], "--hold takes no value", "leave '=1' out"),
        (["--protocol"], "--protocol needs a value", "tmux-img --help shows what it takes"),
        (
            ["--protocol", "jpeg", "x"],
            "--protocol: there is no protocol 'jpeg'",
            "take one of auto, kitty, sixel, blocks, blocks-256",
        ),
        (
            ["--list", "/no/such"],
            "cannot read /no/such: No such file or directory",
            "look at the path",
        ),
        (
            ["-\x1b]0;title\x07"],
            "there is no option '- ]0;title '",
            "a path that begins so goes behind --",
        ),
        (
            ["--protocol", "\x9b31m"],
            "--protocol: there is no protocol ' 31m'",
            "take one of auto, kitty, sixel, blocks, blocks-256",
        ),
        (
            ["--list", "/no\nsuch"],
            "cannot read /no such: No such file or directory",
            "look at the path",
        ),
        (["--hold", "x"], "--hold needs a terminal", "leave --hold out"),
    ],
)
def test_misuse_is_told_with_what_to_type(words: list[str], error: str, hint: str) -> None:
    done = subprocess.run(
        [VIEWER, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"tmux-img: error: {error}\n  hint: {hint}\n"


def test_a_bad_variable_is_told_and_costs_no_picture(quarters: Callable[..., str]) -> None:
    environment = {**os.environ, "TMUX_IMG_PROTOCOL": "png\x1b[31m"}
    done = subprocess.run(
        [VIEWER, quarters()], env=environment, capture_output=True, text=True, check=True
    )

    told = "tmux-img: $TMUX_IMG_PROTOCOL: there is no protocol 'png [31m'; taking auto\n"
    assert done.stderr == told
    assert "▀" in done.stdout


@pytest.mark.parametrize("words", [["--protocol", "blocks"], ["--version"], ["--help"]])
def test_a_bad_variable_does_not_matter_where_it_is_not_asked(
    words: list[str], quarters: Callable[..., str]
) -> None:
    environment = {**os.environ, "TMUX_IMG_PROTOCOL": "png"}
    done = subprocess.run(
        [VIEWER, *words, quarters()], env=environment, capture_output=True, text=True, check=True
    )

    assert done.stderr == ""


@pytest.mark.parametrize("flag", ["--help", "-h", "--version"])
def test_help_and_version_go_to_standard_output(flag: str) -> None:
    done = subprocess.run([VIEWER, flag], capture_output=True, text=True, check=True)

    assert ("tmux-img" in done.stdout, done.stderr) == (True, "")


def test_sixels_that_can_not_be_made_are_half_blocks(
    quarters: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "chafa.py").write_text("raise ValueError")
    environment = {"PYTHONPATH": str(tmp_path)}

    assert "▀" in printed("--protocol", "sixel", quarters(), environment=environment)


def test_a_picture_that_can_not_be_drawn_is_told() -> None:
    from PIL import Image

    gone = Image.new("RGB", (8, 8))
    gone.close()

    drawn = draw(Picture(gone, (8, 8)), Canvas(8, 8), Found("blocks"))

    assert drawn.problem == "there is not enough memory to draw it"


def test_the_viewer_imports_no_core_and_no_parser(quarters: Callable[..., str]) -> None:
    code = (
        "import sys; from imagen_tmux.viewer import main; code = main(sys.argv[1:]);"
        "print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    words = ["--protocol", "blocks", quarters()]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )

    heavy = {
        "imagen_core",
        "msgspec",
        "argparse",
        "click",
        "subprocess",
        "json",
        "chafa",
        "pathlib",
    }
    assert heavy & {*done.stderr.split()} == set()
