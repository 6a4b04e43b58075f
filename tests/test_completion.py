"""Shell completion, as the shells ask for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = """
styles: {blog: {prompt: "{prompt}!"}, bold: {prompt: "{prompt}?"}}
backends: {flux-local: {type: comfyui}, flux-cloud: {type: replicate}, m: {type: mock}}
"""


def complete(words: str, shell: str = "bash", **environment: str) -> list[str]:
    """What the shell would offer for the last of these words."""
    before, _, last = words.rpartition(" ")
    shape = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    if shell == "fish":
        shape = {"COMP_WORDS": before, "COMP_CWORD": last}
    done = subprocess.run(
        [sys.executable, "-m", "imagen_core"],
        env={**os.environ, "_IMAGEN_COMPLETE": f"{shell}_complete", **shape, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG)
    monkeypatch.setenv("IMAGEN_CONFIG", str(path))
    return path


def test_commands_are_offered() -> None:
    assert complete("imagen co") == ["plain,compare", "plain,config", "plain,completion"]


def test_zsh_and_fish_get_the_help_too() -> None:
    assert complete("imagen vers", "zsh") == ["plain", "version", "Print", "the", "version."]
    assert complete("imagen vers", "fish") == ["plain,version", "Print", "the", "version."]


def test_flags_are_offered_with_those_of_switches() -> None:
    assert complete("imagen generate x --no-s") == ["plain,--no-sidecar"]


@pytest.mark.usefixtures("config")
def test_instances_and_styles_are_offered() -> None:
    assert complete("imagen generate x --backend f") == ["plain,flux-local", "plain,flux-cloud"]
    assert complete("imagen generate x --style b") == ["plain,blog", "plain,bold"]


def test_config_flag_counts_for_what_follows(tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text("backends: {other: {type: mock}}")

    words = f"imagen generate x --config {tmp_path}/d.yaml --backend o"

    assert complete(words) == ["plain,other"]


@pytest.mark.parametrize("text", ["backends: [", "unknown: 1", "styles: 5"])
def test_broken_configuration_offers_nothing_and_says_nothing(config: Path, text: str) -> None:
    config.write_text(text)

    assert complete("imagen generate x --backend f") == []


def test_stores_are_offered() -> None:
    assert complete("imagen usage --store l") == ["plain,local"]
