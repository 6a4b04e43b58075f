"""Options to Requests: defaults, styles, seeds, parameters, refusals."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core.app import App
from imagen_core.errors import ConfigError, UsageError
from imagen_core.resolve import parse_size, read_image, resolve_params
from imagen_core.terminal import Terminal
from imagen_core.types import MAX_SEED, Options, Param, Request, Text

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIG = """
styles:
  blog: {prompt: "{prompt}, wide", negative: "text"}
  plain: {prompt: "a {prompt} of {prompt}"}
  broken: {prompt: "no placeholder"}
backends:
  small: {type: mock, size: 64x32, steps: 9}
"""


@pytest.fixture
def resolve(tmp_path: Path) -> Callable[..., tuple[Request, ...]]:
    app = App.for_test(Terminal(), tmp_path, config=CONFIG)

    def resolve(prompt: str = "a cat", **options: Any) -> tuple[Request, ...]:
        return app.resolve(Options(prompt=prompt, **options))

    return resolve


def test_defaults_come_from_the_instance(resolve: Any) -> None:
    (request,) = resolve(backend="small", seed=7)

    assert request == Request(
        id=request.id,
        prompt="a cat",
        typed_prompt="a cat",
        backend="small",
        width=64,
        height=32,
        seed=7,
        steps=9,
        seed_asked=True,
    )


def test_mock_is_there_without_configuration(resolve: Any) -> None:
    (request,) = resolve()

    assert (request.backend, request.width, request.height) == ("mock", 1024, 1024)


def test_seed_is_drawn_when_none_is_typed(resolve: Any) -> None:
    seeds = {resolve()[0].seed for _ in range(20)}

    assert len(seeds) > 15
    assert all(1 <= seed < 2**31 for seed in seeds)


def test_seed_is_asked_for_if_somebody_chose_it(resolve: Any) -> None:
    assert [request.seed_asked for request in resolve(seed=41, count=2)] == [True, True]
    assert [request.seed_asked for request in resolve(count=2)] == [False, False]


def test_count_makes_consecutive_seeds_and_ids_of_their_own(resolve: Any) -> None:
    requests = resolve(seed=41, count=3)

    assert [request.seed for request in requests] == [41, 42, 43]
    assert len({request.id for request in requests}) == 3


def test_largest_seed_is_exact(resolve: Any) -> None:
    assert resolve(seed=MAX_SEED)[0].seed == 2**63 - 1


def test_style_wraps_the_prompt_and_joins_the_negatives(resolve: Any) -> None:
    (request,) = resolve(style="blog", negative="hands")

    assert (request.prompt, request.typed_prompt) == ("a cat, wide", "a cat")
    assert request.negative == "text, hands"


def test_style_fills_every_placeholder_and_nothing_else(resolve: Any) -> None:
    (request,) = resolve("{prompt} {x}", style="plain")

    assert request.prompt == "a {prompt} {x} of {prompt} {x}"


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"backend": "smal"}, "there is no backend 'smal'", "did you mean 'small'?"),
        ({"style": "blgo"}, "there is no style 'blgo'", "did you mean 'blog'?"),
        ({"style": "zzz"}, "there is no style 'zzz'", "there are: blog, broken, plain"),
        ({"size": "1024"}, "the size '1024' is not WIDTHxHEIGHT", "for instance --size 1024x768"),
        ({"size": "0x5"}, "the size '0x5' is out of range: 1 to 16384 pixels a side", ""),
        ({"seed": -1}, "the seed is at least 0, got -1", ""),
        ({"steps": -1}, "the number of steps is at least 0, got -1", ""),
        ({"count": 0}, "the count is 1 to 10000, got 0", ""),
        ({"seed": MAX_SEED, "count": 2}, f"seeds go up to {MAX_SEED}; {2**63} is too large", ""),
        (
            {"images": ("x.png",)},
            "the backend 'mock' takes no input images",
            "leave out --image",
        ),
        (
            {"params": {"formt": Text("png")}},
            "the backend 'mock' has no parameter 'formt'",
            "did you mean 'format'?",
        ),
        (
            {"prompt": "a\x1b[31mcat"},
            "the prompt has a control character (U+001B) at position 2",
            "remove it; newlines and tabs are fine",
        ),
        (
            {"negative": "a\x00"},
            "the negative prompt has a control character (U+0000) at position 2",
            "remove it; newlines and tabs are fine",
        ),
        ({"prompt": "a\udcff"}, "the prompt is not valid UTF-8 at position 2", ""),
    ],
)
def test_nonsense_is_refused(
    resolve: Any, options: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(**options)

    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_style_without_placeholder_is_a_configuration_error(resolve: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(style="broken")

    assert str(caught.value) == (
        f"{tmp_path}/imagen.yaml:5: styles.broken: the prompt of a style must have {{prompt}} in it"
    )


def test_newlines_tabs_and_empty_prompts_are_fine(resolve: Any) -> None:
    assert resolve("a\n\tcat")[0].prompt == "a\n\tcat"
    assert resolve("")[0].prompt == ""


@pytest.mark.parametrize("size", ["12x34", "12X34", "12×34", " 12x34 "])
def test_sizes_people_type(size: str) -> None:
    assert parse_size(size) == (12, 34)


PARAMS = (
    Param(name="text"),
    Param(name="number", type="int", minimum=1, maximum=9),
    Param(name="real", type="float", minimum=0),
    Param(name="flag", type="bool"),
    Param(name="any", type="json"),
    Param(name="kind", choices=("a", "b")),
)


@pytest.mark.parametrize(
    ("name", "typed", "value"),
    [
        ("text", Text("1.10"), "1.10"),
        ("text", Text("true"), "true"),
        ("number", Text("5"), 5),
        ("number", 6, 6),
        ("real", Text("5"), 5.0),
        ("real", Text("0.5"), 0.5),
        ("flag", Text("true"), True),
        ("any", Text('{"a": [1]}'), {"a": [1]}),
        ("any", Text("plain"), "plain"),
        ("kind", Text("a"), "a"),
    ],
)
def test_parameters_get_their_declared_type(name: str, typed: object, value: object) -> None:
    assert resolve_params("b", {name: typed}, PARAMS) == {name: value}


@pytest.mark.parametrize(
    ("name", "typed", "message"),
    [
        ("number", Text("x"), "the parameter number is int, got 'x'"),
        ("number", Text("1.5"), "the parameter number is int, got '1.5'"),
        ("number", Text("0"), "the parameter number is at least 1 and at most 9; got 0"),
        ("real", Text("-1"), "the parameter real is at least 0; got -1.0"),
        ("real", Text("NaN"), "the parameter real is float, got 'NaN'"),
        ("flag", Text("5"), "the parameter flag is bool, got '5'"),
        ("text", 5, "the parameter text is str, got '5'"),
        ("kind", Text("c"), "the parameter kind is one of a, b; got 'c'"),
    ],
)
def test_parameters_of_the_wrong_kind_are_refused(name: str, typed: object, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_params("b", {name: typed}, PARAMS)

    assert caught.value.message == message


def test_undeclared_parameters_are_json_where_they_parse() -> None:
    given = {"a": Text("1"), "b": Text("x y"), "c": "1", "d": 2}

    assert resolve_params("b", given, None) == {"a": 1, "b": "x y", "c": "1", "d": 2}


@pytest.mark.parametrize("key", ["prompt", "negative"])
def test_control_character_of_a_style_is_refused(tmp_path: Path, key: str) -> None:
    style = {"prompt": "{prompt}", "negative": "", key: "\\e[31m{prompt}"}
    block = ", ".join(f'{name}: "{text}"' for name, text in style.items())
    app = App.for_test(Terminal(), tmp_path, config=f"styles: {{red: {{{block}}}}}")

    with pytest.raises(UsageError, match=f"{key}.* of the style 'red' has a control character"):
        app.resolve(Options(prompt="a cat", style="red"))


def test_input_image_must_be_a_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")

    for path in (tmp_path / "pipe.png", Path("/dev/zero"), tmp_path):
        with pytest.raises(UsageError, match="is not a regular file"):
            read_image(str(path))


@pytest.mark.parametrize(("name", "flag"), [("steps", "--steps"), ("width", "--size")])
def test_parameter_that_is_a_flag_names_it(resolve: Any, name: str, flag: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(params={name: Text("5")})

    assert caught.value.hint == f"use {flag}"
