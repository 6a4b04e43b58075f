from __future__ import annotations

from pathlib import Path

import pytest

import imagen_workflows
from imagen_comfyui.graph import Graph, fill, read_graph
from imagen_comfyui.manifest import Manifest, Model, Parameter, Size
from imagen_comfyui.mapping import Mapped, map_graph
from imagen_comfyui.workflow import Found, Workflow, read_workflow

GRAPHS = Path(__file__).parent / "graphs"
PACK = Path(imagen_workflows.__file__).parent
WHOLE = "controlnet custom-sampler hires img2img linked no-sampler shared-text switch undecided"
BUNDLED = sorted(file.stem for file in PACK.glob("*.json"))
SETTINGS = {
    "seed": "5.seed",
    "steps": "5.steps",
    "cfg": "5.cfg",
    "sampler": "5.sampler_name",
    "scheduler": "5.scheduler",
}


def graph(name: str) -> Graph:
    return read_graph(GRAPHS / f"{name}.json")


def mapped(name: str) -> Mapped:
    return map_graph(graph(name))


def places(found: Mapped) -> dict[str, str]:
    return {name: " ".join(map(str, inputs)) for name, inputs in found.mapped.items()}


def bundled(name: str) -> tuple[Workflow, Graph]:
    """A workflow of the pack, and its graph with its own defaults in it."""
    workflow = read_workflow(Found(name, PACK / f"{name}.json", "test"))
    width, _, height = workflow.manifest.size.default.partition("x")
    values = {
        "prompt": "a lighthouse",
        "negative": "fog",
        "seed": 1,
        "width": int(width),
        "height": int(height),
        "filename_prefix": name,
        "image": "in.png",
        **{key: parameter.default for key, parameter in workflow.manifest.parameters.items()},
        **{model.placeholder: model.file for model in workflow.manifest.models},
    }
    return workflow, fill(workflow.graph, values, name=name)


@pytest.mark.parametrize("name", WHOLE.split())
def test_a_mapped_graph_with_its_own_values_is_the_graph_that_it_was(name):
    found = mapped(name)

    assert fill(found.graph, found.values, name=name) == graph(name)


@pytest.mark.parametrize("name", sorted(file.stem for file in GRAPHS.glob("*.json")))
def test_mapping_leaves_the_graph_alone_and_finds_nothing_more_the_second_time(name):
    before = graph(name)

    found = map_graph(before)

    assert before == graph(name)
    assert map_graph(found.graph).graph == found.graph


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_workflow_is_found_again_in_its_own_graph(name):
    workflow, exported = bundled(name)
    special = {"weight_dtype", "max_shift", "base_shift", "shift", "batch_size", "megapixels"}

    found = map_graph(exported)

    own = {str(place): key for key, inputs in found.mapped.items() for place in inputs}
    again = map_graph(workflow.graph)
    expected = {
        str(place): key
        for key, inputs in again.mapped.items()
        for place in inputs
        if key not in special
    }
    assert own == expected
    assert fill(found.graph, found.values, name=name) == exported
    assert found.manifest.nodes == workflow.manifest.nodes
    assert found.manifest.size == workflow.manifest.size
    assert found.manifest.negative == workflow.manifest.negative
    assert found.manifest.images == workflow.manifest.images
    assert {(m.placeholder, m.folder, m.file) for m in found.manifest.models} == {
        (m.placeholder, m.folder, m.file) for m in workflow.manifest.models
    }


def test_what_a_graph_has_no_input_for_is_missing_with_the_reason():
    assert map_graph(bundled("flux2-klein")[1]).missing == {
        "negative": "ConditioningZeroOut stands in for it",
        "scheduler": "no input for it in SamplerCustomAdvanced, RandomNoise, CFGGuider, "
        "KSamplerSelect, Flux2Scheduler",
    }


