"""`tmux-img` in a terminal outside of tmux: protocols, signals, and what is left behind."""

from __future__ import annotations

import itertools
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imagen_tmux.viewer.detect import Found
from imagen_tmux.viewer.drawing import draw
from imagen_tmux.viewer.painting import Canvas
from imagen_tmux.viewer.picture import Picture
from tmux_terminal import DEVICE, PATIENCE, Terminal, decode_sixel, kitty_pictures
from tmux_world import SCRIPTS, apart

if TYPE_CHECKING:
    from collections.abc import Callable

RED, GREEN, BLUE, YELLOW = (200, 10, 20), (10, 180, 30), (20, 30, 190), (220, 210, 20)
VIEWER = str(SCRIPTS / "tmux-img")
PLAIN = {DEVICE: b"\x1b[?1;2c"}
SIXEL = {DEVICE: b"\x1b[?62;4c"}
KITTY = {DEVICE: b"\x1b_Gi=31;OK\x1b\\\x1b[?62;c"}
ENDING = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT
LEFT = b"\x1b[?25h\x1b[?1049l"


def run(*arguments: str, **options: Any) -> Terminal:
    environment = {**os.environ, **options.pop("environment", {})}
    return Terminal([VIEWER, *arguments], environment, **options)


def printed(*arguments: str, **options: Any) -> str:
    with run(*arguments, **options) as terminal:
        assert terminal.wait() == 0
        assert terminal.attributes_are_as_before()
        return terminal.written.decode()


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
    said = printed(quarters(), size=(100, 33), replies=KITTY)

    [sent] = kitty_pictures(said.encode())
    width, height = int(sent.keys["s"]), int(sent.keys["v"])
    assert (width, height) == (400, 400)
    assert (sent.keys["c"], sent.keys["r"]) == ("60", "30")
    assert [sent.pixel(x, y) for y in (100, 300) for x in (100, 300)] == [RED, GREEN, BLUE, YELLOW]
    assert "U" not in sent.keys


def test_a_terminal_with_sixels_gets_the_pixels(quarters: Callable[..., str]) -> None:
    said = printed(quarters(), size=(40, 15), replies=SIXEL)

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

    lines = printed(one, two, replies=PLAIN, size=(40, 13)).replace("\r\n", "\n").split("\n")

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


def test_a_key_ends_it_and_the_terminal_is_as_before(quarters: Callable[..., str]) -> None:
    with run("--hold", quarters(), replies=PLAIN) as terminal:
        terminal.read_until(b"quarters.png")
        assert not terminal.attributes_are_as_before()

        terminal.type(b"q")

        assert terminal.wait() == 0
        assert terminal.written.endswith(LEFT)
        assert terminal.attributes_are_as_before()


@pytest.mark.parametrize("module", ["arguments", "caption", "hold", "picture", "screen"])
def test_an_interrupt_while_it_begins_ends_it_quietly(
    module: str, quarters: Callable[..., str]
) -> None:
    code = (
        "import os, signal, sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == 'imagen_tmux.viewer.{module}':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "from imagen_tmux.viewer import run\n"
        "run()\n"
    )
    command = [sys.executable, "-c", code, "--hold", quarters()]
    with Terminal(command, dict(os.environ)) as terminal:
        assert terminal.wait() == -signal.SIGINT
        assert terminal.written == b""
        assert terminal.attributes_are_as_before()


@pytest.mark.parametrize("number", ENDING, ids=lambda n: n.name)
@pytest.mark.parametrize("replies", [PLAIN, KITTY], ids=["blocks", "kitty"])
def test_a_signal_ends_it_and_the_terminal_is_as_before(
    number: signal.Signals, replies: dict[bytes, bytes], quarters: Callable[..., str]
) -> None:
    with run("--hold", quarters(), replies=replies) as terminal:
        terminal.read_until(b"quarters.png")

        terminal.process.send_signal(number)

        assert terminal.wait() == -number
        assert terminal.written.endswith(LEFT)
        assert terminal.attributes_are_as_before()
        if replies is KITTY:
            [sent] = kitty_pictures(terminal.written)
            assert f"\x1b_Ga=d,d=I,i={sent.keys['i']},q=2\x1b\\".encode() in terminal.written


