"""Command lines that provoke a message, and what they then say."""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TextIO

from msgspec import Struct

from imagen_core import (
    ImagenError,
)
from imagen_core.app import App
from imagen_core.cli import run
from imagen_core.terminal import Terminal
from odd_plugins import PLUGINS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Case(Struct, frozen=True):
    """A command line that provokes a message; `{folder}` in it is the test's own."""

    args: str = "generate cat"
    config: str = ""
    stdin: bytes = b""
    environment: dict[str, str] = {}
    prepare: Callable[[Path], object] = lambda _: None


class Told(NamedTuple):
    """What was said, and the exit code and the codes of the errors that go with it."""

    exit_code: int
    codes: set[str]
    lines: list[str]


class Listener(Terminal):
    """A terminal that keeps the errors that it shows."""

    def __init__(self, out: TextIO | None = None) -> None:
        super().__init__(out or io.StringIO(), io.StringIO(), {})
        self.codes: set[str] = set()

    def error(self, error: ImagenError, about: Mapping[str, Any] | None = None) -> None:
        self.codes.add(error.code)
        super().error(error, about)

    def told(self, exit_code: int) -> Told:
        assert isinstance(self.err, io.StringIO)
        return Told(exit_code, self.codes, self.err.getvalue().splitlines())


def odd(how: str) -> str:
    return f"backends: {{x: {{type: odd, how: {how}, folder: pictures}}}}"


def block(text: str) -> str:
    return f"backends: {{x: {text}}}"


def write(name: str, data: bytes) -> Callable[[Path], object]:
    def prepare(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)

    return prepare


def told_outside(folder: Path, *args: str, stdout: IO[str] | None = None) -> Told:
    """What a process of its own says."""
    done = subprocess.run(
        [sys.executable, "-m", "imagen_core", *args],
        env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=stdout or subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    return Told(done.returncode, set(), done.stderr.splitlines())


def tell(case: Case, folder: Path) -> Told:
    """Run the command line of the case, with this folder as its world."""
    terminal = Listener()
    case.prepare(folder)
    app = App.for_test(
        terminal, folder, config=case.config, plugins=PLUGINS, environment=case.environment
    )
    args = [part.replace("{folder}", str(folder)) for part in shlex.split(case.args)]
    return terminal.told(run(args, terminal=terminal, app=app))
