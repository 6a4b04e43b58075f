"""Every command but generate."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from imagen_core import __version__

SMALL = ("--size", "48x32")


def test_version_is_one_line(imagen: Any) -> None:
    assert imagen("version").out == f"imagen {__version__}\n"
    assert imagen("--version").out == f"imagen {__version__}\n"


@pytest.mark.parametrize(
    "command",
    ["", "generate", "backends", "config", "config init", "config validate", "config path",
     "config show", "usage", "plugins", "completion", "version"],
)  # fmt: skip
def test_every_command_has_help(imagen: Any, command: str) -> None:
    done = imagen(*command.split(), "--help")

    assert (done.exit_code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: {' '.join(['imagen', *command.split()])}")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("genrate", "did you mean 'generate'?"),
        ("serve", "it comes with imagen-serve: pip install imagen-serve"),
    ],
)
def test_unknown_command_has_advice(imagen: Any, name: str, hint: str) -> None:
    done = imagen(name)

    assert (done.exit_code, done.err) == (
        2,
        f"imagen: error: there is no command '{name}'\n  hint: {hint}\n",
    )


def test_sample_configuration_validates_as_it_stands(imagen: Any, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(imagen("config", "init").out)

    done = imagen("config", "validate", "--config", str(config))

    assert (done.exit_code, done.err) == (0, f"imagen: {config} is fine\n")


def test_init_writes_the_file_once(imagen: Any) -> None:
    path = Path(imagen("config", "path").out.strip())
    assert not path.exists()

    first = imagen("config", "init", "--write")
    text = path.read_text()
    second = imagen("config", "init", "--write")

    assert (first.exit_code, first.out) == (0, f"{path}\n")
    assert (second.exit_code, second.out, path.read_text()) == (2, "", text)
    assert f"{path} exists already" in second.err


def test_init_writes_where_the_variable_says(
    imagen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEN_CONFIG", str(tmp_path / "deep" / "mine.yaml"))

    assert imagen("config", "init", "--write").out == f"{tmp_path}/deep/mine.yaml\n"
    assert imagen("config", "validate").exit_code == 0


def test_validate_tells_every_problem_at_once(imagen: Any, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(
        "defualt_backend: mock\n"
        "output: {sidecar: maybe, namig: x}\n"
        "styles:\n"
        "  a: {prompt: none}\n"
        "backends:\n"
        "  m: {type: mock, steps: many, sise: 1x1}\n"
        "  c: {type: comfyui}\n"
        "tmux: {}\n"
    )

    done = imagen("config", "validate", "--config", str(config))

    assert done.exit_code == 2
    assert [line for line in done.err.splitlines() if "error" in line] == [
        f"imagen: error: {config}:1: defualt_backend: unknown key",
        f"imagen: error: {config}:2: output.namig: unknown key",
        f"imagen: error: {config}:2: output.sidecar: expected auto, on or off, got 'maybe'",
        f"imagen: error: {config}:4: styles.a: the prompt of a style must have {{prompt}} in it",
        f"imagen: error: {config}:6: backends.m.steps: expected int, got str",
        f"imagen: error: {config}:6: backends.m.sise: unknown key",
    ]
    assert "did you mean 'default_backend'?" in done.err
    assert [line for line in done.err.splitlines() if "warning" in line] == [
        f"imagen: warning: {config}:8: tmux: comes with imagen-tmux, which is not installed; "
        "it is ignored; pip install imagen-tmux",
        f"imagen: warning: {config}:7: backends.c.type: comes with imagen-comfyui, which is not "
        "installed; it is ignored; pip install imagen-comfyui",
    ]


def test_validate_with_warnings_alone_is_zero(imagen: Any, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("backends:\n  c: {type: comfyui, url: r8_0123456789012345678901234567}\n")

    done = imagen("config", "validate", "--config", str(config), "--json")

    (found,) = done.json()
    assert (done.exit_code, found["ok"], found["problems"]) == (0, True, [])
    assert [warning["key"] for warning in found["warnings"]] == [
        "backends.c.type",
        "backends.c.url",
    ]


def test_misspelt_variable_is_a_warning(imagen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEN_SIDECRA", "off")

    done = imagen("config", "validate")

    assert done.exit_code == 0
    assert (
        "$IMAGEN_SIDECRA: imagen knows no such variable; did you mean 'IMAGEN_SIDECAR'?" in done.err
    )


def test_show_prints_origins(imagen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("default_backend: m\noutput:\n  sidecar: off\nbackends: {m: {type: mock}}\n")
    monkeypatch.setenv("IMAGEN_OUTPUT_DIR", "/pictures")

    (found,) = imagen("config", "show", "--origin", "--json", "--config", str(config)).json()

    assert found["default_backend"] == {"value": "m", "origin": f"{config}:1"}
    assert found["output.dir"] == {"value": "/pictures", "origin": "$IMAGEN_OUTPUT_DIR"}
    assert found["output.sidecar"] == {"value": "off", "origin": f"{config}:3"}
    assert found["output.naming"]["origin"] == "default"


def test_backends_have_a_status_each(imagen: Any, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(
        "default_backend: m\nbackends:\n  m: {type: mock}\n  bad: {type: mock, steps: x}\n"
    )

    done = imagen("backends", "--config", str(config))

    assert done.out.splitlines() == [
        "instance\ttype\tmodel\tstatus",
        "m *\tmock\tmock-landscape\tok",
        f"bad\tmock\t\t{config}:4: backends.bad.steps: expected int, got str",
        "mock\tmock\tmock-landscape\tok",
    ]
    assert done.exit_code == 0


def test_backends_check_asks_the_server(imagen: Any) -> None:
    (found,) = imagen("backends", "--check", "--json").json()

    (instance,) = found["instances"]
    assert (instance["name"], instance["ok"], instance["default"]) == ("mock", True, True)
    assert found["types"] == {"mock": "draws a landscape; no network, no cost"}


def test_usage_groups_by_week_backend_model_and_caller(
    imagen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    imagen("generate", "a cat", "--backend", "mock", *SMALL, "--count", "2")
    monkeypatch.setenv("MAI_FROM_ID", "agent-7")
    imagen("generate", "a cat", "--backend", "mock", *SMALL)

    (found,) = imagen("usage", "--all", "--json").json()

    assert [(g["backend"], g["caller"], g["count"]) for g in found["groups"]] == [
        ("mock", None, 2),
        ("mock", "agent-7", 1),
    ]
    assert (found["store"], found["total"]["count"], found["total"]["cost_usd"]) == ("local", 3, 0)


def test_usage_without_bills_says_what_else_there_is(imagen: Any) -> None:
    imagen("generate", "a cat", "--backend", "mock", *SMALL)

    done = imagen("usage")

    assert done.out.splitlines()[-1] == "total\t\t\t\t0\t0 ms\t0.000000"
    assert done.err == (
        "imagen: nothing was billed, says the store 'local'; --all shows free runs, too\n"
    )


def test_usage_since_a_later_date_is_empty(imagen: Any) -> None:
    imagen("generate", "a cat", "--backend", "mock", *SMALL)

    (found,) = imagen("usage", "--all", "--since", "2999-01-01", "--json").json()

    assert found["total"]["count"] == 0


@pytest.mark.parametrize("date", ["yesterday", "2026-13-01", "20260101", "2026-1-1"])
def test_usage_refuses_what_is_no_date(imagen: Any, date: str) -> None:
    done = imagen("usage", "--since", date)

    assert (done.exit_code, done.out) == (2, "")
    assert "for instance --since 2026-05-08" in done.err


def test_usage_refuses_an_unknown_store(imagen: Any) -> None:
    done = imagen("usage", "--store", "locl")

    assert (done.exit_code, done.err) == (
        2,
        "imagen: error: there is no store 'locl'\n  hint: did you mean 'local'?\n",
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_that_asks_imagen(imagen: Any, shell: str) -> None:
    done = imagen("completion", shell)

    assert done.exit_code == 0
    assert f"_IMAGEN_COMPLETE={shell}_complete" in done.out


def test_plugins_lists_the_core(imagen: Any) -> None:
    (core,) = imagen("plugins", "--json").json()[0]

    assert (core["name"], core["distribution"], core["state"]) == ("core", "imagen-core", "ok")
    assert "backend type mock" in core["gives"]
    assert core["stores"] == {"local": str(Path(os.environ["IMAGEN_DATA_DIR"]) / "ledger.db")}


def test_every_json_output_is_one_line_each(imagen: Any) -> None:
    for args in (
        ("plugins",),
        ("backends",),
        ("usage",),
        ("config", "show"),
        ("config", "validate"),
    ):
        done = imagen(*args, "--json")
        assert len(done.out.splitlines()) == 1
        json.loads(done.out)
