"""All that is wrong with a block is told at once, with its key, and no secret is repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def validate(imagen: Any, folder: Path, block: str) -> str:
    file = folder / "imagen.yaml"
    file.write_text(f"backends:\n  r: {{type: replicate, {block}}}\n")
    told: str = imagen("config", "validate", "--config", str(file)).err
    return told.replace(str(file), "FILE")


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ("api_token_env: X", "backends.r.model: is missing"),
        ("model: flux", "backends.r.model: expected owner/name or owner/name:version, got 'flux'"),
        ("model: a/b/c", "backends.r.model: expected owner/name or owner/name:version"),
        ("model: a/b, wait: 61", "backends.r.wait: expected int <= 60"),
        ("model: a/b, wait: -1", "backends.r.wait: expected int >= 0"),
        ("model: a/b, timeout: 0", "backends.r.timeout: expected float > 0"),
        ("model: a/b, size: big", "backends.r.size: expected WIDTHxHEIGHT, got 'big'"),
        ("model: a/b, api_url: 'ftp://x'", "expected https://HOST/v1, got 'ftp://x'"),
        ("model: a/b, hardware: l40", "backends.r.hardware: there is no price for 'l40'"),
        ("model: a/b, modell: c", "backends.r.modell: unknown key"),
        (
            "model: black-forest-labs/flux-schnell, default_steps: 9",
            "backends.r.default_steps: black-forest-labs/flux-schnell takes 1 to 4 steps, got 9",
        ),
        (
            "model: black-forest-labs/flux-1.1-pro, default_steps: 9",
            "backends.r.default_steps: black-forest-labs/flux-1.1-pro takes no number of steps",
        ),
        (
            "model: black-forest-labs/flux-schnell, params: {go_fats: true}",
            "backends.r.params.go_fats: black-forest-labs/flux-schnell has no such input",
        ),
        (
            "model: black-forest-labs/flux-schnell, params: {go_fast: fast}",
            "backends.r.params.go_fast: the parameter go_fast is bool, got 'fast'",
        ),
        (
            "model: black-forest-labs/flux-schnell, params: {num_inference_steps: 2}",
            "backends.r.params.num_inference_steps: this is --steps",
        ),
        (
            "model: black-forest-labs/flux-dev-lora, params: {hf_api_token: hunter2}",
            "backends.r.params.hf_api_token: a secret does not belong into the file",
        ),
        (
            "model: black-forest-labs/flux-dev-lora, secrets: {hf_token: HF}",
            "backends.r.secrets.hf_token: black-forest-labs/flux-dev-lora has no such input",
        ),
    ],
)
def test_fault_is_told_with_its_key(imagen: Any, tmp_path: Path, block: str, told: str) -> None:
    assert f"imagen: error: FILE:2: {told}" in validate(imagen, tmp_path, block).replace(
        "backends.r.api_url: ", ""
    )


def test_all_faults_are_told_at_once(imagen: Any, tmp_path: Path) -> None:
    block = "model: flux, size: big, hardware: l40, api_url: nowhere"

    told = validate(imagen, tmp_path, block)

    assert told.count("imagen: error:") == 4


@pytest.mark.parametrize(
    "block",
    [
        "model: a/b, api_token_env: r8_hunter2-x",
        "model: a/b, api_url: 'https://ada:hunter2@api.replicate.com/v1'",
        "model: a/b, api_url: 'https://api.replicate.com/v1?token=hunter2'",
        "model: black-forest-labs/flux-dev-lora, secrets: {hf_api_token: hunter2-x}",
    ],
)
def test_what_may_be_a_secret_is_refused_and_not_repeated(
    imagen: Any, tmp_path: Path, block: str
) -> None:
    told = validate(imagen, tmp_path, block)

    assert "imagen: error: FILE:2: backends.r." in told
    assert "hunter2" not in told


def test_near_model_is_suggested(imagen: Any, tmp_path: Path) -> None:
    told = validate(imagen, tmp_path, "model: black-forest-labs-flux-schnell")

    assert "did you mean 'black-forest-labs/flux-schnell'?" in told


def test_sample_has_two_instances_and_validates(imagen: Any, tmp_path: Path) -> None:
    file = tmp_path / "imagen.yaml"
    file.write_text(imagen("config", "init").out)

    listed = imagen("backends", "--config", str(file), "--json").json()[0]["instances"]

    assert [(i["name"], i["model"], i["status"]) for i in listed if i["type"] == "replicate"] == [
        (
            "flux-schnell-replicate",
            "black-forest-labs/flux-schnell",
            "not configured (set REPLICATE_API_TOKEN)",
        ),
        (
            "flux-dev-replicate",
            "black-forest-labs/flux-dev",
            "not configured (set REPLICATE_API_TOKEN)",
        ),
    ]
