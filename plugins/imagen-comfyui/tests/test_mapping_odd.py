from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from imagen_comfyui.graph import Graph, read_graph
from imagen_comfyui.manifest import Model, Parameter
from imagen_comfyui.mapping import Mapped, map_graph

GRAPHS = Path(__file__).parent / "graphs"


def graph(name: str) -> Graph:
    return read_graph(GRAPHS / f"{name}.json")


def places(found: Mapped) -> dict[str, str]:
    return {name: " ".join(map(str, inputs)) for name, inputs in found.mapped.items()}


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def sampled(**nodes: dict[str, Any]) -> Graph:
    """A graph around a sampler; what is given goes into it, node by node."""
    sampler = node("KSampler", seed=1, steps=["7", 0], positive=["2", 0], latent_image=["4", 0])
    return {"5": sampler, "9": node("SaveImage", images=["5", 0])} | {
        name.removeprefix("n"): inside for name, inside in nodes.items()
    }


def test_a_graph_without_a_sampler_has_nothing_to_set_but_files():
    found = map_graph(graph("no-sampler"))

    assert places(found) == {"image": "1.image", "filename_prefix": "4.filename_prefix"}
    wanted = ("prompt", "negative", "seed", "steps", "cfg", "sampler", "scheduler", "size")
    assert found.missing == dict.fromkeys(wanted, "the graph has no sampler")
    assert found.manifest.models == (
        Model(folder="upscale_models", file="RealESRGAN_x4plus.safetensors"),
    )


def test_cycles_and_links_to_nowhere_are_gone_round():
    found = map_graph(graph("odd"))

    assert found.graph == graph("odd")
    assert found.missing == {
        "prompt": "no text is found behind the sampler",
        "negative": "no text is found behind the sampler",
        "seed": "1.seed is computed by ComfySwitchNode",
        "steps": "1.steps has no such value",
        "cfg": "1.cfg has no such value",
        "sampler": "1.sampler_name has no such value",
        "scheduler": "no input for it in KSampler",
        "size": "no node with a size leads to the sampler",
    }


def test_placeholders_that_are_there_stay_and_count():
    texts = node("CLIPTextEncode", text="${prompt}")
    latent = node("EmptyLatentImage", width="${width}", height="${height}")
    steps = node("PrimitiveInt", value="${speed}")
    made = sampled(n2=texts, n4=latent, n7=steps, n8=node("LoadImage", image="${image}"))

    found = map_graph(made)

    assert places(found) == {
        "seed": "5.seed",
        "prompt": "2.text",
        "width": "4.width",
        "height": "4.height",
        "speed": "7.value",
        "image": "8.image",
    }
    assert found.values == {"seed": 1}
    assert found.missing["steps"] == "its input has another placeholder"
    assert "prompt" not in found.missing
    assert "size" not in found.missing


def test_an_image_beside_a_placeholder_gets_the_next_number():
    made = sampled(
        n2=node("ReferenceLatent", conditioning=["3", 0], latent=["6", 0]),
        n4=node("VAEEncode", pixels=["8", 0]),
        n6=node("VAEEncode", pixels=["10", 0]),
        n8=node("LoadImage", image="${image}"),
        n10=node("LoadImage", image="style.png"),
    )

    assert places(map_graph(made)) == {
        "seed": "5.seed",
        "image": "8.image",
        "image2": "10.image",
    }


@pytest.mark.parametrize(
    ("sides", "problem"),
    [
        ((0, 512), "0x512 of EmptyLatentImage (node 4) is no size of a picture"),
        ((512, ["5", 0]), "the size of EmptyLatentImage (node 4) is computed"),
    ],
)
def test_a_size_that_is_none_is_not_taken(sides, problem):
    made = sampled(n4=node("EmptyLatentImage", width=sides[0], height=sides[1]))

    assert map_graph(made).missing["size"] == problem


def test_an_unknown_sampler_is_known_by_its_inputs():
    made = sampled(n2=node("TextEncodeFancy", prompt="a kite"), n7=node("INTConstant", value=9))
    made["5"]["class_type"] = "SamplerOfSomebody"

    assert places(map_graph(made)) == {"seed": "5.seed", "prompt": "2.prompt", "steps": "7.value"}


def test_a_default_out_of_the_usual_range_widens_it():
    made = sampled(n7=node("PrimitiveInt", value=20_000))

    assert map_graph(made).manifest.parameters["steps"] == Parameter(
        type="int", default=20_000, minimum=1, maximum=20_000
    )


def test_a_long_chain_is_walked_to_its_end():
    chain = {f"n{n}": node("Reroute", **{"": [str(n + 1), 0]}) for n in range(7, 3000)}
    made = sampled(**chain, n3000=node("PrimitiveInt", value=4))

    assert places(map_graph(made)) == {"seed": "5.seed", "steps": "3000.value"}


def test_no_graph_made_of_scraps_raises():
    scraps = [node for file in sorted(GRAPHS.glob("*.json")) for node in graph(file.stem).values()]
    odd: list[Any] = [
        None,
        True,
        2.5,
        "x",
        "${seed}",
        float("nan"),
        [],
        ["1"],
        ["2", 0],
        [["3", 0]],
        {},
    ]
    random = Random(1)

    for _ in range(300):
        made = {str(number): json.loads(json.dumps(random.choice(scraps))) for number in range(12)}
        for scrap in made.values():
            inside = scrap.get("inputs", {})
            links = {key: [str(random.randrange(14)), 0] for key in inside if random.random() < 0.6}
            inside |= links | {key: random.choice(odd) for key in inside if random.random() < 0.1}
        found = map_graph(made)

        assert found.graph.keys() == made.keys()
