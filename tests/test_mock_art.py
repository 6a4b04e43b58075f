"""The mock's picture: the same pixels everywhere, at any size, for any prompt."""

from __future__ import annotations

from hashlib import sha256

import pytest

from imagen_core.mock_art import draw
from imagen_core.mock_letters import written

PIXELS = {
    (
        "a cat in a fishbowl",
        42,
        256,
        192,
    ): "b026a73bf63733f74a7e56f16b3930d504319d4d0b13c654e42e48780a5fb26c",
    (
        "Ünïcode… “quotes” 猫",
        2**63 - 1,
        128,
        300,
    ): "73d98a3baf40d8ba0ec1664a4474e08b620ee5a974e143d6a1969091f206026e",
    ("", 1, 97, 97): "0a827ce1f65ab3d29f115f7de6ac36ded71392e4d1e2e0cea016a6443f71c5e3",
}


@pytest.mark.parametrize("case", PIXELS, ids=lambda case: case[2])
def test_pixels_are_the_same_everywhere(case: tuple[str, int, int, int]) -> None:
    prompt, seed, width, height = case

    picture = draw(prompt, seed=seed, width=width, height=height)

    assert sha256(picture.tobytes()).hexdigest() == PIXELS[case]


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (64, 64), (4096, 64), (64, 4096)], ids=str)
def test_any_size_is_drawn(size: tuple[int, int]) -> None:
    assert draw("a cat", seed=1, width=size[0], height=size[1]).size == size


def test_seeds_and_prompts_make_pictures_of_their_own() -> None:
    pictures = {
        draw(prompt, seed=seed, width=64, height=64).tobytes()
        for prompt in ("a cat", "a dog")
        for seed in range(10)
    }

    assert len(pictures) == 20


def test_prompt_is_written_on_it() -> None:
    blank, short, long = (
        draw(prompt, seed=1, width=300, height=300).crop((0, 240, 300, 300)).tobytes()
        for prompt in ("", "a cat", "a cat " * 5000)
    )

    assert len({blank, short, long}) == 3


@pytest.mark.parametrize(
    ("one", "other"), [("猫", "犬"), ("Кот", "Пёс"), ("قطة", "كلب"), ("แมว", "หมา"), ("🙂", "🐈")]
)
def test_every_script_is_written(one: str, other: str) -> None:
    first, second = (written(text, 2, 400, rows=1) for text in (one, other))

    assert first[0].tobytes() != second[0].tobytes()


def test_right_to_left_text_begins_at_the_right() -> None:
    [word], [both] = (written(text, 2, 400, rows=1) for text in ("قطة", "قطة سمك"))

    tail = both.crop((both.width - word.width, 0, both.width, both.height))
    assert tail.tobytes() == word.tobytes()


@pytest.mark.parametrize("text", ["猫" * 900, "кошка " * 300, "a" * 900])
def test_long_text_keeps_to_the_measure(text: str) -> None:
    masks = written(text, 3, 500, rows=3)

    assert len(masks) == 3
    assert max(mask.width for mask in masks) <= 500
