"""YAML as people mean it, with the line of everything, and every problem told at once."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core.errors import ConfigError
from imagen_core.yaml_file import Document, dotted, examine, parse, read_document

if TYPE_CHECKING:
    from pathlib import Path


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(textwrap.dedent(text).lstrip("\n"), "f.yaml")
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", True),
        ("On", True),
        ("yes", True),
        ("true", True),
        ("TRUE", True),
        ("off", False),
        ("no", False),
        ("False", False),
        ('"on"', "on"),
        ("'off'", "off"),
        ('"yes"', "yes"),
        ("'true'", "true"),
        ("!!str yes", "yes"),
        ("y", "y"),
        ("n", "n"),
        ("0", 0),
        ("42", 42),
        ("-7", -7),
        ("+7", 7),
        ("9223372036854775807", 2**63 - 1),
        ("18446744073709551616", 2**64),
        ('"42"', "42"),
        ("!!str 42", "42"),
        ("007", "007"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("9" * 60, "9" * 60),
        ("1.5", 1.5),
        ("-0.25", -0.25),
        (".5", 0.5),
        ("1e-5", 1e-5),
        ("6.02E+23", 6.02e23),
        ("1.2.3", "1.2.3"),
        (".inf", ".inf"),
        ("null", None),
        ("~", None),
        ("", None),
        ("NULL", None),
        ("'null'", "null"),
        ("''", ""),
        ("none", "none"),
        ("2026-05-08", "2026-05-08"),
        ("2026-05-08T12:30:00Z", "2026-05-08T12:30:00Z"),
        ("12:30:00", "12:30:00"),
        ("1:2", "1:2"),
        ("1024x768", "1024x768"),
        ("http://mrock:8188", "http://mrock:8188"),
        ("=", "="),
        ("日本 🐱", "日本 🐱"),
        (r'"\u732b\n"', "猫\n"),
        ("|\n  two\n  lines\n", "two\nlines\n"),
        (">\n  on\n", "on\n"),
        ("[1, on, null, x]", [1, True, None, "x"]),
        ("{a: 1, b: {c: off}}", {"a": 1, "b": {"c": False}}),
        ("[]", []),
        ("{}", {}),
    ],
)
def test_scalar_is_read_as_people_mean_it(text: str, value: Any) -> None:
    found = parse(f"key: {text}", "f.yaml").data["key"]

    assert found == value
    assert type(found) is type(value)


def test_every_key_and_item_has_its_line() -> None:
    document = parse("# first\na: 1\n\nb:\n  c: x\n  d:\n  - 1\n  - e: 2\n", "f.yaml")

    assert document.data == {"a": 1, "b": {"c": "x", "d": [1, {"e": 2}]}}
    assert document.lines == {
        (): 2,
        ("a",): 2,
        ("b",): 4,
        ("b", "c"): 5,
        ("b", "d"): 6,
        ("b", "d", 0): 7,
        ("b", "d", 1): 8,
        ("b", "d", 1, "e"): 8,
    }


def test_key_that_is_not_there_has_the_line_of_the_nearest_one_above() -> None:
    document = parse("a: 1\nb:\n  c: x\n", "f.yaml")

    error = document.problem(("b", "missing", 3), "is missing", hint="add it")

    assert (str(error), error.hint) == ("f.yaml:2: b.missing[3]: is missing", "add it")


def test_path_is_shown_as_people_write_it() -> None:
    assert dotted(("backends", "flux", "tags", 0, "x")) == "backends.flux.tags[0].x"


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "null", "~"])
def test_empty_file_is_an_empty_configuration(text: str) -> None:
    document = parse(text, "f.yaml")

    assert (document.data, document.line(("a",))) == ({}, document.line(()))


def test_alias_stands_for_its_anchor() -> None:
    document = parse("a: &x {n: 1}\nb: *x\nc: [*x, *x]\n", "f.yaml")

    assert document.data == {"a": {"n": 1}, "b": {"n": 1}, "c": [{"n": 1}, {"n": 1}]}


def test_merge_key_brings_keys_that_the_own_ones_beat_with_their_own_lines() -> None:
    text = """\
base: &base {url: u, steps: 4}
other: &other {steps: 9, cfg: 1}
own:
  steps: 8
  <<: [*base, *other]
