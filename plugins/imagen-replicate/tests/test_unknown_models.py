"""Models that only Replicate knows: read there, kept, and forgotten when they change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core import (
    Cost,
    ImagenError,
    RejectedError,
    UnavailableError,
)
from replicate_fixtures import until_failure

if TYPE_CHECKING:
    from imagen_replicate.testing import FakeReplicate


def tiny(server: FakeReplicate, **block: Any) -> dict[str, Any]:
    return {"model": f"lab/tiny:{server.version_of('lab/tiny')}", **block}


def test_unknown_model_is_read_from_replicate_once(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    images(make(**tiny(server)), ask(width=512, height=384, steps=5))
    images(make(**tiny(server)), ask(seed=8))

    described = [r for r in server.requests if "/versions/" in r.path]
    assert len(described) == 1
    first = json.loads(server.creates[0].body)["input"]
    assert (first["width"], first["height"], first["num_inference_steps"]) == (512, 384, 5)


def test_unknown_model_is_known_the_next_time(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    images(make(**tiny(server)), ask())

    about = make(**tiny(server)).about

    assert about.honours == {"size", "seed", "steps"}
    assert [param.name for param in about.params if param.listed] == ["scheduler"]


def test_parameter_of_an_unknown_model_is_judged_by_its_schema(
    server: FakeReplicate, make: Any, ask: Any
) -> None:
    _, error = until_failure(make(**tiny(server)).generate(ask(params={"scheduller": "DDIM"})))

    assert str(error).endswith("has no input 'scheduller'")
    assert error.hint == "did you mean 'scheduler'?"
    assert server.creates == []


def test_cost_of_an_unknown_model_is_none(
    server: FakeReplicate, make: Any, ask: Any, events: Any
) -> None:
    happened = events(make(**tiny(server)), ask())

    assert [event for event in happened if isinstance(event, Cost)] == []
    [image] = [event for event in happened if hasattr(event, "metadata")]
    assert image.metadata["cost_usd_estimate"] is None


def test_second_on_known_hardware_has_its_price(
    server: FakeReplicate, make: Any, ask: Any, events: Any
) -> None:
    happened = events(make(**tiny(server, hardware="l40s")), ask())

    [cost] = [event for event in happened if isinstance(event, Cost)]
    [image] = [event for event in happened if hasattr(event, "metadata")]
    assert cost.usd == pytest.approx(image.metadata["predict_time"] * 0.000975, abs=1e-6)
    assert "a second" in cost.basis


def test_run_time_is_asked_for_where_the_price_depends_on_it(
    server: FakeReplicate, make: Any, ask: Any, events: Any
) -> None:
    server.files_ready_early(True)

    happened = events(make(**tiny(server, hardware="l40s")), ask())

    assert [type(event) for event in happened if isinstance(event, Cost)] == [Cost]


def test_model_whose_schema_cannot_be_read_is_told(
    server: FakeReplicate, make: Any, ask: Any
) -> None:
    server.refuse("model", 200, body={"latest_version": {"openapi_schema": []}})

    _, error = until_failure(make(model="somebody/something").generate(ask()))

    assert isinstance(error, RejectedError)
    assert "does not say what it takes" in str(error)


def test_model_that_is_partly_known_is_asked_for_and_does_not_need_the_answer(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    server.models["black-forest-labs/flux-2-klein-4b"] = {
        "official": True,
        "schema": {
            "prompt": {"type": "string"},
            "aspect_ratio": {"type": "string", "enum": ["1:1", "16:9"]},
            "output_megapixels": {"type": "string"},
            "seed": {"type": "integer"},
            "output_format": {"type": "string", "enum": ["png", "jpg"]},
        },
    }
    server.refuse("model", 503, body={"detail": "x"}, times=9)

    assert len(images(make(model="black-forest-labs/flux-2-klein-4b"), ask())) == 1


def test_schema_is_forgotten_when_an_input_is_refused(
    server: FakeReplicate, make: Any, ask: Any, context: Any
) -> None:
    make().probe()
    [kept] = Path(context.paths.cache).glob("replicate/*.json")
    server.refuse("create", 422, body={"detail": "- input.go: x", "status": 422})

    _, error = until_failure(make().generate(ask()))

    assert "refuses the input" in str(error)
    assert not kept.exists()


def test_kept_schema_that_is_broken_does_no_harm(
    make: Any, ask: Any, images: Any, context: Any
) -> None:
    folder = Path(context.paths.cache) / "replicate"
    folder.mkdir(parents=True)
    (folder / "black-forest-labs--flux-schnell.json").write_bytes(b"{")

    assert len(images(make(), ask())) == 1


def test_cache_that_cannot_be_written_does_no_harm(
    server: FakeReplicate, make: Any, ask: Any, images: Any, context: Any
) -> None:
    Path(context.paths.cache).write_text("no folder")

    assert len(images(make(**tiny(server)), ask())) == 1


@pytest.mark.parametrize("kind", [UnavailableError, ImagenError])
def test_unknown_model_that_cannot_be_asked_for_is_unavailable(
    server: FakeReplicate, make: Any, ask: Any, kind: type[ImagenError]
) -> None:
    server.refuse("model", 503, body={"detail": "x"}, times=9)

    _, error = until_failure(make(model="somebody/something").generate(ask()))

    assert isinstance(error, kind)
    assert server.creates == []
