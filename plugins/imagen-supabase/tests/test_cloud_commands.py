"""`imagen cloud`: what is sent, what is counted, and what is printed."""

from __future__ import annotations

import json
import signal
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest

from imagen_supabase.testing import faults

pytestmark = pytest.mark.system


def test_push_sends_all_that_the_ledger_has(machine: Any) -> None:
    machine.generate("--count", "5", "--no-cloud")

    done = machine.run("cloud", "push")

    assert done.err == "imagen: pictures: 5 sent, 0 there already\n"
    assert sorted(done.out.splitlines()) == sorted(machine.objects)
    assert sorted(machine.objects) == sorted(row["storage_path"] for row in machine.rows)


def test_push_of_a_folder_takes_pictures_that_the_ledger_does_not_know(machine: Any) -> None:
    [path] = machine.generate("--no-cloud", "--no-ledger").paths
    (path.parent / "notes.json").write_text("{}")

    nothing = machine.run("cloud", "push")
    done = machine.run("cloud", "push", str(path.parent))

    assert nothing.err.startswith("imagen: pictures: 0 sent, 0 there already")
    assert done.err.startswith("imagen: pictures: 1 sent, 0 there already")
    assert list(machine.objects.values()) == [path.read_bytes()]


def test_folder_of_pictures_without_sidecars_is_told(machine: Any) -> None:
    [path] = machine.generate("--no-cloud", "--no-sidecar").paths

    done = machine.run("cloud", "push", str(path.parent))

    assert done.exit_code == 0
    assert "no picture there has a sidecar; without a path those of the ledger go" in done.err
    assert machine.objects == {}


def test_dry_run_of_a_push_sends_nothing(machine: Any) -> None:
    [path] = machine.generate("--no-cloud").paths

    done = machine.run("cloud", "push", "--dry-run")

    assert (done.out, done.err) == (
        f"{path}\n",
        "imagen: pictures: 1 would be sent\nimagen: usage: 0 rows would be sent\n",
    )
    assert (machine.objects, machine.rows) == ({}, [])


def test_ledger_knows_what_a_push_has_sent(machine: Any) -> None:
    machine.generate("--no-cloud")

    machine.run("cloud", "push")

    [run] = machine.runs()
    [row] = machine.rows
    assert [(note.step, note.text, note.warning) for note in run.notes] == [
        ("cloud sync", row["storage_path"], False)
    ]


def test_push_for_programs(machine: Any) -> None:
    [path] = machine.generate("--no-cloud").paths

    done = machine.run("cloud", "push", "--json")

    [row] = machine.rows
    assert done.json() == [{"path": str(path), "storage_path": row["storage_path"]}]


def test_picture_that_was_deleted_here_is_only_counted(machine: Any) -> None:
    [path] = machine.generate("--no-cloud").paths
    path.unlink()

    [found] = machine.run("cloud", "status", "--json").json()

    assert (found["gone"], found["missing"]) == (1, 0)


def test_status_compares_this_machine_the_bucket_and_the_table(machine: Any) -> None:
    machine.generate("--count", "3")
    machine.generate("--no-cloud", "--seed", "9")
    machine.lose(machine.rows[0]["storage_path"])

    done = machine.run("cloud", "status")

    assert done.out.splitlines() == [
        "pictures\tcount",
        "in the cloud\t2",
        "to be sent\t1",
        "a row without its object\t1",
        "can't be sent\t0",
        "no longer on this machine\t0",
        "rows of the owner\t3",
        "usage to be sent\t0",
    ]
    assert done.err == "imagen: 'imagen cloud push' sends what is missing\n"


@pytest.mark.parametrize(
    ("expires", "seconds"), [("60", 60), ("2m", 120), ("1h", 3600), ("7d", 604_800)]
)
def test_signed_url_ends_when_it_is_told(machine: Any, expires: str, seconds: int) -> None:
    [path] = machine.generate().paths

    [found] = machine.run("cloud", "url", str(path), "--expires", expires, "--json").json()

    token = parse_qs(urlsplit(found["url"]).query)["token"][0]
    claims = machine.claims(token)
    assert claims["exp"] - claims["iat"] == seconds == found["expires_in"]
    assert found["storage_path"] == machine.rows[0]["storage_path"]


@pytest.mark.parametrize("expires", ["0", "soon", "-5", "1w", "99999d"])
def test_time_that_makes_no_sense_is_refused(machine: Any, expires: str) -> None:
    done = machine.run("cloud", "url", "x.png", f"--expires={expires}")

    assert done.exit_code == 2
    assert f"'{expires}' is no time to expire in" in done.err


def test_url_of_a_picture_that_is_not_there(machine: Any) -> None:
    [path] = machine.generate("--no-cloud").paths

    done = machine.run("cloud", "url", str(path))

    assert (done.exit_code, done.err) == (
        2,
        f"imagen: error: {path} is not in the cloud\n  hint: imagen cloud push {path}\n",
    )


def test_url_by_the_path_in_the_bucket(machine: Any) -> None:
    machine.generate()
    place = machine.rows[0]["storage_path"]

    assert f"/imagen-generated/{place}?token=" in machine.run("cloud", "url", place).out


