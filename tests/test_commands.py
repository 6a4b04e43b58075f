"""Every command but generate."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
import pytest

from imagen_core import (
    About,
    Backend,
    BackendSpec,
    CommandSpec,
    Event,
    Request,
    SettingsSpec,
    Status,
    StoreSpec,
    __version__,
    hookimpl,
)
from imagen_core.app import App
from imagen_core.ledger import Ledger
from imagen_core.terminal import Terminal
from small import SMALL

if TYPE_CHECKING:
    from collections.abc import Generator


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
        ("serve", "it comes with imagen-serve, which is not installed: pip install imagen-serve"),
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


def test_validate_tells_every_problem_at_once(imagen: Any, tmp_path: Path, bare: App) -> None:
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

    done = imagen("config", "validate", "--config", str(config), app=bare)

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


def test_validate_with_warnings_alone_is_zero(imagen: Any, tmp_path: Path, bare: App) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("backends:\n  c: {type: comfyui, url: r8_0123456789012345678901234567}\n")

    done = imagen("config", "validate", "--config", str(config), "--json", app=bare)

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


def test_backends_check_asks_the_server(imagen: Any, bare: App) -> None:
    (found,) = imagen("backends", "--check", "--json", app=bare).json()

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
        "imagen: no run that went well was billed, says the store 'local'; "
        "--all shows the others, too\n"
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


def test_plugins_lists_the_core_first(imagen: Any) -> None:
    core = imagen("plugins", "--json").json()[0][0]

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


def leave(*_: object) -> None:
    raise SystemExit(9)


def fall(*_: object) -> None:
    raise RuntimeError("no token")


class LeavingConfig(msgspec.Struct):
    url: str = "http://x"
    note: str = ""


class LeavingBackend(Backend):
    about = About(model="m")

    def __init__(self, *_: object) -> None: ...

    def generate(self, request: Request) -> Generator[Event, None, None]:
        del request
        yield from ()

    def status(self) -> Status:
        raise SystemExit(9)


class Odd:
    @staticmethod
    @hookimpl
    def imagen_commands() -> list[CommandSpec]:
        return [CommandSpec(name="leave", help="", load=f"{__name__}:COMMAND")]

    @staticmethod
    @hookimpl
    def imagen_stores() -> list[StoreSpec]:
        return [StoreSpec(name="fallen", create=f"{__name__}:fall")]

    @staticmethod
    @hookimpl
    def imagen_backends() -> list[BackendSpec]:
        return [
            BackendSpec(
                type="odd",
                summary="",
                config=f"{__name__}:LeavingConfig",
                create=f"{__name__}:LeavingBackend",
                settings=SettingsSpec(config=f"{__name__}:LeavingConfig"),
            )
        ]


COMMAND = click.Command("leave", callback=leave)


def odd(folder: Path, config: str = "") -> App:
    return App.for_test(Terminal(), folder, config=config, plugins={"odd": Odd()})


def test_command_that_exits_is_a_fault_of_its_plugin(imagen: Any, tmp_path: Path) -> None:
    done = imagen("leave", app=odd(tmp_path))

    assert done.exit_code == 1
    assert "this is a fault in the plugin odd (test-odd): SystemExit: 9" in done.err


@pytest.mark.parametrize("flag", [(), ("--check",)])
def test_status_that_exits_is_shown(imagen: Any, tmp_path: Path, flag: tuple[str, ...]) -> None:
    done = imagen("backends", *flag, app=odd(tmp_path, "backends: {x: {type: odd}}"))

    assert done.exit_code == 0
    assert "x\todd\tm\tSystemExit: 9" in done.out


FALLEN = (
    "the plugin odd (test-odd) cannot make the store 'fallen': RuntimeError: no token; "
    "this is a fault of that plugin; --debug shows the trace"
)


def test_store_that_cannot_be_made_stops_neither_plugins_nor_usage(
    imagen: Any, tmp_path: Path
) -> None:
    plugins = imagen("plugins", app=odd(tmp_path))
    usage = imagen("usage", "--json", app=odd(tmp_path))
    asked = imagen("usage", "--store", "fallen", app=odd(tmp_path))

    assert (plugins.exit_code, usage.exit_code, asked.exit_code) == (0, 0, 2)
    assert f"imagen: store fallen: {FALLEN}\n" in plugins.err
    assert f"imagen: store fallen: {FALLEN}\n" in usage.err
    assert usage.json()[0]["store"] == "local"
    assert imagen("plugins", "--json", app=odd(tmp_path)).json()[0][1]["stores"] == {
        "fallen": FALLEN
    }


def test_usage_warns_of_rows_that_cannot_be_read(imagen: Any) -> None:
    ledger = Ledger(Path(os.environ["IMAGEN_DATA_DIR"]))
    with ledger.database.write() as connection:
        connection.execute("insert into runs values ('r', '2026-05-09', 1, '', 1, '{}')")
    ledger.close()

    done = imagen("usage", "--json")

    assert done.exit_code == 0
    assert done.err == "imagen: 1 of the runs could not be read (written by a newer imagen?)\n"


def test_show_has_the_blocks_of_plugins_and_defaults_and_no_token(
    imagen: Any, tmp_path: Path
) -> None:
    token = "r8_0123456789abcdefghijABCDEFGHIJ"
    config = f"backends: {{x: {{type: odd, note: {token}}}}}\nodd: {{note: hello}}"

    done = imagen("config", "show", "--json", "--origin", app=odd(tmp_path, config))

    (found,) = done.json()
    assert token not in done.out
    assert found["backends.x.note"]["value"] == "***"
    assert found["backends.x.url"] == {"value": "http://x", "origin": "default"}
    assert found["odd.note"] == {"value": "hello", "origin": f"{tmp_path}/imagen.yaml:2"}
    assert found["odd.url"] == {"value": "http://x", "origin": "default"}


@pytest.mark.parametrize(
    ("text", "lines"), [("a: [\n", [2]), ("store: auto\nstore: auto\nnope: 1\n", [2, 3])]
)
def test_validate_has_one_shape_for_all_problems(
    imagen: Any, tmp_path: Path, text: str, lines: list[int]
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(text)

    done = imagen("config", "validate", "--json", "--config", str(config))

    (found,) = done.json()
    assert (done.exit_code, found["ok"], found["warnings"]) == (2, False, [])
    assert [problem["line"] for problem in found["problems"]] == lines


def test_init_that_fails_leaves_nothing(
    imagen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.yaml"
    monkeypatch.setattr("imagen_core.cli.config.sample_config", lambda *_: "\udc80")

    done = imagen("config", "init", "--write", "--config", str(path))

    assert done.exit_code != 0
    assert not path.exists()


def test_empty_flag_is_as_if_it_was_not_given(imagen: Any) -> None:
    done = imagen("generate", "cat", "--backend=mock", "--config=", "--style=", "--dry-run")

    assert (done.exit_code, done.err) == (0, "")
