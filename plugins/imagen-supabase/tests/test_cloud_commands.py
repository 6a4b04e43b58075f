"""`imagen cloud`: what is sent, what is counted, and what is printed."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

pytestmark = pytest.mark.system


def test_push_sends_all_that_the_ledger_has(machine: Any) -> None:
    machine.generate("--count", "5", "--no-cloud")

    done = machine.run("cloud", "push")

    assert done.err == "imagen: 5 sent, 0 there already; 0 rows of usage sent\n"
    assert sorted(done.out.splitlines()) == sorted(machine.objects)
    assert sorted(machine.objects) == sorted(row["storage_path"] for row in machine.rows)


def test_push_of_a_folder_takes_pictures_that_the_ledger_does_not_know(machine: Any) -> None:
    [path] = machine.generate("--no-cloud", "--no-ledger").paths
    (path.parent / "notes.json").write_text("{}")

    nothing = machine.run("cloud", "push")
    done = machine.run("cloud", "push", str(path.parent))

    assert nothing.err.startswith("imagen: 0 sent, 0 there already")
    assert done.err.startswith("imagen: 1 sent, 0 there already")
    assert list(machine.objects.values()) == [path.read_bytes()]


def test_dry_run_of_a_push_sends_nothing(machine: Any) -> None:
    [path] = machine.generate("--no-cloud").paths

    done = machine.run("cloud", "push", "--dry-run")

    assert (done.out, done.err) == (
        f"{path}\n",
        "imagen: 1 pictures and 0 rows of usage would be sent\n",
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
        "of these without an object\t1",
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
