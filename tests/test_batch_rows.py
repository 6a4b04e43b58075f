"""The rows of `imagen batch`: what they say, what is refused, what comes of choices."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from batches import SMALL, lines, plan, summary


def test_row_beats_the_flags(imagen: Any, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(
        "prompt,size,seed,negative,p.format,output\n"
        "a cat,24x16,7,dogs,webp,cats/one.webp\n"
        "a dog,,,,,\n"
    )

    done = imagen(
        "batch", str(file), *SMALL, "--seed", "5", "-p", "format=jpeg", "-p", "delay_ms=1",
        "--output-dir", f"{tmp_path}/in", "--json",
    )  # fmt: skip

    first, second = sorted(done.json(), key=lambda found: found["row"])
    assert (first["seed"], first["width"], first["negative"]) == (7, 24, "dogs")
    assert first["params"] == {"format": "webp", "delay_ms": 1}
    assert first["path"] == f"{tmp_path}/in/cats/one.webp"
    assert (second["seed"], second["width"], second["mime"]) == (5, 16, "image/jpeg")
    assert second["params"] == {"format": "jpeg", "delay_ms": 1}
    assert done.err.count("ignores the negative prompt") == 1


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("text", "a cat\na dog\n"),
        ("jsonl", '{"prompt":"a cat"}\n{"prompt":"a dog"}\n'),
        ("csv", "prompt\na cat\na dog\n"),
        ("yaml", "- a cat\n- prompt: a dog\n"),
    ],
)
def test_rows_come_from_standard_input(imagen: Any, out: Path, form: str, text: str) -> None:
    done = imagen("batch", "-", "--format", form, *SMALL, input=text)

    assert done.exit_code == 0
    assert {found["prompt"] for found in lines(out, "batch")} == {"a cat", "a dog"}
    assert plan(out, "batch")["source"] == "standard input"


def test_everything_that_is_wrong_is_told_before_anything_is_made(
    imagen: Any, tmp_path: Path, out: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    rows: list[dict[str, Any]] = [
        {"prompt": "a cat", "sede": 5},
        {"prompt": "a\x07", "size": "big", "style": "noir", "params": {"formt": "png"}},
        {"prompt": "a", "backend": "moc", "size": "big"},
        {"prompt": "fine", "count": 0, "image": "none.png"},
        {"size": "0x0"},
        {"prompt": "a", "output": "x.png"},
        {"prompt": "a", "output": "./x.png"},
        {"prompt": "fine"},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    done = imagen("batch", str(file), "--backend", "mock", "--steps", "-1")

    assert done.exit_code == 2
    assert done.out == ""
    assert [line.replace(str(file), "F") for line in done.err.splitlines()] == [
        f"imagen: error: {line}"
        for line in (
            "F: --steps: the number of steps is at least 0, got -1",
            "F:1: row 1, sede: unknown column; did you mean 'seed'?",
            "F:2: row 2, prompt: the prompt has a control character (U+0007) at position 2; "
            "remove it; newlines and tabs are fine",
            "F:2: row 2, size: the size 'big' is not WIDTHxHEIGHT; for instance --size 1024x768",
            "F:2: row 2, style: there is no style 'noir'; the configuration has none",
            "F:2: row 2, params.formt: the backend 'mock' has no parameter 'formt'; "
            "did you mean 'format'?",
            "F:3: row 3, backend: there is no backend 'moc'; did you mean 'mock'?",
            "F:4: row 4, count: the count is 1 to 10000, got 0",
            "F:4: row 4, images: the backend 'mock' takes no input images; leave out --image",
            "F:5: row 5, prompt: is missing",
            "F:5: row 5, size: the size '0x0' is out of range: 1 to 16384 pixels a side",
            "F:7: row 7, output: is that of row 6, too",
        )
    ]  # fmt: skip
    assert not out.exists()


def test_what_only_goes_wrong_together_is_told_of_the_row(imagen: Any, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"prompt": "a", "seed": 2**63 - 1, "count": 2}))

    done = imagen("batch", str(file), *SMALL)

    assert f"{file}:1: row 1: seeds go up to 9223372036854775807" in done.err


def test_output_that_can_not_be_is_told_with_its_row(imagen: Any, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(f"prompt,output\na cat,{file}/x.png\na dog,{'n' * 250}.png\n")

    done = imagen("batch", str(file), *SMALL)

    assert done.exit_code == 2
    assert f"{file}:3: row 2, output: the name 'nnnn" in done.err
    file.write_text(f"prompt,output\na cat,{file}/x.png\n")
    done = imagen("batch", str(file), *SMALL)
    assert f"{file}:2: row 1, output: cannot make the folder {file}: File exists" in done.err


def test_unwritable_folder_is_refused(
    imagen: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out.mkdir(mode=0o500)
    if os.geteuid() == 0:
        monkeypatch.setattr(os, "access", lambda *_, **__: False)  # nothing is locked for root

    done = imagen("batch", "-", *SMALL, input="a cat")

    assert (done.exit_code, done.err) == (
        2,
        f"imagen: error: cannot write to the folder {out}: Permission denied\n"
        "  hint: choose another with --output-dir, or set output.dir\n",
    )


def test_file_that_is_not_there_is_refused(imagen: Any) -> None:
    done = imagen("batch", "none.txt", *SMALL)

    assert (done.exit_code, done.err) == (
        2,
        "imagen: error: cannot read the rows of none.txt: No such file or directory\n",
    )


def test_repeat_makes_each_row_again_with_other_seeds_and_choices(
    imagen: Any, tmp_path: Path, out: Path
) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("{a|b|c|d|e|f|g|h} cat\na dog\n")

    imagen("batch", str(file), *SMALL, "--repeat", "8", "--seed", "7")

    makings = plan(out)["makings"]
    assert [m["seed"] for m in makings] == [*range(7, 15)] * 2
    assert [m["repeat"] for m in makings] == [*range(1, 9)] * 2
    chosen = [m["prompt"] for m in makings[:8]]
    assert len(set(chosen)) > 1
    assert {found["template"] for found in lines(out)} == {"{a|b|c|d|e|f|g|h} cat", ""}
    assert {f["prompt"] for f in lines(out)} == {*chosen, "a dog"}


def test_choices_follow_from_seed_and_place(imagen: Any, tmp_path: Path, out: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("{a|b|c|d|e|f|g|h} cat\n" * 5)
    args = ("batch", str(file), *SMALL, "--seed", "7")

    imagen(*args)
    imagen(*args, "--name", "other")

    first = [making["prompt"] for making in plan(out)["makings"]]
    assert first == [making["prompt"] for making in plan(out, "other")["makings"]]
    assert len(set(first)) > 1


def test_expand_all_makes_the_whole_product(imagen: Any, tmp_path: Path, out: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("a {red|blue} {cat|dog}\na fox\n")

    done = imagen("batch", str(file), *SMALL, "--expand", "all", "--seed", "1")
    again = imagen("batch", str(file), *SMALL, "--expand", "all", "--seed", "1")

    assert len(done.paths) == 5
    assert [m.get("prompt", "") for m in plan(out)["makings"]] == [
        "a red cat", "a red dog", "a blue cat", "a blue dog", "",
    ]  # fmt: skip
    assert {m["seed"] for m in plan(out)["makings"]} == {1}
    assert summary(again) == "imagen: 0 made, 0 failed, 5 skipped; 0 USD"


def test_product_has_a_limit(imagen: Any, tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("{0|1|2|3|4|5|6|7|8|9}" * 5)

    done = imagen("batch", str(file), *SMALL, "--expand", "all")

    assert done.exit_code == 2
    assert "row 1, prompt: its choices come to 100000 prompts; 10000 is the most" in done.err


def test_count_of_a_row_makes_several_beside_its_output(
    imagen: Any, tmp_path: Path, out: Path
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("prompt,count,output\na cat,2,x.png\na dog,,sub/\n")
    (out / "sub").mkdir(parents=True)
    (out / "x.png").write_bytes(b"mine")

    done = imagen("batch", str(file), *SMALL, "--repeat", "2")

    assert (out / "x.png").read_bytes() == b"mine"
    assert {path.name for path in done.paths if path.parent == out} == {
        f"x-{n}.png" for n in range(2, 6)
    }
    assert len([path for path in done.paths if path.parent == out / "sub"]) == 2
