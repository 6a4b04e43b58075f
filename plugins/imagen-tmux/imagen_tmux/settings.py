"""The block `tmux:` of the configuration."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from imagen_core import expand_home

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen_core import Context

VIEWER = "tmux-img"
PLACEHOLDER = "{path}"

Protocol = Literal["auto", "kitty", "sixel", "blocks", "blocks-256"]


class TmuxSettings(Struct, frozen=True, kw_only=True):
    """What runs in the preview window, and how it draws."""

    command: tuple[str, ...] = (VIEWER, "--hold", PLACEHOLDER)
    protocol: Protocol = "auto"

    def __post_init__(self) -> None:
        if not self.command or not self.command[0].strip():
            raise ValueError("command: expected a program and its arguments")
        if any("\0" in word for word in self.command):
            raise ValueError("command: has a NUL character in it")
        if not any(PLACEHOLDER in word for word in self.command[1:]):
            raise ValueError(f"command: none of its arguments has {PLACEHOLDER} in it")


def check(context: Context) -> Iterator[str]:
    """What `config validate` should warn of."""
    settings: TmuxSettings = context.settings("tmux")
    program = settings.command[0]
    if viewer(program, context.environment) is None:
        yield f"tmux.command: there is no '{program}' in the PATH"
    if settings.protocol == "sixel":
        from importlib.util import find_spec

        if find_spec("chafa") is None:
            yield "tmux.protocol: sixel needs chafa.py; pip install 'imagen-tmux[sixel]'"


def viewer(program: str, environment: Mapping[str, str]) -> str | None:
    """The path of the viewer; the own one may also lie beside the Python that runs this."""
    folders = [environment.get("PATH", os.defpath)]
    if program == VIEWER:
        folders.append(str(_beside()))
    name = str(expand_home(program))
    found = next(filter(None, (shutil.which(name, path=path) for path in folders if path)), None)
    return None if found is None else str(Path.cwd() / found)


def is_own(program: str) -> bool:
    """Whether the program of this path is the `tmux-img` of this very imagen."""
    try:
        return Path(program).samefile(_beside() / VIEWER)
    except OSError:
        return False


def _beside() -> Path:
    return Path(sys.executable).parent
