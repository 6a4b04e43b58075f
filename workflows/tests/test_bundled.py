from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import imagen_comfyui
import imagen_workflows
from imagen_comfyui.graph import Graph, fill, inputs, link, placeholders, read_graph
from imagen_comfyui.manifest import GIVEN, Parameter
from imagen_comfyui.workflow import Found, Workflow, read_workflow

FOLDER = Path(imagen_workflows.__file__).parent
ACCEPTED = Path(__file__).parent / "accepted"
SCHEMA = json.loads(
    (Path(imagen_comfyui.__file__).parent / "testing" / "nodes.json").read_text("utf-8")
)
NAMES = sorted(file.stem for file in FOLDER.glob("*.json"))
PROMPT = "a lighthouse on a cliff at dusk, long exposure, soft fog"
TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (float,),
    "str": (str,),
    "bool": (bool,),
    "INT": (int,),
    "FLOAT": (int, float),
    "STRING": (str,),
    "BOOLEAN": (bool,),
}


@pytest.fixture(params=NAMES)
def workflow(request) -> Workflow:
    return bundled(request.param)


def bundled(name: str) -> Workflow:
    return read_workflow(Found(name, FOLDER / f"{name}.json", "test"))


def defaults(workflow: Workflow) -> dict[str, Any]:
    """The manifest's own values, and for what imagen gives those of the accepted graphs."""
    width, _, height = workflow.manifest.size.default.partition("x")
    return {
        "prompt": PROMPT,
        "negative": "",
        "seed": 1,
        "width": int(width),
        "height": int(height),
        "filename_prefix": workflow.name,
        "image": "in.png",
        **{name: parameter.default for name, parameter in workflow.manifest.parameters.items()},
        **{model.placeholder: model.file for model in workflow.manifest.models},
    }


def filled(workflow: Workflow, **changes: Any) -> Graph:
    return fill(workflow.graph, defaults(workflow) | changes, name=workflow.name)


def test_the_pack_has_these_workflows():
    assert NAMES == [
        "flux1-schnell",
        "flux2-klein",
        "flux2-klein-edit",
        "sd15",
        "sd15-img2img",
        "sd35-medium",
    ]
    assert sorted(file.stem for file in FOLDER.glob("*.yaml")) == NAMES


def test_the_manifest_names_the_classes_of_the_graph(workflow):
    classes = {node["class_type"] for node in workflow.graph.values()}

    assert workflow.manifest.nodes == tuple(sorted(classes))


def test_every_placeholder_is_explained_and_every_explanation_used(workflow):
    explained = {*workflow.manifest.parameters, *(m.placeholder for m in workflow.manifest.models)}

    assert set(placeholders(workflow.graph)) - set(GIVEN) == explained


def test_the_manifest_says_which_of_negative_and_images_the_graph_takes(workflow):
    used = placeholders(workflow.graph)

    assert workflow.manifest.negative == ("negative" in used)
    assert workflow.manifest.images == ("image" in used)


def test_the_manifest_says_what_it_is_under_which_licence(workflow):
    assert workflow.manifest.title
    assert "Licence: " in workflow.manifest.description
    assert all(
        model.repository and Path(model.path).name == model.file
        for model in workflow.manifest.models
    )


def test_every_default_is_in_its_range(workflow):
    assert [
        name
        for name, parameter in workflow.manifest.parameters.items()
        if not in_range(parameter, parameter.default)
    ] == []
    size = workflow.manifest.size
    sides = [int(side) for side in size.default.split("x")]
    assert all(size.minimum <= side <= size.maximum for side in sides)
    assert all(side % size.multiple == 0 for side in (*sides, size.minimum, size.maximum))


def test_a_server_takes_the_graph_with_its_defaults(workflow):
    assert problems(filled(workflow)) == []


@pytest.mark.parametrize("end", ["minimum", "maximum"])
def test_a_server_takes_the_graph_at_the_ends_of_the_ranges(workflow, end):
    extremes = {
        name: getattr(parameter, end)
        for name, parameter in workflow.manifest.parameters.items()
        if getattr(parameter, end) is not None
    }
    side = getattr(workflow.manifest.size, end)

    assert problems(filled(workflow, **typed(workflow, extremes), width=side, height=side)) == []


