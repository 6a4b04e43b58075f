"""`imagen worker`, as somebody uses it who has a queue."""

from __future__ import annotations

import json
import signal
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core import NewJob, Options
from imagen_core.jobs import SqliteQueue
from imagen_core.payload import payload
from works import SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from works import Works

    Put = Callable[..., str]

WORKER = ("worker", "--store", "local")
DRAIN = (*WORKER, "--drain")


@pytest.fixture
def queue(imagen_home: Path) -> Iterator[SqliteQueue]:
    queue = SqliteQueue(imagen_home / "data", backoff=lambda _: 0.0)
    yield queue
    queue.close()


@pytest.fixture
def put(queue: SqliteQueue) -> Put:
    """Queue a job of the mock; parameters and fields of the job by name."""

    def enqueue(backend: str = "mock", delay: float = 0.0, **params: Any) -> str:
        asked = payload(Options(prompt="a cat", size="32x24", params=params), "")
        return queue.enqueue(NewJob(backend=backend, payload=asked, delay=delay)).id

    return enqueue


@pytest.fixture
def backends(imagen_home: Path) -> Callable[..., None]:
    def configure(**blocks: Any) -> None:
        folder = imagen_home / ".config"
        folder.mkdir(exist_ok=True)
        (folder / "imagen.yaml").write_text(json.dumps({"backends": blocks}))

    return configure


def states(queue: SqliteQueue) -> list[str]:
    """Of the jobs, the earliest first."""
    return [job.state for job in reversed(queue.jobs())]


def test_job_in_a_line_and_its_picture_on_disk(imagen: Any, put: Put, queue: SqliteQueue) -> None:
    job_id = put()

    done = imagen(*DRAIN, "--name", "atelier")

    [path] = Path(queue.path.parent.parent / "output").glob("*.png")
    [line] = done.out.splitlines()
    assert line.startswith(f"{job_id} succeeded after ")
    assert line.endswith(f" s: {path}")
    assert done.err == (
        f"imagen: worker atelier serves mock from 'local'\nimagen: job {job_id} on 'mock'\n"
    )
    assert (done.exit_code, queue.get(job_id).worker) == (0, "atelier")  # type: ignore[union-attr]


