"""A size in pixels, said in the words of each model."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from msgspec.structs import replace

from imagen_replicate.catalogue import Input, Model, known
from imagen_replicate.sizes import Fit, fit, nearest_sides

NAMES = sorted(known())
USUAL = [
    (1152, 896),
    (1024, 1024),
    (1536, 768),
    (832, 1216),
    (512, 512),
    (4096, 512),
    (1000, 1000),
]
SIDE = Input(type="integer", minimum=256, maximum=1440, multiple=32)


def model(name: str) -> Model:
    (found,) = (found for found in known().values() if found.short_name == name)
    return found


def live(**inputs: Input) -> Model:
    return Model(name="somebody/own-model", inputs=inputs)


def choices(*values: Any) -> Input:
    return Input(choices=values)


def assert_valid(found: Model, inputs: dict[str, Any]) -> None:
    for name, value in inputs.items():
        declared = found.inputs[name]
        kind = int if declared.type == "integer" else str
        assert type(value) is kind, name
        assert not declared.choices or value in declared.choices, (name, value)
        if isinstance(value, int):
            assert value % (declared.multiple or 8) == 0, (name, value)
            assert declared.minimum is None or value >= declared.minimum, (name, value)
            assert declared.maximum is None or value <= declared.maximum, (name, value)


# Every model


@pytest.mark.parametrize("size", USUAL)
@pytest.mark.parametrize("name", NAMES)
def test_every_model_takes_what_comes_of_a_size(name: str, size: tuple[int, int]) -> None:
    found = known()[name]

    made = fit(found, *size)

    assert made.inputs
    assert_valid(found, made.inputs)
    assert bool(made.note) is ((made.width, made.height) != size)
    if made.note:
        assert found.short_name in made.note
        assert f"{size[0]}x{size[1]}" in made.note
        assert "\n" not in made.note


@pytest.mark.parametrize("name", NAMES)
def test_every_model_takes_what_comes_of_any_size(name: str) -> None:
    found, drawn = known()[name], random.Random(name)
    for _ in range(200):
        size = drawn.randint(1, 5000), drawn.randint(1, 5000)
        made = fit(found, *size)

        assert_valid(found, made.inputs)
        assert bool(made.note) is ((made.width, made.height) != size)


@pytest.mark.parametrize("name", NAMES)
def test_shape_is_kept_where_the_model_can(name: str) -> None:
    found, drawn = known()[name], random.Random(name)
    for _ in range(200):
        width, height = drawn.randint(600, 4000), drawn.randint(600, 4000)
        made = fit(found, width, height)
        if "width" in made.inputs and 1 / 2 <= width / height <= 2:
            assert made.width
            assert made.height
            assert abs(math.log(made.width / made.height * height / width)) < 0.05


@pytest.mark.parametrize("name", NAMES)
def test_what_is_made_of_a_size_comes_out_the_same_again(name: str) -> None:
    found, drawn = known()[name], random.Random(name)
    for _ in range(100):
        made = fit(found, drawn.randint(1, 5000), drawn.randint(1, 5000))
        if made.width and made.height:
            again = fit(found, made.width, made.height)
            assert (again.width, again.height, again.note) == (made.width, made.height, "")


@pytest.mark.parametrize("name", NAMES)
def test_inputs_set_by_hand_are_never_sent_twice(name: str) -> None:
    found = known()[name]
    for key in ("aspect_ratio", "size", "resolution", "megapixels"):
        if key in found.inputs and found.inputs[key].choices:
            for value in found.inputs[key].choices:
                made = fit(found, 1152, 896, fixed={key: value})
                assert key not in made.inputs
                assert_valid(found, made.inputs)


# FLUX.1


@pytest.mark.parametrize(
    ("size", "ratio", "megapixels", "pixels"),
    [
        ((1024, 1024), "1:1", "1", (1024, 1024)),
        ((1152, 896), "4:3", "1", (1152, 896)),
        ((896, 1152), "3:4", "1", (896, 1152)),
        ((1344, 768), "16:9", "1", (1344, 768)),
        ((1920, 1080), "16:9", "1", (1344, 768)),
        ((1536, 768), "16:9", "1", (1344, 768)),
        ((832, 1216), "2:3", "1", (832, 1216)),
        ((1280, 1024), "5:4", "1", (1088, 896)),
        ((1200, 630), "16:9", "1", (1344, 768)),
        ((1500, 500), "21:9", "1", (1536, 640)),
        ((4096, 512), "21:9", "1", (1536, 640)),
        ((512, 4096), "9:21", "1", (640, 1536)),
        ((512, 512), "1:1", "0.25", (512, 512)),
        ((800, 500), "16:9", "0.25", (672, 384)),
        ((800, 501), "3:2", "1", (1216, 832)),
        ((1, 1), "1:1", "0.25", (512, 512)),
    ],
)
def test_flux_1_takes_a_ratio_and_one_of_two_tiers(
    size: tuple[int, int], ratio: str, megapixels: str, pixels: tuple[int, int]
) -> None:
    made = fit(model("flux-schnell"), *size)

    assert made.inputs == {"aspect_ratio": ratio, "megapixels": megapixels}
    assert (made.width, made.height) == pixels


def test_note_tells_the_ratio_whose_pixels_are_known() -> None:
    made = fit(model("flux-schnell"), 1536, 768)

    assert made.note == "flux-schnell makes 1344x768 (16:9) of 1536x768"


def test_input_image_of_flux_dev_decides_the_size() -> None:
    made = fit(model("flux-dev"), 1024, 768, images=True)

    assert made == Fit(
        {}, None, None, "flux-dev makes a picture of the input image's shape, not 1024x768"
    )


# Width and height


@pytest.mark.parametrize(
    ("name", "size", "made"),
    [
        ("flux-1.1-pro", (1152, 896), (1152, 896)),
        ("flux-1.1-pro", (1000, 1000), (992, 992)),
        ("flux-1.1-pro", (4096, 512), (1440, 256)),
        ("flux-1.1-pro", (512, 4096), (256, 1440)),
        ("flux-1.1-pro", (1920, 1080), (1440, 800)),
        ("flux-1.1-pro", (64, 64), (256, 256)),
        ("flux-1.1-pro", (64, 128), (256, 512)),
        ("flux-2-pro", (1920, 1080), (1920, 1088)),
        ("flux-2-pro", (4096, 4096), (2048, 2048)),
        ("flux-2-dev", (1536, 768), (1440, 736)),
        ("seedream-3", (512, 512), (512, 512)),
        ("seedream-3", (1000, 1001), (1000, 1000)),
        ("seedream-3", (4096, 512), (2048, 512)),
    ],
)
def test_custom_ratio_takes_sides_within_its_limits(
    name: str, size: tuple[int, int], made: tuple[int, int]
) -> None:
    found = fit(model(name), *size)

    assert found.inputs == {"aspect_ratio": "custom", "width": made[0], "height": made[1]}
    assert (found.width, found.height) == made


@pytest.mark.parametrize(
    ("size", "made"),
    [
        ((2048, 2048), (2048, 2048)),
        ((512, 512), (1024, 1024)),
        ((832, 1216), (1024, 1496)),
        ((4096, 512), (4096, 1024)),
        ((8192, 4096), (4096, 2048)),
    ],
)
def test_custom_size_is_scaled_up_to_its_minimum(
    size: tuple[int, int], made: tuple[int, int]
) -> None:
    found = fit(model("seedream-4"), *size)

    assert found.inputs == {"size": "custom", "width": made[0], "height": made[1]}


def test_note_of_a_custom_size_has_no_ratio() -> None:
    assert fit(model("flux-2-pro"), 4096, 512).note == "flux-2-pro makes 2048x256 of 4096x512"


def test_sides_without_a_ratio_are_sent_alone() -> None:
    found = live(prompt=Input(), width=Input(type="integer"), height=Input(type="integer"))

    assert fit(found, 1000, 600) == Fit({"width": 1000, "height": 600}, 1000, 600)
    assert fit(found, 1001, 600).inputs == {"width": 1000, "height": 600}


def test_sides_beside_ratios_that_know_no_custom_are_left_alone() -> None:
    found = live(aspect_ratio=choices("1:1", "2:1"), width=SIDE, height=SIDE)

    assert fit(found, 1000, 500).inputs == {"aspect_ratio": "2:1"}


def test_sides_may_be_a_list_of_numbers() -> None:
    side = Input(type="integer", choices=(512, 768, 1024))

    assert fit(live(width=side, height=side), 700, 4000).inputs == {"width": 512, "height": 1024}
    assert fit(live(width=side, height=side), 768, 512) == Fit(
        {"width": 768, "height": 512}, 768, 512
    )


@pytest.mark.parametrize("side", [(16, 16), (17, 23), (1, 1), (0, 0)])
def test_limits_with_no_multiple_between_them_are_kept(side: tuple[int, int]) -> None:
    odd = Input(type="integer", minimum=side[0], maximum=side[1], multiple=32)

    width, height = nearest_sides((1024, 512), odd, odd)

    assert max(1, side[0]) <= width <= max(1, side[1])
    assert max(1, side[0]) <= height <= max(1, side[1])


# Lists of sizes


@pytest.mark.parametrize(
    ("name", "size", "made"),
    [
        ("recraft-v3", (1024, 1024), "1024x1024"),
        ("recraft-v3", (1536, 768), "2048x1024"),
        ("recraft-v3", (1920, 1080), "1820x1024"),
        ("recraft-v3", (512, 4096), "1024x2048"),
        ("recraft-v4", (1152, 896), "1152x896"),
        ("recraft-v4-pro", (1152, 896), "2304x1792"),
    ],
)
def test_list_of_sizes_gives_the_nearest(name: str, size: tuple[int, int], made: str) -> None:
    found = fit(model(name), *size)

    assert found.inputs == {"size": made}
    assert f"{found.width}x{found.height}" == made


def test_sizes_of_one_shape_are_told_apart_by_their_area() -> None:
    found = live(size=choices("auto", "512x512", "1024x1024", "2048x2048"))

    assert fit(found, 600, 600).inputs == {"size": "512x512"}
    assert fit(found, 1500, 1500).inputs == {"size": "2048x2048"}


def test_resolution_is_used_where_it_has_the_very_size() -> None:
    ideogram = model("ideogram-v3-turbo")
    sizes = choices("None", "1152x896", "1536x640")
    found = replace(ideogram, inputs={**ideogram.inputs, "resolution": sizes})

    assert fit(found, 1152, 896) == Fit({"resolution": "1152x896"}, 1152, 896)
    assert fit(found, 1152, 864).inputs == {"aspect_ratio": "4:3"}
    assert fit(ideogram, 1152, 896).inputs == {"aspect_ratio": "5:4"}


def test_resolution_without_ratios_gives_the_nearest() -> None:
    found = live(resolution=choices("1152x896", "1536x640"))

    assert fit(found, 1600, 700).inputs == {"resolution": "1536x640"}


# Ratios and tiers


@pytest.mark.parametrize(
    ("name", "size", "inputs"),
    [
        ("nano-banana-2", (1024, 1024), {"aspect_ratio": "1:1", "resolution": "1K"}),
        ("nano-banana-2", (1500, 1500), {"aspect_ratio": "1:1", "resolution": "2K"}),
        ("nano-banana-2", (4096, 512), {"aspect_ratio": "8:1", "resolution": "1K"}),
        ("nano-banana-pro", (4096, 2304), {"aspect_ratio": "16:9", "resolution": "4K"}),
        ("seedream-5-lite", (1024, 1024), {"aspect_ratio": "1:1", "size": "2K"}),
        ("seedream-5-lite", (3000, 3000), {"aspect_ratio": "1:1", "size": "3K"}),
        ("qwen-image", (1024, 1024), {"aspect_ratio": "1:1"}),
        ("flux-kontext-pro", (1536, 768), {"aspect_ratio": "2:1"}),
        ("stable-diffusion-3.5-large", (1024, 768), {"aspect_ratio": "5:4"}),
        ("imagen-4", (1000, 1000), {"aspect_ratio": "1:1"}),
        ("flux-2-klein-4b", (1920, 1080), {"aspect_ratio": "16:9"}),
    ],
)
def test_ratio_and_tier_come_nearest(
    name: str, size: tuple[int, int], inputs: dict[str, Any]
) -> None:
    made = fit(model(name), *size)

    assert made.inputs == inputs
    assert (made.width, made.height) == (None, None)


def test_note_tells_that_the_pixels_are_not_known() -> None:
    assert fit(model("qwen-image"), 1600, 900).note == (
        "qwen-image makes 16:9, whose pixels it decides itself, of 1600x900"
    )
    assert fit(model("nano-banana-2"), 1600, 900).note == (
        "nano-banana-2 makes 16:9 at 1K, whose pixels it decides itself, of 1600x900"
    )


def test_tiers_may_be_megapixels_of_any_spelling() -> None:
    found = live(aspect_ratio=choices("1:1"), output_megapixels=choices("0.5", "1", "2", "4"))
    assert fit(found, 1500, 1500).inputs == {"aspect_ratio": "1:1", "output_megapixels": "2"}

    found = live(megapixels=Input(type="integer", choices=(1, 2)))
    assert fit(found, 1500, 1500).inputs == {"megapixels": 2}
    assert "makes 2 MP, whose" in fit(found, 1500, 1500).note


def test_ratio_of_unequal_terms_is_the_same_ratio() -> None:
    found = live(aspect_ratio=choices("4:3", "14:10", "10:16"))

    assert fit(found, 1400, 1000).inputs == {"aspect_ratio": "14:10"}
    assert fit(found, 500, 800).inputs == {"aspect_ratio": "10:16"}


def test_words_are_no_ratios() -> None:
    found = live(aspect_ratio=choices("Not set", "custom", "match_input_image", "2:1", "wide"))

    assert fit(found, 1024, 1024).inputs == {"aspect_ratio": "2:1"}
    assert fit(live(aspect_ratio=choices("square", "wide")), 8, 8).inputs == {}


def test_ratio_without_a_list_is_a_common_one() -> None:
    assert fit(live(aspect_ratio=Input()), 1900, 1000).inputs == {"aspect_ratio": "16:9"}


def test_model_without_a_size_is_sent_none() -> None:
    assert fit(live(prompt=Input()), 640, 480) == Fit(
        {}, None, None, "own-model takes no size: it decides itself what to make of 640x480"
    )


# Input images, and what nobody asked for


def test_input_image_gives_the_shape_unless_a_size_is_asked_for() -> None:
    kontext = model("flux-kontext-pro")
    match = {"aspect_ratio": "match_input_image"}

    assert fit(kontext, 1024, 1024, images=True, asked=False) == Fit(match, None, None)
    assert fit(kontext, 1024, 1024, images=True).inputs == {"aspect_ratio": "1:1"}
    assert fit(kontext, 1024, 1024, asked=False).inputs == {"aspect_ratio": "1:1"}
    assert fit(model("seedream-4"), 9, 9, images=True, asked=False).inputs == match
    assert fit(model("flux-1.1-pro"), 512, 512, images=True, asked=False).inputs == {
        "aspect_ratio": "custom",
        "width": 512,
        "height": 512,
    }


def test_ratio_by_hand_is_stronger_than_the_input_image() -> None:
    made = fit(
        model("flux-kontext-pro"),
        1024,
        1024,
        images=True,
        asked=False,
        fixed={"aspect_ratio": "16:9"},
    )

    assert made == Fit({}, None, None)


def test_size_that_nobody_asked_for_needs_no_note() -> None:
    assert fit(model("qwen-image"), 1024, 1024, asked=False).note == ""
    assert fit(live(prompt=Input()), 1024, 1024, asked=False).note == ""


# By hand


@pytest.mark.parametrize(
    ("name", "fixed", "inputs", "pixels"),
    [
        ("flux-schnell", {"aspect_ratio": "16:9"}, {"megapixels": "1"}, (1344, 768)),
        ("flux-schnell", {"megapixels": "0.25"}, {"aspect_ratio": "4:3"}, (576, 448)),
        ("flux-schnell", {"aspect_ratio": "21:9", "megapixels": "0.25"}, {}, (768, 320)),
        ("flux-1.1-pro", {"aspect_ratio": "16:9"}, {}, None),
        ("flux-1.1-pro", {"aspect_ratio": "custom"}, {"width": 1152, "height": 896}, (1152, 896)),
        ("flux-2-pro", {"aspect_ratio": "16:9"}, {"resolution": "1 MP"}, None),
        ("flux-2-pro", {"resolution": "2 MP"}, {"aspect_ratio": "5:4"}, None),
        ("flux-2-pro", {"resolution": "match_input_image"}, {"aspect_ratio": "5:4"}, None),
        ("seedream-4", {"size": "2K"}, {"aspect_ratio": "4:3"}, None),
        ("seedream-4", {"aspect_ratio": "16:9"}, {"size": "1K"}, None),
        ("seedream-4", {"size": "custom"}, {"width": 1320, "height": 1024}, (1320, 1024)),
        ("recraft-v3", {"size": "1365x1024"}, {}, (1365, 1024)),
        ("recraft-v3", {"aspect_ratio": "16:9"}, {}, None),
        ("recraft-v4", {"aspect_ratio": "Not set"}, {"size": "1152x896"}, (1152, 896)),
        ("nano-banana-2", {"resolution": "4K"}, {"aspect_ratio": "5:4"}, None),
        ("ideogram-v3-turbo", {"resolution": "1536x640"}, {}, (1536, 640)),
    ],
)
def test_rest_is_chosen_to_go_with_what_is_set_by_hand(
    name: str, fixed: dict[str, Any], inputs: dict[str, Any], pixels: tuple[int, int] | None
) -> None:
    made = fit(model(name), 1152, 896, fixed=fixed)

    assert made.inputs == inputs
    assert (made.width, made.height) == (pixels or (None, None))


def test_side_by_hand_stays() -> None:
    made = fit(model("flux-2-pro"), 1024, 1024, fixed={"width": 1536})

    assert made.inputs == {"aspect_ratio": "custom", "height": 1024}
    assert (made.width, made.height) == (1536, 1024)
    assert made.note == "flux-2-pro makes 1536x1024 of 1024x1024"


def test_note_names_what_was_set_by_hand() -> None:
    assert fit(model("flux-2-pro"), 1000, 1000, fixed={"aspect_ratio": "16:9"}).note == (
        "flux-2-pro makes 16:9 at 1 MP, whose pixels it decides itself, of 1000x1000"
    )
    assert fit(
        model("flux-kontext-pro"), 1000, 1000, fixed={"aspect_ratio": "match_input_image"}
    ).note == ("flux-kontext-pro makes a picture of the input image's shape, not 1000x1000")


def test_what_the_model_does_not_have_by_hand_changes_nothing() -> None:
    assert fit(model("flux-2-pro"), 1024, 1024, fixed={"seed": 1}).inputs["width"] == 1024
