"""Who is asking: the name that somebody gave to the pane."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from imagen_tmux.caller import pane_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tmux_world import World


def asked(environment: Mapping[str, str]) -> str | None:
    context: Any = SimpleNamespace(environment=environment)
    return pane_name(context)


@pytest.mark.parametrize(
    ("name", "caller"),
    [
        ("ada", "ada"),
        ("agent 7: reviewer", "agent 7: reviewer"),
        ("Zoë 猫", "Zoë 猫"),
        ("#(touch pwned)", "touch pwned"),
        ("$(touch pwned) `id` #{pid}", "touch pwned id pid"),
        ("a'b\"c;d|e&f", "a b c d e f"),
        ("x" * 200, "x" * 64),
        ("", None),
        ("#()", None),
    ],
)
def test_the_pane_has_a_name(name: str, caller: str | None, world: World, tmp_path: Path) -> None:
    inside = world.inside
    world.tmux("set-option", "-p", "-t", inside["TMUX_PANE"], "@mai-name", name)

    assert asked(inside) == caller
    assert not list(tmp_path.rglob("pwned"))


def test_the_name_of_the_window_is_not_that_of_the_pane(world: World) -> None:
    world.tmux("set-option", "-w", "-t", "main:0", "@mai-name", "window")
    world.tmux("set-option", "-g", "@mai-name", "everybody")

    assert asked(world.inside) is None


def test_the_locale_does_not_matter(world: World) -> None:
    world.tmux("set-option", "-p", "-t", world.inside["TMUX_PANE"], "@mai-name", "猫")

    assert asked({**world.inside, "LC_ALL": "C", "LANG": "C"}) == "猫"


def test_nobody_is_asking_outside_tmux(world: World, tmp_path: Path) -> None:
    inside = world.inside

    assert asked({**inside, "TMUX": ""}) is None
    assert asked({**inside, "TMUX_PANE": ""}) is None
    assert asked({**inside, "TMUX_PANE": "%999"}) is None
    assert asked({**inside, "TMUX": f"{tmp_path}/gone,1,0"}) is None
    assert asked({**inside, "PATH": str(tmp_path)}) is None


def test_the_record_of_a_picture_has_the_name(inside: World, imagen: Any) -> None:
    inside.tmux("set-option", "-p", "-t", inside.inside["TMUX_PANE"], "@mai-name", "ada")

    done = imagen("generate", "a cat", "--backend", "mock", "--size", "64x64", "--json")

    assert done.json()[0]["caller"] == "ada"
    assert "ada" in imagen("usage", "--all").out


def test_the_variable_is_stronger(
    inside: World, imagen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside.tmux("set-option", "-p", "-t", inside.inside["TMUX_PANE"], "@mai-name", "ada")
    monkeypatch.setenv("MAI_FROM_ID", "grace")

    done = imagen("generate", "a cat", "--backend", "mock", "--size", "64x64", "--json")

    assert done.json()[0]["caller"] == "grace"