def test_path_is_told_as_it_is(
    imagen: Any, put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEN_OUTPUT_DIR", str(tmp_path / "my  pictures"))
    put()

    done = imagen(*DRAIN)

    [path] = (tmp_path / "my  pictures").glob("*.png")
    assert done.out.endswith(f" s: {path}\n")


def test_what_is_said_of_a_failure_steers_no_terminal(imagen: Any, queue: SqliteQueue) -> None:
    asked = payload(Options(prompt="a cat", size="\x1b[31m\nbig"), "")
    job_id = queue.enqueue(NewJob(backend="mock", payload=asked)).id

    done = imagen(*DRAIN)

    assert done.out.startswith(f"{job_id} failed after ")
    assert "\x1b" not in done.out
    assert "\\x1b[31m big" in done.out
    assert done.out.count("\n") == 1


def test_json_has_an_object_for_each_job(imagen: Any, put: Put, queue: SqliteQueue) -> None:
    good, bad = put(), put(fail="rejected")

    done = imagen(*DRAIN, "--json")

    first, second = done.json()
    seconds = [first.pop("seconds"), second.pop("seconds")]
    [path] = first.pop("paths")
    assert Path(path).is_file()
    assert all(0 <= number < SECONDS for number in seconds)
    same = {"backend": "mock", "owner": None, "attempt": 1, "cost_usd_estimate": 0.0}
    assert first == {"id": good, "state": "succeeded", "warnings": [], "error": None, **same}
    assert second == {
        **{"id": bad, "state": "failed", "paths": [], "warnings": [], **same},
        "error": {
            "code": "rejected",
            "message": "the mock was told to fail with 'rejected'",
            "hint": "leave out fail= to see a picture",
            "retryable": False,
        },
    }
    assert (done.exit_code, states(queue)) == (0, ["succeeded", "failed"])


def test_nothing_to_do_is_no_error(imagen: Any) -> None:
    assert imagen(*WORKER, "--once", "--json")[:2] == (0, "")


@pytest.mark.parametrize(
    ("args", "left"), [(("--once",), 4), (("--max-jobs", "3"), 2), (("--drain",), 0)]
)
def test_it_ends_when_there_is_enough(
    imagen: Any, put: Put, queue: SqliteQueue, args: tuple[str, ...], left: int
) -> None:
    for _ in range(5):
        put()
    put(delay=3600)

    assert imagen(*WORKER, *args).exit_code == 0
    assert states(queue) == ["succeeded"] * (5 - left) + ["queued"] * (left + 1)


def test_it_serves_only_what_it_is_told_to(
    imagen: Any, put: Put, queue: SqliteQueue, backends: Any
) -> None:
    backends(one={"type": "mock"}, two={"type": "mock"}, three={"type": "mock"})
    for name in ("one", "two", "three"):
        put(name)

    imagen(*DRAIN, "--backends", "one, two")

    assert states(queue) == ["succeeded", "succeeded", "queued"]
    assert [offer.backend for offer in queue.offers()] == ["one", "two"]


def test_instance_that_cannot_be_made_here_is_not_served(
    imagen: Any, put: Put, queue: SqliteQueue, backends: Any
) -> None:
    """Machines may share a configuration, and not have the same plugins."""
    backends(mock={"type": "mock"}, far={"type": "nonesuch"})
    put()

    done = imagen(*DRAIN, "--name", "atelier")

    assert (done.exit_code, states(queue)) == (0, ["succeeded"])
    assert done.err.startswith("imagen: worker atelier serves mock from 'local'\n")
    assert imagen(*DRAIN, "--backends", "mock,far").exit_code == 2


@pytest.mark.parametrize("flag", ["--once", "--drain"])
def test_worker_that_lives_not_long_forgets_old_jobs_too(
    imagen: Any, put: Put, queue: SqliteQueue, flag: str
) -> None:
    put()
    imagen(*WORKER, flag)
    with queue._change() as (connection, now):
        connection.execute("update jobs set finished_at = ?", (now - 31 * 24 * 3600,))

    assert imagen(*WORKER, flag).exit_code == 0

    assert not queue.jobs()


@pytest.mark.parametrize("name", ["", " , "])
def test_to_serve_nothing_is_refused(imagen: Any, name: str) -> None:
    done = imagen(*DRAIN, "--backends", name)

    assert (done.exit_code, done.out) == (2, "")
    assert "--backends names none" in done.err


def test_backend_that_is_not_there_is_refused(imagen: Any) -> None:
    assert imagen(*DRAIN, "--backends", "mokc").exit_code == 2


@pytest.mark.parametrize(
    ("fail", "attempts", "state"),
    [("unavailable", 3, "failed"), ("credentials", 3, "failed"), ("rejected", 1, "failed"),
     ("crash", 1, "failed"), ("usage", 1, "failed"), ("failed", 1, "failed"),
     ("cancelled", 1, "failed")],
)  # fmt: skip
def test_what_may_pass_is_tried_again(
    imagen: Any, put: Put, queue: SqliteQueue, fail: str, attempts: int, state: str
) -> None:
    """Times between attempts are the queue's affair: they are let pass here."""
    job_id = put(fail=fail)
    for _ in range(attempts):
        imagen(*DRAIN)
        with queue.database.write() as connection:
            connection.execute("update jobs set run_at = 0 where state = 'queued'")

    job = queue.get(job_id)
    assert job
    assert (job.state, job.attempt, job.crashes) == (state, attempts, 0)
    assert [error.attempt for error in job.errors] == list(range(1, attempts + 1))


def test_no_ledger_is_needed(imagen: Any, put: Put, queue: SqliteQueue) -> None:
    put()

    assert imagen(*DRAIN, "--no-ledger").exit_code == 0
    assert states(queue) == ["succeeded"]
    assert imagen("usage", "--all", "--raw", "--json").json()[0]["rows"] == []


def test_usage_counts_each_job_once(imagen: Any, put: Put) -> None:
    ids = {put(), put()}

    imagen(*DRAIN)

    assert {
        row["id"] for row in imagen("usage", "--all", "--raw", "--json").json()[0]["rows"]
    } == ids


def test_pictures_may_lie_in_folders_by_date(
    imagen: Any, put: Put, queue: SqliteQueue, imagen_home: Path
) -> None:
    """One that was made, and not told of, is found there again."""
    (imagen_home / ".config").mkdir(exist_ok=True)
    naming = '{"output": {"naming": "{date}/{backend}/{seed}.{ext}"}}'
    (imagen_home / ".config" / "imagen.yaml").write_text(naming)
    job_id = put()
    imagen(*DRAIN)
    first = queue.get(job_id).result  # type: ignore[union-attr]
    with queue.database.write() as connection:
        connection.execute("update jobs set state = 'queued', finished_at = null, result = null")

    imagen(*DRAIN)

    job = queue.get(job_id)
    assert job
    assert job.result
    assert job.result["outputs"] == (first or {})["outputs"]
    assert len([*(imagen_home / "output").glob("*/mock/*.png")]) == 1


@pytest.mark.system
def test_health_file_is_there_while_it_lives(works: Works) -> None:
    works.gates.shut("running")
    file = works.folder / "health"
    process = works.start("--health-file", str(file))
    until(file.exists)
    assert json.loads(file.read_text())["jobs"] == []
    job_id = works.enqueue()
    until(lambda: json.loads(file.read_text())["jobs"] == [job_id])
    assert json.loads(file.read_text())["pid"] == process.pid
    works.gates.open("running")
    until(lambda: json.loads(file.read_text())["ended"] == 1)

    process.terminate()

    process.communicate(timeout=SECONDS)
    assert (process.returncode, file.exists()) == (0, False)


def test_health_file_that_cannot_be_written_is_refused(imagen: Any, tmp_path: Path) -> None:
    done = imagen(*DRAIN, "--health-file", str(tmp_path / "none" / "health"))

    assert done.exit_code == 2
    assert "cannot write the health file" in done.err


@pytest.mark.system
def test_health_file_that_can_be_written_no_more_costs_no_job(works: Works) -> None:
    works.gates.shut("running")
    folder = works.folder / "run"
    folder.mkdir()
    job_ids = [works.enqueue(), works.enqueue()]
    process = works.start("--drain", "--health-file", str(folder / "health"))
    works.reached("running")
    (folder / "health").unlink()
    folder.rmdir()
    works.gates.open("running")

    _, err = process.communicate(timeout=SECONDS)

    assert process.returncode == 0
    assert [works.job(job_id).state for job_id in job_ids] == ["succeeded"] * 2
    assert err.count("cannot write the health file") == 1


def test_what_nobody_can_write_down_of_a_picture_costs_no_picture(works: Works) -> None:
    works.configure({"gated": {"type": "gated", "odd": True}})
    job_id = works.enqueue()

    [told] = works.once()

    job = works.job(job_id)
    assert (told["state"], job.state, job.attempt) == ("succeeded", "succeeded", 1)
    [kept] = (job.result or {})["outputs"]
    assert kept["sha256"] == sha256(Path(told["paths"][0]).read_bytes()).hexdigest()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_while_it_begins_ends_it_well(works: Works, number: int) -> None:
    works.gates.shut("made")
    process = works.start()
    works.reached("made")
    process.send_signal(number)
    works.gates.open("made")

    process.communicate(timeout=30)
    assert process.returncode == 0
