"""What is kept of a picture: metadata, seed, size, cost."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core import (
    Remark,
)

if TYPE_CHECKING:
    from imagen_replicate.testing import FakeReplicate

SEED_NOTE = "the seed does not repeat the picture while go_fast is on: -p go_fast=false"


def test_metadata_has_all_that_there_is_to_tell(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    [image] = images(make(), ask(width=1536, height=768, steps=2))

    [made] = server.predictions
    about = dict(image.metadata)
    assert about.pop("predict_time") >= 0
    assert about == {
        "model": "black-forest-labs/flux-schnell",
        "version": None,
        "prediction_id": made.id,
        "seed_used": 7,
        "seed_is_exact": False,
        "asked_size": "1536x768",
        "inputs": {
            "num_inference_steps": 2,
            "aspect_ratio": "16:9",
            "megapixels": "1",
            "output_format": "png",
        },
        "steps": 2,
        "cost_usd_estimate": 0.003,
        "cost_basis": "0.003 USD an image (replicate.com/pricing, 2026-10-07)",
        "price_date": "2026-10-07",
        "width": 1344,
        "height": 768,
    }


def test_picture_of_another_size_is_told(make: Any, ask: Any, events: Any) -> None:
    happened = events(make(), ask(width=1536, height=768))

    assert Remark(text="asked for 1536x768, the picture is 1344x768") in happened


def test_picture_of_the_size_is_not_remarked(make: Any, ask: Any, events: Any) -> None:
    happened = events(make(), ask(width=1152, height=896))

    assert [event for event in happened if isinstance(event, Remark)] == []


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--seed", "7"), [SEED_NOTE]),
        (("--seed", "7", "--count", "2"), [SEED_NOTE]),
        (("--seed", "7", "-p", "go_fast=false"), []),
        ((), []),
    ],
    ids=str,
)
def test_seed_that_was_asked_for_and_repeats_nothing_is_told(
    configured: Any, imagen: Any, flags: tuple[str, ...], told: list[str]
) -> None:
    configured()

    done = imagen("generate", "a cat", *flags, "--json")
    plans = imagen("generate", "a cat", *flags, "--json", "--dry-run").json()

    assert done.exit_code == 0
    for found in (*done.json(), *plans):
        assert found["warnings"] == told


def test_seed_of_a_row_is_asked_for_and_a_drawn_one_is_not(
    configured: Any, imagen: Any, tmp_path: Path
) -> None:
    configured()
    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt": "a {red|blue} cat", "seed": 7}\n{"prompt": "a {red|blue} dog"}\n')

    for _ in ("begun", "continued"):
        done = imagen("batch", str(file), "--json")

        pictures = [row for row in done.json() if "prompt" in row]
        found = {row["prompt"].split()[-1]: row["warnings"] for row in pictures}
        assert found == {"cat": [SEED_NOTE], "dog": []}
        for row in pictures:
            Path(row["path"]).unlink()


def test_exact_seed_is_said_so(make: Any, ask: Any, images: Any) -> None:
    [image] = images(make(params={"go_fast": False}), ask())

    assert image.metadata["seed_is_exact"] is True


def test_seed_that_was_drawn_there_is_known_by_the_logs(make: Any, ask: Any, images: Any) -> None:
    [image] = images(make(model="google/nano-banana"), ask())

    assert image.seed == image.metadata["seed_used"]


def test_sidecar_has_the_digest_of_the_typed_prompt_and_the_cost(
    configured: Any, imagen: Any, tmp_path: Path
) -> None:
    configured()

    imagen("generate", "a cat", "--output", str(tmp_path / "x.png"))

    sidecar = json.loads((tmp_path / "x.png.json").read_text())
    assert sidecar["prompt_hash"] == sha256(b"a cat").hexdigest()
    assert (sidecar["cost_usd_estimate"], sidecar["model"]) == (
        0.003,
        "black-forest-labs/flux-schnell",
    )
    assert sidecar["remote_id"] == sidecar["metadata"]["prediction_id"]


def test_run_that_failed_has_no_cost_made_up(
    configured: Any, imagen: Any, server: FakeReplicate
) -> None:
    configured()
    server.fail_with("Invalid image")

    done = imagen("generate", "a cat")
    [row] = imagen("usage", "--all", "--raw", "--json").json()[0]["rows"]

    assert done.exit_code == 4
    assert row["cost_usd_estimate"] is None
