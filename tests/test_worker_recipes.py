"""The unit and the container of docs/worker.md, as far as they can be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from imagen_core.cli.worker import command

PAGE = (Path(__file__).parent.parent / "docs" / "worker.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


@pytest.mark.parametrize("language", ["ini", "dockerfile"])
def test_recipe_gives_the_worker_flags_that_it_has(language: str) -> None:
    lines = [line for line in block(language).splitlines() if "worker" in line and "--" in line]
    flags = {flag for line in lines for flag in re.findall(r"(?<=[\s\"])--[a-z-]+", line)}

    known = {name for option in command.params for name in option.opts}
    assert flags - {"--create-home"}
    assert flags <= known


def test_user_of_the_container_owns_its_volumes() -> None:
    recipe = block("dockerfile")
    [volumes] = re.findall(r"^VOLUME (.+)$", recipe, re.MULTILINE)
    [made] = re.findall(r"mkdir -p (.+?) \\$", recipe, re.MULTILINE)
    [owned] = re.findall(r"chown -R imagen (.+)$", recipe, re.MULTILINE)

    # Docker makes the folder of a volume that is not there, and it is root's.
    assert set(volumes.split()) <= set(made.split())
    assert all(any(name.startswith(top) for top in owned.split()) for name in volumes.split())
