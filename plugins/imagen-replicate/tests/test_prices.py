"""What a making costs, and when nobody can say."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from imagen_replicate.catalogue import Model, Price, hardware, known
from imagen_replicate.prices import Estimate, estimate, is_old, price_text

MP = (1024, 1024)


def model(name: str) -> Model:
    (found,) = (found for found in known().values() if found.short_name == name)
    return found


def usd(name: str, inputs: Any = None, **others: Any) -> float | None:
    found = estimate(model(name), inputs or {}, **{"pixels": [MP], **others})
    return found.usd if found else None


@pytest.mark.parametrize(
    ("name", "inputs", "expected"),
    [
        ("flux-schnell", {}, 0.003),
        ("flux-dev", {}, 0.025),
        ("flux-1.1-pro", {}, 0.04),
        ("ideogram-v3-quality", {}, 0.09),
        ("flux-1.1-pro-ultra", {}, 0.06),
        ("flux-kontext-pro", {}, 0.04),
        ("flux-kontext-max", {}, 0.08),
        ("flux-dev-lora", {}, 0.032),
        ("flux-krea-dev", {}, 0.025),
        ("flux-kontext-dev", {}, 0.025),
        ("flux-pro", {}, 0.055),
        ("flux-2-pro", {}, 0.03),
        ("flux-2-max", {}, 0.07),
        ("flux-2-flex", {}, 0.06),
        ("flux-2-dev", {}, 0.012),
        ("flux-2-dev", {"go_fast": True}, 0.012),
        ("flux-2-dev", {"go_fast": False}, 0.014),
        ("flux-2-klein-4b", {}, 0.001),
        ("flux-2-klein-9b-base", {}, 0.011),
        ("flux-2-klein-9b", {}, 0.015),
        ("stable-diffusion-3.5-medium", {}, 0.035),
        ("stable-diffusion-3.5-large", {}, 0.065),
        ("stable-diffusion-3.5-large-turbo", {}, 0.04),
        ("nano-banana", {}, 0.039),
        ("nano-banana-2", {}, 0.067),
        ("nano-banana-2", {"resolution": "2K"}, 0.101),
        ("nano-banana-2", {"resolution": "4K"}, 0.151),
        ("nano-banana-pro", {}, 0.15),
        ("nano-banana-pro", {"resolution": "1K"}, 0.15),
        ("nano-banana-pro", {"resolution": "4K"}, 0.3),
        ("seedream-3", {}, 0.03),
        ("seedream-4", {}, 0.03),
        ("seedream-4.5", {}, 0.04),
        ("seedream-5-lite", {}, 0.035),
        ("qwen-image", {}, 0.025),
        ("recraft-v3", {}, 0.04),
        ("recraft-v4-pro", {}, 0.25),
    ],
)
def test_picture_of_a_megapixel_costs(name: str, inputs: Any, expected: float) -> None:
    assert usd(name, inputs) == expected


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("flux-2-pro", {"input_pixels": [MP]}, 0.045),
        ("flux-2-pro", {"input_pixels": [(1500, 1500)]}, 0.075),
        ("flux-2-max", {"input_pixels": [MP, MP]}, 0.13),
        ("flux-2-flex", {"input_pixels": [MP]}, 0.12),
        ("flux-2-dev", {"input_pixels": [MP]}, 0.024),
        ("flux-2-klein-4b", {"input_pixels": [MP]}, 0.002),
        ("flux-2-klein-9b", {"input_pixels": [MP]}, 0.017),
        ("flux-2-klein-9b-base", {"input_pixels": [MP]}, 0.022),
        ("flux-dev", {"input_pixels": [(4000, 4000)]}, 0.025),
        ("flux-dev", {"input_pixels": [None]}, 0.025),
    ],
)
def test_input_pictures_cost_where_the_model_says_so(
    name: str, given: Any, expected: float
) -> None:
    assert usd(name, **given) == expected


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        ([(1024, 1024)], 0.03),
        ([(1025, 1024)], 0.045),
        ([(256, 256)], 0.03),
        ([(2048, 2048)], 0.075),
        ([(1025, 1024), (1025, 1024)], 0.075),
    ],
)
def test_megapixels_are_rounded_up_for_each_picture(pixels: Any, expected: float) -> None:
    assert usd("flux-2-pro", pixels=pixels) == expected


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"resolution": "0.5 MP"}, 0.0225),
        ({"resolution": "0.5 MP", "aspect_ratio": "16:9"}, 0.0225),
        ({"resolution": "0.5 MP", "aspect_ratio": "custom"}, 0.03),
        ({"resolution": "1 MP"}, 0.03),
    ],
)
def test_half_a_megapixel_is_half_unless_the_size_is_custom(inputs: Any, expected: float) -> None:
    assert usd("flux-2-pro", inputs) == expected


@pytest.mark.parametrize(
    ("inputs", "given", "expected"),
    [
        ({"num_outputs": 4}, {}, 0.012),
        ({"num_outputs": 4}, {"images": 4, "pixels": [MP] * 3}, 0.012),
        ({"num_outputs": 4}, {"images": 3}, 0.009),
        ({}, {"pixels": [None]}, 0.003),
        ({}, {"pixels": []}, 0.003),
        ({"num_outputs": "four"}, {}, None),
        ({}, {"images": 0}, None),
    ],
)
def test_pictures_are_counted_as_replicate_counts_them(
    inputs: Any, given: Any, expected: float | None
) -> None:
    assert usd("flux-schnell", inputs, **given) == expected


def test_series_without_a_number_is_counted_by_its_pictures() -> None:
    assert usd("seedream-4", {"max_images": 3}, pixels=[None] * 3) == 0.09


@pytest.mark.parametrize(
    ("name", "inputs", "given"),
    [
        ("flux-2-pro", {}, {"pixels": [None]}),
        ("flux-2-pro", {}, {"pixels": []}),
        ("flux-2-pro", {}, {"pixels": [MP], "images": 2}),
        ("flux-2-pro", {}, {"input_pixels": [None]}),
        ("nano-banana-2", {"resolution": "8K"}, {}),
        ("flux-2-dev", {"go_fast": None}, {}),
    ],
)
def test_price_is_unknown_where_anything_is(name: str, inputs: Any, given: Any) -> None:
    assert usd(name, inputs, **given) is None


def test_seconds_are_priced_by_the_machine() -> None:
    own = Model(name="a/b", prices=(hardware()["l40s"],))

    assert estimate(own, {}, pixels=[None]) is None
    assert estimate(own, {}, pixels=[None], predict_time=3.3333333) == Estimate(
        0.00325, "0.000975 USD a second (replicate.com/pricing, 2026-05-04)", "2026-05-04"
    )


def test_model_without_prices_has_no_estimate() -> None:
    assert estimate(Model(name="a/b"), {}, pixels=[MP]) is None
    assert price_text(Model(name="a/b")) == "unknown"


def test_basis_tells_prices_sources_and_the_oldest_date() -> None:
    found = estimate(model("flux-schnell"), {}, pixels=[MP])
    assert found == Estimate(
        0.003, "0.003 USD an image (replicate.com/pricing, 2026-10-07)", "2026-10-07"
    )

    prices = (
        Price(per="run", usd=0.01, source="one", date="2026-03-02"),
        Price(per="megapixel", usd=0.00001, source="two", date="2026"),
    )
    assert estimate(Model(name="a/b", prices=prices), {}, pixels=[MP]) == Estimate(
        0.01001, "0.01 USD a run + 0.00001 a megapixel (one, two, 2026)", "2026"
    )


def test_input_pictures_are_told_of_where_there_are_any() -> None:
    found = estimate(model("flux-2-pro"), {}, pixels=[MP], input_pixels=[MP])

    assert found
    assert found.basis.startswith("0.015 USD a run + 0.015 a megapixel + 0.015 an input megapixel")


@pytest.mark.parametrize(
    ("told", "today", "old"),
    [
        ("2026-10-07", date(2027, 1, 7), False),
        ("2026-10-07", date(2027, 1, 8), True),
        ("2026-10-07", date(2026, 1, 1), False),
        ("2026-10", date(2027, 1, 1), False),
        ("2026-10", date(2027, 1, 2), True),
        ("2026", date(2026, 4, 3), False),
        ("2026", date(2026, 4, 4), True),
    ],
)
def test_price_is_old_after_a_quarter(told: str, today: date, old: bool) -> None:
    assert is_old(told, today) is old


@pytest.mark.parametrize("name", sorted(known()))
def test_every_date_and_text_of_the_file_can_be_read(name: str) -> None:
    found = known()[name]

    assert all(is_old(price.date, date(2030, 1, 1)) for price in found.prices)
    assert price_text(found) != "unknown"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("flux-schnell", "0.003 an image"),
        ("flux-2-pro", "0.015 a run + 0.015 a megapixel"),
        ("flux-2-dev", "0.012 to 0.014 a megapixel"),
        ("nano-banana-2", "0.067 to 0.151 an image"),
        ("nano-banana-pro", "0.15 to 0.3 an image"),
    ],
)
def test_price_text_is_short(name: str, text: str) -> None:
    assert price_text(model(name)) == text
