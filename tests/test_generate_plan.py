"""`imagen generate --dry-run`, and the switches that it tells of."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from small import SMALL

if TYPE_CHECKING:
    from imagen_core.app import App


def test_dry_run_asks_nobody_and_writes_nothing(
    imagen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEN_LOAD_PLUGINS", "")  # whose switches would have lines, too
    done = imagen(
        "generate", "a cat", "--backend", "mock", "--seed", "5", "--no-sidecar", "--dry-run",
        "-p", "fail=failed",
    )  # fmt: skip

    folder = os.environ["IMAGEN_OUTPUT_DIR"]
    assert done.exit_code == 0
    assert re.sub(r"\d{4}-\d\d-\d\d", "DATE", done.out) == (
        "backend: mock (--backend)\n"
        "type: mock\n"
        "model: mock-landscape\n"
        "prompt: a cat\n"
        "size: 1024x1024\n"
        "steps: 4\n"
        "seed: 5\n"
        "params: fail=failed\n"
        f"path: {folder}/DATE-a-cat-5.png\n"
        "cost: 0 USD (local)\n"
        f"output.dir: {folder} ($IMAGEN_OUTPUT_DIR)\n"
        "output.naming: {date}-{slug}-{seed}.{ext} (default)\n"
        "ledger: on (set by default)\n"
        "sidecar: off (set by --no-sidecar)\n"
    )
    assert not Path(folder).exists()


def test_dry_run_says_where_each_value_comes_from(
    imagen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEN_SIDECAR", "off")
    monkeypatch.setenv("IMAGEN_LOAD_PLUGINS", "")

    (plan,) = imagen("generate", "a cat", "--backend", "mock", "--dry-run", "--json").json()

    assert plan["switches"] == {
        "ledger": {"on": True, "reason": "set by default"},
        "sidecar": {"on": False, "reason": "set by $IMAGEN_SIDECAR"},
    }
    assert plan["origins"] == {
        "backend": "--backend",
        "output.dir": "$IMAGEN_OUTPUT_DIR",
        "output.naming": "default",
    }


def test_dry_run_names_the_file_the_output_flag_and_the_caller(
    imagen: Any, imagen_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAI_FROM_ID", "agent-7")
    config = imagen_home / "c.yaml"
    config.write_text("default_backend: m\nbackends: {m: {type: mock}}\n")
    args = ("generate", "a cat", "--config", str(config), "--output", "/p/x.png", "--dry-run")

    lines = imagen(*args).out.splitlines()

    assert f"backend: m ({config}:1)" in lines
    assert "output.dir: /p (--output)" in lines
    assert "output.naming: x.png (--output)" in lines
    assert "caller: agent-7 ($MAI_FROM_ID)" in lines


def test_off_flag_of_an_absent_plugin_does_nothing(imagen: Any, bare: App) -> None:
    args = ("generate", "a cat", "--backend", "mock", *SMALL)

    done = imagen(*args, "--no-cloud", "--no-preview", app=bare)

    assert (done.exit_code, done.err) == (0, "")


def test_on_flag_of_an_absent_plugin_says_what_to_install(imagen: Any, bare: App) -> None:
    done = imagen("generate", "a cat", "--backend", "mock", "--preview", app=bare)

    assert (done.exit_code, done.err) == (
        2,
        "imagen: error: --preview comes with imagen-tmux, which is not installed\n"
        "  hint: pip install imagen-tmux\n",
    )


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("output: {cloud_sync: on}", "output.cloud_sync: comes with imagen-supabase, which is "),
        ("tmux: {}", "tmux: comes with imagen-tmux, which is "),
        ("output: {cloud_sync: off}", ""),
    ],
)
def test_setting_of_an_absent_plugin_is_a_warning(
    imagen: Any, imagen_home: Path, config: str, told: str, bare: App
) -> None:
    file = imagen_home / "c.yaml"
    file.write_text(f"default_backend: mock\n{config}\n")

    done = imagen("generate", "a cat", "--config", str(file), *SMALL, app=bare)

    assert done.exit_code == 0
    assert told in done.err
    assert len(done.err.splitlines()) == bool(told)


def test_dry_run_writes_no_control_characters(imagen: Any) -> None:
    done = imagen("generate", "a cat", "--output", "/p/\u202egnp.exe", "--dry-run")

    assert "\u202e" not in done.out
    assert "path: /p/\\u202egnp.exe" in done.out


def test_prompt_forges_no_line_of_a_dry_run(imagen: Any) -> None:
    done = imagen("generate", "a cat\npath: /etc/evil", "--backend", "mock", "--dry-run")

    assert "prompt: a cat\\npath: /etc/evil" in done.out.splitlines()
