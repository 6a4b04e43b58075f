"""What provokes each message of `imagen enqueue` and `imagen jobs`."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from imagen_core import ImagenError
from imagen_core.cli import run
from imagen_core.jobs import SqliteQueue
from imagen_core.queueing import NewJob
from imagen_core.types import new_id
from provoking import Case, Listener, Told, write
from queues import (
    CONFIG,
    OWNER,
    end_next,
    far,
    interrupted_at_second,
    script,
    shared,
    shared_folder,
)
from scripted import png

if TYPE_CHECKING:
    from collections.abc import Callable

NOBODY = 65534
UNKNOWN = "00000000-0000-4000-8000-000000000000"
CAT = ("enqueue", "cat", "--key", "k", "--wait")


def queued(
    *args: str,
    config: str = CONFIG,
    prepare: Callable[[Path], object] = lambda _: None,
    result: object = None,
    cancelled: bool = False,
) -> Callable[[Path], Told]:
    """A command line where the queue has a job of the key `k`, which ended so."""

    def case(folder: Path) -> Told:
        queue = SqliteQueue(shared_folder(folder))
        job = NewJob(backend="mock", payload={"options": {"prompt": "cat"}}, key="k", owner=OWNER)
        queue.enqueue(job)
        if result is not None:
            end_next(queue, result=result)
        elif cancelled:
            queue.cancel(job.id)
        queue.close()
        prepare(folder)
        terminal = Listener()
        app = shared(folder, config)
        app.console = terminal
        words = [job.id if arg == "ID" else arg.format(folder=folder) for arg in args]
        return terminal.told(run(words, terminal=terminal, app=app))

    return case


def saying(*lines: str) -> Callable[[Path], object]:
    """The queue says this to the first questions."""
    return lambda folder: script(folder, *lines)


def two_that_begin_alike(folder: Path) -> None:
    queue = SqliteQueue(shared_folder(folder))
    for last in "ab":
        job_id = f"12345678-1234-4234-8234-12345678{last}000"
        queue.enqueue(NewJob(id=job_id, backend="m", payload={}))
    queue.close()


def lost(folder: Path, *, limit: float) -> None:
    """Each attempt is that of a worker which is not heard of any more."""
    with contextlib.closing(SqliteQueue(shared_folder(folder), backoff=lambda _: 0.0)) as queue:
        for _ in range(3):
            assert queue.claim("w", new_id(), backends={"mock": ""}, lease=0.01, deadline=limit)
            time.sleep(0.02)
            queue.rescue()


def worked(folder: Path, version: int = 1, on: str = "mock", **options: Any) -> Told:
    """A worker takes a job that carries this, and somebody waits for it."""
    asked: dict[str, Any] = {"options": {"prompt": "cat", "size": "8x8", **options}}
    with contextlib.closing(SqliteQueue(shared_folder(folder))) as queue:
        queue.enqueue(
            NewJob(
                backend=on,
                payload=asked,
                payload_version=version,
                key="k",
                owner=OWNER,
                max_attempts=1,
            )
        )
    app, terminal = shared(folder), Listener()
    app.console = terminal
    run(["worker", "--drain", "--time-limit", "1"], terminal=terminal, app=app)
    return terminal.told(run(CAT, terminal=terminal, app=app))


def silent(folder: Path) -> Told:
    """Nothing is new for longer than anybody likes to wait."""
    with mock.patch("imagen_core.cli.waiting.SILENCE_SECONDS", -1.0):
        return queued(*CAT, prepare=saying("", "", "make"))(folder)


def of_another_worker(folder: Path) -> Told:
    """A health file that was written just now by a process that lives."""
    about = f'{{"at":"","pid":{os.getppid()},"jobs":[],"ended":0}}'
    (folder / "health").write_text(about)
    return queued("worker", "--once", "--health-file", "{folder}/health")(folder)


def held(folder: Path) -> Told:
    """Somebody writes to the queue, and comes to no end."""
    short = mock.patch.dict(SqliteQueue.__init__.__kwdefaults__, busy_seconds=0.05)
    held = contextlib.closing(SqliteQueue(shared_folder(folder)))
    with held as queue, queue.database.write(), short:
        terminal, app = Listener(), shared(folder)
        app.console = terminal
        return terminal.told(run(["enqueue", "cat"], terminal=terminal, app=app))


def added(queue: SqliteQueue) -> Told:
    """What is said when a large job does not go into a queue."""
    with contextlib.closing(queue), pytest.raises(ImagenError) as caught:
        queue.enqueue(NewJob(backend="mock", payload={"text": "x" * 50_000}))
    error = caught.value
    return Told(error.exit_code, {error.code}, [f"imagen: error: {error}"])


def full(folder: Path) -> Told:
    queue = SqliteQueue(folder)
    with queue.database.write() as connection:
        connection.execute("pragma max_page_count=1")
    return added(queue)


def read_only(folder: Path) -> Told:
    """Somebody else's queue, also for root, who may write everywhere."""
    del folder
    with tempfile.TemporaryDirectory() as place:
        queue = SqliteQueue(Path(place))
        queue.stats()
        queue.close()
        queue.path.chmod(0o444)
        Path(place).chmod(0o777)
        user = os.geteuid()
        if user == 0:
            os.seteuid(NOBODY)
        try:
            return added(queue)
        finally:
            os.seteuid(user)


