"""The windows of earlier previews: which stay, and which make room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from imagen_tmux.preview import show
from tmux_previews import finished, with_recorder

if TYPE_CHECKING:
    from collections.abc import Callable

    from tmux_world import World


def test_the_newest_eight_of_the_own_windows_stay(
    world: World, recorder: Any, context: Callable[..., Any]
) -> None:
    surroundings = context(with_recorder(world, recorder))
    theirs = world.open("-n", "img:theirs", "sleep", "100000")

    for number in range(11):
        show(finished("/x.png", slug=f"n{number}"), surroundings)

    assert world.windows() == ["img:theirs", *(f"img:n{number}" for number in range(3, 11))]
    assert theirs in world.windows("#{window_id}")


def test_a_window_that_somebody_looks_at_stays(
    world: World, recorder: Any, context: Callable[..., Any]
) -> None:
    surroundings = context(with_recorder(world, recorder))
    show(finished("/x.png", slug="looked-at"), surroundings)
    world.tmux("select-window", "-t", "main:{end}")

    for number in range(9):
        show(finished("/x.png", slug=f"n{number}"), surroundings)

    assert "img:looked-at" in world.windows()
    assert world.ask("#{window_name}") == "img:looked-at"


def test_a_window_that_somebody_has_split_stays(
    world: World, recorder: Any, context: Callable[..., Any]
) -> None:
    surroundings = context(with_recorder(world, recorder))
    show(finished("/x.png", slug="split"), surroundings)
    world.tmux("split-window", "-d", "-t", "main:{end}", "sleep", "100000")

    for number in range(9):
        show(finished("/x.png", slug=f"n{number}"), surroundings)

    assert "img:split" in world.windows()


def test_what_somebody_runs_in_the_window_of_a_preview_that_has_ended_stays(
    world: World, recorder: Any, context: Callable[..., Any]
) -> None:
    surroundings = context(with_recorder(world, recorder))
    show(finished("/x.png", slug="split"), surroundings)
    world.tmux("split-window", "-d", "-t", "main:{end}", "sleep", "100000")
    world.tmux("kill-pane", "-t", "main:{end}.0")
    [theirs] = world.windows("#{pane_pid}")

    for number in range(9):
        show(finished("/x.png", slug=f"n{number}"), surroundings)

    assert theirs in world.windows("#{pane_pid}")
    assert world.windows() == ["img:split", *(f"img:n{number}" for number in range(1, 9))]


@pytest.mark.parametrize("session", ["main", "other"])
def test_a_window_that_any_session_of_a_group_looks_at_stays(
    session: str, world: World, recorder: Any, context: Callable[..., Any]
) -> None:
    surroundings = context(with_recorder(world, recorder))
    show(finished("/x.png", slug="looked-at"), surroundings)
    world.tmux("new-session", "-d", "-t", "main", "-s", "other")
    world.tmux("select-window", "-t", f"{session}:{{end}}")

    for number in range(9):
        show(finished("/x.png", slug=f"n{number}"), surroundings)

    assert world.windows() == ["img:looked-at", *(f"img:n{number}" for number in range(1, 9))]


def test_a_window_that_somebody_comes_to_look_at_meanwhile_stays(
    world: World, recorder: Any, context: Callable[..., Any]
) -> None:
    surroundings = context(with_recorder(world, recorder))
    for number in range(8):
        show(finished("/x.png", slug=f"n{number}"), surroundings)
    [oldest, *_] = world.windows("#{window_id}")
    world.tmux("set-hook", "-g", "after-list-panes", f"select-window -t {oldest}")

    show(finished("/x.png", slug="n8"), surroundings)

    assert world.windows() == [f"img:n{number}" for number in range(9)]


def test_a_window_that_a_hook_opens_is_not_taken_for_an_own_one(
    world: World, recorder: Any, context: Callable[..., Any]
) -> None:
    world.tmux(
        "set-hook", "-g", "after-new-window", "new-window -d -a -t ':{end}' -n hooked 'sleep 9999'"
    )

    show(finished("/x.png"), context(with_recorder(world, recorder)))

    asked = "#{window_name} #{?@imagen-preview,marked,}"
    windows = world.wait(lambda: w if len(w := world.windows(asked)) == 2 else [])
    assert sorted(windows) == ["hooked ", "img:a-cat marked"]
