"""`imagen replicate models` and `imagen replicate fetch`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imagen_replicate import catalogue

if TYPE_CHECKING:
    from imagen_replicate.testing import FakeReplicate


def failed(imagen: Any, server: FakeReplicate, *args: str) -> str:
    """A picture that is made and can't be fetched; returns the id of its prediction."""
    server.refuse("file", 503, body="", times=3)
    done = imagen("generate", "a cat", *args)
    assert done.exit_code == 1
    id = server.predictions[-1].id
    assert f"'imagen replicate fetch {id}' gets it until" in done.err
    return id


# Models


def test_models_are_listed_with_price_and_date(imagen: Any) -> None:
    lines = imagen("replicate", "models").out.splitlines()

    rows = {line.split("\t")[0]: line.split("\t") for line in lines[1:]}
    assert lines[0].split("\t") == ["model", "price USD", "as of", "takes", "remarks"]
    assert set(rows) == set(catalogue.known())
    name = "black-forest-labs/flux-2-pro"
    assert rows[name][1] == "0.015 a run + 0.015 a megapixel"
    assert rows["qwen/qwen-image"][3] == "size, seed, steps, negative, images (1)"


def test_price_that_is_old_is_marked(imagen: Any) -> None:
    done = imagen("replicate", "models")

    [row] = [
        line for line in done.out.splitlines() if line.startswith("black-forest-labs/flux-pro\t")
    ]
    assert row.split("\t")[2] == "2026 (old)"
    assert "(old): a price that nobody has looked at for over a quarter" in done.err


def test_models_are_there_for_programs(imagen: Any) -> None:
    found = {row["model"]: row for row in imagen("replicate", "models", "--json").json()}

    schnell = found["black-forest-labs/flux-schnell"]
    assert schnell["prices"] == [
        {
            "per": "image",
            "usd": 0.003,
            "when": {},
            "source": "replicate.com/pricing",
            "date": "2026-10-07",
        }
    ]
    assert schnell["timeout"] == 60
    assert schnell["inputs"]["num_inference_steps"] == {
        "type": "integer",
        "default": 4,
        "minimum": 1,
        "maximum": 4,
    }
    assert schnell["flags"]["num_inference_steps"] == "--steps"


# Fetch


def test_picture_that_was_not_fetched_is_got_later_under_its_run(
    imagen: Any, server: FakeReplicate, configured: Any, tmp_path: Path
) -> None:
    configured()
    id = failed(imagen, server, "--negative", "dogs", "--seed", "5")
    path = tmp_path / "x.png"

    done = imagen("replicate", "fetch", id, "--output", str(path))

    sidecar = json.loads((tmp_path / "x.png.json").read_text())
    assert (done.exit_code, done.out) == (0, f"{path}\n")
    assert (sidecar["prompt"], sidecar["negative"], sidecar["seed"]) == ("a cat", "dogs", 5)
    assert (sidecar["remote_id"], sidecar["cost_usd_estimate"]) == (id, 0.003)
    assert len(server.creates) == 1
    [row] = imagen("usage", "--all", "--raw", "--json").json()[0]["rows"]
    assert (row["id"], row["failure"]) == (sidecar["id"], "")


def test_picture_that_the_ledger_does_not_know_is_told_by_its_prediction(
    imagen: Any, server: FakeReplicate, configured: Any
) -> None:
    configured()
    id = failed(imagen, server, "--no-ledger", "--seed", "5")

    [made] = imagen("replicate", "fetch", id, "--json").json()

    assert (made["prompt"], made["seed"], made["backend"]) == ("a cat", 5, "r")
    assert Path(made["path"]).is_file()


def test_instance_of_the_predictions_model_is_taken(
    imagen: Any, server: FakeReplicate, configured: Any
) -> None:
    file = configured()
    id = failed(imagen, server, "--no-ledger")
    config = json.loads(file.read_text())
    other = {**config["backends"]["r"], "model": "black-forest-labs/flux-dev"}
    config["backends"] = {"a": other, "z": config["backends"]["r"]}
    config["default_backend"] = "a"
    file.write_text(json.dumps(config))

    [made] = imagen("replicate", "fetch", id, "--json").json()

    assert made["backend"] == "z"


def test_prediction_of_a_model_without_an_instance_is_told(
    imagen: Any, server: FakeReplicate, configured: Any
) -> None:
    configured()
    id = failed(imagen, server, "--no-ledger")
    configured(model="black-forest-labs/flux-dev")

    done = imagen("replicate", "fetch", id)

    assert done.exit_code == 2
    assert "and no instance has this model" in done.err
    assert "backends: {NAME: {type: replicate, model: black-forest-labs/flux-schnell}}" in done.err


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("a/b",), 2, "'a/b' is no id of a prediction"),
        (("nobody0knows",), 4, "there is no prediction nobody0knows, or not for this token"),
        (("x", "--backend", "mock"), 2, "the backend 'mock' is none of Replicate's"),
        (("x", "--backend", "nothing"), 2, "there is no backend 'nothing'"),
    ],
)
def test_fetch_of_nothing_is_told(
    imagen: Any, configured: Any, args: tuple[str, ...], code: int, told: str
) -> None:
    configured()

    done = imagen("replicate", "fetch", *args)

    assert (done.exit_code, done.out) == (code, "")
    assert told in done.err


def test_fetch_without_an_instance_is_told(imagen: Any) -> None:
    done = imagen("replicate", "fetch", "x")

    assert done.exit_code == 2
    assert "no instance of the type replicate is configured" in done.err


def test_fetch_of_one_that_ended_makes_nothing(
    imagen: Any, server: FakeReplicate, configured: Any
) -> None:
    configured()
    server.fail_with("Invalid image")
    imagen("generate", "a cat")

    done = imagen("replicate", "fetch", server.predictions[0].id)

    assert done.exit_code == 4
    assert "the model refuses the input" in done.err
    assert len(server.creates) == 1


@pytest.mark.parametrize("token", ["", "r8_wrong"])
def test_run_that_no_token_opened_cost_nothing(
    imagen: Any, configured: Any, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    configured()
    monkeypatch.setenv("REPLICATE_API_TOKEN", token)

    done = imagen("generate", "a cat")
    (found,) = imagen("usage", "--all", "--json").json()

    assert done.exit_code == 3
    assert (found["total"]["cost_usd"], found["total"]["unknown"]) == (0, 0)
    assert "not counted" not in imagen("usage").err
