"""Rows of every format, all that can be wrong with them, and wildcards."""

from __future__ import annotations

import random
from typing import Any

import pytest

from imagen_core import wildcards
from imagen_core.errors import UsageError
from imagen_core.rows import Row, RowsError, format_of, parse_rows
from imagen_core.types import Text

FULL: dict[str, Any] = {
    "prompt": "a, cat",
    "backend": "mock",
    "size": "64x64",
    "seed": 5,
    "steps": 3,
    "style": "noir",
    "negative": "dogs",
    "count": 2,
    "images": ("a.png",),
}


def rows(text: str | bytes, form: str) -> tuple[Row, ...]:
    found = parse_rows(text.encode() if isinstance(text, str) else text, form, "rows")
    assert found.problems == ()
    return found.rows


def told(text: str, form: str) -> list[str]:
    """What is said of rows that are wrong."""
    found = parse_rows(text.encode(), form, "rows")
    return str(RowsError("rows", found.problems)).splitlines()


def test_text_has_a_prompt_a_line() -> None:
    assert rows("a cat\n\n# a remark\n  a dog \r\n", "text") == (
        Row(1, 1, {"prompt": "a cat"}),
        Row(2, 4, {"prompt": "a dog"}),
    )


def test_jsonl_sets_any_option() -> None:
    text = (
        '{"prompt":"a, cat","backend":"mock","size":"64x64","seed":5,"steps":3,"style":"noir",'
        '"negative":"dogs","count":2,"image":"a.png","params":{"format":"webp"},'
        '"p.delay_ms":4,"output":"x.png"}\n\n"a dog"\n'
    )

    assert rows(text, "jsonl") == (
        Row(1, 1, {**FULL, "params": {"format": "webp", "delay_ms": 4}}, "x.png"),
        Row(2, 3, {"prompt": "a dog"}),
    )


def test_json_is_an_array_or_lines() -> None:
    assert rows(' [{"prompt": "a cat", "seed": null},\n "a dog"]', "jsonl") == (
        Row(1, 0, {"prompt": "a cat"}),
        Row(2, 0, {"prompt": "a dog"}),
    )


def test_csv_sets_any_option_and_leaves_out_what_is_empty() -> None:
    text = (
        "\ufeffprompt, backend,size,seed,steps,style,negative,count,images,p.format,param.delay_ms,"
        "output\r\n"
        '"a, cat",mock,64x64,5,3,noir,dogs,2,"[""a.png""]",webp,4,x.png\r\n'
        "\r\n"
        '"two\r\nlines",,,,,,,,b.png,,,\r\n'
        "a dog\r\n"
    )

    first, second, third = rows(text, "csv")

    assert first == Row(1, 2, {**FULL, "params": {"format": "webp", "delay_ms": "4"}}, "x.png")
    assert isinstance(first.options["params"]["delay_ms"], Text)
    assert second == Row(2, 4, {"prompt": "two\nlines", "images": ("b.png",)})
    assert third == Row(3, 6, {"prompt": "a dog"})


def test_params_of_a_csv_may_be_one_object() -> None:
    text = 'prompt,params,p.c\na cat,"{""a"": 1, ""b"": 2}",3\n'

    [row] = rows(text, "csv")

    assert row.options["params"] == {"a": 1, "b": 2, "c": "3"}


def test_yaml_is_a_list_of_texts_or_mappings() -> None:
    text = "- a cat\n- {prompt: 'a dog', seed: 5}\n-\n  prompt: a fox\n  images: [a.png, b.png]\n"

    assert rows(text, "yaml") == (
        Row(1, 1, {"prompt": "a cat"}),
        Row(2, 2, {"prompt": "a dog", "seed": 5}),
        Row(3, 4, {"prompt": "a fox", "images": ("a.png", "b.png")}),
    )


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("a.txt", "text"),
        ("a.jsonl", "jsonl"),
        ("a.NDJSON", "jsonl"),
        ("a.json", "jsonl"),
        ("a.csv", "csv"),
        ("a.yaml", "yaml"),
        ("x/a.yml", "yaml"),
        ("prompts", "text"),
        ("-", "text"),
    ],
)
def test_suffix_decides_the_format(path: str, form: str) -> None:
    assert format_of(path) == form


def test_all_that_is_wrong_with_jsonl_is_told_at_once() -> None:
    text = (
        '{"promt":"a cat","seed":"5"}\n{"prompt":"a dog"\n5\n'
        '{"prompt":" ","steps":1.5,"images":[1],"params":[],"count":true}\n'
        '{"prompt":"a fox","image":"a","images":"b","output":3}\n'
    )

    assert told(text, "jsonl") == [
        "rows:1: row 1, promt: unknown column; did you mean 'prompt'?",
        "rows:1: row 1, seed: expected a whole number, got '5'",
        "rows:1: row 1, prompt: is missing",
        "rows:2: row 2: not JSON: Input data was truncated",
        "rows:3: row 3: expected an object or a text, got 5",
        "rows:4: row 4, steps: expected a whole number, got 1.5",
        "rows:4: row 4, images: expected a path or a list of paths, got [1]",
        "rows:4: row 4, params: expected an object, got []",
        "rows:4: row 4, count: expected a whole number, got True",
        "rows:4: row 4, prompt: is missing",
        "rows:5: row 5, images: 'image' and 'images' are the same; give one of them",
        "rows:5: row 5, output: expected text, got 3; put it in quotes",
    ]