def test_values_are_found_behind_links_and_keep_their_types():
    found = mapped("linked")

    assert places(found) == {
        "checkpoint": "1.ckpt_name",
        "scheduler": "5.scheduler",
        "prompt": "10.value",
        "negative": "11.string_a",
        "width": "12.value",
        "seed": "14.seed",
        "cfg": "15.value",
        "steps": "16.int",
        "sampler": "17.sampler_name",
        "filename_prefix": "18.value",
        "height": "20.value",
    }
    assert found.missing == {}
    assert found.values["seed"] == 2**64 - 1
    assert found.manifest.size == Size(default="768x512", multiple=8)
    assert found.notes == (
        "negative: several texts come together in CLIPTextEncode (node 3); 11.string_a is taken",
    )


def test_two_stages_have_one_prompt_one_seed_and_one_number_of_steps():
    found = mapped("sdxl")

    assert places(found) == {
        "width": "5.width 6.target_width 7.target_width 15.width 16.width",
        "height": "5.height 6.target_height 7.target_height 15.height 16.height",
        "prompt": "6.text_g 6.text_l 15.text",
        "negative": "7.text_g 7.text_l 16.text",
        "seed": "10.noise_seed 11.noise_seed",
        "steps": "10.steps 11.steps",
        "cfg": "10.cfg",
        "sampler": "10.sampler_name",
        "scheduler": "10.scheduler",
        "filename_prefix": "19.filename_prefix",
    }
    assert (found.missing, found.notes) == ({}, ())
    again = fill(found.graph, found.values, name="sdxl")
    again["11"]["inputs"]["noise_seed"] = 0
    assert again == graph("sdxl")


def test_two_loaders_of_one_kind_are_left_alone_but_listed():
    assert mapped("sdxl").manifest.models == (
        Model(folder="checkpoints", file="sd_xl_refiner_1.0.safetensors"),
        Model(folder="checkpoints", file="sd_xl_base_1.0.safetensors"),
    )


def test_the_two_sides_of_a_control_net_lead_to_their_own_texts():
    found = mapped("controlnet")

    assert places(found) == SETTINGS | {
        "checkpoint": "1.ckpt_name",
        "prompt": "2.text",
        "negative": "3.text",
        "width": "4.width 14.width",
        "height": "4.height 14.height",
        "filename_prefix": "7.filename_prefix",
        "image": "8.image",
        "image2": "15.image",
    }
    assert (found.missing, found.notes) == ({}, ())
    assert found.manifest == Manifest(
        size=Size(default="640x448", multiple=8),
        parameters={
            "negative": Parameter(
                type="str", default="people", help="what is not wanted in the picture"
            ),
            "steps": Parameter(type="int", default=25, minimum=1, maximum=10_000),
            "cfg": Parameter(type="float", default=7.0, minimum=0, maximum=100, help="guidance"),
            "sampler": Parameter(type="str", default="dpmpp_2m", help="sampling method"),
            "scheduler": Parameter(type="str", default="karras", help="how the noise goes down"),
            "filename_prefix": Parameter(
                type="str", default="ComfyUI", help="how the file names on the server begin"
            ),
        },
        models=(
            Model(placeholder="checkpoint", folder="checkpoints", file="dreamshaper_8.safetensors"),
            Model(folder="controlnet", file="control_v11p_sd15_canny.safetensors"),
        ),
        nodes=(
            "CLIPTextEncode",
            "Canny",
            "CheckpointLoaderSimple",
            "ControlNetApplyAdvanced",
            "ControlNetLoader",
            "EmptyLatentImage",
            "ImageScale",
            "KSampler",
            "LoadImage",
            "PreviewImage",
            "SaveImage",
            "VAEDecode",
        ),
        negative=True,
        images=2,
    )
    assert type(found.manifest.parameters["cfg"].default) is float


def test_a_switch_leads_to_the_text_that_it_is_set_to():
    found = mapped("switch")

    assert places(found) == SETTINGS | {
        "checkpoint": "1.ckpt_name",
        "width": "4.width",
        "height": "4.height",
        "filename_prefix": "7.filename_prefix",
        "prompt": "8.text",
        "negative": "15.value",
        "seed": "17.seed",
    }
    assert (found.missing, found.notes) == ({}, ())


