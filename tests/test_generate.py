"""`imagen generate`, as a person or a script uses it."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from imagen_core.cli.shared import cancelled_by_signals
from small import SMALL


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


def test_first_signal_is_answered_in_words() -> None:
    said: list[str] = []
    cancel = threading.Event()

    with cancelled_by_signals(cancel, said.append):
        signal.raise_signal(signal.SIGINT)
        assert cancel.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    assert said == ["cancelling; press Ctrl-C again to stop at once"]


def test_caller_that_is_not_utf8_costs_neither_sidecar_nor_ledger(
    imagen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAI_FROM_ID", "a\udcff")

    (found,) = imagen("generate", "a cat", "--backend", "mock", *SMALL, "--json").json()

    assert found["caller"] == "a\\udcff"


def test_same_warning_of_several_pictures_is_told_once(imagen: Any, tmp_path: Path) -> None:
    args = ("generate", "a cat", "--backend", "mock", "--negative", "dogs", "--count", "3")

    done = imagen(*args, *SMALL, "--output", f"{tmp_path}/")

    assert (
        done.err.splitlines().count("imagen: the backend 'mock' ignores the negative prompt") == 1
    )
    assert len(done.paths) == 3