"""
    document = parse(text, "f.yaml")

    assert document.data["own"] == {"url": "u", "steps": 8, "cfg": 1}
    assert document.line(("own", "steps")) == 4
    assert document.line(("own", "url")) == 1


def test_first_of_several_merged_blocks_wins() -> None:
    text = "a: &a {n: 1}\nb: &b {n: 2}\nc: {<<: [*a, *b]}\n"

    assert parse(text, "f.yaml").data["c"] == {"n": 1}


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (
            "a: 1\nb: 2\na: 3",
            ["f.yaml:3: a: stands twice: on line 1 and line 3"],
        ),
        (
            "x:\n  a: 1\n\n  'a': 2",
            ["f.yaml:4: x.a: stands twice: on line 2 and line 4"],
        ),
        (
            "l:\n- {a: 1, a: 2}",
            ["f.yaml:2: l[0].a: stands twice: on line 2 and line 2"],
        ),
        ("a: &x [1, *x]", ["f.yaml:1: a[1]: an alias may not contain itself"]),
        ("a: &x\n  b:\n    c: *x", ["f.yaml:1: a.b.c: an alias may not contain itself"]),
        ("a: !custom x", ["f.yaml:1: a: tags such as !custom mean nothing here"]),
        (
            "a: 1\nb: !!python/object/apply:os.system [id]",
            [
                "f.yaml:2: b: tags such as tag:yaml.org,2002:python/object/apply:os.system "
                "mean nothing here"
            ],
        ),
        (
            "a: !!binary aGk=",
            ["f.yaml:1: a: tags such as tag:yaml.org,2002:binary mean nothing here"],
        ),
        ("a:\n  1: x", ['f.yaml:2: a: expected text as key; quote it: "1"']),
        ("on: x", ['f.yaml:1: expected text as key; quote it: "on"']),
        ("~: x", ['f.yaml:1: expected text as key; quote it: "~"']),
        ("1.5: x", ['f.yaml:1: expected text as key; quote it: "1.5"']),
        ("? [a]\n: x", ['f.yaml:1: expected text as key; quote it: "?"']),
        ("a: {<<: 5}", ["f.yaml:1: a: a merge key takes keys and values"]),
        ("- 1\n- 2", ["f.yaml:1: expected keys and values"]),
        ("# list\n\n- 1", ["f.yaml:3: expected keys and values"]),
        ("just words", ["f.yaml:1: expected keys and values"]),
        (
            "a: 1\n---\nb: 2",
            [
                "f.yaml:2: not YAML: expected a single document in the stream "
                "but found another document (column 1)"
            ],
        ),
        (
            "a:\n\tb: 1",
            ["f.yaml:2: not YAML: found character that cannot start any token (column 1)"],
        ),
        ("a: 'x", ["f.yaml:1: not YAML: found unexpected end of stream (column 6)"]),
        (
            "a: b: c",
            ["f.yaml:1: not YAML: mapping values are not allowed in this context (column 5)"],
        ),
        ("a: *nobody", ["f.yaml:1: not YAML: found undefined alias (column 4)"]),
    ],
)
def test_problem_names_its_file_line_and_key(text: str, problems: list[str]) -> None:
    assert problems_of(text) == problems


def test_all_problems_are_told_at_once() -> None:
    text = """
        a: 1
        b: {c: !x 1, 5: 6}
        a: 2
        d: &d [*d]
    """
    assert problems_of(text) == [
        "f.yaml:2: b.c: tags such as !x mean nothing here",
        'f.yaml:2: b: expected text as key; quote it: "5"',
        "f.yaml:3: a: stands twice: on line 1 and line 3",
        "f.yaml:4: d[0]: an alias may not contain itself",
    ]


def test_quoted_number_or_switch_is_a_fine_key() -> None:
    assert parse("\"on\": 1\n'5': 2\n", "f.yaml").data == {"on": 1, "5": 2}


@pytest.mark.parametrize("depth", [300, 5_000, 200_000])
@pytest.mark.parametrize("kind", ["a: {open}{close}", "a:\n{dashes}x"])
def test_deep_nesting_is_refused_and_crashes_nothing(kind: str, depth: int) -> None:
    text = kind.format(open="[" * depth, close="]" * depth, dashes="- " * min(depth, 5_000))

    told = problems_of(text)

    assert len(told) == 1
    assert re.fullmatch(r"f\.yaml:\d: (a: )?nested too deeply", told[0])


def test_aliases_that_multiply_are_refused_before_they_fill_the_memory() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]

    told = problems_of("\n".join(lines))

    assert len(told) == 1
    assert told[0].endswith("too many values")


def test_long_file_without_depth_is_read() -> None:
    text = "".join(f"style-{number}: {{prompt: 'x{{prompt}}'}}\n" for number in range(3000))

    assert len(parse(text, "f.yaml").data) == 3000


def test_file_is_read_with_or_without_byte_order_mark_and_in_any_line_ending(
    tmp_path: Path,
) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: \xe7\x8c\xab\r\nb: 2\r\n")

    document = read_document(path)

    assert document == Document(
        file=str(path), data={"a": "猫", "b": 2}, lines={(): 1, ("a",): 1, ("b",): 2}
    )


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"a: abc\xe9\n", "it is not UTF-8 (byte 6)"),
        ("a: 1\n".encode("utf-16"), "it is not UTF-8 (byte 0)"),
        (b"a: \x00\n", "not YAML: unacceptable character #x0000: "),
        (b"a: \x1b[31m\n", "not YAML: unacceptable character #x001b: "),
    ],
)
def test_bytes_that_are_no_text_are_a_problem_of_the_file(
    tmp_path: Path, data: bytes, told: str
) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(data)

    with pytest.raises(ConfigError) as caught:
        read_document(path)

    assert str(caught.value).startswith(f"{path}: {told}")


def test_path_that_is_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_document(tmp_path)

    assert str(caught.value) == f"{tmp_path}: cannot read it: Is a directory"


def test_examined_file_has_its_data_beside_its_problems(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("a: 1\na: 2\nb: !env X\nc: 3\n")

    document = examine(path)

    assert document.data == {"a": 2, "c": 3}
    assert [problem.line for problem in document.problems] == [2, 3]


@pytest.mark.parametrize("data", [b"a: [", b"\xff", b"- x"])
def test_examining_what_is_no_yaml_raises_nothing(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(data)

    document = examine(path)

    assert (document.data, len(document.problems)) == ({}, 1)
