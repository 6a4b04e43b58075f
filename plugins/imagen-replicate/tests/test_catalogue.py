"""What is known of each model, and what a live schema makes known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import imagen_replicate.catalogue as catalogue_module
from imagen_core import Param
from imagen_replicate.catalogue import (
    Input,
    Model,
    Price,
    from_schema,
    hardware,
    known,
    merged,
    model_of,
)

FLUX = "black-forest-labs/flux-schnell"
RATIOS = ("1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21")
NAMES = sorted(known())


def model(name: str) -> Model:
    """The one model of the catalogue with this short name."""
    (found,) = (found for found in known().values() if found.short_name == name)
    return found


def raw_file() -> Any:
    return json.loads(Path(catalogue_module.__file__).with_name("models.json").read_text("utf-8"))


def schema(properties: Any, required: Any = (), **others: Any) -> dict[str, Any]:
    form = {"type": "object", "properties": properties, "required": list(required)}
    return {"components": {"schemas": {"Input": form, **others}}}


def inputs_of(properties: Any, **others: Any) -> dict[str, Input]:
    return from_schema("a/b", schema(properties, **others)).inputs


# The file


def test_file_is_alphabetical_and_has_35_models() -> None:
    file = raw_file()

    assert list(file["models"]) == sorted(file["models"])
    assert list(file["help"]) == sorted(file["help"])
    assert list(file["hardware"]) == sorted(file["hardware"])
    assert len(file["models"]) == 35


def test_file_has_no_unknown_keys_and_no_help_for_nothing() -> None:
    file = raw_file()
    used = {name for entry in file["models"].values() for name in entry.get("inputs", ())}

    assert set(file) == {"schema", "currency", "hardware", "help", "models"}
    assert set(file["help"]) <= used
    for name, entry in file["models"].items():
        assert set(entry) <= set(Model.__struct_fields__) - {"name"} | {"like"}, name


def test_model_that_is_like_another_repeats_nothing_of_it() -> None:
    entries = raw_file()["models"]
    for name, entry in entries.items():
        if other := entry.get("like"):
            base = {**entries[entries[other].get("like", other)]["inputs"]}
            base |= entries[other].get("inputs", {})
            same = [key for key, value in entry.get("inputs", {}).items() if base.get(key) == value]
            assert not [key for key in same if entry["inputs"][key] is not None], name


def test_prices_of_a_model_are_one_to_a_line() -> None:
    lines = Path(catalogue_module.__file__).with_name("models.json").read_text("utf-8").splitlines()
    count = sum(len(entry["prices"]) for entry in raw_file()["models"].values())

    assert sum('"usd"' in line for line in lines) == count + len(hardware())


@pytest.mark.parametrize("name", NAMES)
def test_every_model_is_described_in_full(name: str) -> None:
    found = known()[name]

    assert found.name == name
    assert found.inputs["prompt"] == Input(type="string", required=True)
    assert found.prices
    assert all(price.usd > 0 and price.source and price.date for price in found.prices)
    assert 60 <= found.seconds <= 240
    assert found.expected_mime(found.format_input({})) in ("image/png", "image/jpeg", "image/webp")


@pytest.mark.parametrize("name", NAMES)
def test_defaults_and_limits_of_every_input_agree(name: str) -> None:
    for key, found in known()[name].inputs.items():
        low, high = found.minimum, found.maximum
        assert low is None or high is None or low < high, key
        if found.default is None:
            continue
        assert not found.choices or found.default in found.choices, key
        assert low is None or found.default >= low, key
        assert high is None or found.default <= high, key


@pytest.mark.parametrize("name", NAMES)
def test_every_input_is_either_a_param_with_help_or_has_a_flag(name: str) -> None:
    found = known()[name]
    params = found.params()

    assert {param.name for param in params} | set(found.flags()) == set(found.inputs)
    assert not {param.name for param in params} & set(found.flags())
    assert all(param.help for param in params if param.listed)


def test_file_says_which_models_are_not_known_in_full() -> None:
    partial = [found.short_name for found in known().values() if found.partial]
    gone = [found.short_name for found in known().values() if found.gone]

    assert partial == [
        "flux-2-klein-4b",
        "flux-2-klein-9b",
        "flux-2-klein-9b-base",
        "flux-kontext-dev",
        "ideogram-v3-balanced",
        "ideogram-v3-quality",
        "ideogram-v3-turbo",
        "recraft-v3",
        "recraft-v4",
    ]
    assert gone == ["seedream-3", "imagen-4"]


def test_hardware_rates_are_prices_of_a_second() -> None:
    expected = {"a100_80gb": 0.0014, "cpu": 0.0001, "h100": 0.001525, "l40s": 0.000975}

    assert {name: price.usd for name, price in hardware().items()} == {**expected, "t4": 0.000225}
    assert {price.per for price in hardware().values()} == {"second"}


# One model


def test_schnell_is_dev_without_guidance_and_images() -> None:
    schnell = known()[FLUX]

    assert list(schnell.inputs) == [
        "prompt",
        "aspect_ratio",
        "megapixels",
        "num_outputs",
        "num_inference_steps",
        "seed",
        "output_format",
        "output_quality",
        "disable_safety_checker",
        "go_fast",
    ]
    assert schnell.inputs["num_inference_steps"] == Input(
        type="integer", default=4, minimum=1, maximum=4
    )
    assert schnell.seconds == 60
    assert schnell.pixels == model("flux-dev").pixels
    assert schnell.pixels["21:9"] == (1536, 640)


@pytest.mark.parametrize(
    ("name", "steps", "guidance", "image", "images"),
    [
        ("flux-schnell", "num_inference_steps", "", "", 0),
        ("flux-dev", "num_inference_steps", "guidance", "image", 1),
        ("flux-2-flex", "steps", "guidance", "input_images", 10),
        ("flux-2-pro", "", "", "input_images", 8),
        ("flux-2-dev", "", "", "input_images", 4),
        ("flux-2-klein-9b-base", "", "guidance", "images", 5),
        ("flux-pro", "", "guidance", "image_prompt", 1),
        ("flux-kontext-pro", "", "", "input_image", 1),
        ("stable-diffusion-3.5-medium", "", "cfg", "image", 1),
        ("seedream-3", "", "guidance_scale", "", 0),
        ("seedream-4", "", "", "image_input", 10),
    ],
)
def test_models_call_the_same_thing_by_different_names(
    name: str, steps: str, guidance: str, image: str, images: int
) -> None:
    found = model(name)

    assert (found.steps_key, found.guidance_key, found.image_key) == (steps, guidance, image)
    assert found.takes_images == images


def test_seeds_and_negative_prompts_are_not_for_every_model() -> None:
    assert model("flux-dev").takes_seed
    assert not model("nano-banana").takes_seed
    assert model("qwen-image").takes_negative
    assert not model("flux-dev").takes_negative


@pytest.mark.parametrize(
    ("name", "inputs", "exact"),
    [
        ("flux-schnell", {}, False),
        ("flux-schnell", {"go_fast": True}, False),
        ("flux-schnell", {"go_fast": False}, True),
        ("flux-2-klein-4b", {}, True),
        ("flux-1.1-pro", {}, True),
        ("nano-banana", {}, False),
    ],
)
def test_seed_is_exact_unless_go_fast(name: str, inputs: dict[str, Any], exact: bool) -> None:
    assert model(name).seed_is_exact(inputs) is exact


def test_flags_name_what_to_use_instead() -> None:
    assert model("flux-2-flex").flags() == {
        "prompt": "the prompt itself",
        "seed": "--seed",
        "width": "--size",
        "height": "--size",
        "steps": "--steps",
        "input_images": "--image",
    }
    assert model("qwen-image").flags()["negative_prompt"] == "--negative"
    assert "num_inference_steps" in model("qwen-image").flags()


def test_params_carry_types_choices_and_ranges() -> None:
    params = {param.name: param for param in model("flux-dev-lora").params()}

    assert params["megapixels"] == Param(
        name="megapixels",
        default="1",
        choices=("1", "0.25"),
        help="about how many megapixels, where --size is not enough",
    )
    assert params["num_outputs"] == Param(
        name="num_outputs",
        type="int",
        default=1,
        minimum=1,
        maximum=4,
        help="how many pictures of one seed, each of them billed",
    )
    assert params["lora_scale"].type == "float"
    assert params["go_fast"].type == "bool"
    assert not params["hf_api_token"].listed


def test_params_of_no_use_are_not_listed() -> None:
    params = {param.name: param for param in model("flux-pro").params()}

    assert [name for name, param in params.items() if not param.listed] == ["steps", "interval"]


def test_list_of_files_is_json() -> None:
    params = {param.name: param for param in model("ideogram-v3-turbo").params()}

    assert params["style_reference_images"].type == "json"


@pytest.mark.parametrize(
    ("name", "given", "sent"),
    [
        ("flux-schnell", {}, {"output_format": "png"}),
        ("flux-schnell", {"output_format": "jpg"}, {}),
        ("flux-schnell", {"output_format": "jpeg"}, {"output_format": "jpg"}),
        ("seedream-5-lite", {"output_format": "jpg"}, {"output_format": "jpeg"}),
        ("seedream-5-lite", {"output_format": "jpeg"}, {}),
        ("seedream-4", {}, {}),
    ],
)
def test_png_is_asked_for_unless_another_format_is(
    name: str, given: dict[str, Any], sent: dict[str, str]
) -> None:
    assert model(name).format_input(given) == sent


@pytest.mark.parametrize(
    ("name", "inputs", "mime"),
    [
        ("flux-schnell", {}, "image/webp"),
        ("flux-schnell", {"output_format": "png"}, "image/png"),
        ("flux-schnell", {"output_format": "gif"}, ""),
        ("seedream-5-lite", {"output_format": "jpeg"}, "image/jpeg"),
        ("ideogram-v3-turbo", {}, "image/png"),
    ],
)
def test_expected_mime_is_that_of_the_format(name: str, inputs: dict[str, Any], mime: str) -> None:
    assert model(name).expected_mime(inputs) == mime


def test_model_of_a_pinned_version_is_not_known_for_certain() -> None:
    pinned = model_of(f"{FLUX}:c846a69991da")

    assert model_of(FLUX) is known()[FLUX]
    assert pinned is not None
    assert (pinned.name, pinned.short_name, pinned.partial) == (
        f"{FLUX}:c846a69991da",
        "flux-schnell",
        True,
    )
    assert model_of("nobody/nothing") is None
    assert model_of("c846a69991da") is None


# Live schemas


def test_live_schema_has_its_enums_behind_references() -> None:
    live = from_schema(
        FLUX,
        schema(
            {
                "aspect_ratio": {
                    "allOf": [{"$ref": "#/components/schemas/aspect_ratio"}],
                    "default": "1:1",
                    "x-order": 1,
                },
                "prompt": {"type": "string", "x-order": 0},
            },
            ["prompt"],
            aspect_ratio={"enum": list(RATIOS), "type": "string"},
            Output={"type": "array", "items": {"type": "string", "format": "uri"}},
        ),
    )

    assert live == Model(
        name=FLUX,
        inputs={
            "prompt": Input(required=True),
            "aspect_ratio": Input(choices=RATIOS, default="1:1"),
        },
    )
    assert list(live.inputs) == ["prompt", "aspect_ratio"]


def test_live_schema_may_be_nullable_in_three_ways() -> None:
    found = inputs_of(
        {
            "seed": {"type": "integer", "nullable": True},
            "steps": {"type": ["null", "integer"], "minimum": 1, "maximum": 8},
            "size": {"anyOf": [{"type": "null"}, {"$ref": "#/components/schemas/size"}]},
        },
        size={"type": "string", "enum": ["1K", "2K"]},
    )

    assert found == {
        "seed": Input(type="integer"),
        "steps": Input(type="integer", minimum=1, maximum=8),
        "size": Input(choices=("1K", "2K")),
    }


def test_live_schema_tells_secrets_files_and_limits() -> None:
    found = inputs_of(
        {
            "token": {"type": "string", "format": "password", "x-cog-secret": True},
            "mask": {"type": "string", "format": "uri", "description": "White is\nrepainted."},
            "width": {"type": "integer", "description": "Must be a multiple of 32."},
            "height": {"type": "integer", "multipleOf": 16, "deprecated": True},
            "images": {
                "type": "array",
                "items": {"type": "string", "format": "uri"},
                "description": "Maximum 4 images.",
            },
            "scheduler": {"enum": ["a", "b"]},
        }
    )

    assert found == {
        "token": Input(format="password", secret=True),
        "mask": Input(format="uri", help="White is repainted."),
        "width": Input(type="integer", multiple=32, help="Must be a multiple of 32."),
        "height": Input(type="integer", multiple=16, deprecated=True),
        "images": Input(type="array", format="uri", most=4, help="Maximum 4 images."),
        "scheduler": Input(choices=("a", "b")),
    }


@pytest.mark.parametrize(
    ("told", "most"),
    [
        ("up to 8 images", 8),
        ("List of 1-10 images", 10),
        ("Max: 5 reference images", 5),
        ("each up to 20 MB", 0),
        ("", 0),
    ],
)
def test_description_tells_how_many_images(told: str, most: int) -> None:
    assert inputs_of({"images": {"type": "array", "description": told}})["images"].most == most


def test_numeric_choices_are_no_choices_of_a_param() -> None:
    found = inputs_of({"scale": {"type": "integer", "enum": [2, 4, None]}})["scale"]

    assert found.choices == (2, 4)
    assert found.param("scale") == Param(name="scale", type="int")


@pytest.mark.parametrize(
    "broken",
    [
        None,
        [],
        "text",
        {},
        {"components": None},
        {"components": {"schemas": []}},
        {"components": {"schemas": {"Input": "x"}}},
        {"components": {"schemas": {"Input": {"properties": ["prompt"]}}}},
        {"components": {"schemas": {"Input": {"$ref": "#/components/schemas/Input"}}}},
    ],
)
def test_schema_without_inputs_is_a_value_error(broken: Any) -> None:
    with pytest.raises(ValueError, match=r"^the schema of a/b lists no inputs$"):
        from_schema("a/b", broken)


@pytest.mark.parametrize(
    ("broken", "read"),
    [
        (None, Input(type="any")),
        ("text", Input(type="any")),
        ({"type": {"a": 1}}, Input(type="any")),
        ({"type": "object"}, Input(type="any")),
        ({"type": []}, Input(type="any")),
        ({"type": "string", "enum": {"a": 1}}, Input()),
        ({"type": "string", "enum": [["a"], {}, None]}, Input()),
        ({"type": "number", "minimum": "0", "maximum": True}, Input(type="number")),
        ({"type": "number", "minimum": 5, "maximum": 1}, Input(type="number")),
        ({"type": "integer", "maximum": 10**400, "multipleOf": -8}, Input(type="integer")),
        ({"type": "string", "description": 7, "x-order": "first"}, Input()),
        ({"type": "array", "items": [], "maxItems": 0.5}, Input(type="array")),
        ({"allOf": {"type": "string"}}, Input(type="any")),
        ({"allOf": [None, 1, {"type": "string"}]}, Input()),
        ({"$ref": 5}, Input(type="any")),
        ({"$ref": "#/components/schemas/nowhere"}, Input(type="any")),
        ({"$ref": "#/components/schemas/loop"}, Input(type="integer")),
    ],
)
def test_malformed_input_is_read_as_far_as_it_goes(broken: Any, read: Input) -> None:
    loop = {"allOf": [{"$ref": "#/components/schemas/loop"}] * 3, "type": "integer"}

    assert inputs_of({"odd": broken}, loop=loop) == {"odd": read}


def test_required_that_is_no_list_requires_nothing() -> None:
    form = {"properties": {"a": {"type": "string"}}, "required": "a"}

    assert from_schema("a/b", {"components": {"schemas": {"Input": form}}}).inputs == {"a": Input()}


def test_deep_nesting_is_not_followed_to_its_end() -> None:
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(300):
        deep = {"allOf": [deep]}

    assert inputs_of({"deep": deep}) == {"deep": Input(type="any")}


# File and live schema together


def test_live_inputs_replace_those_of_the_file_and_nothing_else() -> None:
    file = model("flux-kontext-dev")
    live = Model(name=file.name, inputs={"prompt": Input(required=True)})

    found = merged(file, live)

    assert (file.partial, found.partial) == (True, False)
    assert found.inputs == live.inputs
    assert (found.prices, found.seconds, found.notes) == (file.prices, file.seconds, file.notes)
    assert merged(None, live) is live


def test_unknown_model_has_no_price() -> None:
    assert from_schema("a/b", schema({"prompt": {}})).prices == ()
    assert Price(per="image", usd=0.01, source="somebody", date="2026").when == {}
