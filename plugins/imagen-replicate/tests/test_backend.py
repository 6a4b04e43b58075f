"""What the backend says of itself, what it sends, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core import (
    CredentialsError,
    Status,
    UsageError,
)
from imagen_core.testing import isolated_app
from imagen_replicate.backend import ReplicateBackend
from imagen_replicate.config import ReplicateConfig
from replicate_fixtures import image_of
from replicate_transcripts import DEV, PRO

if TYPE_CHECKING:
    from imagen_replicate.testing import FakeReplicate

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

    size = ("--size", "1536x768", "--seed", "7")
    [plan] = imagen("generate", "a cat", *size, "--dry-run", "--json").json()

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
