"""Workers that die, are told to stop, or cancel: each prompt is sent once, and none is left."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

import imagen_comfyui
from imagen_comfyui.testing import FakeComfyUI
from shift import Shift
from works import SECONDS, Works, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Stage = tuple[FakeComfyUI, Works]
MACHINES = pytest.mark.parametrize("machine", ["same", "other"])
OPTIONS: dict[str, Any] = {"size": "256x256", "steps": 2}


@pytest.fixture
def stage(server: FakeComfyUI, imagen_home: Path, tmp_path: Path) -> Iterator[Stage]:
    """A server, and worker processes that serve it."""
    works = Works(imagen_home, tmp_path)
    works.configure({"flux": {"type": "comfyui", "url": server.url}})
    yield server, works
    server.release()
    works.close()


@pytest.fixture
def shift(server: FakeComfyUI, tmp_path: Path) -> Iterator[Shift]:
    """A worker in this process that does."""
    shift = Shift(tmp_path, comfyui=imagen_comfyui)
    shift.configure({"flux": {"type": "comfyui", "url": server.url}})
    yield shift
    server.release()
    shift.close()


def die_before_the_reply(server: FakeComfyUI, works: Works, job_id: str) -> None:
    del job_id
    server.hang("POST /prompt", accept=True)
    process = works.start()
    server.wait_hung()
    kill(process)


def die_while_running(server: FakeComfyUI, works: Works, job_id: str) -> None:
    server.hold()
    process = works.start()
    server.wait_for(job_id, "held")
    until(lambda: works.job(job_id).checkpoint)
    kill(process)


def die_while_pending(server: FakeComfyUI, works: Works, job_id: str) -> None:
    server.add_foreign()
    process = works.start()
    until(lambda: works.job(job_id).checkpoint)
    kill(process)


def die_while_downloading(server: FakeComfyUI, works: Works, job_id: str) -> None:
    del job_id
    server.hang("GET /view", accept=True)
    process = works.start()
    server.wait_hung()
    kill(process)


def die_at(point: str) -> Callable[[FakeComfyUI, Works, str], None]:
    def die(server: FakeComfyUI, works: Works, job_id: str) -> None:
        del server, job_id
        works.gates.shut(point)
        process = works.start()
        works.reached(point)
        kill(process)
        works.gates.open(point)

    return die


DEATHS = {
    "before the reply": die_before_the_reply,
    "pending": die_while_pending,
    "running": die_while_running,
    "downloading": die_while_downloading,
    "saved": die_at("saving"),
    "publishing": die_at("publishing"),
}


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=SECONDS)


@MACHINES
@pytest.mark.system
@pytest.mark.parametrize("death", DEATHS)
def test_killed_worker_leaves_one_prompt_that_the_next_one_fetches(
    stage: Stage, death: str, machine: str
) -> None:
    server, works = stage
    job_id = works.enqueue("flux", **OPTIONS)
    DEATHS[death](server, works, job_id)
    server.release()
    works.lapse()

    [told] = works.once(**(works.machine("m2") if machine == "other" else {}))

    job = works.job(job_id)
    assert (told["state"], job.state, job.attempt, job.crashes) == ("succeeded", "succeeded", 2, 1)
    assert [submit.prompt_id for submit in server.submits] == [job_id]
    out = works.out if machine == "same" else works.folder / "m2" / "output"
    assert [str(path) for path in works.pictures(out)] == told["paths"]
    assert server.interrupts == []
    if machine == "same":
        assert [run.id for run in works.runs()] == [job_id]


@pytest.mark.system
@pytest.mark.parametrize("where", ["running", "pending", "before the reply"])
def test_prompt_is_stopped_when_its_worker_is_told_to(stage: Stage, where: str) -> None:
    server, works = stage
    job_id = works.enqueue("flux", **OPTIONS)
    if where == "pending":
        server.add_foreign()
    elif where == "running":
        server.hold()
    else:
        server.hold()
        server.hang("POST /prompt", accept=True)
    process = works.start("--json", "--grace", "0")
    if where == "before the reply":
        server.wait_hung()
    else:
        until(lambda: works.job(job_id).checkpoint)
        server.wait_for(job_id, "held" if where == "running" else "pending")

    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=SECONDS)

    assert (process.returncode, json.loads(out)["state"]) == (0, "released")
    assert server.state(job_id) == ("deleted" if where == "pending" else "interrupted")
    assert (works.job(job_id).state, works.job(job_id).attempt) == ("queued", 0)
    server.release()
    [told] = works.once()
    assert (told["state"], told["attempt"], len(works.pictures())) == ("succeeded", 1, 1)


def test_cancelled_job_stops_its_prompt_and_can_be_asked_for_again(
    shift: Shift, server: FakeComfyUI
) -> None:
    server.hold()
    job_id = shift.enqueue("flux", **OPTIONS)
    shift.start()
    server.wait_for(job_id, "held")

    assert shift.queue.cancel(job_id) == "requested"

    assert shift.join() == ["cancelled"]
    assert (shift.job(job_id).state, server.state(job_id)) == ("cancelled", "interrupted")
    server.release()
    shift.queue.retry(job_id)
    assert shift.work() == ["cancelled", "succeeded"]
    assert len(shift.pictures()) == 1


def test_job_whose_time_is_up_stops_its_prompt(shift: Shift, server: FakeComfyUI) -> None:
    server.hold()
    job_id = shift.enqueue("flux", max_attempts=1, **OPTIONS)

    worker = shift.start()
    server.wait_for(job_id, "held")

    shift.overrun(worker)

    assert shift.join() == ["failed"]
    assert server.state(job_id) == "interrupted"
    assert shift.job(job_id).errors[0].failure.code == "deadline"


def test_job_that_is_lost_goes_on_for_the_worker_who_has_it(
    shift: Shift, server: FakeComfyUI
) -> None:
    """The first worker stops nothing, says nothing, and writes nothing into the queue."""
    server.hold()
    job_id = shift.enqueue("flux", **OPTIONS)
    worker = shift.start(most=1)
    server.wait_for(job_id, "held")
    until(lambda: shift.job(job_id).checkpoint)
    shift.steal(worker)
    shift.start(name="other", most=1)
    until(lambda: shift.job(job_id).worker == "other" and shift.job(job_id).progress)

    server.release()

    results = shift.join()
    assert sorted(results) == ["lost", "succeeded"]
    assert (shift.job(job_id).worker, shift.job(job_id).attempt) == ("other", 2)
    assert (len(server.submits), server.interrupts) == (1, [])
    assert shift.gates.seen("publishing") == [job_id]


def test_retry_of_a_prompt_that_failed_is_another_prompt(shift: Shift, server: FakeComfyUI) -> None:
    server.raise_in("KSampler")
    job_id = shift.enqueue("flux", **OPTIONS)
    assert shift.work() == ["failed"]

    shift.queue.retry(job_id)

    assert shift.work() == ["failed", "succeeded"]
    assert len(server.submits) == 2
