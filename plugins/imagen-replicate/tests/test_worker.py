"""Workers that die, are told to stop, or cancel: nothing is paid for twice, and nothing is lost."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

import imagen_replicate
from imagen_replicate.testing import FakeReplicate
from replicate_transcripts import SCHNELL
from shift import Shift
from works import SECONDS, Works, line_with, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Stage = tuple[FakeReplicate, Works]
MACHINES = pytest.mark.parametrize("machine", ["same", "other"])


@pytest.fixture
def stage(
    server: FakeReplicate, imagen_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    """Replicate, and worker processes that have an account there."""
    works = Works(imagen_home, tmp_path)
    monkeypatch.setenv("REPLICATE_API_TOKEN", server.token)
    works.configure({"r": {"type": "replicate", "model": SCHNELL, "api_url": server.url}})
    server.shorten_holds()
    yield server, works
    works.close()


@pytest.fixture
def shift(server: FakeReplicate, tmp_path: Path) -> Iterator[Shift]:
    """A worker in this process that has one."""
    shift = Shift(tmp_path, replicate=imagen_replicate)
    block = {"type": "replicate", "model": SCHNELL, "api_url": server.url}
    shift.configure({"r": block}, REPLICATE_API_TOKEN=server.token)
    server.shorten_holds()
    yield shift
    shift.close()


class Gate:
    """Keeps the next answer of a route back, when what was asked for is done."""

    def __init__(self, server: FakeReplicate, route: str) -> None:
        self.came, self.go = threading.Event(), threading.Event()

        def act(handle: Any) -> Any:
            reply = handle(hold=False)
            self.came.set()
            self.go.wait(SECONDS)
            return reply

        server._plan(route, act, times=1)


def die_without_checkpoint(server: FakeReplicate, works: Works, job_id: str) -> None:
    server.hold()
    gate = Gate(server, "create")
    process = works.start()
    assert gate.came.wait(SECONDS)
    with works.locked():
        gate.go.set()
        until(lambda: works.begun(job_id))
        kill(process)


def die_while_following(server: FakeReplicate, works: Works, job_id: str) -> None:
    server.hold()
    process = works.start()
    until(lambda: works.job(job_id).checkpoint)
    until(lambda: any("/predictions/" in request.path for request in server.requests))
    kill(process)


def die_while_downloading(server: FakeReplicate, works: Works, job_id: str) -> None:
    del job_id
    gate = Gate(server, "file")
    process = works.start()
    assert gate.came.wait(SECONDS)
    kill(process)
    gate.go.set()


def die_at(point: str) -> Callable[[FakeReplicate, Works, str], None]:
    def die(server: FakeReplicate, works: Works, job_id: str) -> None:
        del server, job_id
        works.gates.shut(point)
        process = works.start()
        works.reached(point)
        kill(process)
        works.gates.open(point)

    return die


def die_while_completing(server: FakeReplicate, works: Works, job_id: str) -> None:
    del server
    works.gates.shut("publishing")
    process = works.start()
    works.reached("publishing")
    with works.locked():
        works.gates.open("publishing")
        until(lambda: (run := works.begun(job_id)) and run.notes)
        kill(process)


DEATHS = {
    "following": die_while_following,
    "downloading": die_while_downloading,
    "saved": die_at("saving"),
    "publishing": die_at("publishing"),
    "completing": die_while_completing,
}


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=SECONDS)


def again(works: Works, machine: str) -> dict[str, Any]:
    """What the next worker does with the job, here or elsewhere."""
    works.lapse()
    [told] = works.once(**(works.machine("m2") if machine == "other" else {}))
    return told


@MACHINES
@pytest.mark.system
@pytest.mark.parametrize("death", DEATHS)
def test_killed_worker_costs_nothing(stage: Stage, death: str, machine: str) -> None:
    server, works = stage
    job_id = works.enqueue("r")
    DEATHS[death](server, works, job_id)
    server.release()

    told = again(works, machine)

    job = works.job(job_id)
    assert (told["state"], job.state, job.attempt, job.crashes) == ("succeeded", "succeeded", 2, 1)
    assert (len(server.creates), server.bills) == (1, 1)
    out = works.out if machine == "same" else works.folder / "m2" / "output"
    assert [str(path) for path in works.pictures(out)] == told["paths"]
    assert job.result
    assert (job.result["id"], job.result["remote_id"]) == (job_id, server.predictions[0].id)
    if machine == "same":
        assert [(run.id, run.cost and run.cost.usd) for run in works.runs()] == [(job_id, 0.003)]


@MACHINES
@pytest.mark.system
def test_worker_that_dies_between_the_reply_and_the_checkpoint_costs_nothing_on_its_machine(
    stage: Stage, machine: str
) -> None:
    """Elsewhere nobody can know: what was begun there is paid for, and ends by its Cancel-After."""
    server, works = stage
    job_id = works.enqueue("r")
    die_without_checkpoint(server, works, job_id)
    server.release()

    told = again(works, machine)

    assert told["state"] == "succeeded"
    assert len(server.creates) == (1 if machine == "same" else 2)
    assert all("cancel-after" in create.headers for create in server.creates)


@pytest.mark.system
def test_worker_that_dies_before_the_reply_leaves_one_that_nobody_fetches(stage: Stage) -> None:
    """The one round trip that stays open: Replicate takes no id that could be looked for."""
    server, works = stage
    job_id = works.enqueue("r")
    server.hold()
    gate = Gate(server, "create")
    process = works.start()
    assert gate.came.wait(SECONDS)
    kill(process)
    gate.go.set()

    server.release()
    told = again(works, "same")

    assert (told["state"], len(server.creates), len(works.pictures())) == ("succeeded", 2, 1)
    assert works.job(job_id).attempt == 2


@pytest.mark.system
@pytest.mark.parametrize("signals", [1, 2])
def test_prediction_goes_on_when_its_worker_is_told_to_stop(stage: Stage, signals: int) -> None:
    server, works = stage
    server.hold()
    job_id = works.enqueue("r")
    process = works.start("--json", "--grace", "0" if signals == 1 else "3600")
    until(lambda: works.job(job_id).checkpoint)

    process.send_signal(signal.SIGTERM)
    if signals == 2:
        line_with("finishing", process)
        process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=SECONDS)

    assert (process.returncode, json.loads(out)["state"]) == (
        0 if signals == 1 else 143,
        "released",
    )
    assert [one.status for one in server.predictions] == ["processing"]
    assert (works.job(job_id).state, works.job(job_id).attempt) == ("queued", 0)
    server.release()
    [told] = works.once(**works.machine("m2"))
    assert (told["state"], told["attempt"], len(server.creates)) == ("succeeded", 1, 1)


@pytest.mark.system
def test_what_was_not_accepted_is_cancelled_and_made_anew(stage: Stage) -> None:
    server, works = stage
    job_id = works.enqueue("r")
    gate = Gate(server, "create")
    server.hold()
    process = works.start("--json", "--grace", "0")
    assert gate.came.wait(SECONDS)

    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=SECONDS)

    gate.go.set()
    assert process.returncode == 0
    assert [one.status for one in server.predictions] == ["canceled"]
    assert (works.job(job_id).state, works.job(job_id).attempt) == ("queued", 0)
    server.release()
    [told] = works.once()
    assert told["state"] == "succeeded"


def test_cancelled_job_stops_its_prediction_and_can_be_asked_for_again(
    shift: Shift, server: FakeReplicate
) -> None:
    server.hold()
    job_id = shift.enqueue("r")
    shift.start()
    until(lambda: shift.job(job_id).checkpoint)

    assert shift.queue.cancel(job_id) == "requested"

    assert shift.join() == ["cancelled"]
    assert (shift.job(job_id).state, server.predictions[0].status) == ("cancelled", "canceled")
    server.release()
    shift.queue.retry(job_id)
    assert shift.work() == ["cancelled", "succeeded"]
    assert len(server.creates) == 2


def test_job_whose_time_is_up_stops_its_prediction_and_begins_another(
    shift: Shift, server: FakeReplicate
) -> None:
    server.hold()
    job_id = shift.enqueue("r", max_attempts=2)
    worker = shift.start(most=1)
    until(lambda: shift.job(job_id).checkpoint)

    shift.overrun(worker)

    assert shift.join() == ["queued"]
    assert server.predictions[0].status == "canceled"
    assert shift.job(job_id).errors[0].failure.code == "deadline"
    server.release()
    assert shift.work() == ["queued", "succeeded"]
    assert len(server.creates) == 2


def test_prediction_that_failed_for_the_moment_is_made_anew(
    shift: Shift, server: FakeReplicate
) -> None:
    server.fail_with("Service is currently unavailable due to high demand. (E003)")
    job_id = shift.enqueue("r", max_attempts=3)

    assert shift.work() == ["queued", "queued", "succeeded"]

    assert len(server.creates) == 2
    codes = [error.failure.code for error in shift.job(job_id).errors]
    assert codes == ["unavailable", "failed"]


def test_prediction_that_is_refused_is_not_asked_for_again(
    shift: Shift, server: FakeReplicate
) -> None:
    server.fail_with("The input or output was flagged as sensitive. (E005)")
    job_id = shift.enqueue("r")

    assert shift.work() == ["failed"]
    assert (len(server.creates), shift.job(job_id).attempt) == (1, 1)


def test_token_that_is_refused_here_may_be_another_at_the_next_worker(
    shift: Shift, server: FakeReplicate
) -> None:
    server.refuse("create", 401, {"detail": "Unauthenticated"}, times=1)
    shift.enqueue("r")

    assert shift.work() == ["queued", "succeeded"]


def test_without_a_token_nothing_is_served(imagen: Any, configured: Any, monkeypatch: Any) -> None:
    configured()
    monkeypatch.delenv("REPLICATE_API_TOKEN")

    done = imagen("worker", "--store", "local", "--backends", "r", "--drain")

    assert done.exit_code == 2
    assert "'r' is not ready: " in done.err
