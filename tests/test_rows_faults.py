"""Rows that somebody got wrong in ways that no format forbids: each is told, none is a fault."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core import wildcards
from imagen_core.app import App
from imagen_core.cli import run
from imagen_core.errors import UsageError
from imagen_core.files import Target
from imagen_core.resolve import read_image
from imagen_core.rows import RowsError, format_of, parse_rows
from imagen_core.terminal import Terminal
from scripted import PICTURE, Scripted, request

if TYPE_CHECKING:
    from scripted import Bench

SMALL = ("--backend", "mock", "--size", "16x16")


@pytest.fixture
def refused(imagen: Any, tmp_path: Path) -> Any:
    """What a batch of these rows says, which makes nothing."""

    def refuse(name: str, text: str, *args: str) -> list[str]:
        file = tmp_path / name
        file.write_text(text)
        done = imagen("batch", str(file), *SMALL, "--output-dir", f"{tmp_path}/made", *args)
        assert done.exit_code == 2
        assert not (tmp_path / "made").exists()
        told: list[str] = done.err.replace(f"{file}", name).splitlines()
        return [line.removeprefix("imagen: error: ").strip() for line in told]

    return refuse


def told(text: str, form: str) -> list[str]:
    found = parse_rows(text.encode(), form, "rows")
    return str(RowsError("rows", found.problems)).splitlines()


@pytest.mark.parametrize("deep", ["[" * 100_000, "[" * 500 + "]" * 500, '{"a":' * 100_000])
def test_json_that_is_nested_too_deeply_is_told(deep: str) -> None:
    array = told(f"[{deep}", "jsonl")
    assert array[0].startswith(("rows: nested too deeply", "rows: not JSON: "))
    assert told(f'"a cat"\n{{"prompt": {deep}', "jsonl")[0].startswith(
        ("rows:2: row 2: nested too deeply", "rows:2: row 2: not JSON: ")
    )


def test_json_that_is_whole_and_nested_too_deeply_is_told() -> None:
    deep = "[" * 200 + "]" * 200

    assert told(f'{{"prompt": "a", "params": {{"x": {deep}}}}}', "jsonl") == [
        "rows:1: row 1: nested too deeply"
    ]
    assert told(f'["a cat", {deep}]', "jsonl") == ["rows: row 2: nested too deeply"]
    assert told(f'prompt,params\na cat,"{deep}"\n', "csv")[0].startswith(
        "rows:2: row 1, params: expected an object, got '[[[["
    )


def test_deep_file_makes_no_fault(refused: Any) -> None:
    deep = "[" * 100_000

    assert refused("deep.json", deep) == ["deep.json: nested too deeply"]
    assert refused("deep.jsonl", f'"a cat"\n{{"a":{deep}') == [
        "deep.jsonl:2: row 2: nested too deeply"
    ]
    assert refused("deep.csv", f"prompt,p.format\na cat,{deep}")[0].startswith(
        "deep.csv:2: row 1, params.format: the parameter format is one of "
    )


def test_key_that_stands_twice_in_an_object_is_told(refused: Any) -> None:
    assert refused("rows.jsonl", '"a cat"\n{"prompt":"a","seed":1,"prompt":"b","prompt":"c"}') == [
        "rows.jsonl:2: row 2, prompt: stands twice"
    ]
    assert told('[{"prompt":"a","params":{"x":1,"x":2}}]', "jsonl") == [
        "rows: row 1, x: stands twice"
    ]
    assert told('prompt,params\na,"{""x"":1,""x"":2}"\n', "csv") == [
        "rows:2: row 1, params: 'x' stands twice in it"
    ]


def test_parameter_that_two_columns_set_is_told(refused: Any) -> None:
    assert refused("rows.csv", "prompt,p.format,param.format\na,png,webp\n") == [
        "rows.csv:1: param.format: stands twice in the header; it is the same as 'p.format'"
    ]
    assert told('prompt,params,p.x\na,"{""x"": 1}",2\n', "csv") == [
        "rows:2: row 1, p.x: the parameter 'x' is set by another column, too"
    ]
    assert told('{"prompt":"a","p.x":1,"params":{"x":1}}', "jsonl") == [
        "rows:1: row 1, params: the parameter 'x' is set by another column, too"
    ]
    assert told('{"prompt":"a","p.x":1,"param.x":1}', "jsonl") == [
        "rows:1: row 1, param.x: the parameter 'x' is set by another column, too"
    ]


@pytest.mark.parametrize("suffix", [".tsv", ".XLSX", ".ods", ".parquet", ".toml", ".xml"])
def test_file_of_a_kind_that_is_not_read_is_refused_by_its_suffix(
    suffix: str, imagen: Any, tmp_path: Path
) -> None:
    file = tmp_path / f"rows{suffix}"
    file.write_text("a cat\n")

    done = imagen("batch", str(file), *SMALL)

    assert done.exit_code == 2
    assert done.err == (
        f"imagen: error: {file}: a {suffix} file is none that imagen reads rows from\n"
        "  hint: save it as .csv, .jsonl, .yaml or .txt; or say what it is with "
        "--format csv, jsonl, yaml or text\n"
    )
    assert imagen("batch", str(file), *SMALL, "--format", "text", "--dry-run").exit_code == 0


def test_suffix_that_says_nothing_is_text() -> None:
    assert [format_of(path) for path in ("cats.md", "cats.prompts", "v1.2")] == ["text"] * 3


@pytest.mark.parametrize(
    ("text", "form", "hint"),
    [
        ("# a", "text", "a text file has a prompt a line"),
        ("[]", "jsonl", "a JSON file has an object a line, or is an array of them"),
        ("prompt\n", "csv", "a CSV has a header, and below it a row a line"),
        ("", "yaml", "a YAML file of rows is a list"),
    ],
)
def test_source_without_rows_is_told_what_its_format_has(text: str, form: str, hint: str) -> None:
    with pytest.raises(UsageError, match="rows has no rows") as caught:
        parse_rows(text.encode(), form, "rows")

    assert caught.value.hint == hint


@pytest.mark.parametrize("prompt", ["{|}", "{||}", " { | } ", "{a|}", "{a|{b|}}", "{a|} {b|}"])
@pytest.mark.parametrize("expand", ["random", "all"])
def test_prompt_that_may_come_to_nothing_is_refused(prompt: str, expand: str, refused: Any) -> None:
    assert refused("rows.txt", f"a cat\n{prompt}\n", "--expand", expand) == [
        "rows.txt:2: row 2, prompt: one of its choices is an empty prompt"
    ]


@pytest.mark.parametrize("prompt", ["{|very }old", "{}", "{|", "\\{|\\}", "{a|b}{|c}"])
def test_prompt_that_always_has_something_is_none_of_these(prompt: str) -> None:
    assert not wildcards.may_be_blank(wildcards.parse(prompt))


@pytest.mark.parametrize(
    ("prompt", "shown"),
    [
        ("{a|b}" * 20_000, "over 1000000000"),
        ("{0|1|2|3|4|5|6|7|8|9}" * 300, "over 1000000000"),
        ("{a|b}" * 20, "1048576"),
    ],
)
def test_choices_beyond_counting_are_refused(prompt: str, shown: str, refused: Any) -> None:
    assert refused("rows.txt", prompt, "--expand", "all") == [
        f"rows.txt:1: row 1, prompt: its choices come to {shown} prompts; 10000 is the most"
    ]


def test_choices_beyond_counting_are_fine_where_one_is_taken(imagen: Any, tmp_path: Path) -> None:
    file = tmp_path / "rows.txt"
    file.write_text("{a|b}" * 20_000)

    assert imagen("batch", str(file), *SMALL, "--dry-run").exit_code == 0


def test_batch_has_a_limit_that_is_looked_at_first(refused: Any) -> None:
    thousand = "{0|1|2|3|4|5|6|7|8|9}" * 3
    told = "rows.txt: its rows come to {} pictures; 100000 is the most of a batch"

    assert refused("rows.txt", f"{thousand}\n" * 200, "--expand", "all") == [told.format(200_000)]
    args = ("--expand", "all", "--repeat", "10000")
    assert refused("rows.txt", f"{thousand}\n" * 200, *args) == [told.format("over 1000000000")]
    assert refused("rows.txt", "a cat\n" * 11, "--repeat", "10000") == [told.format(110_000)]
    counted = '{"prompt": "a cat", "count": 10000}\n'
    assert refused("rows.jsonl", counted * 11)[0].endswith(
        "pictures; 100000 is the most of a batch"
    )


@pytest.mark.parametrize("repeat", ["10001", "99999999999999999999999"])
def test_repeat_has_a_limit(repeat: str, refused: Any) -> None:
    assert refused("rows.txt", "a cat", "--repeat", repeat)[0] == (
        f"Invalid value for '--repeat': {repeat} is not in the range 1<=x<=10000."
    )


def test_count_of_a_row_has_a_limit(refused: Any) -> None:
    huge = 10**30

    assert refused("rows.jsonl", f'{{"prompt":"a","count":{huge}}}') == [
        f"rows.jsonl:1: row 1, count: the count is 1 to 10000, got {huge}"
    ]
    assert refused("rows.jsonl", '{"prompt":"a","count":5000}', "--repeat", "3") == [
        "rows.jsonl:1: row 1, count: with --repeat it comes to 15000 pictures of one "
        "prompt; 10000 is the most"
    ]


@pytest.mark.parametrize("form", ["q{}b.png", "a{}b/q.png", "q{}/"])
@pytest.mark.parametrize("character", ["\0", "\n", "\x1b", "\x7f", "\x85"])
def test_control_character_in_an_output_is_refused(
    form: str, character: str, refused: Any, tmp_path: Path
) -> None:
    output = form.format(character)
    row = json.dumps({"prompt": "a cat", "output": output})

    [line] = refused("rows.jsonl", f'"a dog"\n{row}')

    shown = repr(f"{tmp_path}/made/{output.rstrip('/')}")
    told = f"rows.jsonl:2: row 2, output: the path {shown} has a control character "
    assert line == f"{told}(U+{ord(character):04X}); leave it out"


@pytest.mark.parametrize("character", ["\n", "\x1b", "\x7f"])
def test_control_character_in_the_output_of_generate_is_refused(
    character: str, imagen: Any, tmp_path: Path
) -> None:
    done = imagen("generate", "a cat", *SMALL, "--output", f"{tmp_path}/q{character}b.png")

    assert (done.exit_code, done.out, list(tmp_path.iterdir())) == (2, "", [])
    assert f"has a control character (U+{ord(character):04X})" in done.err


@pytest.mark.parametrize(
    ("output", "most"), [("{}.png", 240), ("{}/", 240), ("{}/x.png", 255), ("a/{}/b/x.png", 255)]
)
def test_name_that_is_too_long_for_a_file_system_is_refused(
    output: str, most: int, refused: Any, imagen: Any, tmp_path: Path
) -> None:
    output = output.format("n" * 300)
    row = json.dumps({"prompt": "a cat", "output": output})
    told = f"the name '{'n' * 40}…' is longer than {most} bytes"

    [line] = refused("rows.jsonl", row)
    done = imagen("generate", "a cat", *SMALL, "--output", f"{tmp_path}/{output}")

    assert line.startswith(f"rows.jsonl:1: row 1, output: {told}")
    assert done.exit_code == 2
    assert f"imagen: error: {told}" in done.err


def test_path_that_is_too_long_as_a_whole_is_refused(imagen: Any, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"prompt": "a cat", "output": "folder/" * 900 + "x.png"}))

    done = imagen("batch", str(file), *SMALL)

    assert done.exit_code == 2
    assert f"{file}:1: row 1, output: cannot make the folder " in done.err
    assert "File name too long" in done.err


def test_input_image_that_no_path_can_be_is_told(refused: Any) -> None:
    backend = "the backend 'mock' takes no input images"
    assert backend in refused("rows.jsonl", '{"prompt":"a","image":"q\\u0000.png"}')[0]
    with pytest.raises(UsageError, match=r"cannot read the input image .*: embedded null byte"):
        read_image("q\0.png")


@pytest.mark.parametrize("name", ["q\0b.png", "n" * 300])
def test_picture_whose_path_the_system_refuses_is_rescued(name: str, bench: Bench) -> None:
    bench.backends["b"] = Scripted(lambda _: iter([PICTURE]))
    path = bench.folder / name

    run = bench.pipeline().run(request(), Target(folder=path.parent, path=path))

    (output,) = run.outputs
    assert Path(output.path).parent == bench.data / "rescued"
    assert Path(output.path).read_bytes() == PICTURE.data
    assert run.failure
    assert run.failure.message.endswith(f"; the picture is safe in {output.path}")


@pytest.mark.parametrize("below", ["", "/cats", "/cats/black"])
def test_output_folder_that_is_a_file_is_told(below: str, imagen: Any, tmp_path: Path) -> None:
    file = tmp_path / "rows.txt"
    file.write_text("a cat")

    done = imagen("batch", str(file), *SMALL, "--output-dir", f"{file}{below}")

    assert done.exit_code == 2
    assert done.err == (
        f"imagen: error: {file} is no folder\n  hint: choose another --output-dir\n"
    )


class Screen(StringIO):
    def isatty(self) -> bool:
        return True


def test_bar_counts_the_rows_that_are_checked(tmp_path: Path) -> None:
    file = tmp_path / "rows.txt"
    file.write_text("a cat\n" * 1000)
    terminal = Terminal(StringIO(), Screen(), {"NO_COLOR": "1"})
    app = App.for_test(terminal, tmp_path)

    assert run(["batch", str(file), *SMALL, "--dry-run"], terminal=terminal, app=app) == 0

    assert isinstance(terminal.err, StringIO)
    shown = terminal.err.getvalue()
    assert "  0% 0/1000  0.0 s  checking rows\x1b[K" in shown
    assert shown.endswith("\r\x1b[K")


def test_failure_of_a_batch_says_which_row_it_is_in_json(imagen: Any, tmp_path: Path) -> None:
    file = tmp_path / "rows.txt"
    file.write_text("a {cat|dog}")

    done = imagen("batch", str(file), *SMALL, "-p", "fail=failed", "--json")

    [found] = done.json()
    keys = {"error", "id", "seed", "backend", "row", "repeat", "template"}
    assert {*found} - {"remote_id"} == keys
    assert (found["row"], found["repeat"], found["template"]) == (1, 1, "a {cat|dog}")


def test_bar_says_that_it_begins_before_the_first_making(tmp_path: Path) -> None:
    file = tmp_path / "rows.txt"
    file.write_text("a cat\na dog\n")
    terminal = Terminal(StringIO(), Screen(), {"NO_COLOR": "1"})
    app = App.for_test(terminal, tmp_path)

    assert run(["batch", str(file), *SMALL], terminal=terminal, app=app) == 0

    assert isinstance(terminal.err, StringIO)
    assert "  0% 0/2  0.0 s  beginning\x1b[K" in terminal.err.getvalue()
