"""A tmux server of the test's own, pictures, and a viewer that writes down its arguments."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core.testing import isolated_app
from imagen_tmux import hooks
from tmux_world import SCRIPTS, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

RED, GREEN, BLUE, YELLOW = (200, 10, 20), (10, 180, 30), (20, 30, 190), (220, 210, 20)


@pytest.fixture
def world(tmp_path: Path, imagen_home: Path) -> Iterator[World]:
    """A private tmux server."""
    del imagen_home
    found = World(tmp_path, os.environ)
    yield found
    found.close()


@pytest.fixture
def quarters(tmp_path: Path) -> Callable[..., str]:
    """Makes a picture of four colours: red and green above blue and yellow."""

    def make(name: str = "quarters.png", size: tuple[int, int] = (400, 400), **saved: Any) -> str:
        from PIL import Image

        wide, high = size[0] // 2, size[1] // 2
        picture = Image.new("RGB", size, RED)
        picture.paste(GREEN, (wide, 0, *size))
        picture.paste(BLUE, (0, high, *size))
        picture.paste(YELLOW, (wide, high, *size))
        path = tmp_path / name
        picture.save(path, **saved)
        return str(path)

    return make


class Recorder:
    """A folder with a `tmux-img` that writes down each of its arguments, and stays."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._notes = folder / "notes"
        self._notes.mkdir(parents=True)
        program = folder / "tmux-img"
        script = (
            "#!/bin/sh\n"
            f'printf \'%s\\0\' "$0" "$@" > {self._notes}/$$.part\n'
            f"env > {self._notes}/$$.env\n"
            f"mv {self._notes}/$$.part {self._notes}/$$.argv\n"
            "exec sleep 100000\n"
        )
        program.write_text(script)
        program.chmod(0o755)

    def calls(self) -> list[list[str]]:
        """The arguments of each call so far."""
        return [
            [os.fsdecode(word) for word in path.read_bytes().split(b"\0")[:-1]]
            for path in sorted(self._notes.glob("*.argv"), key=lambda path: path.stat().st_mtime)
        ]

    def environments(self) -> list[str]:
        return [path.read_text() for path in sorted(self._notes.glob("*.env"))]


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    """A viewer that writes down its arguments."""
    return Recorder(tmp_path / "recorder")


@pytest.fixture
def inside(world: World, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> World:
    """The server, with this process as one of its first pane, and the recorder as viewer."""
    for name in ("TMUX", "TMUX_PANE"):
        monkeypatch.setenv(name, world.inside[name])
    path = f"{recorder.folder}{os.pathsep}{SCRIPTS}{os.pathsep}{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)
    return world


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Makes a Context of an environment and a configuration."""
    apps: list[Any] = []

    def make(environment: Mapping[str, str], config: str = "") -> Any:
        folder = tmp_path / f"home-{len(apps)}"
        folder.mkdir()
        app = isolated_app(
            folder, config=config, environment=dict(environment), plugins={"tmux": hooks}
        )
        apps.append(app)
        return app.context

    yield make
    for app in apps:
        app.close()
