"""`imagen enqueue --wait`: what is told of jobs that are waited for."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from imagen_core.cli import waiting
from imagen_core.queueing import NewJob, Offer
from imagen_core.types import Failure, Note, new_id
from queues import (
    FAILURE,
    OWNER,
    all_jobs,
    end_next,
    far,
    interrupted_at_second,
    opened,
    script,
    shared,
    shared_folder,
)
from small import SMALL

if TYPE_CHECKING:
    from pathlib import Path

CAT = ("enqueue", "a cat", "--backend", "mock", *SMALL)


def test_path_is_printed_when_a_worker_has_made_it(imagen: Any) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "imagen_core", "worker", "--max-jobs", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as worker:
        done = imagen(*CAT, "--seed", "4", "--wait")
        worker.communicate(timeout=60)

    [path] = done.paths
    assert done.exit_code == 0
    assert path.name.endswith("a-cat-4.png")
    assert path.exists()


def test_what_was_made_before_is_printed_at_once(imagen: Any) -> None:
    [job] = imagen(*CAT, "--key", "k").out.split()
    [made] = imagen("worker", "--drain", "--json").json()

    plain = imagen(*CAT, "--key", "k", "--wait", "--quiet")
    [found] = imagen(*CAT, "--key", "k", "--wait", "--json").json()

    assert (plain.exit_code, plain.out, plain.err) == (0, f"{made['paths'][0]}\n", "")
    assert (found["job"], found["path"], found["prompt"]) == (job, made["paths"][0], "a cat")


@pytest.mark.parametrize(
    ("fail", "code"), [("rejected", 4), ("credentials", 3), ("failed", 1), ("cancelled", 130)]
)
def test_failure_of_one_is_told_as_generate_does(imagen: Any, fail: str, code: int) -> None:
    args = (*CAT, "-p", f"fail={fail}", "--key", "k", "--max-attempts", "1")
    imagen(*args)
    imagen("worker", "--drain")
    direct = imagen("generate", *CAT[1:], "-p", f"fail={fail}")

    waited = imagen(*args, "--wait", "--quiet")

    assert (waited.exit_code, waited.out, waited.err) == (code, "", direct.err)
    assert direct.exit_code == code


def test_failure_with_json_is_an_object_with_the_job(imagen: Any) -> None:
    args = (*CAT, "-p", "fail=rejected", "--key", "k")
    [job] = imagen(*args).out.split()
    imagen("worker", "--drain")

    done = imagen(*args, "--wait", "--json")

    [found] = done.json()
    assert (found["error"]["code"], found["job"], found["backend"]) == ("rejected", job, "mock")


def test_some_failed_is_seven_and_all_is_one(imagen: Any) -> None:
    for rows, code in (("a\nb\n", 7), ("c\nc\n", 1)):
        args = ("enqueue", "--file", "-", "--backend", "mock", *SMALL, "--key", rows[0])
        imagen(*args, input=rows)
        with opened() as queue:
            end_next(queue, failure=FAILURE)
            end_next(queue, **({"result": far()} if code == 7 else {"failure": FAILURE}))

        done = imagen(*args, "--wait", input=rows)

        assert done.exit_code == code
        assert "imagen: error: row 1: not this\n  hint: another one\n" in done.err


def test_job_that_somebody_cancelled_is_told_as_such(imagen: Any) -> None:
    [job] = imagen(*CAT, "--key", "k").out.split()
    imagen("jobs", "cancel", job)

    done = imagen(*CAT, "--key", "k", "--wait", "--quiet")

    assert (done.exit_code, done.err) == (130, f"imagen: error: the job {job} was cancelled\n")


def test_picture_on_another_machine_is_its_address(imagen: Any) -> None:
    imagen(*CAT, "--key", "k")
    with opened() as queue:
        end_next(queue, result=far("/x.png", Note(step="cloud sync", text="", url="https://c/x")))

    done = imagen(*CAT, "--key", "k", "--wait", "--quiet")

    assert (done.exit_code, done.out, done.err) == (0, "https://c/x\n", "")


def test_picture_on_another_machine_without_an_address_is_its_path_there(imagen: Any) -> None:
    imagen(*CAT, "--key", "k")
    with opened() as queue:
        end_next(queue, result=far())

    done = imagen(*CAT, "--key", "k", "--wait", "--quiet")

    assert (done.exit_code, done.out) == (0, "/far/away/cat.png\n")
    assert done.err == "imagen: /far/away/cat.png is where far-1 has put it\n"


def test_fewer_addresses_than_pictures_are_of_none_of_them(imagen: Any) -> None:
    run = far("/one.png", Note(step="cloud sync", text="", url="https://c/one"))
    two = (*run.outputs, *far("/two.png").outputs)
    imagen(*CAT, "--key", "k")
    with opened() as queue:
        end_next(queue, result=replace(run, outputs=two))

    done = imagen(*CAT, "--key", "k", "--wait", "--quiet")

    assert (done.exit_code, done.out) == (0, "/one.png\n/two.png\n")


def test_other_picture_at_the_same_path_is_not_taken_for_it(imagen: Any, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(b"dog")
    imagen(*CAT, "--key", "k")
    with opened() as queue:
        end_next(queue, result=far(str(tmp_path / "cat.png")))

    done = imagen(*CAT, "--key", "k", "--wait", "--quiet")

    assert "is where far-1 has put it" in done.err


def test_result_that_makes_no_sense_is_an_error(imagen: Any) -> None:
    imagen(*CAT, "--key", "k")
    with opened() as queue:
        end_next(queue, result={"outputs": "none"})

    done = imagen(*CAT, "--key", "k", "--wait")

    assert (done.exit_code, done.out) == (1, "")
    assert "can't be read" in done.err


def test_backend_that_no_worker_serves_is_told(imagen: Any, tmp_path: Path) -> None:
    told = "imagen: no worker serves 'mock' now; what is queued waits for one\n"

    script(tmp_path, "", "interrupt")
    before = imagen(*CAT, "--wait", app=shared(tmp_path))
    script(tmp_path, "", "interrupt")
    with opened(shared_folder(tmp_path)) as queue:
        queue.announce("far-1", [Offer(backend="mock")])
    after = imagen(*CAT, "--wait", app=shared(tmp_path))

    assert told in before.err
    assert told not in after.err
    assert "imagen: waiting: the job " in after.err


def test_silence_is_broken_once_and_frees_what_a_dead_worker_holds(
    imagen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "SILENCE_SECONDS", -1.0)
    with opened(shared_folder(tmp_path)) as queue:
        dead = queue.enqueue(NewJob(backend="mock", payload={}, owner=OWNER)).id
        queue.claim("dead", new_id(), backends={"mock": ""}, lease=0.001, deadline=60)
    script(tmp_path, "", "", "", "interrupt")

    done = imagen(*CAT, "--wait", app=shared(tmp_path))

    assert done.err.count("no worker has taken a job of 'mock' for a minute") == 1
    with opened(shared_folder(tmp_path)) as queue:
        job = queue.get(dead)
    assert job
    assert (job.state, job.crashes) == ("queued", 1)


def test_job_that_is_not_due_yet_may_be_silent(
    imagen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "SILENCE_SECONDS", -1.0)
    script(tmp_path, "", "", "", "interrupt")

    done = imagen(*CAT, "--delay", "3600", "--wait", app=shared(tmp_path))

    assert "for a minute" not in done.err


def test_ctrl_c_ends_the_waiting_and_leaves_the_jobs(imagen: Any, tmp_path: Path) -> None:
    script(tmp_path, "", "", "interrupt")

    done = imagen(*CAT, "--count", "2", "--wait", app=shared(tmp_path))

    first, second = all_jobs(shared_folder(tmp_path))
    assert (done.exit_code, done.out) == (130, "")
    assert done.err.endswith(
        "imagen: error: no longer waiting; 2 jobs are in the queue still\n"
        f"  hint: 'imagen jobs cancel {first.id} {second.id}' cancels; "
        "'imagen jobs' lists what there is\n"
    )
    assert (first.state, second.state) == ("queued", "queued")


@pytest.mark.parametrize("key", ["", "k"])
def test_ctrl_c_while_they_are_queued_leaves_no_job_without_its_id(
    imagen: Any, tmp_path: Path, key: str
) -> None:
    args = (*CAT, "--count", "5", *(("--key", key) if key else ()))
    interrupted_at_second(tmp_path)

    done = imagen(*args, app=shared(tmp_path))

    more = "; the same command adds the others" if key else ""
    ids = [job.id for job in all_jobs(shared_folder(tmp_path))]
    assert (done.exit_code, done.out.split(), len(ids)) == (130, ids, 2)
    assert done.err.endswith(
        "imagen: error: interrupted: 2 of 5 jobs are in the queue\n"
        "  hint: 'imagen jobs cancel' with their ids cancels; "
        f"'imagen jobs' lists what there is{more}\n"
    )


def test_ctrl_c_while_they_are_queued_ends_the_waiting_too(imagen: Any, tmp_path: Path) -> None:
    interrupted_at_second(tmp_path)

    done = imagen(*CAT, "--count", "5", "--key", "k", "--wait", app=shared(tmp_path))

    first, second = all_jobs(shared_folder(tmp_path))
    assert (done.exit_code, done.out) == (130, "")
    assert done.err.endswith(
        "imagen: 2 of 5 jobs are in the queue; the same command adds the others\n"
        "imagen: error: no longer waiting; 2 jobs are in the queue still\n"
        f"  hint: 'imagen jobs cancel {first.id} {second.id}' cancels; "
        "'imagen jobs' lists what there is\n"
    )


def test_queue_out_of_reach_is_told_once_and_waited_for(imagen: Any, tmp_path: Path) -> None:
    args = (*CAT, "--key", "k")
    imagen(*args, app=shared(tmp_path))
    with opened(shared_folder(tmp_path)) as queue:
        end_next(queue, result=far())
    script(tmp_path, "no answer", "no answer", "no answer")

    done = imagen(*args, "--wait", app=shared(tmp_path))

    assert (done.exit_code, done.out) == (0, "/far/away/cat.png\n"), done
    assert done.err.count("imagen: no answer; it is waited for\n") == 1


def test_attempt_that_failed_and_is_made_again_is_told(imagen: Any, tmp_path: Path) -> None:
    """The job is running, and then it is queued again, and then somebody has had enough."""
    imagen(*CAT, "--key", "k", app=shared(tmp_path))
    folder = shared_folder(tmp_path)
    with opened(folder) as queue:
        job = queue.claim("far-1", "t", backends={"mock": ""}, lease=60, deadline=60)
        assert job
    failing = [f"fail {job.id}", "interrupt"]
    script(tmp_path, "", *failing)

    done = imagen(*CAT, "--key", "k", "--wait", app=shared(tmp_path))

    assert done.exit_code == 130
    assert f"imagen: busy; the job {job.id} is tried again\n" in done.err


def test_job_that_is_gone_is_an_error(imagen: Any, tmp_path: Path) -> None:
    args = (*CAT, "--key", "k")
    [job] = imagen(*args, app=shared(tmp_path)).out.split()
    script(tmp_path, "forget")

    done = imagen(*args, "--wait", app=shared(tmp_path))

    assert done.exit_code == 1
    assert f"imagen: error: the job {job} is gone from the queue\n" in done.err


def test_several_told_with_the_same_failure_are_told_once_to_people(imagen: Any) -> None:
    args = (*CAT, "--count", "2", "--key", "k")
    imagen(*args)
    with opened() as queue:
        for _ in range(2):
            end_next(queue, failure=Failure(code="unavailable", message="busy"))

    done = imagen(*args, "--wait", "--quiet")
    programs = imagen(*args, "--wait", "--json")

    assert done.err == "imagen: error: busy\nimagen: 2 of 2 failed\n"
    assert [found["error"]["message"] for found in programs.json()] == ["busy", "busy"]
