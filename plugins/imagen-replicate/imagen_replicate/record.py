"""What is kept of a making, in the picture's metadata."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagen_core import Request
    from imagen_replicate.model import Model
    from imagen_replicate.prediction import Prediction
    from imagen_replicate.prices import Estimate

TOLD = frozenset({"prompt", "negative_prompt", "seed"})
"""Inputs that the sidecar has in a place of their own."""


def metadata(
    model: Model,
    request: Request,
    made: Prediction,
    inputs: Mapping[str, Any],
    *,
    secrets: Iterable[str],
) -> dict[str, Any]:
    """What made a picture, as far as it is the same for all pictures of a prediction."""
    hidden = {name for name, found in model.inputs.items() if found.secret}
    untold = {*TOLD, *hidden, *secrets, model.image_key}
    found: dict[str, Any] = {
        "model": made.model or model.name,
        "version": made.version if made.version not in ("", "hidden") else None,
        "prediction_id": made.id,
        "seed_used": made.seed,
        "seed_is_exact": model.seed_is_exact(inputs),
        "asked_size": f"{request.width}x{request.height}",
        "inputs": {key: value for key, value in inputs.items() if key not in untold},
        "predict_time": made.predict_time,
    }
    for name, key in (("steps", model.steps_key), ("guidance", model.guidance_key)):
        if key:
            found[name] = inputs.get(key, model.default(key))
    return found


def priced(estimate: Estimate | None) -> dict[str, Any]:
    """What it costs, and what that number rests on; None is unknown."""
    return {
        "cost_usd_estimate": estimate.usd if estimate else None,
        "cost_basis": estimate.basis if estimate else None,
        "price_date": estimate.date if estimate else None,
    }