def test_a_server_takes_the_graph_with_every_choice(workflow):
    found = [
        problem
        for name, parameter in workflow.manifest.parameters.items()
        for choice in parameter.choices
        for problem in problems(filled(workflow, **{name: choice}))
    ]

    assert found == []


def test_both_sizes_follow_one_size(workflow):
    graph = filled(workflow, width=512, height=768)

    sizes = {
        (node["inputs"]["width"], node["inputs"]["height"])
        for node in graph.values()
        if "width" in node["inputs"]
    }
    assert sizes == {(512, 768)}


@pytest.mark.parametrize("name", ["flux1-schnell", "flux2-klein", "sd35-medium"])
def test_the_defaults_give_the_graph_that_a_server_accepted(name):
    assert filled(bundled(name)) == read_graph(ACCEPTED / f"{name}.json")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("steps", "8.steps: 0 is below 1"),
        ("sampler", "8.sampler_name: 0 is not offered"),
        ("prompt", "5.text: 0 is no STRING"),
    ],
)
def test_the_check_of_these_tests_finds_what_a_server_would(name, problem):
    assert problems(filled(bundled("flux1-schnell"), **{name: 0})) == [problem]


def test_the_check_of_these_tests_finds_links_that_do_not_fit():
    graph = filled(bundled("sd15"))
    graph["6"]["inputs"] = {"samples": ["5", 1], "vae": ["1", 0]}

    assert problems(graph) == ["6.samples: no output 1 at 5", "6.vae: MODEL is no VAE"]


def in_range(parameter: Parameter, value: Any) -> bool:
    low, high = parameter.minimum, parameter.maximum
    return (
        type(value) in TYPES[parameter.type]
        and (low is None or low <= value)
        and (high is None or value <= high)
        and (not parameter.choices or value in parameter.choices)
    )


def typed(workflow: Workflow, values: dict[str, float]) -> dict[str, Any]:
    kinds = {"int": int, "float": float}
    parameters = workflow.manifest.parameters
    return {name: kinds[parameters[name].type](value) for name, value in values.items()}


def problems(graph: Graph) -> list[str]:
    """What a server would refuse in a graph."""
    missing = [
        f"{name}.{key}: missing"
        for name, node in graph.items()
        for key in SCHEMA[node["class_type"]]["input"]["required"]
        if key not in node["inputs"]
    ]
    found = (
        (place, problem(graph, graph[place.node]["class_type"], place.input, value))
        for place, value in inputs(graph)
    )
    return missing + [f"{place}: {told}" for place, told in found if told]


def problem(graph: Graph, kind: str, key: str, value: Any) -> str:
    taken = SCHEMA[kind]["input"]
    wanted, *more = {**taken["required"], **taken.get("optional", {})}[key]
    if (linked := link(value)) is not None:
        return link_problem(graph, linked, wanted)
    options = wanted if isinstance(wanted, list) else (more[0].get("options") if more else None)
    if options is not None:
        return "" if is_offered(options, value) else f"{value!r} is not offered"
    if type(value) not in TYPES[wanted]:
        return f"{value!r} is no {wanted}"
    limits = more[0] if more else {}
    if value < limits.get("min", value):
        return f"{value} is below {limits['min']}"
    return f"{value} is above {limits['max']}" if value > limits.get("max", value) else ""


def link_problem(graph: Graph, linked: tuple[str, int], wanted: str) -> str:
    node, slot = linked
    outputs = SCHEMA[graph[node]["class_type"]]["output"] if node in graph else []
    if not 0 <= slot < len(outputs):
        return f"no output {slot} at {node}"
    return "" if outputs[slot] == wanted else f"{outputs[slot]} is no {wanted}"


def is_offered(options: list[str], value: Any) -> bool:
    """Whether it is one of them; files of a folder, written as "<folder>", may have any name."""
    folder = not options or any(option.startswith("<") for option in options)
    return value in options or (folder and isinstance(value, str))