@pytest.mark.parametrize("command", ["push", "status", "url"])
def test_nothing_configured_is_told(
    machine: Any, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.delenv("SUPABASE_URL")
    monkeypatch.delenv("SUPABASE_SERVICE_KEY")

    done = machine.run("cloud", command, *(["2026-05-08/x.png"] if command == "url" else []))

    assert done.exit_code == 3
    assert "no Supabase project is configured" in done.err


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["push", "nope.png"], "there is no picture nope.png"),
        (["status", "nope"], "there is no picture nope"),
        (["url", "nope.png"], "there is no picture nope.png"),
    ],
)
def test_path_that_is_not_there_is_refused(machine: Any, args: list[str], told: str) -> None:
    done = machine.run("cloud", *args)

    assert done.exit_code == 2
    assert told in done.err


def test_picture_without_a_name_in_a_folder_is_refused_by_name(machine: Any) -> None:
    paths = machine.generate("--no-cloud", "--count", "2").paths
    sidecar = paths[0].with_name(f"{paths[0].name}.json")
    about = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps({"prompt": about["prompt"], "seed": about["seed"]}))

    done = machine.run("cloud", "push", str(paths[0].parent))

    assert done.exit_code == 7
    assert f"{paths[0]} has no date and no slug, so it has no name in the cloud" in done.err
    assert list(machine.objects.values()) == [paths[1].read_bytes()]


@pytest.mark.parametrize(
    "wrong",
    [
        {"created_at": "2026-13-45T00:00:00Z"},
        {"created_at": "2026-05-08T00:00:00"},
        {"date": "9999-99-99"},
        {"slug": "../x"},
        {"slug": "a\n"},
        {"width": 2**31},
        {"seed": "7"},
        {"sha256": "x"},
        {"id": "1"},
    ],
    ids=str,
)
def test_sidecar_that_makes_no_sense_is_refused_before_anything_is_uploaded(
    machine: Any, wrong: dict[str, Any]
) -> None:
    [path] = machine.generate("--no-cloud").paths
    sidecar = path.with_name(f"{path.name}.json")
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), **wrong}))

    done = machine.run("cloud", "push", str(path))

    assert done.exit_code == 1
    assert f"the sidecar of {path} can't be used: " in done.err
    assert machine.objects == {}


def test_push_with_a_broken_ledger_tells_what_it_sent(machine: Any) -> None:
    [path] = machine.generate("--no-cloud").paths
    for file in (machine.home / "data").glob("ledger.db*"):
        file.unlink()
    (machine.home / "data" / "ledger.db").write_bytes(b"no database" * 99)

    done = machine.run("cloud", "push", str(path))

    assert done.exit_code == 0
    [row] = machine.rows
    assert done.out == f"{row['storage_path']}\n"
    assert f"the ledger does not know that {row['storage_path']} was sent: " in done.err


def test_picture_of_another_owner_is_not_said_to_be_sent(machine: Any) -> None:
    machine.generate()
    earlier, machine.settings["owner_user_id"] = machine.owner, str(uuid4())

    done = machine.run("cloud", "push")

    assert done.exit_code == 1
    assert f"its row belongs to another owner, {earlier}" in done.err
    assert len(machine.rows) == 1


def test_place_whose_object_got_lost_is_not_given_to_another_picture(machine: Any) -> None:
    [first] = machine.generate("--seed", "7").paths
    [plain] = machine.objects
    machine.lose(plain)

    [second] = machine.generate("--seed", "7", "--size", "40x40").paths

    [own] = machine.objects
    assert own.startswith(plain.removesuffix(".png"))
    machine.run("cloud", "push")
    assert machine.objects == {plain: first.read_bytes(), own: second.read_bytes()}


def test_place_of_another_owners_lost_object_is_not_taken(machine: Any) -> None:
    machine.generate("--seed", "7")
    [plain] = machine.objects
    machine.lose(plain)
    machine.owner = machine.settings["owner_user_id"] = str(uuid4())

    machine.generate("--seed", "7", "--size", "40x40")

    assert plain not in machine.objects
    assert [row["storage_path"] for row in machine.rows] == list(machine.objects)


@pytest.mark.parametrize("cluster", ["system"], indirect=True)
def test_project_without_a_bucket_ends_a_push_at_once(machine: Any) -> None:
    machine.generate("--count", "6", "--no-cloud")
    missing = {"statusCode": "404", "error": "Bucket not found", "message": "Bucket not found"}
    machine.gateway.fail(faults.say(400, missing), method="POST", path="/storage", times=99)

    done = machine.run("cloud", "push")

    assert done.exit_code == 4
    assert done.err.count("has no such bucket") == 1
    assert "6 pictures are left" in done.err


def test_interrupted_push_does_not_wait_for_what_hangs(machine: Any) -> None:
    machine.generate("--count", "6", "--no-cloud")
    machine.gateway.fail(faults.HANGING, method="POST", path="/storage", times=99)
    process = machine.start("cloud", "push")
    machine.gateway.wait_hanging(4, 60)

    process.send_signal(signal.SIGINT)

    _, told = process.communicate(timeout=60)
    machine.gateway.wait_hanging(0, 60)
    assert process.returncode == 130
    assert "6 of 6 pictures are left" in told
    machine.gateway.mend()
    machine.run("cloud", "push")
    assert (len(machine.objects), len(machine.rows)) == (6, 6)


def test_two_pushes_at_once_leave_one_of_each(machine: Any) -> None:
    machine.generate("--count", "12", "--no-cloud")

    both = [machine.start("cloud", "push") for _ in range(2)]

    assert [process.wait(60) for process in both] == [0, 0]
    for process in both:
        process.communicate()
    assert len(machine.objects) == len(machine.rows) == 12
