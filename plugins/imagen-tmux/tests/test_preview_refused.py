"""Why no preview opens, and what is to be done about it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core import Done, ImagenError
from imagen_tmux.preview import show
from tmux_previews import finished

if TYPE_CHECKING:
    from collections.abc import Callable

    from tmux_world import World


def refused(done: Done, surroundings: Any) -> tuple[str, str]:
    with pytest.raises(ImagenError) as caught:
        list(show(done, surroundings))
    return str(caught.value), caught.value.hint


def fake_tmux(world: World, folder: Path, script: str) -> dict[str, str]:
    program = folder / "fake" / "tmux"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    inside = world.inside
    return {**inside, "PATH": f"{program.parent}{os.pathsep}{inside['PATH']}"}


def test_outside_tmux_it_says_so(context: Callable[..., Any]) -> None:
    message, hint = refused(finished("/x.png"), context({"PATH": os.defpath}))

    assert message == "this is not inside tmux: $TMUX is not set"
    assert "--no-preview" in hint


def test_without_tmux_it_says_so(world: World, context: Callable[..., Any], tmp_path: Path) -> None:
    message, hint = refused(finished("/x"), context({**world.inside, "PATH": str(tmp_path)}))

    assert message == "there is no tmux in the PATH"
    assert hint.startswith("install it")


def test_without_the_session_it_says_so(world: World, context: Callable[..., Any]) -> None:
    environment = {**world.inside, "TMUX_PANE": "", "TMUX": world.socket}

    message, hint = refused(finished("/x.png"), context(environment))

    assert message == "neither $TMUX nor $TMUX_PANE says which session this is"
    assert "new shell" in hint
    assert world.windows() == []


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ('tmux: {command: [no-such, "{path}"]}', "there is no viewer 'no-such' in the PATH"),
        ('tmux: {command: [/no/such, "{path}"]}', "there is no viewer '/no/such' in the PATH"),
    ],
)
def test_without_the_viewer_it_says_so(
    config: str, said: str, world: World, context: Callable[..., Any]
) -> None:
    message, hint = refused(finished("/x.png"), context(world.inside, config))

    assert (message, hint) == (said, "correct tmux.command in the configuration")
    assert world.windows() == []


def test_without_tmux_img_it_says_so(
    world: World, context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "tmux").symlink_to(world.tmux_program)

    message, hint = refused(finished("/x"), context({**world.inside, "PATH": str(folder)}))

    assert message == "there is no viewer 'tmux-img' in the PATH"
    assert "reinstall imagen-tmux" in hint


def test_a_server_that_is_gone_is_told(world: World, context: Callable[..., Any]) -> None:
    stale = {**world.inside, "TMUX": f"{world.socket}-old,1,0"}

    message, hint = refused(finished("/x.png"), context(stale))

    assert message.startswith(
        f"the tmux server of $TMUX is gone: error connecting to {world.socket}-old"
    )
    assert "new shell" in hint


def test_a_server_that_says_no_is_told(
    world: World, context: Callable[..., Any], tmp_path: Path
) -> None:
    message, _ = refused(
        finished("/x.png"), context(fake_tmux(world, tmp_path, "echo odd >&2; exit 3"))
    )

    assert message == "tmux says: odd"


def test_a_server_that_hangs_is_not_waited_for(
    world: World, context: Callable[..., Any], tmp_path: Path
) -> None:
    message, hint = refused(
        finished("/x.png"), context(fake_tmux(world, tmp_path, "exec sleep 600"))
    )

    assert message == "tmux did not answer within 2 s"
    assert "--no-preview" in hint


def test_a_tmux_that_says_nothing_is_told(
    world: World, context: Callable[..., Any], tmp_path: Path
) -> None:
    message, _ = refused(finished("/x.png"), context(fake_tmux(world, tmp_path, "exit 0")))

    assert message == "tmux says: nothing, where the id of a pane should be"


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo garbage", "'garbage'"),
        ("echo; echo; echo x", "nothing"),
        ("echo %", "'%'"),
        ("printf 'a\\tb\\033[31m'", "'a b [31m'"),
        ("head -c 3000000 /dev/zero | tr '\\0' x", f"'{'x' * 198}…'"),
    ],
)
def test_an_answer_that_makes_no_sense_is_told(
    script: str, told: str, world: World, context: Callable[..., Any], tmp_path: Path
) -> None:
    message, _ = refused(finished("/x.png"), context(fake_tmux(world, tmp_path, script)))

    assert message == f"tmux says: {told}, where the id of a pane should be"


@pytest.mark.parametrize("line", ["garbage", "garbage 1 0a", "%x 1 0a", "%1", "", "a b c d"])
def test_a_list_of_panes_that_makes_no_sense_closes_nothing(
    line: str, world: World, context: Callable[..., Any], tmp_path: Path
) -> None:
    script = f"echo %7; for i in 1 2 3 4 5 6 7 8 9 10; do echo '{line}'; done"

    assert list(show(finished("/x.png"), context(fake_tmux(world, tmp_path, script)))) == []
