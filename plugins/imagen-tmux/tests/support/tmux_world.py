"""A tmux server of the test's own, which nobody else sees and which ends with the test."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from debian import find_program
from tmux_terminal import PATIENCE, Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SCRIPTS = Path(sys.executable).parent
SGR = re.compile(r"\x1b\[([\d;]*)m|\x1b[()]B|[\x0e\x0f]|(.)", re.DOTALL)

Colour = tuple[int, ...] | str | None


class Cell(NamedTuple):
    """A character with its colours: three numbers, the name of an indexed one, or the default."""

    text: str
    over: Colour
    under: Colour


class World:
    """A server with one session, `main`, whose window is 80 by 24 cells."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.tmux_program = find_program(["tmux"], "tmux", called="tmux")
        # The path of a socket may not be long.
        self._sockets = Path(tempfile.mkdtemp(prefix="imagen-tmux-"))
        usual = f"{SCRIPTS}{os.pathsep}{os.defpath}{os.pathsep}{Path(self.tmux_program).parent}"
        self.environment = {
            **environment,
            "PATH": usual,
            "TMUX_TMPDIR": str(self._sockets),
            "SHELL": "/bin/sh",
            "TERM": "screen-256color",
            "LC_ALL": "C.UTF-8",
        }
        self.tmux("new-session", "-d", "-s", "main", "-x", "80", "-y", "24", "sleep", "100000")
        self.socket = self.ask("#{socket_path}")

    def close(self) -> None:
        self.tmux("kill-server", check=False)
        shutil.rmtree(self._sockets)

    def tmux(self, *arguments: str, check: bool = True) -> str:
        """What tmux prints."""
        done = subprocess.run(
            [self.tmux_program, "-u", "-L", "world", "-f", "/dev/null", *arguments],
            env=self.environment,
            capture_output=True,
            check=False,
            timeout=PATIENCE,
        )
        assert not check or done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def ask(self, what: str, target: str = "main:") -> str:
        return self.tmux("display-message", "-p", "-t", target, what).rstrip("\n")

    @property
    def inside(self) -> dict[str, str]:
        """The environment of a process in the first pane."""
        pane, session, pid = self.ask("#{pane_id} #{session_id} #{pid}", "main:0").split()
        return {
            **self.environment,
            "TMUX": f"{self.socket},{pid},{session.removeprefix('$')}",
            "TMUX_PANE": pane,
        }

    def windows(self, what: str = "#{window_name}") -> list[str]:
        """What is asked of each window but the first, in their order."""
        return self.tmux("list-windows", "-t", "main", "-F", what).splitlines()[1:]

    def open(self, *command: str) -> str:
        """The id of a new window in the background that runs this."""
        made = self.tmux("new-window", "-d", "-t", "main:", "-P", "-F", "#{window_id}", *command)
        return made.strip()

    def run(self, line: str) -> str:
        """What a line of shell leaves on the first pane, with its exit code at the end."""
        script = f"{line}; echo code $?; tmux wait-for -S done; exec sleep 100000"
        pane = self.ask("#{pane_id}", "main:0")
        self.tmux("respawn-pane", "-k", "-t", pane, f"exec 2>&1; {script}")
        self.tmux("wait-for", "done")
        return self.wait(lambda: self._said(pane))

    def _said(self, pane: str) -> str:
        said = self.tmux("capture-pane", "-p", "-J", "-t", pane).strip()
        return said if re.search(r"code \d+$", said) else ""

    def shown(self, target: str) -> str:
        """The text of a pane."""
        return self.tmux("capture-pane", "-p", "-t", target)

    def cells(self, target: str) -> list[list[Cell]]:
        """The cells of a pane, with their colours."""
        rows = []
        over: Colour = None
        under: Colour = None
        for line in self.tmux("capture-pane", "-p", "-e", "-t", target).split("\n"):
            row = []
            for match in SGR.finditer(line):
                if match[2] is not None:
                    row.append(Cell(match[2], over, under))
                elif match[1] is not None:
                    over, under = _coloured(match[1], over, under)
            rows.append(row)
        return rows

    def blocks(self, target: str) -> list[list[Cell]]:
        """The cells of a pane that have half blocks."""
        rows = [[cell for cell in row if cell.text == "▀"] for row in self.cells(target)]
        return [row for row in rows if row]

    def wait(self, found: Callable[[], Any]) -> Any:
        """What is found as soon as it is there."""
        limit = time.monotonic() + PATIENCE
        while not (value := found()):
            assert time.monotonic() < limit, self.tmux("list-windows", "-a", check=False)
            time.sleep(0.02)
        return value

    def painted(self, target: str, text: str) -> str:
        """The window's text, once this is in it; the caption comes last."""
        return self.wait(lambda: shown if text in (shown := self.shown(target)) else "")

    def attach(self, term: str = "xterm-256color", size: tuple[int, int] = (80, 25)) -> Terminal:
        """A client that looks at the session, in a terminal of this kind."""
        terminal = Terminal(self._attach, {**self.environment, "TERM": term}, size=size)
        self._attached(term)
        return terminal

    def attach_again(self, terminal: Terminal, term: str) -> None:
        """The next client in this terminal, which is now of this kind: it has the same name."""
        self.tmux("detach-client", "-t", os.ttyname(terminal.theirs))
        terminal.run(self._attach, {**self.environment, "TERM": term})
        self._attached(term)
        terminal.read_until(b"[main]")

    @property
    def _attach(self) -> list[str]:
        return [self.tmux_program, "-u", "-L", "world", "attach", "-t", "main"]

    def _attached(self, term: str) -> None:
        self.wait(lambda: term in self.tmux("list-clients", "-F", "#{client_termname}"))


def apart(one: Any, other: Any) -> int:
    """How far two colours are apart, in the channel where it is most."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def _coloured(codes: str, over: Colour, under: Colour) -> tuple[Colour, Colour]:
    left = [int(code or 0) for code in codes.split(";")]
    while left:
        code = left.pop(0)
        if code in (38, 48):
            kind = left.pop(0)
            colour: Colour = f"index {left.pop(0)}"
            if kind == 2:
                colour = int(str(colour).split()[1]), left.pop(0), left.pop(0)
            over, under = (colour, under) if code == 38 else (over, colour)
        elif code in (0, 39, 49):
            over = over if code == 49 else None
            under = under if code == 39 else None
    return over, under
