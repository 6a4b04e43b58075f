"""The step `cloud sync`: what it puts where, when it is on, and what it never does."""

from __future__ import annotations

import itertools
import json
from typing import Any
from uuid import UUID, uuid5

import pytest

pytestmark = pytest.mark.system


def test_picture_goes_to_the_bucket_and_its_row_to_the_table(machine: Any) -> None:
    done = machine.generate("--seed", "7")

    assert (done.exit_code, done.err) == (0, "")
    [path] = done.paths
    sidecar = json.loads(path.with_name(f"{path.name}.json").read_text())
    place = f"{sidecar['date']}/{sidecar['slug']}-7.png"
    assert machine.objects == {place: path.read_bytes()}
    [row] = machine.rows
    assert row.pop("created_at").isoformat(timespec="milliseconds") == sidecar["created_at"]
    assert row == {
        "id": uuid5(UUID(sidecar["id"]), "0"),
        "run_id": UUID(sidecar["id"]),
        "owner_user_id": UUID(machine.owner),
        "prompt": f"{machine.word} a cat",
        "prompt_hash": sidecar["prompt_hash"],
        "backend": "mock",
        "model": sidecar["model"],
        "seed": 7,
        "steps": sidecar["steps"],
        "width": 32,
        "height": 32,
        "latency_ms": sidecar["latency_ms"],
        "cost_usd_estimate": 0,
        "storage_path": place,
        "sha256": sidecar["sha256"],
        "mime": "image/png",
        "size": path.stat().st_size,
        "sidecar": sidecar,
        "tags": [],
    }


def test_requests_name_the_schema_and_never_send_tags(machine: Any) -> None:
    machine.generate()

    upload, insert = machine.gateway.requests
    assert upload.headers["x-upsert"] == "false"
    assert insert.headers["content-profile"] == "imagen"
    assert b'"tags"' not in insert.body


def test_sidecar_goes_along_where_no_file_was_written(machine: Any) -> None:
    done = machine.generate("--no-sidecar", "--seed", "5")

    [row] = machine.rows
    assert row["sidecar"]["file"] == done.paths[0].name
    assert (row["sidecar"]["seed"], row["sidecar"]["schema"]) == (5, 1)


def test_each_picture_of_a_count_has_its_object_and_its_row(machine: Any) -> None:
    machine.generate("--count", "3", "--seed", "1")

    assert [row["seed"] for row in machine.rows] == [1, 2, 3]
    assert sorted(machine.objects) == [row["storage_path"] for row in machine.rows]


@pytest.mark.parametrize("seed", [1, 2**53 + 1, 2**63 - 1])
def test_seed_arrives_as_it_is(machine: Any, seed: int) -> None:
    machine.generate("--seed", str(seed))

    [row] = machine.rows
    assert (row["seed"], row["sidecar"]["seed"]) == (seed, seed)


@pytest.mark.parametrize(
    "prompt", ["a 🐈‍⬛ in a 🫧", "ü" * 32_000, "قطة في حوض سمك \u200f\u05d7", "tab\tand\nnewline"]
)
def test_prompt_arrives_as_it_is(machine: Any, prompt: str) -> None:
    machine.generate(prompt=prompt)

    assert [row["prompt"] for row in machine.rows] == [f"{machine.word} {prompt}"]


def test_tags_of_the_viewer_survive_a_second_sync(machine: Any) -> None:
    [path] = machine.generate("--seed", "7").paths
    machine.sql("update imagen.images set tags = '{good}' where owner_user_id = %s", machine.owner)

    pushed = machine.run("cloud", "push", str(path.parent))

    assert (pushed.exit_code, pushed.err) == (
        0,
        "imagen: pictures: 0 sent, 1 there already\n",
    )
    assert [row["tags"] for row in machine.rows] == [["good"]]


def test_same_picture_of_another_run_is_one_object_and_one_row(machine: Any) -> None:
    first = machine.generate("--seed", "7")
    again = machine.generate("--seed", "7")

    assert first.paths != again.paths
    assert again.err == ""
    assert (len(machine.objects), len(machine.rows)) == (1, 1)


def test_other_picture_of_the_same_name_has_a_name_of_its_own(machine: Any) -> None:
    [path] = machine.generate("--seed", "7").paths
    [other] = machine.generate("--seed", "7", "--size", "40x40").paths

    plain, own = (row["storage_path"] for row in machine.rows)
    digest = machine.rows[1]["sha256"][:8]
    assert own == f"{plain.removesuffix('.png')}-{digest}.png"
    assert machine.objects == {plain: path.read_bytes(), own: other.read_bytes()}


def test_signed_url_gives_the_same_bytes(machine: Any) -> None:
    import httpx

    [path] = machine.generate().paths

    done = machine.run("cloud", "url", str(path), "--expires", "10m")

    assert httpx.get(done.out.strip(), timeout=60).content == path.read_bytes()


# When it is on

CONFIGURED = (None, "auto", "on", "off")
VARIABLE = (None, "auto", "on", "off")
FLAG = (None, "--no-cloud")


