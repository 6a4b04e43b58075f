"""`imagen generate` when it fails: exit codes, messages, hints."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core.app import App
from imagen_core.cli.telling import _relative
from imagen_core.plugins import Catalog, Plugin
from imagen_core.terminal import Terminal
from small import SMALL

if TYPE_CHECKING:
    from collections.abc import Iterator

CODES = {
    "failed": 1,
    "usage": 2,
    "credentials": 3,
    "rejected": 4,
    "unavailable": 5,
    "cancelled": 130,
    "crash": 1,
}


@pytest.mark.parametrize(("fail", "code"), CODES.items())
def test_failure_has_its_exit_code(imagen: Any, fail: str, code: int) -> None:
    done = imagen("generate", "a cat", "--backend", "mock", *SMALL, "-p", f"fail={fail}")

    assert (done.exit_code, done.out) == (code, "")
    assert f"the mock was told to fail with '{fail}'" in done.err
    assert done.err.startswith("imagen: error: ")
    assert "\n  hint: " in done.err


def test_failure_is_an_object_with_json(imagen: Any) -> None:
    done = imagen(
        "generate", "a cat", "--backend", "mock", "--seed", "3", *SMALL,
        "-p", "fail=unavailable", "--json",
    )  # fmt: skip

    (found,) = done.json()
    assert re.fullmatch(r"[0-9a-f-]{36}", found.pop("id"))
    assert (done.exit_code, done.err) == (5, "")
    assert found == {
        "error": {
            "code": "unavailable",
            "message": "the mock was told to fail with 'unavailable'",
            "hint": "leave out fail= to see a picture",
            "retryable": True,
        },
        "seed": 3,
        "backend": "mock",
    }


@pytest.mark.parametrize(
    "args",
    [("generate",), ("generate", "x", "--nope"), ("generate", "x", "--backend", "nope"), ("nope",)],
    ids=" ".join,
)
def test_usage_error_is_an_object_with_json(imagen: Any, args: tuple[str, ...]) -> None:
    done = imagen(*args, "--json")

    (found,) = done.json()
    assert (done.exit_code, done.err) == (2, "")
    assert sorted(found["error"]) == ["code", "hint", "message", "retryable"]
    assert found["error"]["code"] == "usage"


def test_all_of_several_failed_is_one(imagen: Any) -> None:
    args = ("generate", "a cat", "--backend", "mock", "--count", "2", *SMALL)

    done = imagen(*args, "-p", "fail=unavailable")

    assert (done.exit_code, done.err) == (
        1,
        "imagen: error: the mock was told to fail with 'unavailable'\n"
        "  hint: leave out fail= to see a picture\n"
        "imagen: 2 of 2 failed\n",
    )


@pytest.mark.parametrize(
    ("args", "message", "hint"),
    [
        (
            ("--output", "-"),
            "imagen writes pictures to files, not to standard output",
            "the path of the file is what it prints",
        ),
        (("-p", "delay"), "'delay' is not KEY=VALUE", "for instance -p format=webp"),
        (
            ("--output", "/proc/nowhere/x.png"),
            "cannot make the folder /proc/nowhere: No such file or directory",
            "choose another with --output, or set output.dir",
        ),
        (
            ("--image", "gone.png"),
            "the backend 'mock' takes no input images",
            "leave out --image",
        ),
        (
            ("--seed", "abc"),
            "Invalid value for '--seed': 'abc' is not a valid integer.",
            "'imagen generate --help' shows what it takes",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_flags_are_told(imagen: Any, args: tuple[str, ...], message: str, hint: str) -> None:
    done = imagen("generate", "a cat", "--backend", "mock", *args)

    assert (done.exit_code, done.out) == (2, "")
    assert done.err == f"imagen: error: {message}\n  hint: {hint}\n"


@pytest.mark.parametrize("text", ["", "\n \n", b"\xff\xfe"], ids=["empty", "blank", "bytes"])
def test_standard_input_without_a_prompt_is_an_error(imagen: Any, text: Any) -> None:
    done = imagen("generate", "-", "--backend", "mock", input=text)

    assert done.exit_code == 2
    assert "standard input" in done.err


@pytest.mark.parametrize("command", ["generate", "enqueue"])
def test_example_of_a_prompt_is_one_of_the_same_command(imagen: Any, command: str) -> None:
    done = imagen(command, "-", input="")

    assert done.err.endswith(f'  hint: imagen {command} "a cat"\n')


def test_control_characters_of_a_message_never_reach_the_terminal(imagen: Any) -> None:
    done = imagen("generate", "a cat", "--backend", "\x1b[2Jmock")

    assert "\x1b" not in done.err
    assert "\\x1b[2Jmock" in done.err


def test_missing_configuration_that_was_named_is_an_error(imagen: Any, tmp_path: Path) -> None:
    done = imagen("generate", "a cat", "--config", str(tmp_path / "gone.yaml"))

    assert (done.exit_code, done.err) == (
        2,
        f"imagen: error: the configuration {tmp_path}/gone.yaml (--config) does not exist\n"
        "  hint: 'imagen config init --write' makes one\n",
    )


def test_misspelt_key_is_an_error_and_not_the_mock(imagen: Any, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("defualt_backend: flux\n")

    done = imagen("generate", "a cat", "--config", str(config))

    assert (done.exit_code, done.err) == (
        2,
        f"imagen: error: {config}:1: defualt_backend: unknown key\n"
        "  hint: did you mean 'default_backend'?\n",
    )


def test_backend_of_an_absent_plugin_says_what_to_install(
    imagen: Any, tmp_path: Path, bare: App
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("default_backend: flux\nbackends:\n  flux: {type: comfyui}\n")

    done = imagen("generate", "a cat", "--config", str(config), app=bare)

    assert done.exit_code == 2
    assert "comes with imagen-comfyui, which is not installed" in done.err
    assert "  hint: pip install imagen-comfyui\n" in done.err


@pytest.fixture
def lost_folder(tmp_path: Path) -> Iterator[None]:
    """A working folder that was deleted."""
    before = Path.cwd()
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    yield
    os.chdir(before)


@pytest.mark.usefixtures("lost_folder")
def test_relative_output_in_a_deleted_folder_is_refused(imagen: Any) -> None:
    done = imagen("generate", "a cat", "--backend", "mock", "--output", "y.png", *SMALL)

    assert (done.exit_code, done.err) == (
        2,
        "imagen: error: cannot write to y.png: the working folder is gone\n"
        "  hint: give an absolute path\n",
    )


@pytest.mark.usefixtures("lost_folder")
def test_path_that_can_not_be_relative_is_printed_whole() -> None:
    assert _relative("/p/x.png") == "/p/x.png"


def test_broken_plugin_is_not_called_uninstalled(imagen: Any, tmp_path: Path) -> None:
    broken = Plugin(name="supabase", distribution="imagen-supabase", state="broken")
    tmux = Plugin(name="tmux", distribution="imagen-tmux", state="broken")

    def said(*args: str) -> str:
        app = App.for_test(Terminal(), tmp_path, config="output: {cloud_sync: on}")
        app.catalog = Catalog((*app.catalog.plugins, broken, tmux))
        done: str = imagen(*args, app=app).err
        return done

    hint = "'imagen plugins' says why"
    assert f"comes with imagen-supabase, which is broken; it is ignored; {hint}" in said(
        "generate", "a cat", "--backend", "mock", *SMALL
    )
    assert f"hint: it comes with imagen-supabase, which is broken: {hint}" in said("supabase")
    assert "supabase (imagen-supabase) is broken, tmux (imagen-tmux) is broken: see" in said("xyz")
    assert "--preview comes with imagen-tmux, which is broken" in said("generate", "x", "--preview")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("n" * 252 + ".png", f"the name '{'n' * 40}…' is longer than 240 bytes"),
        ("bad\udcff.png", "the path b'{folder}/bad\\xff.png' is not UTF-8"),
    ],
    ids=["long", "bytes"],
)
def test_name_that_no_sidecar_could_have_is_refused_before_anything_is_spent(
    imagen: Any, tmp_path: Path, name: str, message: str
) -> None:
    done = imagen(
        "generate", "a cat", "--backend", "mock", *SMALL, "--output", f"{tmp_path}/{name}"
    )

    assert (done.exit_code, done.out, list(tmp_path.iterdir())) == (2, "", [])
    assert done.err.splitlines()[0] == f"imagen: error: {message.format(folder=tmp_path)}"
