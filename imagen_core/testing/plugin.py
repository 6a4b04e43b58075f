"""The pytest plugin: a home of its own for each test, and the command line in process.

Every pytest of the environment loads this module: it imports nothing but pytest.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pytest

if TYPE_CHECKING:
    from imagen_core.app import App

STEERING = ("IMAGEN_", "_IMAGEN_", "XDG_", "COMP_", "MAI_", "SUPABASE_", "TMUX")
"""How variables begin that change what imagen does."""
LENDING = ("_TOKEN", "_KEY", "_SECRET", "_PASSWORD", "_PROXY")
"""How variables end that let a test spend money, or reach beyond this machine."""
COLOURS = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE")


class Result(NamedTuple):
    """What one command line gave."""

    exit_code: int
    out: str
    err: str

    @property
    def paths(self) -> list[Path]:
        """The lines of stdout as paths."""
        return [Path(line) for line in self._lines()]

    def json(self) -> list[Any]:
        """The lines of stdout as the JSON that they are."""
        return [json.loads(line) for line in self._lines()]

    def _lines(self) -> list[str]:
        return [line for line in self.out.split("\n") if line]

    def __repr__(self) -> str:
        return f"exit code {self.exit_code}\n--- stdout\n{self.out}--- stderr\n{self.err}---"


class Imagen(Protocol):
    """Runs a command line: `imagen("generate", "a cat", "--seed", "1")`."""

    def __call__(self, *args: str, input: str | bytes = b"", app: App | None = None) -> Result:
        """Run it with `input` on stdin; the output of `app`, if one is given, is caught, too."""
        ...


@pytest.fixture
def imagen_home(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """An empty home folder, and an environment in which imagen knows nothing but that.

    Credentials are taken out of the environment, too, unless the test is marked `live`.
    """
    home = tmp_path_factory.mktemp("home")
    live = request.node.get_closest_marker("live") is not None
    lending = () if live else LENDING
    for name in list(os.environ):
        if name.startswith(STEERING) or name in COLOURS or name.upper().endswith(lending):
            monkeypatch.delenv(name)
    for name, value in _variables(home).items():
        monkeypatch.setenv(name, value)
    return home


@pytest.fixture
def imagen(imagen_home: Path, monkeypatch: pytest.MonkeyPatch) -> Imagen:  # noqa: ARG001
    """Runs `imagen` in this process, in a home of its own, and returns the Result."""

    def run(*args: str, input: str | bytes = b"", app: App | None = None) -> Result:
        data = input.encode() if isinstance(input, str) else input
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", TextIOWrapper(BytesIO(data), encoding="utf-8"))
            return _run(args, app)

    return run


def _variables(home: Path) -> dict[str, str]:
    folders = {
        "HOME": "",
        "USERPROFILE": "",
        "XDG_CONFIG_HOME": ".config",
        "XDG_DATA_HOME": ".local/share",
        "XDG_STATE_HOME": ".local/state",
        "XDG_CACHE_HOME": ".cache",
        "IMAGEN_DATA_DIR": "data",
        "IMAGEN_CACHE_DIR": "cache",
        "IMAGEN_OUTPUT_DIR": "output",
    }
    # Help is wrapped to the width of the terminal, which is not the test's business.
    return {name: str(home / folder) for name, folder in folders.items()} | {"COLUMNS": "80"}


def _run(args: tuple[str, ...], app: App | None) -> Result:
    from imagen_core.cli import run
    from imagen_core.terminal import Terminal

    out, err = _stream("strict"), _stream("backslashreplace")
    terminal = Terminal(out, err)
    if app is not None:
        app.console = terminal
    with redirect_stdout(out), redirect_stderr(err):
        code = run(args, terminal=terminal, app=app)
    return Result(code, _written(out), _written(err))


def _stream(errors: str) -> TextIOWrapper:
    """A stream that refuses what a real one would."""
    return TextIOWrapper(BytesIO(), "utf-8", errors, newline="\n", write_through=True)


def _written(stream: TextIOWrapper) -> str:
    data = stream.buffer
    assert isinstance(data, BytesIO)
    return data.getvalue().decode()