@pytest.mark.parametrize("cluster", ["system"], indirect=True)
@pytest.mark.parametrize(
    ("file", "variable", "flag"), list(itertools.product(CONFIGURED, VARIABLE, FLAG)), ids=str
)
def test_file_then_variable_then_flag_decide(
    machine: Any,
    monkeypatch: pytest.MonkeyPatch,
    file: str | None,
    variable: str | None,
    flag: str | None,
) -> None:
    if variable:
        monkeypatch.setenv("IMAGEN_CLOUD_SYNC", variable)
    settings = {"output": {"cloud_sync": file}} if file else {}

    done = machine.generate(*([flag] if flag else []), **settings)

    wanted = "off" if flag else (variable or file or "auto")
    assert (done.exit_code, done.err) == (0, "")
    assert bool(machine.asked) == (wanted != "off")


def test_without_cloud_nobody_is_asked_for_anything(machine: Any) -> None:
    machine.generate("--no-cloud")

    assert machine.asked == []


@pytest.mark.parametrize("cluster", ["system"], indirect=True)
@pytest.mark.parametrize(
    ("unset", "owner", "reason"),
    [
        (["SUPABASE_SERVICE_KEY"], True, "$SUPABASE_URL is set and $SUPABASE_SERVICE_KEY is not"),
        (["SUPABASE_URL"], True, "$SUPABASE_SERVICE_KEY is set and $SUPABASE_URL is not"),
        (
            ["SUPABASE_URL", "SUPABASE_SERVICE_KEY"],
            True,
            "SUPABASE_URL and SUPABASE_SERVICE_KEY are not set",
        ),
        ([], False, "owner_user_id is empty"),
        ([], True, "credentials and owner_user_id are set"),
    ],
)
def test_dry_run_says_what_auto_comes_to(
    machine: Any,
    monkeypatch: pytest.MonkeyPatch,
    unset: list[str],
    owner: bool,
    reason: str,
) -> None:
    for name in unset:
        monkeypatch.delenv(name)
    settings = {} if owner else {"owner_user_id": ""}

    done = machine.generate("--dry-run", **settings)

    assert f"cloud_sync: {'on' if not unset and owner else 'off'} ({reason})" in done.out
    assert machine.asked == []


def test_other_variable_for_the_key(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUPABASE_SERVICE_KEY")
    monkeypatch.setenv("MAI_SUPABASE_KEY", machine.gateway.service_key)

    machine.generate()

    assert len(machine.rows) == 1


# What is refused before anything is uploaded


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"owner_user_id": ""}, "owner_user_id is empty: no picture is synced"),
        ({"owner_user_id": "me"}, "owner_user_id is no UUID, but 'me': no picture is synced"),
    ],
)
def test_without_an_owner_nothing_is_uploaded(
    machine: Any, settings: dict[str, str], line: str
) -> None:
    done = machine.generate(output={"cloud_sync": "on"}, **settings)

    assert done.exit_code == 0
    assert done.err == (
        f"imagen: cloud sync: {line}; it is the id of your user: select id, email from auth.users; "
        "'imagen cloud push' sends it later\n"
    )
    assert machine.asked == []


def test_on_without_credentials_is_told(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUPABASE_SERVICE_KEY")
    monkeypatch.delenv("SUPABASE_URL")

    done = machine.generate(output={"cloud_sync": "on"})

    assert done.exit_code == 0
    assert done.err.startswith(
        "imagen: cloud sync: no Supabase project is configured: $SUPABASE_URL and "
        "$SUPABASE_SERVICE_KEY are not set; "
    )


@pytest.mark.parametrize("missing", ["date", "slug", "seed"])
def test_old_picture_without_a_name_is_refused_by_name(machine: Any, missing: str) -> None:
    [path] = machine.generate("--no-cloud").paths
    sidecar = path.with_name(f"{path.name}.json")
    about = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps({**about, missing: None}))

    done = machine.run("cloud", "push", str(path))

    assert done.exit_code == 1
    assert f"{path} has no {missing}, so it has no name in the cloud" in done.err
    assert machine.objects == {}


def test_changed_picture_is_refused(machine: Any) -> None:
    [path] = machine.generate("--no-cloud").paths
    path.write_bytes(path.read_bytes() + b"more")

    done = machine.run("cloud", "push")

    assert done.exit_code == 1
    assert f"{path} has changed since it was made" in done.err
    assert machine.objects == {}
    [found] = machine.run("cloud", "status", "--json").json()
    assert (found["refused"], found["missing"]) == (1, 0)


def test_copy_of_a_sidecar_is_not_taken_for_the_picture(machine: Any) -> None:
    [path] = machine.generate("--seed", "7").paths
    other = machine.generate("--seed", "8", "--no-cloud").paths[0]
    sidecars = [json.loads(one.with_name(f"{one.name}.json").read_text()) for one in (path, other)]
    forged = {**sidecars[1], "id": sidecars[0]["id"]}
    other.with_name(f"{other.name}.json").write_text(json.dumps(forged))

    done = machine.run("cloud", "push", str(other))

    assert done.exit_code == 1
    assert f"{other} has the id of another picture in the cloud" in done.err
