"""The document of a picture, and the file beside it."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from imagen_core import Cost, Done, InputImage, Note, Output, Request, Run, document
from imagen_core.sidecar import encode, write_sidecars

if TYPE_CHECKING:
    from pathlib import Path

    from imagen_core import Context

SEED = 2**63 - 1
TYPED = 'a 猫 in a "fishbowl"\n🐟'
RUN = Run(
    id="4e5b",
    started_at="2026-05-08T12:30:15.123+00:00",
    backend_type="comfyui",
    model="flux1-schnell",
    latency_ms=1234,
    caller="agent",
    cost=Cost(usd=0.003, basis="table"),
    remote_id="p-1",
    notes=(
        Note(step="generate", text="ignores the negative prompt", warning=True),
        Note(step="cloud sync", text="there"),
    ),
    request=Request(
        id="4e5b",
        prompt=f"{TYPED}, ink",
        typed_prompt=TYPED,
        negative="text",
        style="ink",
        backend="flux",
        width=1024,
        height=768,
        seed=SEED - 1,
        steps=4,
        params={"cfg": 1.5},
        images=(InputImage(name="in.png", mime="image/png", sha256="ab", size=6, data=b"SECRET"),),
    ),
)


def output(folder: Path, **changes: Any) -> Output:
    found = Output(
        path=str(folder / "x.png"),
        mime="image/png",
        width=1000,
        height=700,
        sha256="cd",
        size=9,
        date="2026-05-08",
        time="143015",
        slug="a-in-a-fishbowl",
        seed=SEED,
        metadata={"sampler": "euler"},
    )
    return replace(found, **changes)


def test_document_has_all_that_makes_the_picture_again(tmp_path: Path) -> None:
    assert document(RUN, output(tmp_path)) == {
        "schema": 1,
        "id": "4e5b",
        "ordinal": 0,
        "prompt": TYPED,
        "effective_prompt": f"{TYPED}, ink",
        "negative": "text",
        "style": "ink",
        "prompt_hash": hashlib.sha256(TYPED.encode()).hexdigest(),
        "backend": "flux",
        "type": "comfyui",
        "model": "flux1-schnell",
        "seed": SEED,
        "steps": 4,
        "width": 1000,
        "height": 700,
        "latency_ms": 1234,
        "cost_usd_estimate": 0.003,
        "cost_basis": "table",
        "created_at": "2026-05-08T12:30:15.123+00:00",
        "date": "2026-05-08",
        "time": "143015",
        "slug": "a-in-a-fishbowl",
        "params": {"cfg": 1.5},
        "images": [{"name": "in.png", "mime": "image/png", "size": 6, "sha256": "ab"}],
        "metadata": {"sampler": "euler"},
        "file": "x.png",
        "size": 9,
        "sha256": "cd",
        "mime": "image/png",
        "remote_id": "p-1",
        "caller": "agent",
        "warnings": ["ignores the negative prompt"],
    }


@pytest.mark.parametrize(
    ("cost", "usd", "basis"),
    [(None, None, None), (Cost(usd=0, basis="local"), 0, "local")],
    ids=["unknown", "free"],
)
def test_unknown_cost_is_null_and_a_free_picture_costs_nothing(
    tmp_path: Path, cost: Cost | None, usd: float | None, basis: str | None
) -> None:
    found = document(replace(RUN, cost=cost), output(tmp_path))

    assert (found["cost_usd_estimate"], found["cost_basis"]) == (usd, basis)


def test_steps_that_the_backend_really_took_are_told(tmp_path: Path) -> None:
    assert document(RUN, output(tmp_path, metadata={"steps": 20}))["steps"] == 20


def test_encoded_document_comes_back_exactly(tmp_path: Path) -> None:
    content = document(RUN, output(tmp_path))

    assert json.loads(encode(content)) == content


def test_file_is_indented_and_readable_in_any_language(tmp_path: Path) -> None:
    text = encode(document(RUN, output(tmp_path))).decode()

    lines = text.splitlines()
    assert lines[0] == "{"
    assert '  "prompt": "a 猫 in a \\"fishbowl\\"\\n🐟",' in lines
    assert f'  "seed": {SEED},' in lines
    assert text.endswith("\n}\n")


def test_metadata_that_json_does_not_know_is_written_as_text(tmp_path: Path) -> None:
    content = document(RUN, output(tmp_path, metadata={"folder": tmp_path, "n": 2**70}))

    assert json.loads(encode(content))["metadata"] == {"folder": str(tmp_path), "n": 2**70}


def test_bytes_of_input_images_are_not_in_it(tmp_path: Path) -> None:
    assert b"SECRET" not in encode(document(RUN, output(tmp_path)))


@pytest.fixture
def nobody() -> Context:
    return None  # type: ignore[return-value]


def test_every_picture_gets_a_sidecar_beside_it_over_an_old_one(
    tmp_path: Path, nobody: Context
) -> None:
    outputs = [
        output(tmp_path),
        output(tmp_path, path=str(tmp_path / "y.jpg"), ordinal=1, seed=7),
    ]
    (tmp_path / "x.png.json").write_text("old")
    run = replace(RUN, outputs=tuple(outputs))

    notes = write_sidecars(Done(runs=(run,), paths=()), nobody)

    assert notes == ()
    assert {p.name: json.loads(p.read_bytes()) for p in tmp_path.iterdir()} == {
        "x.png.json": document(run, outputs[0]),
        "y.jpg.json": document(run, outputs[1]),
    }


def test_failed_run_without_pictures_writes_nothing(tmp_path: Path, nobody: Context) -> None:
    write_sidecars(Done(runs=(RUN,), paths=()), nobody)

    assert list(tmp_path.iterdir()) == []
