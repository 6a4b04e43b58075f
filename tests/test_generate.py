"""`imagen generate`, as a person or a script uses it."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core.app import App
from imagen_core.cli.shared import _relative, cancelled_by_signals
from imagen_core.plugins import Catalog, Plugin
from imagen_core.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALL = ("--size", "48x32")


def test_same_request_gives_the_same_bytes_and_prints_the_path_alone(
    imagen: Any, tmp_path: Path
) -> None:
    path = tmp_path / "x.png"
    args = ("generate", "a cat in a fishbowl", "--backend", "mock", "--seed", "42")

    first = imagen(*args, "--output", str(path))
    before = path.read_bytes()
    second = imagen(*args, "--output", str(path))

    assert (first.exit_code, first.out, first.err) == (0, f"{path}\n", "")
    assert (second.exit_code, second.out) == (0, f"{path}\n")
    assert path.read_bytes() == before


def test_sidecar_has_every_field(imagen: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("MAI_FROM_ID", "agent-7")
    path = tmp_path / "x.png"

    imagen(
        "generate", "a cat", "--backend", "mock", "--seed", "42", "--negative", "dogs",
        "-p", "delay_ms=1", *SMALL, "--output", str(path),
    )  # fmt: skip
    sidecar = json.loads((tmp_path / "x.png.json").read_text())

    assert re.fullmatch(r"[0-9a-f-]{36}", sidecar.pop("id"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", sidecar.pop("created_at"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d{6}", f"{sidecar.pop('date')} {sidecar.pop('time')}")
    assert sidecar.pop("latency_ms") >= 1
    data = path.read_bytes()
    assert sidecar == {
        "schema": 1,
        "ordinal": 0,
        "prompt": "a cat",
        "effective_prompt": "a cat",
        "negative": "dogs",
        "style": "",
        "prompt_hash": sha256(b"a cat").hexdigest(),
        "backend": "mock",
        "type": "mock",
        "model": "mock-landscape",
        "seed": 42,
        "steps": 4,
        "width": 48,
        "height": 32,
        "cost_usd_estimate": 0,
        "cost_basis": "local",
        "slug": "a-cat",
        "params": {"delay_ms": 1},
        "images": [],
        "metadata": {"model": "mock-landscape", "steps": 4, "format": "png"},
        "file": "x.png",
        "size": len(data),
        "sha256": sha256(data).hexdigest(),
        "mime": "image/png",
        "remote_id": "",
        "caller": "agent-7",
        "warnings": ["the backend 'mock' ignores the negative prompt"],
    }


def test_without_configuration_the_mock_works_and_says_so(imagen: Any) -> None:
    done = imagen("generate", "a cat", *SMALL)

    assert done.exit_code == 0
    assert done.paths[0].is_file()
    assert done.err == (
        "imagen: there is no configuration: using the built-in backend 'mock' "
        "('imagen config init --write' makes one)\n"
    )


def test_name_follows_the_template_of_the_configuration(imagen: Any, imagen_home: Path) -> None:
    config = imagen_home / "c.yaml"
    config.write_text("output: {naming: '{backend}/{slug}_{seed}_{what}.{ext}'}\n")

    done = imagen(
        "generate", "Über-Cat!", "--seed", "5", *SMALL, "-p", "format=webp",
        "--backend", "mock", "--config", str(config),
    )  # fmt: skip

    assert done.paths == [Path(os.environ["IMAGEN_OUTPUT_DIR"]) / "mock" / "uber-cat_5_{what}.webp"]
    assert done.paths[0].read_bytes()[8:12] == b"WEBP"


@pytest.mark.parametrize(
    ("prompt", "slug"),
    [
        ("", "image"),
        ("猫", "image"),
        ("../../etc/passwd", "etc-passwd"),
        ("con", "con"),
        ("x" * 32_000, "x" * 40),
        ("line\none", "line-one"),
    ],
    ids=["empty", "cjk", "path", "reserved", "long", "newline"],
)
def test_any_prompt_has_a_name(imagen: Any, prompt: str, slug: str) -> None:
    done = imagen("generate", prompt, "--backend", "mock", "--seed", "1", *SMALL)

    assert done.exit_code == 0
    assert re.fullmatch(rf"\d{{4}}-\d\d-\d\d-{slug}-1\.png", done.paths[0].name)


def test_taken_name_gets_a_number(imagen: Any) -> None:
    args = ("generate", "a cat", "--backend", "mock", "--seed", "1", *SMALL)

    names = [imagen(*args).paths[0] for _ in range(3)]

    stem = names[0].stem
    assert [path.name for path in names[1:]] == [f"{stem}-2.png", f"{stem}-3.png"]
    assert all(path.with_name(f"{path.name}.json").is_file() for path in names)


def test_output_replaces_the_picture_and_its_sidecar(imagen: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"old")
    (tmp_path / "x.png.json").write_text("old")

    imagen("generate", "a cat", "--backend", "mock", *SMALL, "--output", str(path))

    assert path.read_bytes()[:4] == b"\x89PNG"
    assert json.loads((tmp_path / "x.png.json").read_text())["file"] == "x.png"


def test_replaced_picture_keeps_no_sidecar_of_another(imagen: Any, tmp_path: Path) -> None:
    args = ("generate", "a cat", "--backend", "mock", *SMALL, "--output", str(tmp_path / "x.png"))
    imagen(*args, "--seed", "1")

    imagen(*args, "--seed", "2", "--no-sidecar")

    assert [path.name for path in tmp_path.glob("x*")] == ["x.png"]


def test_count_with_output_numbers_the_later_ones(imagen: Any, tmp_path: Path) -> None:
    done = imagen(
        "generate", "a cat", "--backend", "mock", "--seed", "7", "--count", "3", *SMALL,
        "--output", str(tmp_path / "x.png"),
    )  # fmt: skip

    assert sorted(path.name for path in done.paths) == ["x-2.png", "x-3.png", "x.png"]
    seeds = {
        name: json.loads((tmp_path / f"{name}.json").read_text())["seed"]
        for name in ("x.png", "x-2.png", "x-3.png")
    }
    assert seeds == {"x.png": 7, "x-2.png": 8, "x-3.png": 9}


def test_relative_output_is_printed_as_it_was_typed(
    imagen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    done = imagen("generate", "a cat", "--backend", "mock", *SMALL, "--output", "sub/x.png")

    assert done.out == "sub/x.png\n"
    assert (tmp_path / "sub" / "x.png").is_file()


def test_output_that_is_a_folder_keeps_the_template(imagen: Any, tmp_path: Path) -> None:
    done = imagen(
        "generate",
        "a cat",
        "--backend",
        "mock",
        "--seed",
        "3",
        *SMALL,
        "--output",
        f"{tmp_path}/in/",
    )

    assert done.paths[0].parent == tmp_path / "in"
    assert done.paths[0].name.endswith("-a-cat-3.png")


def test_suffix_of_another_type_is_a_warning(imagen: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"

    done = imagen("generate", "a cat", "--backend", "mock", *SMALL, "--output", str(path))

    assert done.exit_code == 0
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert done.err == f"imagen: {path} holds image/png, whatever its suffix says\n"


def test_prompt_comes_from_standard_input(imagen: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.png"

    imagen(
        "generate", "-", "--backend", "mock", *SMALL, "--output", str(path),
        input="a cat\r\nin a bowl\r\n",
    )  # fmt: skip

    assert json.loads((tmp_path / "x.png.json").read_text())["prompt"] == "a cat\nin a bowl"


def test_json_is_one_object_an_image(imagen: Any) -> None:
    done = imagen("generate", "a cat", "--backend", "mock", "--count", "2", *SMALL, "--json")

    objects = done.json()
    assert (done.exit_code, done.err, len(objects)) == (0, "", 2)
    for found in objects:
        path = Path(found.pop("path"))
        assert found == json.loads(path.with_name(f"{path.name}.json").read_text())


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


def test_dry_run_asks_nobody_and_writes_nothing(
    imagen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEN_LOAD_PLUGINS", "")
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
    monkeypatch.setenv("IMAGEN_LOAD_PLUGINS", "")
    monkeypatch.setenv("IMAGEN_SIDECAR", "off")

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


def test_control_characters_of_a_message_never_reach_the_terminal(imagen: Any) -> None:
    done = imagen("generate", "a cat", "--backend", "\x1b[2Jmock")

    assert "\x1b" not in done.err
    assert "\\x1b[2Jmock" in done.err


def test_progress_is_nothing_on_a_pipe(imagen: Any) -> None:
    done = imagen("generate", "a cat", "--backend", "mock", *SMALL, "-p", "delay_ms=120")

    assert done.err == ""


def test_failed_runs_are_in_the_ledger_too(imagen: Any) -> None:
    imagen("generate", "a cat", "--backend", "mock", *SMALL)
    imagen("generate", "a cat", "--backend", "mock", *SMALL, "-p", "fail=rejected")

    rows = imagen("usage", "--raw", "--all", "--json").json()[0]["rows"]

    assert [row["failure"] for row in rows] == ["", "rejected"]


def test_ledger_can_be_switched_off(imagen: Any, imagen_home: Path) -> None:
    imagen("generate", "a cat", "--backend", "mock", *SMALL, "--no-ledger")

    assert list(imagen_home.rglob("ledger.db")) == []


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


def test_dry_run_writes_no_control_characters(imagen: Any) -> None:
    done = imagen("generate", "a cat", "--output", "/p/\x1b[31m.png", "--dry-run")

    assert "\x1b" not in done.out
    assert "path: /p/\\x1b[31m.png" in done.out


def test_first_signal_is_answered_in_words() -> None:
    said: list[str] = []
    cancel = threading.Event()

    with cancelled_by_signals(cancel, said.append):
        signal.raise_signal(signal.SIGINT)
        assert cancel.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    assert said == ["cancelling; press Ctrl-C again to stop at once"]


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


def test_caller_that_is_not_utf8_costs_neither_sidecar_nor_ledger(
    imagen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAI_FROM_ID", "a\udcff")

    (found,) = imagen("generate", "a cat", "--backend", "mock", *SMALL, "--json").json()

    assert found["caller"] == "a\\udcff"


def test_prompt_forges_no_line_of_a_dry_run(imagen: Any) -> None:
    done = imagen("generate", "a cat\npath: /etc/evil", "--backend", "mock", "--dry-run")

    assert "prompt: a cat\\npath: /etc/evil" in done.out.splitlines()


def test_same_warning_of_several_pictures_is_told_once(imagen: Any, tmp_path: Path) -> None:
    args = ("generate", "a cat", "--backend", "mock", "--negative", "dogs", "--count", "3")

    done = imagen(*args, *SMALL, "--output", f"{tmp_path}/")

    assert (
        done.err.splitlines().count("imagen: the backend 'mock' ignores the negative prompt") == 1
    )
    assert len(done.paths) == 3
