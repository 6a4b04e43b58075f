"""What can be set, what is refused, and the graph that comes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imagen_comfyui.block import settings
from imagen_comfyui.config import ComfyConfig
from imagen_comfyui.graph import fill, parse_graph, placeholders
from imagen_comfyui.manifest import FILES, GIVEN, TYPES, Manifest
from imagen_comfyui.values import build, own_prefix
from imagen_comfyui.workflow import Workflow, find_workflow
from imagen_core import ConfigError, InputImage, UsageError

NOWHERE = Path("/nonexistent")
ID = "00000000-0000-4000-8000-000000000001"


def graph_of(**inputs: Any) -> dict[str, Any]:
    return {"1": {"class_type": "Node", "inputs": inputs, "_meta": {"title": "The node"}}}


def workflow_of(manifest: Manifest = Manifest(), **inputs: Any) -> Workflow:  # noqa: B008
    return Workflow("mine", graph_of(**inputs), manifest, NOWHERE)


# Substitution


def test_whole_value_keeps_its_type() -> None:
    values = {"a": 1, "b": 1.0, "c": "1", "d": True, "e": None}
    graph = graph_of(**{name: f"${{{name}}}" for name in values})

    assert fill(graph, values, name="mine") == graph_of(**values)
    assert [type(v) for v in fill(graph, values, name="x")["1"]["inputs"].values()] == [
        int,
        float,
        str,
        bool,
        type(None),
    ]


@pytest.mark.parametrize("seed", [0, 2**53 + 1, 2**63 - 1, 2**64 - 1])
def test_seed_of_64_bits_is_exact_on_the_wire(seed: int) -> None:
    filled = fill(graph_of(seed="${seed}"), {"seed": seed}, name="mine")

    assert json.loads(json.dumps(filled))["1"]["inputs"]["seed"] == seed


def test_placeholder_inside_a_longer_text_is_left_alone() -> None:
    graph = graph_of(a="${prompt}, nice", b="x${prompt}", c="$prompt", d="${}", e="{prompt}")

    assert fill(graph, {"prompt": "a cat"}, name="mine") == graph


def test_text_that_looks_like_a_placeholder_is_not_filled_in_again() -> None:
    filled = fill(graph_of(text="${prompt}"), {"prompt": "${seed}", "seed": 1}, name="mine")

    assert filled == graph_of(text="${seed}")


def test_placeholder_deep_in_a_value_is_filled_in() -> None:
    graph = graph_of(loras=[{"name": "${lora}", "on": True}])

    assert fill(graph, {"lora": "x"}, name="mine") == graph_of(loras=[{"name": "x", "on": True}])


def test_link_and_everything_beside_the_inputs_stay() -> None:
    graph = {"1": {"class_type": "A", "inputs": {"m": ["2", 0]}, "_meta": {"title": "${seed}"}}}

    assert fill(graph, {"seed": 1}, name="mine") == graph


def test_filling_in_changes_nothing_but_the_copy() -> None:
    graph = graph_of(seed="${seed}")
    fill(graph, {"seed": 1}, name="mine")

    assert graph == graph_of(seed="${seed}")


def test_every_placeholder_without_a_value_is_told_at_once() -> None:
    graph = {
        "3": {"class_type": "KSampler", "inputs": {"cfg": "${cfg}", "seed": "${seed}"}},
        "9": {"class_type": "X", "inputs": {"a": "${odd}"}, "_meta": {"title": "Odd one"}},
    }

    with pytest.raises(UsageError) as caught:
        fill(graph, {"seed": 1}, name="mine")

    assert str(caught.value) == (
        "the workflow 'mine' has placeholders without a value: "
        "${cfg} (node 3 'KSampler', input cfg), ${odd} (node 9 'Odd one', input a)"
    )


def test_node_input_beats_its_placeholder() -> None:
    assert fill(graph_of(seed="${seed}"), {"1.seed": 5}, name="mine") == graph_of(seed=5)


# Layers


def test_block_beats_manifest_and_param_beats_block(ask: Any) -> None:
    workflow = find_workflow("flux1-schnell", NOWHERE)
    values = settings(workflow, ComfyConfig(cfg=2, params={"batch_size": 3}))
    graph = build(
        workflow, ask(params={"cfg": 3.5, "10.filename_prefix": "x"}), values=values, images={}
    )

    assert (values["cfg"], values["sampler"], values["batch_size"]) == (2.0, "euler", 3)
    assert (graph["8"]["inputs"]["cfg"], graph["10"]["inputs"]["filename_prefix"]) == (3.5, "x")


def test_whole_number_in_the_block_becomes_a_float() -> None:
    values = settings(find_workflow("flux1-schnell", NOWHERE), ComfyConfig(cfg=2))

    assert isinstance(values["cfg"], float)


def test_every_placeholder_can_be_set_in_the_block() -> None:
    numbers = {"seed": 5, "steps": 6, "cfg": 7.0, "width": 64, "height": 32, "denoise": 0.5}
    texts = [name for name in (*GIVEN, *TYPES, *FILES) if name not in numbers]
    given: dict[str, Any] = {**numbers, **{name: f"my-{name}" for name in texts}}
    inputs: dict[str, Any] = {name: f"${{{name}}}" for name in given}
    workflow = workflow_of(**inputs)

    assert settings(workflow, ComfyConfig(**given)) == given


@pytest.mark.parametrize(
    ("block", "key", "message"),
    [
        ({"cfg": 1000}, "cfg", "the parameter cfg is at least 0 and at most 100; got 1000.0"),
        ({"steps": 99999}, "steps", "the parameter steps is at least 1 and at most 10000"),
        ({"checkpoint": "x"}, "checkpoint", "has no placeholder ${checkpoint}"),
        ({"negative": "x"}, "negative", "has no placeholder ${negative}"),
        ({"params": {"shift": 1}}, "params.shift", "has no such parameter"),
        ({"params": {"batch_size": 99}}, "params.batch_size", "at most 16; got 99"),
        ({"params": {"8.cfgg": 1}}, "params.8.cfgg", "has no such parameter"),
        ({"params": {"weight_dtype": "fp9"}}, "params.weight_dtype", "is one of default, fp8"),
    ],
)
def test_bad_value_in_the_block_is_told_by_its_key(block: Any, key: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(find_workflow("flux1-schnell", NOWHERE), ComfyConfig(**block))

    assert caught.value.key == key
    assert message in caught.value.message
    assert caught.value.hint or "the parameter" in caught.value.message


def test_prompt_and_negative_of_the_block_stand_in_for_none(ask: Any) -> None:
    workflow = workflow_of(text="${prompt}", no="${negative}")
    values = settings(workflow, ComfyConfig(prompt="usual", negative="dogs"))

    assert build(workflow, ask(prompt="", typed_prompt=""), values=values, images={}) == graph_of(
        text="usual", no="dogs"
    )
    assert build(
        workflow, ask(prompt="a cat", negative="cars"), values=values, images={}
    ) == graph_of(text="a cat", no="cars")


# Names of files


@pytest.mark.parametrize(
    ("prefix", "own"),
    [("", "imagen/ID"), ("mine", "mine-ID"), ("a/b/", "a/b/ID"), ("%year%/x", "%year%/x-ID")],
)
def test_prefix_is_this_runs_own(prefix: str, own: str) -> None:
    assert own_prefix(prefix, "ID") == own


def test_fixed_prefix_of_a_graph_becomes_this_runs_own_too(ask: Any) -> None:
    workflow = workflow_of(filename_prefix="ComfyUI", text="${prompt}")

    graph = build(workflow, ask(id=ID), values={}, images={})

    assert graph["1"]["inputs"]["filename_prefix"] == f"ComfyUI-{ID}"


def test_prefix_that_was_set_by_hand_stays(ask: Any) -> None:
    workflow = workflow_of(filename_prefix="ComfyUI", text="${prompt}")

    graph = build(workflow, ask(params={"1.filename_prefix": "here"}), values={}, images={})

    assert graph["1"]["inputs"]["filename_prefix"] == "here"


# Checks before anything is asked


@pytest.mark.parametrize(
    ("fields", "message", "hint"),
    [
        ({"width": 1000, "height": 1000}, "in multiples of 16; 1000x1000 is none", "992x992"),
        ({"width": 1000}, "1000x48 is none", "the nearest is 992x48"),
        ({"height": 8}, "64x8 is none", "the nearest is 64x16"),
        ({"steps": 10001}, "the parameter steps is at least 1 and at most 10000", ""),
        (
            {"images": (InputImage(name="a", mime="image/png", sha256="0", size=1),)},
            "the workflow 'flux1-schnell' takes no input images, got 1",
            "",
        ),
    ],
)
def test_request_that_can_not_work_is_refused(
    make: Any, ask: Any, fields: Any, message: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        make().check(ask(**fields))

    assert message in str(caught.value)
    assert hint in caught.value.hint


def test_missing_input_image_is_refused(make: Any, ask: Any) -> None:
    with pytest.raises(UsageError, match="needs 1 input image") as caught:
        make(workflow="sd15-img2img").check(ask())

    assert caught.value.hint == "give 1 more with --image PATH"


def test_image_that_the_server_has_will_do(make: Any, ask: Any) -> None:
    make(workflow="sd15-img2img").check(ask(params={"image": "there.png"}))
    make(workflow="sd15-img2img", image="there.png").check(ask())


def test_graph_without_a_place_for_the_prompt_is_refused(
    make: Any, ask: Any, tmp_path: Path
) -> None:
    file = tmp_path / "odd.json"
    file.write_text(json.dumps(graph_of(seed="${seed}", text="x", cfg=5)))
    backend = make(workflow=str(file))

    with pytest.raises(UsageError, match="has no place for the prompt"):
        backend.check(ask())
    with pytest.raises(UsageError, match="has no place for the prompt"):
        backend.check(ask(params={"1.cfg": 6}))
    backend.check(ask(params={"1.text": "a cat"}))


# Reading graphs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", ":1: not JSON: "),
        ("[]", "expected a graph"),
        ("{}", "the graph has no nodes"),
        ('{"nodes": [], "links": []}', "ComfyUI's format for its editor"),
        ('{"1": {"inputs": {}}}', "the node '1' has no class_type"),
        ('{"1": 5}', "the node '1' has no class_type"),
        ('{"1": {"class_type": "A"}, "1": {"class_type": "B"}}', "the key '1' stands twice"),
        ('{"1": {"class_type": "A", "inputs": {"x": NaN}}}', "the input 1.x is nan"),
        ('{"1": {"class_type": "A", "inputs": {"x": "\\ud800"}}}', "not valid Unicode"),
        ('{"1": {"class_type": "A", "inputs": []}}', "the inputs of the node '1' are no object"),
        ('{"prompt": {"1": {"class_type": "A"}}}', "the node 'prompt' has no class_type"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_file_that_is_no_graph_says_what_it_is(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_graph(text, "g.json")

    assert message in str(caught.value)
    assert str(caught.value).startswith("g.json")


def test_node_without_inputs_is_a_node() -> None:
    assert placeholders(parse_graph('{"1": {"class_type": "A"}}', "g.json")) == {}
