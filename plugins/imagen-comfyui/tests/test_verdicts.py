"""What ComfyUI's refusals and failures become, in both shapes of every version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imagen_comfyui.verdicts import ending, refusal
from imagen_comfyui.workflow import find_workflow
from imagen_core import ImagenError, RejectedError

WORKFLOW = find_workflow("flux1-schnell", Path("/nonexistent"))
WHO = "ComfyUI at http://box:8188"


def fault(kind: str, message: str, details: str, **info: Any) -> dict[str, Any]:
    return {"type": kind, "message": message, "details": details, "extra_info": info}


def reply(node: str, *errors: dict[str, Any], kind: str = "UNETLoader") -> dict[str, Any]:
    return {
        "error": fault("prompt_outputs_failed_validation", "Prompt outputs failed validation", ""),
        "node_errors": {
            node: {"errors": list(errors), "dependent_outputs": ["10"], "class_type": kind}
        },
    }


def refused(data: Any) -> RejectedError:
    return refusal(data, who=WHO, workflow=WORKFLOW, graph=WORKFLOW.graph)


MISSING = fault(
    "value_not_in_list",
    "Value not in list",
    "unet_name: 'flux1-schnel.safetensors' not in ['flux-2-klein-4b.safetensors']",
    input_name="unet_name",
    input_config=[["flux-2-klein-4b.safetensors", "flux1-schnell.safetensors"], {}],
    received_value="flux1-schnel.safetensors",
)


@pytest.mark.parametrize("error", [True, False], ids=["a 400", "a 200 with node_errors"])
def test_missing_model_names_file_folder_source_and_what_is_near(error: bool) -> None:
    data = reply("1", MISSING)
    if not error:
        data = {"prompt_id": "x", "number": 1, "node_errors": data["node_errors"]}

    found = refused(data)

    assert str(found) == (
        "ComfyUI at http://box:8188 lacks the file 'flux1-schnel.safetensors' in "
        "diffusion_models (node 1 'Diffusion model', unet_name)"
    )
    assert found.hint == (
        "put flux1-schnell.safetensors into models/diffusion_models: "
        "https://huggingface.co/Comfy-Org/flux1-schnell has it as flux1-schnell.safetensors; "
        "near it there: flux1-schnell.safetensors, flux-2-klein-4b.safetensors "
        "(set unet to take another one); "
        "docs/setup-comfyui.md has the files of each workflow"
    )
    assert found.exit_code == 4


def test_long_list_of_files_is_not_in_the_reply() -> None:
    error = {
        **MISSING,
        "details": "unet_name: 'x' not in (list of length 32)",
        "extra_info": {
            "input_name": "unet_name",
            "input_config": None,
            "received_value": "x.safetensors",
        },
    }

    assert "lacks the file 'x.safetensors' in diffusion_models" in str(refused(reply("1", error)))


def test_new_spelling_of_a_list_is_read() -> None:
    error = fault(
        "value_not_in_list",
        "Value not in list",
        "x",
        input_name="clip_name1",
        input_config=["COMBO", {"options": ["clip_l.safetensors"]}],
        received_value="clip.safetensors",
    )

    assert "near it there: clip_l.safetensors" in refused(reply("2", error)).hint


def test_value_that_a_list_does_not_have_is_no_missing_file() -> None:
    error = fault(
        "value_not_in_list",
        "Value not in list",
        "sampler_name: 'eulr' not in ['euler', 'heun']",
        input_name="sampler_name",
        input_config=[["euler", "heun"], {}],
        received_value="eulr",
    )

    found = refused(reply("8", error))

    assert str(found) == (
        "ComfyUI at http://box:8188 refused the workflow 'flux1-schnell': node 8 'Sampler': "
        "Value not in list: sampler_name: 'eulr' not in ['euler', 'heun']"
    )
    assert found.hint == "sampler_name takes euler, heun …"


def test_every_fault_of_every_node_is_told() -> None:
    data = reply(
        "8",
        fault("value_bigger_than_max", "Value 1000.0 bigger than max of 100.0", "cfg"),
        fault("required_input_missing", "Required input is missing", "model"),
    )

    assert str(refused(data)).endswith(
        "node 8 'Sampler': Value 1000.0 bigger than max of 100.0: cfg; "
        "node 8 'Sampler': Required input is missing: model"
    )


@pytest.mark.parametrize(
    "error",
    [
        fault(
            "missing_node_type",
            "Node 'Sigma shift' not found. The custom node may not be installed.",
            "Node ID '#4'",
            node_id="4",
            class_type="ModelSamplingFlux",
        ),
        fault(
            "invalid_prompt",
            "Cannot execute because node ModelSamplingFlux does not exist.",
            "Node ID '#4'",
        ),
    ],
    ids=["new servers", "old servers"],
)
def test_unknown_class_of_nodes_in_both_shapes(error: Any) -> None:
    found = refused({"error": error, "node_errors": {}})

    assert str(found).startswith(
        "ComfyUI at http://box:8188 has no nodes of the class ModelSamplingFlux (node 4 "
    )
    assert found.hint == "update ComfyUI, or install the custom nodes that bring it"


def test_traceback_of_the_server_is_not_shown() -> None:
    error = fault(
        "exception_during_validation",
        "Exception when validating node",
        "'99'",
        exception_type="KeyError",
        traceback=['File "/opt/ComfyUI/execution.py"'],
    )

    assert str(refused(reply("10", error))).endswith(
        "node 10 'Save': Exception when validating node"
    )


@pytest.mark.parametrize("data", [None, [], "x", {}, {"error": "no"}, {"node_errors": []}])
def test_refusal_of_any_shape_is_an_error(data: Any) -> None:
    assert str(refused(data)).startswith("ComfyUI at http://box:8188 refused")


def entry(*messages: Any, status: str = "error", outputs: Any = None) -> dict[str, Any]:
    return {
        "outputs": outputs or {},
        "status": {"status_str": status, "completed": status == "success", "messages": messages},
    }


def failure(**fields: Any) -> ImagenError:
    data = {"node_id": "8", "node_type": "KSampler", "exception_type": "ValueError", **fields}
    error = ending(entry_of(["execution_error", data]), WORKFLOW.graph).error
    assert error
    return error


def entry_of(*messages: Any) -> dict[str, Any]:
    return json.loads(json.dumps(entry(*messages)))


def test_failure_names_node_class_and_message() -> None:
    error = failure(exception_message="mat1 and mat2 shapes\n\nTIP: try this\n", traceback=["/opt"])

    assert str(error) == (
        "node 8 'Sampler' (KSampler) failed: ValueError: mat1 and mat2 shapes TIP: try this"
    )


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("torch.OutOfMemoryError", "CUDA out of memory. Tried to allocate 4.50 GiB."),
        ("torch.cuda.OutOfMemoryError", "Allocation on device"),
        ("RuntimeError", "HIP out of memory"),
    ],
)
def test_out_of_memory_has_advice(kind: str, text: str) -> None:
    error = failure(exception_type=kind, exception_message=text)

    assert str(error).startswith("the GPU ran out of memory in node 8 'Sampler' (KSampler)")
    assert error.hint.startswith("take a smaller --size")


def test_failure_of_a_node_that_the_graph_expanded_to_is_told() -> None:
    assert str(failure(node_id="8.0.1", exception_message="x")).startswith("node 8.0.1 '8.0.1'")


def test_cancelled_is_told_from_failed() -> None:
    found = ending(entry_of(["execution_interrupted", {"node_id": "8"}]), WORKFLOW.graph)

    assert str(found.error) == "somebody interrupted it at the server"


@pytest.mark.parametrize("messages", [[], ["execution_start", "boom"], None, [1, {}, [[]]]])
def test_history_of_any_shape_is_read(messages: Any) -> None:
    data = {"outputs": {}, "status": {"status_str": "error", "messages": messages}}

    assert isinstance(ending(data, WORKFLOW.graph).error, ImagenError)
    assert ending({"outputs": None, "status": None}, WORKFLOW.graph).error is None


def test_pictures_are_those_of_the_output_that_counts_in_order() -> None:
    a, b, c = (
        {"filename": name, "subfolder": "", "type": kind}
        for name, kind in (("a", "output"), ("b", "temp"), ("c", "output"))
    )
    data = entry(status="success", outputs={"9": {"images": [a]}, "3": {"images": [b, c]}})

    assert ending(data, WORKFLOW.graph).pictures == (a, c)
    assert ending(data, WORKFLOW.graph, output="3").pictures == (c,)


@pytest.mark.parametrize("images", [5, None, "a.png", {"filename": "a"}, [7, {"name": "a"}]])
def test_images_of_another_shape_are_none(images: Any) -> None:
    data = entry(status="success", outputs={"9": {"images": images}})

    assert ending(data, WORKFLOW.graph).pictures == ()