@pytest.mark.parametrize(
    "pair", [*itertools.permutations(ENDING, 2)], ids=lambda pair: "-".join(n.name for n in pair)
)
@pytest.mark.parametrize("replies", [PLAIN, KITTY], ids=["blocks", "kitty"])
def test_two_signals_leave_the_terminal_as_before(
    pair: tuple[signal.Signals, ...],
    replies: dict[bytes, bytes],
    quarters: Callable[..., str],
) -> None:
    with run("--hold", quarters(), replies=replies) as terminal:
        terminal.read_until(b"quarters.png")

        for number in pair:
            terminal.process.send_signal(number)

        assert terminal.wait() in {-number for number in pair}
        assert terminal.written.endswith(LEFT)
        assert terminal.attributes_are_as_before()


@pytest.mark.parametrize(
    "numbers",
    [*((number,) for number in ENDING), *itertools.permutations(ENDING, 2)],
    ids=lambda numbers: "-".join(n.name for n in numbers),
)
def test_signals_while_the_terminal_is_asked_leave_it_as_before(
    numbers: tuple[signal.Signals, ...], quarters: Callable[..., str]
) -> None:
    patient = "import imagen_tmux.viewer as v, imagen_tmux.viewer.detect as d; d.PATIENCE = 99; "
    with Terminal([sys.executable, "-c", f"{patient}v.run()", quarters()], os.environ) as terminal:
        terminal.read_until(DEVICE)

        for number in numbers:
            terminal.process.send_signal(number)

        assert terminal.wait() in {128 + number for number in numbers}
        assert terminal.attributes_are_as_before()
        assert terminal.written.endswith(b"\x1b\\\x1b\\\x1b[0m\r\n")
        assert b"race" not in terminal.written


def test_what_is_typed_ahead_is_for_the_shell(quarters: Callable[..., str]) -> None:
    allowed = Path("/proc/sys/dev/tty/legacy_tiocsti")
    if allowed.exists() and allowed.read_text().strip() == "0":
        pytest.skip("this system gives no keys back")
    shell = ["bash", "--norc", "--noprofile", "-i"]
    environment = {**os.environ, "PS1": "ready> ", "PATH": f"{SCRIPTS}:{os.environ['PATH']}"}
    with Terminal(shell, environment) as terminal:
        terminal.read_until(b"ready> ")
        terminal.type(f"tmux-img {quarters()}\n".encode())
        terminal.read_until(DEVICE)

        terminal.type(b"echo a''head\n\x1b[?62")

        terminal.read_until(b"ahead\r\n")
        terminal.type(b"exit\n")
        assert terminal.wait() == 0


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


def test_in_the_background_of_a_shell_it_is_not_stopped(quarters: Callable[..., str]) -> None:
    shell = ["bash", "--norc", "--noprofile", "-i"]
    environment = {**os.environ, "PS1": "ready> ", "PATH": f"{SCRIPTS}:{os.environ['PATH']}"}
    with Terminal(shell, environment) as terminal:
        terminal.read_until(b"ready> ")

        terminal.type(f"tmux-img {quarters()} & wait; jobs; echo en''ded\n".encode())

        said = terminal.read_until(b"ended\r\n")
        assert b"Stopped" not in said
        assert "▀".encode() in said
        terminal.type(b"exit\n")
        assert terminal.wait() == 0


def test_it_stops_and_goes_on_again(quarters: Callable[..., str]) -> None:
    with run("--hold", quarters(), replies=PLAIN) as terminal:
        terminal.read_until(b"quarters.png")

        terminal.process.send_signal(signal.SIGSTOP)
        wait_for_state(terminal.process.pid, "T")
        before = len(terminal.written)
        terminal.process.send_signal(signal.SIGCONT)

        terminal.read_until(b"quarters.png", after=before)
        terminal.type(b"q")
        assert terminal.wait() == 0
        assert terminal.attributes_are_as_before()


def test_a_shell_can_stop_it_and_go_on_with_it(quarters: Callable[..., str]) -> None:
    shell = ["bash", "--norc", "--noprofile", "-i"]
    environment = {**os.environ, "PS1": "ready> ", "PATH": f"{SCRIPTS}:{os.environ['PATH']}"}
    with Terminal(shell, environment, replies=PLAIN) as terminal:
        terminal.read_until(b"ready> ")
        terminal.type(f"tmux-img --hold {quarters()}\n".encode())
        terminal.read_until(b"400x400")

        terminal.type(b"\x1a")
        stopped = terminal.read_until(b"Stopped")
        assert LEFT in stopped
        terminal.read_until(b"ready> ", after=stopped.index(b"Stopped"))
        before = len(terminal.written)
        terminal.type(b"fg\n")

        terminal.read_until(b"400x400", after=before)
        terminal.type(b"q")
        ended = terminal.read_until(LEFT, after=before).rindex(LEFT)
        terminal.read_until(b"ready> ", after=ended)
        terminal.type(b"exit\n")
        assert terminal.wait() == 0


