"""Whose the picture of a job is: its own owner's, in the sync and in the push."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace

import imagen_supabase
from imagen_core import Done
from imagen_core.testing import isolated_app
from imagen_supabase import cloud, usage
from imagen_supabase.client import connect
from imagen_supabase.tables import USAGE

pytestmark = [pytest.mark.system, pytest.mark.parametrize("cluster", ["system"], indirect=True)]

USER = "3f1c6f0e-8a6b-4c1e-9a56-1f0a5f4f9a10"
OWNERS = "select owner_user_id::text from imagen.images where prompt ~ %s order by 1"


class Maker:
    """A machine on which pictures of jobs were made."""

    def __init__(self, machine: Any, environment: dict[str, str]) -> None:
        self.machine = machine
        self._environment = environment

    def app(self, **config: Any) -> Any:
        return isolated_app(
            self.machine.home,
            config=json.dumps({"supabase": {"timeout": 2}, **config}),
            environment={**self._environment, "IMAGEN_DATA_DIR": str(self.machine.home / "data")},
            plugins={"supabase": imagen_supabase},
        )

    def made(self, owner: str, *args: str) -> Any:
        """A picture on disk, of a job of this owner, that nobody has synced."""
        self.machine.generate("--no-cloud", *args)
        run = replace(self.machine.runs()[-1], owner=owner)
        with closing(self.app()) as app:
            app.context.ledger.record(run, finished=True)
        return run

    def sync(self, run: Any, **config: Any) -> list[str]:
        with closing(self.app(**config)) as app:
            return [note.text for note in cloud.sync(Done(runs=(run,), paths=()), app.context)]

    @property
    def owners(self) -> list[str]:
        """Whose the rows are of what was made here."""
        return [owner for (owner,) in self.machine.sql(OWNERS, self.machine.word)]


@pytest.fixture
def maker(machine: Any, cloud_environment: dict[str, str]) -> Maker:
    return Maker(machine, cloud_environment)


@pytest.mark.parametrize("configured", ["", USER, "me"])
def test_owner_of_the_job_beats_the_configured_one(maker: Maker, configured: str) -> None:
    owner = str(uuid4())

    maker.sync(maker.made(owner), owner_user_id=configured)

    assert maker.owners == [owner]


def test_job_that_is_nobodys_has_the_configured_owner(maker: Maker) -> None:
    configured = str(uuid4())

    maker.sync(maker.made(""), owner_user_id=configured)

    assert maker.owners == [configured]


def test_without_any_owner_there_is_no_row_and_the_note_says_so(maker: Maker) -> None:
    [told] = maker.sync(maker.made(""))

    assert "owner_user_id is empty: no picture is synced" in told
    assert maker.owners == []


def test_owner_of_a_job_who_is_no_user_is_told(maker: Maker) -> None:
    [told] = maker.sync(maker.made("ada"), owner_user_id=str(uuid4()))

    assert "the owner of the job is no UUID, but 'ada': its picture is not synced" in told
    assert maker.owners == []


@pytest.mark.parametrize("sidecar", [True, False])
def test_push_keeps_the_owner_of_the_job(maker: Maker, sidecar: bool) -> None:
    owner = str(uuid4())
    maker.made(owner, *([] if sidecar else ["--no-sidecar"]))

    first = maker.machine.run("cloud", "push")
    again = maker.machine.run("cloud", "push")

    assert maker.owners == [owner]
    assert "pictures: 1 sent, 0 there already" in first.err
    assert "pictures: 0 sent, 1 there already" in again.err


def test_push_by_its_path_goes_by_the_sidecar(maker: Maker) -> None:
    owner = str(uuid4())
    maker.machine.generate("--no-cloud")
    [path] = maker.machine.pictures
    sidecar = path.with_name(f"{path.name}.json")
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), "owner": owner}))

    maker.machine.run("cloud", "push", str(path))

    assert maker.owners == [owner]
    assert maker.machine.run("cloud", "url", str(path)).exit_code == 0


def test_push_sends_pictures_of_several_owners(maker: Maker) -> None:
    owners = [str(uuid4()), str(uuid4())]
    for number, owner in enumerate([*owners, ""]):
        maker.made(owner, "--seed", str(number + 1))

    done = maker.machine.run("cloud", "push")

    assert done.exit_code == 0
    assert maker.owners == sorted([*owners, maker.machine.owner])
    told = maker.machine.run("cloud", "status", "--json").json()
    assert (told[0]["there"], told[0]["rows"]) == (3, 3)


def test_push_without_a_configured_owner_sends_pictures_of_jobs(maker: Maker) -> None:
    owner = str(uuid4())
    maker.made(owner, "--seed", "1")
    maker.made("", "--seed", "2")

    done = maker.machine.run("cloud", "push", owner_user_id="")

    assert done.exit_code == 0
    assert "owner_user_id is empty: only pictures of jobs are sent, and usage" in done.err
    assert maker.owners == [owner]


def test_push_leaves_out_a_job_of_nobody_that_is_known(maker: Maker) -> None:
    maker.made("ada", "--seed", "1")
    maker.made("", "--seed", "2")

    done = maker.machine.run("cloud", "push")

    assert done.exit_code == 7
    assert "the owner of the job is no UUID, but 'ada'" in done.err
    assert maker.owners == [maker.machine.owner]


# With a worker's key


@pytest.fixture
def worker(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> Maker:
    """The same machine, whose key is that of the workers' role."""
    token = maker.machine.gateway.token("imagen_worker")
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", token)
    maker._environment["SUPABASE_SERVICE_KEY"] = token
    return maker


def test_worker_syncs_once_and_finds_it_again(worker: Maker) -> None:
    run = worker.made(USER)

    first, again = (worker.sync(run) for _ in range(2))

    assert first == again
    assert first[0].startswith(run.outputs[0].date)
    assert (worker.owners, len(worker.machine.objects)) == ([USER], 1)


def test_worker_takes_another_name_where_another_picture_is(worker: Maker, tmp_path: Path) -> None:
    output = str(tmp_path / "o.png")
    one = worker.made(str(uuid4()), "--seed", "3")
    other = worker.made(str(uuid4()), "--seed", "3", "--size", "64x64", "--output", output)
    other = replace(other, outputs=(replace(other.outputs[0], slug=one.outputs[0].slug),))

    told = [*worker.sync(one), *worker.sync(other, output={"sidecar": False})]

    assert len({*told, *worker.machine.objects}) == len(worker.owners) == 2


def test_worker_tells_of_a_row_that_is_another_owners(worker: Maker) -> None:
    run = worker.made(USER)
    worker.sync(run)

    [told] = worker.sync(replace(run, owner=str(uuid4())))

    assert f"its row belongs to another owner, {USER}" in told


def test_worker_writes_down_what_was_spent(worker: Maker) -> None:
    run = worker.made(USER)
    row = usage.row(run)
    with closing(worker.app()) as app:
        project = app.context.once(connect)

        assert [project.insert(USAGE, [row]) for _ in range(2)] == [{run.id}, set()]

    assert worker.machine.sql("select backend from mai.imagen_usage where id = %s", run.id) == [
        ("mock",)
    ]
