"""The mock backend: the same picture again, and every path to try."""

from __future__ import annotations

import itertools
from io import BytesIO
from typing import TYPE_CHECKING, Any

import PIL.Image
import pytest

from imagen_core import Cost, Image, ImagenError, Progress, Request
from imagen_core.blocks import convert
from imagen_core.errors import ERRORS
from imagen_core.mock import MockBackend, MockConfig
from imagen_core.yaml_file import parse

if TYPE_CHECKING:
    from imagen_core import Event

HOUR_MS = 3_600_000


def request(prompt: str = "a cat in a fishbowl", **changes: Any) -> Request:
    values = {"width": 96, "height": 64, "seed": 42, **changes}
    return Request(id="r1", prompt=prompt, typed_prompt=prompt, backend="mock", **values)


def events(config: MockConfig | None = None, **changes: Any) -> list[Event]:
    """What it yields, but for what only says that it still draws, on a busy machine."""
    found = MockBackend(config or MockConfig()).generate(request(**changes))
    return [event for event in found if event != Progress()]


def picture(config: MockConfig | None = None, **changes: Any) -> Image:
    last = events(config, **changes)[-1]
    assert isinstance(last, Image)
    return last


def test_same_request_gives_the_same_bytes() -> None:
    assert picture() == picture()


@pytest.mark.parametrize(
    "changes", [{"prompt": "a dog"}, {"seed": 43}, {"width": 97}], ids=["prompt", "seed", "size"]
)
def test_another_prompt_seed_or_size_gives_another_picture(changes: dict[str, Any]) -> None:
    assert picture(**changes).data != picture().data


def test_id_decides_nothing() -> None:
    backend = MockBackend(MockConfig())
    other = Request(
        id="r2", prompt="p", typed_prompt="typed", backend="b", width=8, height=8, seed=1
    )

    same = [list(backend.generate(r))[-1] for r in (other, request("p", width=8, height=8, seed=1))]

    assert same[0] == same[1]


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (64, 64), (640, 200), (333, 777)])
@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_picture_has_the_size_and_type_that_were_asked_for(
    kind: str, size: tuple[int, int]
) -> None:
    found = picture(width=size[0], height=size[1], params={"format": kind})

    with PIL.Image.open(BytesIO(found.data)) as image:
        image.load()
        assert (image.format, image.size) == (kind.upper(), size)
    assert (found.mime, found.seed) == (f"image/{kind}", 42)
    assert found.metadata == {"model": "mock-landscape", "steps": 4, "format": kind}


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1, 2**63 - 1])
def test_any_seed_is_honoured(seed: int) -> None:
    assert picture(seed=seed).seed == seed


def test_progress_goes_step_by_step_and_is_done_with_the_picture_alone() -> None:
    found = events(steps=3)

    assert found[:-1] == [
        Cost(usd=0, basis="local"),
        Progress(fraction=0 / 3, step=0, steps=3),
        Progress(fraction=1 / 3, step=1, steps=3),
        Progress(fraction=2 / 3, step=2, steps=3),
    ]
    assert isinstance(found[-1], Image)


def test_block_gives_the_defaults_and_a_parameter_beats_it() -> None:
    config = MockConfig(steps=2, format="webp")

    assert picture(config).metadata == {"model": "mock-landscape", "steps": 2, "format": "webp"}
    changed = picture(config, steps=5, params={"format": "png"})
    assert changed.metadata == {"model": "mock-landscape", "steps": 5, "format": "png"}


CODES = ["failed", "usage", "credentials", "rejected", "unavailable", "cancelled"]


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("code", CODES)
def test_it_fails_as_it_was_told(code: str, steps: int) -> None:
    with pytest.raises(ImagenError) as caught:
        events(steps=steps, params={"fail": code})

    assert type(caught.value) is ERRORS[code]
    assert caught.value.message == f"the mock was told to fail with '{code}'"
    assert caught.value.hint != ""


def test_it_crashes_as_it_was_told() -> None:
    with pytest.raises(RuntimeError, match="the mock was told to fail with 'crash'"):
        events(MockConfig(fail="crash"))


def test_empty_code_in_a_parameter_cancels_the_one_of_the_block() -> None:
    assert picture(MockConfig(fail="rejected"), params={"fail": ""}) == picture()


def test_it_fails_in_the_middle_and_not_at_once() -> None:
    backend = MockBackend(MockConfig(fail="failed"))
    stream = backend.generate(request(steps=4))

    seen = [next(stream) for _ in range(4)]

    assert [event.step for event in seen if isinstance(event, Progress)] == [0, 1, 2]
    with pytest.raises(ImagenError):
        next(stream)


def test_slow_mock_goes_on_yielding_and_closes_at_once() -> None:
    stream = MockBackend(MockConfig(delay_ms=HOUR_MS)).generate(request())
    _, *first = itertools.islice(stream, 6)

    stream.close()

    assert first == [Progress(fraction=0.0, step=0, steps=4)] * 5
    assert list(stream) == []


def test_large_picture_can_be_cancelled_while_it_is_drawn() -> None:
    stream = MockBackend(MockConfig(steps=1)).generate(request(width=4000, height=4000))
    _cost, _step, drawing = itertools.islice(stream, 3)

    stream.close()

    assert drawing == Progress()
    assert list(stream) == []


def test_slow_mock_gives_the_same_picture() -> None:
    assert picture(params={"delay_ms": 4}) == picture()


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        " ",
        "猫が金魚鉢に",
        "🐱👨‍👩‍👧",
        "x" * 50_000,
        "word " * 10_000,
        "two\nlines\tand a tab",
        "\0\x1b[31m\x7f",
        "\ud800",
        "%s {0} {prompt} \\",
        "\u202eevil\u2028",
    ],
    ids=lambda prompt: ascii(prompt[:20]),
)
def test_hostile_prompt_is_drawn_like_any_other(prompt: str) -> None:
    found = picture(prompt=prompt)

    with PIL.Image.open(BytesIO(found.data)) as image:
        image.load()
        assert image.size == (96, 64)


def test_it_costs_nothing_and_is_always_there() -> None:
    backend = MockBackend(MockConfig())

    assert backend.estimate(request()) == Cost(usd=0, basis="local")
    assert (backend.status().ok, backend.probe().ok, backend.resource) == (True, True, None)


def test_it_says_what_it_honours_and_takes() -> None:
    about = MockBackend(MockConfig(size="64x32", steps=9)).about

    assert (about.model, about.size, about.steps) == ("mock-landscape", "64x32", 9)
    assert about.honours == {"size", "seed", "steps"}
    params = {param.name: param.default for param in about.params or ()}
    assert params == {"format": "png", "delay_ms": 0, "fail": ""}


@pytest.mark.parametrize(
    ("block", "key"),
    [
        ("{steps: 0}", "mock.steps"),
        ("{steps: -1}", "mock.steps"),
        ("{steps: 10001}", "mock.steps"),
        ("{delay_ms: -5}", "mock.delay_ms"),
        ("{delay_ms: soon}", "mock.delay_ms"),
        ("{size: big}", "mock.size"),
        ("{format: bmp}", "mock.format"),
        ("{fail: partial}", "mock.fail"),
        ("{fail: oops}", "mock.fail"),
        ("{delay: 5}", "mock.delay"),
    ],
)
def test_block_that_makes_no_sense_is_a_problem_with_its_key(block: str, key: str) -> None:
    _, problems = convert(parse(f"mock: {block}", "f.yaml"), ("mock",), MockConfig)

    assert [(problem.key, problem.line) for problem in problems] == [(key, 1)]