def wait_for_state(process: int, state: str) -> None:
    limit = time.monotonic() + PATIENCE
    while True:
        with open(f"/proc/{process}/stat", encoding="utf-8") as file:  # noqa: PTH123
            if file.read().rpartition(")")[2].split()[0] == state:
                return
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_replies_that_come_late_are_no_keys(quarters: Callable[..., str]) -> None:
    with run("--hold", quarters()) as terminal:
        terminal.read_until(b"quarters.png")

        terminal.type(b"\x1b_Gi=31;OK\x1b\\\x1b[?62;4c\x1b[O\x1b[<0;1;1M")
        before = len(terminal.written)
        terminal.type(b"r")

        terminal.read_until(b"quarters.png", after=before)
        assert terminal.process.poll() is None


@pytest.mark.parametrize(
    ("first", "rest"),
    [
        (b"\x1b[?62", b";4c"),
        (b"\x1b_Gi=31;OK", b"\x1b\\"),
        (b"\x1b_Gi=31;OK\x1b", b"\\"),
        (b"\x1b[", b"?62c"),
        (b"\x1b[6", b"~"),
        (b"\x1bO", b"C"),
    ],
)
def test_a_sequence_that_comes_in_two_is_no_key(
    first: bytes, rest: bytes, quarters: Callable[..., str]
) -> None:
    with run("--hold", quarters("one.png"), quarters("two.png"), replies=PLAIN) as terminal:
        terminal.read_until(b"one.png")

        before = len(terminal.written)
        terminal.type(b"r" + first)
        terminal.read_until(b"one.png", after=before)
        terminal.type(rest)
        before = len(terminal.written)
        terminal.type(b"nr")

        terminal.read_until(b"two.png", after=before)
        terminal.type(b"q")
        assert terminal.wait() == 0


@pytest.mark.parametrize("keys", [b"\x1b", b"n\x1b"])
def test_escape_ends_it_though_a_sequence_begins_so(
    keys: bytes, quarters: Callable[..., str]
) -> None:
    with run("--hold", quarters(), replies=PLAIN) as terminal:
        terminal.read_until(b"quarters.png")

        terminal.type(keys)

        assert terminal.wait() == 0


def test_half_a_sequence_does_not_swallow_keys_for_ever(quarters: Callable[..., str]) -> None:
    with run("--hold", quarters(), replies=PLAIN) as terminal:
        terminal.read_until(b"quarters.png")
        terminal.type(b"\x1b_")

        limit = time.monotonic() + PATIENCE
        while terminal.process.poll() is None:
            assert time.monotonic() < limit
            terminal.type(b"q")
            select.select([terminal.end], [], [], 0.05)


def test_a_reply_that_the_limit_cuts_in_two_is_no_key(quarters: Callable[..., str]) -> None:
    with run("--hold", quarters()) as terminal:
        terminal.read_until(DEVICE)
        terminal.type(b"\x1b[?62")
        terminal.read_until(b"quarters.png")

        terminal.type(b";4c")
        before = len(terminal.written)
        terminal.type(b"r")

        terminal.read_until(b"quarters.png", after=before)
        terminal.type(b"q")
        assert terminal.wait() == 0


def test_a_key_that_is_typed_before_the_picture_is_there_counts(
    quarters: Callable[..., str],
) -> None:
    with run("--hold", quarters()) as terminal:
        terminal.read_until(DEVICE)

        terminal.type(b"q\x1b[?1;2c")

        assert terminal.wait() == 0
        assert terminal.written.endswith(LEFT)


def test_a_terminal_that_goes_away_ends_it(quarters: Callable[..., str]) -> None:
    terminal = run("--hold", quarters(), replies=PLAIN)
    terminal.read_until(b"quarters.png")

    os.close(terminal.theirs)
    os.close(terminal.end)

    assert terminal.process.wait(PATIENCE) in (0, -signal.SIGHUP)


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
