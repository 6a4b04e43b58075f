"""A block of the configuration as a struct, with every problem in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Struct

from imagen_core.blocks import convert, read_yaml, suggestion
from imagen_core.errors import ConfigError, PluginError
from imagen_core.yaml_file import parse


class Window(Struct, frozen=True, kw_only=True):
    width: int = 80
    side: Literal["left", "right"] = "left"


class Block(Struct, frozen=True, kw_only=True):
    url: str
    steps: Annotated[int, msgspec.Meta(ge=1)] = 4
    cfg: float = 1.0
    fast: bool = False
    mode: Literal["a", "b"] | None = None
    folder: Path = Path()
    window: Window | None = None
    windows: tuple[Window, ...] = ()
    limits: dict[str, int] = {}
    tags: list[str] = []
    keep_alive: str = msgspec.field(default="", name="keep-alive")

    def __post_init__(self) -> None:
        if self.url == "bad":
            raise ValueError("the url is bad")


def converted(text: str, leave: tuple[str, ...] = ()) -> tuple[Block | None, list[str]]:
    indented = "".join(f"  {line}\n" for line in text.splitlines())
    value, problems = convert(parse(f"b:\n{indented}", "f.yaml"), ("b",), Block, leave=leave)
    return value, [f"{p} ({p.hint})" if p.hint else str(p) for p in problems]


def test_block_is_converted_with_every_kind_of_value() -> None:
    value, problems = converted(
        "type: toy\nurl: http://x\nsteps: 8\ncfg: 2\nfast: on\nmode: b\nfolder: a/b\n"
        "window: {width: 10}\nwindows: [{side: right}]\nlimits: {x: 1}\ntags: [p, q]\n"
        "keep-alive: 5m",
        leave=("type",),
    )

    assert problems == []
    assert value == Block(
        url="http://x",
        steps=8,
        cfg=2.0,
        fast=True,
        mode="b",
        folder=Path("a/b"),
        window=Window(width=10),
        windows=(Window(side="right"),),
        limits={"x": 1},
        tags=["p", "q"],
        keep_alive="5m",
    )


def test_key_without_a_value_counts_as_left_out() -> None:
    assert converted("url: x\nsteps:\nwindow: ~\nmode: null") == (Block(url="x"), [])


def test_home_is_expanded_in_a_path_and_an_unknown_user_does_no_harm(imagen_home: Path) -> None:
    found = [converted(f"url: x\nfolder: {path}")[0] for path in ("~/a", "~nobody-here/a")]

    assert [block.folder for block in found if block] == [
        imagen_home / "a",
        Path("~nobody-here/a"),
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("steps: 5", "f.yaml:1: b.url: is missing"),
        ("url:", "f.yaml:2: b.url: is missing"),
        ("url: x\nstep: 5", "f.yaml:3: b.step: unknown key (did you mean 'steps'?)"),
        ("url: x\nstep:", "f.yaml:3: b.step: unknown key (did you mean 'steps'?)"),
        (
            "url: x\nkeep_alive: a",
            "f.yaml:3: b.keep_alive: unknown key (did you mean 'keep-alive'?)",
        ),
        (
            "url: x\nzzz: 1",
            "f.yaml:3: b.zzz: unknown key (the keys here are: cfg, fast, folder, keep-alive, "
            "limits, mode, steps, tags, type, url, window, windows)",
        ),
        ("url: x\nsteps: many", "f.yaml:3: b.steps: expected int, got str"),
        ('url: x\nsteps: "8"', "f.yaml:3: b.steps: expected int, got str"),
        ("url: x\nsteps: on", "f.yaml:3: b.steps: expected int, got bool"),
        ("url: x\nsteps: 1.5", "f.yaml:3: b.steps: expected int, got float"),
        ("url: x\nsteps: 0", "f.yaml:3: b.steps: expected int >= 1"),
        ("url: 5", "f.yaml:2: b.url: expected str, got int"),
        ("url: x\ncfg: high", "f.yaml:3: b.cfg: expected float, got str"),
        ("url: x\nfast: 1", "f.yaml:3: b.fast: expected bool, got int"),
        ("url: x\nmode: c", "f.yaml:3: b.mode: expected one of a, b"),
        ("url: x\nmode: 5", "f.yaml:3: b.mode: expected one of a, b"),
        ("url: x\nfolder: 5", "f.yaml:3: b.folder: expected Path, got int"),
        ("url: x\ntags: a", "f.yaml:3: b.tags: expected a list, got str"),
        ("url: x\ntags:\n- a\n- 5", "f.yaml:5: b.tags[1]: expected str, got int"),
        ("url: x\nlimits:\n  a: 1\n  b: x", "f.yaml:5: b.limits.b: expected int, got str"),
        ("url: x\nwindow: 5", "f.yaml:3: b.window: expected keys and values, got int"),
        ("url: x\nwindow:\n  side: up", "f.yaml:4: b.window.side: expected one of left, right"),
        (
            "url: x\nwindow:\n  widthh: 5",
            "f.yaml:4: b.window.widthh: unknown key (did you mean 'width'?)",
        ),
        (
            "url: x\nwindows:\n- {}\n- width: x",
            "f.yaml:5: b.windows[1].width: expected int, got str",
        ),
        ("url: bad", "f.yaml:1: b: the url is bad"),
    ],
)
def test_problem_in_a_block_names_its_path_file_and_line(text: str, problem: str) -> None:
    assert converted(text, leave=("type",)) == (None, [problem])


def test_block_that_is_no_block_is_a_problem() -> None:
    for text, shown in (("b: 5", "5"), ("b: [1]", "[1]"), ("b: x", "'x'")):
        _, problems = convert(parse(text, "f.yaml"), ("b",), Block)
        assert list(map(str, problems)) == [f"f.yaml:1: b: expected keys and values, got {shown}"]


def test_all_problems_of_a_block_are_told_at_once() -> None:
    _, problems = converted("steps: x\nnope: 1\nwindow: {width: w, side: s, also: 1}\ncfg: z")

    assert [problem.partition(" (")[0] for problem in problems] == [
        "f.yaml:2: b.steps: expected int, got str",
        "f.yaml:3: b.nope: unknown key",
        "f.yaml:4: b.window.width: expected int, got str",
        "f.yaml:4: b.window.side: expected one of left, right",
        "f.yaml:4: b.window.also: unknown key",
        "f.yaml:5: b.cfg: expected float, got str",
        "f.yaml:1: b.url: is missing",
    ]


def test_suggestion_is_the_nearest_name_or_all_of_them() -> None:
    found = [suggestion(word, ["steps", "size"], "there are") for word in ("stesp", "zzz")]

    assert found == ["did you mean 'steps'?", "there are: size, steps"]
    assert suggestion("x", [], "there are") == ""
    assert suggestion("x", ["tmux", "store", "tmux"], "there are") == "there are: store, tmux"


class A(Struct, tag_field="type", tag="a"):
    x: int


class B(Struct, tag_field="type", tag="b"):
    y: int


class Pick(Struct):
    k: A | B
    only: A | None = None


def picked(text: str) -> tuple[Pick | None, list[str]]:
    value, problems = convert(parse(text, "f.yaml"), ("b",), Pick)
    return value, list(map(str, problems))


def test_yaml_file_is_read_as_a_struct(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("width: 5\n")
    assert read_yaml(file, Window) == Window(width=5)

    file.write_text("width: a\nz: 1\n")
    with pytest.raises(ConfigError) as caught:
        read_yaml(file, Window)

    assert str(caught.value).splitlines() == [
        f"{file}:1: width: expected int, got str",
        f"{file}:2: z: unknown key",
    ]


def test_tag_says_which_struct_of_a_union_it_is() -> None:
    given = "b: {k: {type: b, y: 1}, only: {type: a, x: 2}}"

    assert picked(given) == (Pick(k=B(y=1), only=A(x=2)), [])
    assert picked("b: {k: {type: b, y: z}}") == (
        None,
        ["f.yaml:1: b.k: expected int, got str (at .y)"],
    )


class Faulty(Struct):
    x: int = 0

    def __post_init__(self) -> None:
        raise TypeError("a fault")


class Around(Struct):
    k: Faulty | B


@pytest.mark.parametrize("struct", [Faulty, Around])
def test_struct_whose_check_is_faulty_is_a_problem(struct: type[Struct]) -> None:
    text = "b: {x: 1}" if struct is Faulty else "b: {k: {type: Faulty, x: 1}}"

    _, problems = convert(parse(text, "f.yaml"), ("b",), struct)

    assert len(problems) == 1


def test_class_that_is_no_struct_is_a_fault_of_its_plugin() -> None:
    with pytest.raises(PluginError, match=r"the block 'b' can't be read: .*:NoStruct is no usable"):
        convert(parse("b: {x: 1}", "f.yaml"), ("b",), NoStruct)  # type: ignore[type-var]


class NoStruct:
    x: int = 0