def test_all_that_is_wrong_with_csv_is_told_at_once() -> None:
    text = "prompt,sede,seed,seed\na cat,1,x,\n,,3,\na dog,1,2,3,4\n"

    assert told(text, "csv") == [
        "rows:1: sede: unknown column; did you mean 'seed'?",
        "rows:1: seed: stands twice in the header",
        "rows:2: row 1, seed: expected a whole number, got 'x'",
        "rows:3: row 2, prompt: is missing",
        "rows:4: row 3: has 5 cells, where the header has 4",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("seed\n5\n6\n", "rows:1: prompt: is missing"),
        ("prompt;seed\na cat;5\n", "rows:1: prompt;seed: the columns of a CSV are separated by "
         "commas, not by ';'"),
        ("prompt,\na cat,x\n", "rows:1: column 2: unknown column; there are: backend, count, "
         "image, images, negative, output, params, prompt, seed, size, steps, style"),
        ('prompt\n"a cat\n', "rows:3: not CSV: unexpected end of data"),
    ],
)  # fmt: skip
def test_odd_csv_is_told_at_its_header(text: str, line: str) -> None:
    assert line in told(text, "csv")


def test_all_that_is_wrong_with_yaml_is_told_at_once() -> None:
    text = "- prompt: on\n  sed: 4\n- {prompt: a, seed: 1, seed: 2}\n- 5\n"

    assert told(text, "yaml") == [
        "rows:1: row 1, prompt: expected text, got True; put it in quotes",
        "rows:1: row 1, sed: unknown column; did you mean 'seed'?",
        "rows:3: row 2, seed: stands twice: on line 3 and line 3",
        "rows:4: row 3: expected an object or a text, got 5",
    ]


def test_yaml_that_is_none_is_told_with_its_line() -> None:
    assert told("- a\n- [b", "yaml")[0].startswith("rows:3: not YAML: ")
    assert told("prompt: a cat", "yaml") == ["rows:1: expected a list"]


def test_json_array_that_is_none_is_told() -> None:
    assert told("[1, ", "jsonl") == ["rows: not JSON: Input data was truncated"]


@pytest.mark.parametrize(
    ("text", "form"), [("", "text"), ("# a\n", "text"), ("[]", "jsonl"), ("", "csv"), ("", "yaml")]
)
def test_source_without_rows_is_refused(text: str, form: str) -> None:
    with pytest.raises(UsageError, match="rows has no rows"):
        parse_rows(text.encode(), form, "rows")


def test_source_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(UsageError, match=r"rows is not UTF-8 \(byte 2\)"):
        parse_rows(b"a \xff", "text", "rows")


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("a cat", ["a cat"]),
        ("a {red|blue} cat", ["a red cat", "a blue cat"]),
        ("{a|b}{1|2}", ["a1", "a2", "b1", "b2"]),
        ("{a {b|c}|d}", ["a b", "a c", "d"]),
        ("{|red }cat", ["cat", "red cat"]),
        ("{a|a}", ["a", "a"]),
        ("{x} and {a {b|c}}", ["{x} and {a b}", "{x} and {a c}"]),
        ("a|b", ["a|b"]),
        ("{a|b", ["{a|b"]),
        ("a|b}", ["a|b}"]),
        ("{a|{b}", ["{a|{b}"]),
        (r"\{a|b\} \{c\}", ["{a|b} {c}"]),
        (r"{a\|b|c}", ["a|b", "c"]),
        ("C:\\cat \\", ["C:\\cat \\"]),
        ("{" * 40, ["{" * 40]),
    ],
)
def test_wildcards_come_to_these_prompts(prompt: str, prompts: list[str]) -> None:
    text = wildcards.parse(prompt)

    assert list(wildcards.expand(text)) == prompts
    assert wildcards.count(text) == len(prompts)
    assert wildcards.choose(text, random.Random(1)) in prompts


def test_choice_follows_from_the_seed() -> None:
    text = wildcards.parse("{a|b|{c|d}} {e|f|g}")

    first = [wildcards.choose(text, random.Random(f"{n}/1/1")) for n in range(300)]
    second = [wildcards.choose(text, random.Random(f"{n}/1/1")) for n in range(300)]

    assert first == second
    assert set(first) == set(wildcards.expand(text))


def test_braces_have_a_depth_that_is_the_most() -> None:
    with pytest.raises(UsageError, match="more than 50 braces stand inside each other"):
        wildcards.parse("{a|" * 60 + "}" * 60)
