"""Messages that the preview provokes, without a tmux: a script stands for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imagen_core.app import App
from imagen_core.cli import run
from provoking import Listener, Told

if TYPE_CHECKING:
    from collections.abc import Callable


def previewed(
    *, tmux: str = "", viewer: str = "tmux-img", inside: str = "/s,1,0"
) -> Callable[[Path], Told]:
    """A picture with a preview, where tmux is this script."""

    def case(folder: Path) -> Told:
        hooks = pytest.importorskip("imagen_tmux.hooks", reason="imagen-tmux is not installed")
        programs = folder / "programs"
        programs.mkdir()
        if tmux:
            (programs / "tmux").write_text(f"#!/bin/sh\n{tmux}\n")
            (programs / "tmux").chmod(0o755)
        terminal = Listener()
        app = App.for_test(
            terminal,
            folder,
            config=f'tmux: {{command: [{viewer}, "{{path}}"]}}',
            plugins={"tmux": hooks},
            environment={"PATH": str(programs), "TMUX": inside},
        )
        return terminal.told(run(["generate", "cat", "--preview"], terminal=terminal, app=app))

    return case


OTHER_CASES: dict[str, Callable[[Path], Told]] = {
    "preview: this is not inside tmux: $TMUX is not set; …": previewed(inside=""),
    "preview: there is no tmux in the PATH; …": previewed(),
    "preview: there is no viewer '…' in the PATH; …": previewed(tmux="exit", viewer="none"),
    "preview: the tmux server of $TMUX is gone: …; …": previewed(
        tmux="echo 'error connecting to /s (No such file or directory)' >&2; exit 1"
    ),
    "preview: tmux did not answer within … s; …": previewed(tmux="while :; do :; done"),
    "preview: tmux says: …; …": previewed(tmux="echo odd >&2; exit 1"),
}
