"""What the backend says of itself, what it sends, and what it keeps of a picture."""

from __future__ import annotations

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core import (
    Cost,
    CredentialsError,
    ImagenError,
    RejectedError,
    Remark,
    Status,
    UnavailableError,
    UsageError,
)
from imagen_core.testing import isolated_app
from imagen_replicate.backend import ReplicateBackend
from imagen_replicate.config import ReplicateConfig
from replicate_fixtures import image_of, until_failure

if TYPE_CHECKING:
    from imagen_replicate.testing import FakeReplicate

PRO = "black-forest-labs/flux-1.1-pro"
DEV = "black-forest-labs/flux-dev"
LORA = "black-forest-labs/flux-dev-lora"


def sent(server: FakeReplicate) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(server.creates[-1].body)["input"]
    return body


# What is sent


def test_input_is_what_the_model_takes(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    images(make(), ask(steps=3, negative="dogs"))

    assert sent(server) == {
        "prompt": "a cat",
        "seed": 7,
        "num_inference_steps": 3,
        "aspect_ratio": "1:1",
        "megapixels": "1",
        "output_format": "png",
    }


@pytest.mark.parametrize(
    ("size", "ratio"), [((1152, 896), "4:3"), ((1600, 900), "16:9"), ((1536, 768), "16:9")]
)
def test_ratio_is_reduced_from_the_size(
    server: FakeReplicate, make: Any, ask: Any, images: Any, size: tuple[int, int], ratio: str
) -> None:
    images(make(), ask(width=size[0], height=size[1]))

    assert sent(server)["aspect_ratio"] == ratio


def test_sides_are_sent_where_the_model_takes_them(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    [image] = images(make(model=PRO), ask(width=1152, height=896))

    assert {key: sent(server)[key] for key in ("aspect_ratio", "width", "height")} == {
        "aspect_ratio": "custom",
        "width": 1152,
        "height": 896,
    }
    assert (image.metadata["width"], image.metadata["height"]) == (1152, 896)


def test_parameters_are_passed_and_win_over_the_block(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    backend = make(params={"go_fast": False, "output_quality": 50})

    images(backend, ask(params={"output_quality": 90, "output_format": "webp"}))

    found = sent(server)
    assert (found["go_fast"], found["output_quality"], found["output_format"]) == (
        False,
        90,
        "webp",
    )


def test_ratio_set_by_hand_wins_over_the_size(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    images(make(), ask(width=512, height=512, params={"aspect_ratio": "21:9"}))

    assert sent(server)["aspect_ratio"] == "21:9"


def test_default_steps_are_those_of_the_block(
    server: FakeReplicate, configured: Any, imagen: Any, tmp_path: Path
) -> None:
    configured(default_steps=2)

    done = imagen("generate", "a cat", "--output", str(tmp_path / "x.png"))

    assert done.exit_code == 0
    assert sent(server)["num_inference_steps"] == 2
    assert json.loads((tmp_path / "x.png.json").read_text())["steps"] == 2


def test_steps_that_are_asked_for_win(
    server: FakeReplicate, configured: Any, imagen: Any, tmp_path: Path
) -> None:
    configured(default_steps=2)

    imagen("generate", "a cat", "--steps", "1", "--output", str(tmp_path / "x.png"))

    assert sent(server)["num_inference_steps"] == 1


def test_secret_input_comes_from_its_variable_and_is_kept_nowhere(
    server: FakeReplicate, ask: Any, tmp_path: Path
) -> None:
    server.models[LORA] = {
        **server.models[DEV],
        "schema": {**server.models[DEV]["schema"], "hf_api_token": {"type": "string"}},
    }
    variables = {"REPLICATE_API_TOKEN": server.token, "HF": "hf_secret"}
    app = isolated_app(tmp_path, environment=variables)
    config = ReplicateConfig(model=LORA, api_url=server.url, secrets={"hf_api_token": "HF"})

    events = list(ReplicateBackend(config, app.context).generate(ask()))

    app.close()
    assert sent(server)["hf_api_token"] == "hf_secret"
    assert "hf_secret" not in repr(events)


# What it says of itself


def test_about_is_that_of_the_model(make: Any) -> None:
    about = make().about

    assert about.model == "black-forest-labs/flux-schnell"
    assert about.honours == {"size", "seed", "steps"}
    assert (about.steps, about.mime) == (4, "image/png")
    assert {param.name for param in about.params if param.listed} == {
        "aspect_ratio",
        "megapixels",
        "num_outputs",
        "output_format",
        "output_quality",
        "disable_safety_checker",
        "go_fast",
    }


@pytest.mark.parametrize(
    ("params", "mime"),
    [({}, "image/png"), ({"output_format": "webp"}, "image/webp")],
)
def test_type_is_that_of_the_block(make: Any, params: Any, mime: str) -> None:
    assert make(params=params).about.mime == mime


def test_status_names_the_variable_that_is_not_set(server: FakeReplicate, tmp_path: Path) -> None:
    app = isolated_app(tmp_path, environment={})
    config = ReplicateConfig(model=DEV, api_url=server.url, api_token_env="MY_TOKEN")

    backend = ReplicateBackend(config, app.context)

    assert backend.status() == Status(ok=False, text="not configured (set MY_TOKEN)")
    assert backend.probe() == backend.status()
    with pytest.raises(CredentialsError, match=r"\$MY_TOKEN is not set") as caught:
        backend.connect().__enter__()
    assert caught.value.hint.startswith("set MY_TOKEN")
    app.close()
    assert server.requests == []


def test_probe_asks_for_the_model_and_spends_nothing(server: FakeReplicate, make: Any) -> None:
    assert make().probe() == Status(
        ok=True,
        text="the token is accepted, black-forest-labs/flux-schnell is there, 0.003 an image",
    )
    assert [r.method for r in server.requests] == ["GET"]
    assert server.predictions == []


def test_probe_with_a_bad_token_names_the_variable(server: FakeReplicate, make: Any) -> None:
    server.refuse("model", 401, body={"status": 401})

    with pytest.raises(CredentialsError) as caught:
        make().probe()

    assert "set REPLICATE_API_TOKEN" in caught.value.hint


def test_making_a_backend_loads_no_http_client() -> None:
    script = (
        "import sys, imagen_replicate.backend, imagen_replicate.commands\n"
        "sys.exit(bool({'httpx', 'PIL', 'sqlite3'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


# What is refused before anything is spent


@pytest.mark.parametrize(
    ("block", "fields", "told"),
    [
        ({}, {"steps": 20}, "black-forest-labs/flux-schnell takes 1 to 4 steps, got 20"),
        (
            {"model": "ideogram-ai/ideogram-v3-quality"},
            {"seed": 2**40},
            "ideogram-ai/ideogram-v3-quality takes seeds up to 2147483647, got 1099511627776",
        ),
        ({}, {"params": {"prompt": "x"}}, "the input prompt is not set by -p"),
        ({}, {"params": {"num_inference_steps": 2}}, "num_inference_steps is not set by -p"),
        (
            {"model": LORA},
            {"params": {"hf_api_token": "x"}},
            "the input hf_api_token is a secret, and -p would write it into the sidecar",
        ),
    ],
)
def test_request_that_cannot_work_is_refused(
    make: Any, ask: Any, block: Any, fields: Any, told: str
) -> None:
    with pytest.raises(UsageError) as caught:
        make(**block).check(ask(**fields))

    assert told in str(caught.value)


@pytest.mark.parametrize(("model", "number"), [(DEV, 2), ("black-forest-labs/flux-schnell", 1)])
def test_too_many_images_are_refused(
    make: Any, ask: Any, png: bytes, model: str, number: int
) -> None:
    with pytest.raises(UsageError, match=r"takes (1|no) input images?, got"):
        make(model=model).check(ask(images=(image_of(png),) * number))


def test_damaged_image_is_refused(make: Any, ask: Any, png: bytes) -> None:
    with pytest.raises(UsageError, match=r"the input image in\.png is damaged: it is cut off"):
        make(model=DEV).check(ask(images=(image_of(png[:-9]),)))


def test_misspelt_parameter_is_told_with_what_is_near(
    configured: Any, imagen: Any, server: FakeReplicate
) -> None:
    configured()

    done = imagen("generate", "a cat", "-p", "go_fats=true")

    assert (done.exit_code, server.requests) == (2, [])
    assert "the backend 'r' has no parameter 'go_fats'" in done.err
    assert "did you mean 'go_fast'?" in done.err


# What is known beforehand


def test_dry_run_shows_cost_and_real_size_and_asks_nobody(
    configured: Any, imagen: Any, server: FakeReplicate
) -> None:
    configured()

    [plan] = imagen("generate", "a cat", "--size", "1536x768", "--dry-run", "--json").json()

    assert plan["cost_usd_estimate"] == 0.003
    assert plan["cost"] == "0.003 USD (0.003 USD an image (replicate.com/pricing, 2026-10-07))"
    assert plan["warnings"] == [
        "flux-schnell makes 1344x768 (16:9) of 1536x768",
        "the seed does not repeat the picture while go_fast is on: -p go_fast=false",
    ]
    assert server.requests == []


@pytest.mark.parametrize(
    ("model", "fields", "usd"),
    [
        (DEV, {}, 0.025),
        (DEV, {"params": {"num_outputs": 3}}, 0.075),
        ("black-forest-labs/flux-2-pro", {}, 0.03),
        ("black-forest-labs/flux-2-pro", {"width": 2048, "height": 2048}, 0.075),
        ("black-forest-labs/flux-2-dev", {}, 0.012),
        ("black-forest-labs/flux-2-dev", {"params": {"go_fast": False}}, 0.014),
    ],
)
def test_estimate_is_by_the_price_of_the_model(
    make: Any, ask: Any, model: str, fields: Any, usd: float
) -> None:
    cost = make(model=model).estimate(ask(**fields))

    assert cost.usd == pytest.approx(usd)


def test_cost_of_a_model_that_nobody_knows_is_unknown(make: Any, ask: Any) -> None:
    backend = make(model="somebody/something")

    assert backend.estimate(ask()) is None
    assert backend.about.params is None
    assert list(backend.remarks(ask())) == [
        "what somebody/something takes and costs is not known here: Replicate will judge"
    ]


# What is kept


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


# A model that only Replicate knows


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