CASES = {
    "…: unable to open database file": Case(
        "jobs", prepare=lambda folder: (folder / "data" / "jobs.db").mkdir(parents=True)
    ),
    "…: … is no folder": Case("jobs", prepare=write("data", b"")),
    "a prompt and --file are two things": Case("enqueue cat --file x.txt"),
    "--format, --repeat and --expand are for the rows of a --file": Case(
        "enqueue cat --expand all"
    ),
    "the key is empty": Case("enqueue cat --key ''"),
    "the key has … characters; 200 is the most": Case(f"enqueue cat --key {'k' * 201}"),
    "the delay of a job is 0 to 315360000 seconds, not …": Case("enqueue cat --delay nan"),
    "there is no backend '…' here, and no worker offers it": Case("enqueue cat --backend flux"),
    "…: row 1, output: a job's picture is named where it is made": Case(
        "enqueue --file {folder}/rows.jsonl",
        prepare=write("rows.jsonl", b'{"prompt": "cat", "output": "x.png"}'),
    ),
    "there is no job '…'": Case(f"jobs show {UNKNOWN}"),
    "'…' is too short for the beginning of an id": Case("jobs show abc"),
    "--watch draws on a terminal": Case("jobs --watch"),
    "… is there, and is no health file": Case(
        "worker --once --health-file {folder}/notes.txt", prepare=write("notes.txt", b"precious")
    ),
}

OTHER_CASES: dict[str, Callable[[Path], Told]] = {
    "a job can't set …, which names a file at the backend '…'": queued(
        "enqueue", "cat", "--backend", "picky", "-p", "mask=x"
    ),
    "a job can't set …, which the backend '…' does not list": queued(
        "enqueue", "cat", "--backend", "picky", "-p", "6.text=x"
    ),
    "a job takes up to 16 input images, got …": queued(
        *("enqueue", "cat", "--backend", "picky"),
        *("--image", "{folder}/cat.png") * 17,
        prepare=write("cat.png", png(4, 3)),
    ),
    "…: database is locked": held,
    "…: database or disk is full": full,
    "…: attempt to write a readonly database": read_only,
    "--backends names none": queued("worker", "--backends", ","),
    "'…' is not ready: …": queued(
        *("worker", "--backends", "picky"), config="backends: {picky: {type: picky, ready: false}}"
    ),
    "… is off (…), and whoever queued a job in '…' would not see its picture": queued(
        "worker", "--no-sidecar"
    ),
    "cannot write the health file …: …": queued("worker", "--health-file", "{folder}/none/health"),
    "the store '…' holds no jobs": queued("jobs", "--store", "usage"),
    "the jobs of '…' belong to somebody, and no owner_user_id is configured": queued(
        "enqueue", "cat", config="{}"
    ),
    "'…' begins the ids of … jobs: …": queued("jobs", "show", "1234", prepare=two_that_begin_alike),
    "the job … can't be cancelled: it has …": queued("jobs", "cancel", "ID", result={}),
    "the job … can't be retried: it has succeeded": queued("jobs", "retry", "ID", result={}),
    "the job was not finished when its time was up": partial(worked, params={"delay_ms": 9000}),
    "its payload makes no sense: …": partial(worked, prompt=5),
    "its payload has version …, and this imagen reads …": partial(worked, version=9),
    "its payload names the backend '…'; it is '…'": partial(worked, backend="other"),
    "a job is one picture: enqueue several instead of a count": partial(worked, count=2),
    "a job names its input images as … and 64 hexadecimal digits, not '…'": partial(
        worked, on="picky", images=["/etc/passwd"]
    ),
    "the queue has no input image … for this owner": partial(
        worked, on="picky", images=[f"sha256:{'0' * 64}"]
    ),
    "the worker … was not heard of in time": queued(*CAT, prepare=partial(lost, limit=60)),
    "the worker … had not finished when the time for the job was up": queued(
        *CAT, prepare=partial(lost, limit=0.01)
    ),
    "the job … is gone from the queue": queued(*CAT, prepare=saying("forget")),
    "the result of the job … can't be read: …": queued(*CAT, result={}),
    "the job … was cancelled": queued(*CAT, cancelled=True),
    "interrupted: … of … jobs are in the queue": queued(
        "enqueue", "cat", "--count", "3", prepare=interrupted_at_second
    ),
    "no longer waiting; … in the queue still": queued(*CAT, prepare=saying("", "interrupt")),
    "the job … is there already, by the key": queued("enqueue", "cat", "--key", "k"),
    "no worker serves '…' now; what is queued waits for one": queued(
        *CAT, prepare=saying("", "make")
    ),
    (
        "no worker has taken a job of '…' for a minute; "
        "'imagen jobs stats' tells who served it last"
    ): silent,
    "… is the health file of another worker, process …": of_another_worker,
    "…; it is waited for": queued(*CAT, result=far(), prepare=saying("no answer")),
    "… is where … has put it": queued(*CAT, result=far()),
}