def test_what_is_computed_is_not_found_and_what_is_doubtful_is_told():
    found = mapped("undecided")

    assert places(found)["prompt"] == "2.text"
    assert found.missing == {
        "seed": "5.seed is computed by SimpleMath",
        "size": "width and height of EmptyLatentImage (node 4) are one value",
    }
    assert found.notes == (
        "prompt: what the switch ComfySwitchNode (node 10) takes can't be told; 2.text is taken",
    )


def test_the_second_pass_has_the_seed_of_the_first_and_its_own_settings():
    found = mapped("hires")

    assert places(found) == SETTINGS | {
        "checkpoint": "1.ckpt_name",
        "prompt": "2.text",
        "negative": "3.text",
        "width": "4.width",
        "height": "4.height",
        "seed": "5.seed 7.seed",
        "filename_prefix": "9.filename_prefix 11.filename_prefix",
    }
    assert found.missing == {}


def test_an_input_picture_has_the_size_and_opens_denoise():
    found = mapped("img2img")

    assert places(found) == SETTINGS | {
        "checkpoint": "1.ckpt_name",
        "prompt": "2.text",
        "negative": "3.text",
        "denoise": "5.denoise",
        "filename_prefix": "7.filename_prefix 14.filename_prefix",
        "width": "8.width",
        "height": "8.height",
        "image": "10.image 15.image",
        "image2": "13.image",
        "image3": "11.image",
        "vae": "21.vae_name",
    }
    assert found.missing == {}
    assert found.manifest.size == Size(default="600x900", multiple=4)
    assert found.manifest.images == 3


def test_the_parts_of_a_custom_sampler_are_found():
    found = mapped("custom-sampler")

    assert places(found) == {
        "prompt": "6.text",
        "filename_prefix": "9.filename_prefix",
        "vae": "10.vae_name",
        "t5xxl": "11.clip_name1",
        "clip_l": "11.clip_name2",
        "unet": "12.unet_name",
        "sampler": "16.sampler_name",
        "scheduler": "17.scheduler",
        "steps": "17.steps",
        "seed": "25.noise_seed",
        "guidance": "26.guidance",
        "width": "27.width 30.width",
        "height": "27.height 30.height",
    }
    assert found.missing == {
        "negative": "the sampler takes none",
        "cfg": "no input for it in SamplerCustomAdvanced, RandomNoise, BasicGuider, "
        "KSamplerSelect, SplitSigmasDenoise, BasicScheduler",
    }
    assert found.manifest.size == Size(default="1024x1536", multiple=16)


def test_an_encoder_with_two_texts_gets_the_prompt_in_both():
    found = mapped("flux-text")

    assert places(found) == SETTINGS | {
        "unet": "1.unet_name",
        "prompt": "2.clip_l 2.t5xxl",
        "guidance": "2.guidance",
        "negative": "3.clip_l 3.t5xxl",
        "width": "4.width",
        "height": "4.height",
        "denoise": "5.denoise",
        "t5xxl": "8.clip_name2",
        "vae": "9.vae_name",
    }
    assert found.values["prompt"] == "a paper whale"
    assert found.manifest.size == Size(default="1000x1000", multiple=8)
    assert "negative" not in found.manifest.parameters
    again = fill(found.graph, found.values, name="flux")
    again["2"]["inputs"]["clip_l"] = ""
    assert again == graph("flux-text")


def test_one_text_for_both_sides_is_the_prompt_only():
    found = mapped("shared-text")

    assert places(found) == SETTINGS | {
        "checkpoint": "1.ckpt_name",
        "prompt": "2.clip_l 2.clip_g 2.t5xxl",
        "width": "4.width",
        "height": "4.height",
        "clip_l": "8.clip_name1",
        "clip_g": "8.clip_name2",
        "t5xxl": "8.clip_name3",
    }
    assert found.missing == {"negative": "it is the same text as the prompt"}
    assert found.manifest.negative is False
