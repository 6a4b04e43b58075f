"""What a preview is shown of, and the viewer that it opens."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from imagen_core import Done, Output, Request, Run

if TYPE_CHECKING:
    from tmux_world import World


def finished(*paths: str, slug: str = "a-cat") -> Done:
    request = Request(
        id="1", prompt="a cat", typed_prompt="a cat", backend="mock", width=8, height=8, seed=1
    )
    about: dict[str, Any] = {"mime": "image/png", "width": 8, "height": 8, "sha256": "", "size": 1}
    outputs = tuple(
        Output(path=path, date="2026-05-08", time="143015", slug=slug, seed=1, **about)
        for path in paths
    )
    run = Run(id="1", started_at="2026-05-08T14:30:15.000Z", request=request, outputs=outputs)
    return Done(runs=(run,), paths=paths)


def opened(world: World, recorder: Any) -> list[str]:
    """The arguments of the viewer in the one window that opened."""
    world.wait(recorder.calls)
    [call] = recorder.calls()
    return call


def with_recorder(world: World, recorder: Any) -> dict[str, str]:
    inside = world.inside
    return {**inside, "PATH": f"{recorder.folder}{os.pathsep}{inside['PATH']}"}
