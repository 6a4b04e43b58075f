"""Queues for commands: that of this machine, and one of a plugin that can be out of reach."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from imagen_core import (
    About,
    Backend,
    BackendSpec,
    Image,
    Param,
    Status,
    StoreSpec,
    UnavailableError,
    hookimpl,
)
from imagen_core.app import App
from imagen_core.jobs import SqliteQueue
from imagen_core.protocols import Store
from imagen_core.terminal import Terminal
from imagen_core.types import Failure, Note, Output, Run, new_id
from scripted import png, request

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from imagen_core import Context, Request
    from imagen_core.queueing import Enqueued, Job, NewJob, Queue

FULL = 2
"""So many jobs are taken by a shared queue with a file `full` beside it.

With a file `interrupted` Ctrl-C comes when there are so many.
"""
FAILURE = Failure(code="rejected", message="not this", hint="another one")
BUSY = Failure(code="unavailable", message="busy", retryable=True)
OWNER = "3f1c6f0e-8a6b-4c1e-9a56-1f0a5f4f9a10"


@contextlib.contextmanager
def opened(folder: Path | None = None) -> Iterator[Queue]:
    """The queue in this folder, or that of this machine."""
    with contextlib.closing(SqliteQueue(folder or Path(os.environ["IMAGEN_DATA_DIR"]))) as queue:
        yield queue


def all_jobs(folder: Path | None = None) -> tuple[Job, ...]:
    """What is in the queue, the first first."""
    with opened(folder) as queue:
        return queue.jobs(limit=1000)[::-1]


def end_next(queue: Queue, *, result: Any = None, failure: Failure | None = None) -> str:
    """Take the next job of any backend and end it; its id."""
    backends = {load.backend: "" for load in queue.stats()}
    token = new_id()
    job = queue.claim("far-1", token, backends=backends, lease=60, deadline=60)
    assert job
    if failure:
        queue.fail(job.id, token, failure, retry=failure.retryable)
    else:
        queue.complete(job.id, token, msgspec.to_builtins(result))
    return job.id


def far(path: str = "/far/away/cat.png", *notes: Note) -> Run:
    """What a worker on another machine made."""
    output = Output(
        path=path, mime="image/png", width=4, height=3, sha256="00", size=3,
        date="2026-05-08", time="120000", slug="cat", seed=5,
    )  # fmt: skip
    return Run(id="r", started_at="", request=request(), outputs=(output,), notes=notes)


class SharedQueue(SqliteQueue):
    """One that does, at each question, what the next line of a file beside it says."""

    publishes = "sidecar"
    _gone = False

    def enqueue(self, job: NewJob) -> Enqueued:
        if self.path.with_name("full").exists() and len(super().jobs()) >= FULL:
            raise UnavailableError("no answer")
        done = super().enqueue(job)
        if self.path.with_name("interrupted").exists() and len(super().jobs()) == FULL:
            os.kill(os.getpid(), signal.SIGINT)
        return done

    def get(self, job_id: str) -> Job | None:
        self._misbehave()
        if self._gone:
            return None
        return super().get(job_id)

    def jobs(self, **filters: Any) -> tuple[Job, ...]:
        self._misbehave()
        return super().jobs(**filters)

    def _misbehave(self) -> None:
        script = self.path.with_name("script")
        lines = script.read_text().splitlines() if script.exists() else []
        first, *rest = lines or [""]
        script.write_text("\n".join(rest))
        self._gone = first == "forget"
        word, _, job_id = first.partition(" ")
        if first == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
        elif word == "fail" and job_id:
            self.fail(job_id, "t", BUSY, retry=True)
        elif first == "make":
            end_next(self, result=far())
        elif first and not self._gone:
            raise UnavailableError(first)


class SharedStore(Store):
    def __init__(self, context: Context) -> None:
        self._folder = context.paths.data / "shared"

    def usage(self, since: str, *, everything: bool) -> Iterator[Any]:
        del since, everything
        yield from ()

    def queue(self) -> SharedQueue:
        return SharedQueue(self._folder)

    def status(self) -> Status:
        return Status(ok=True)


class UsageStore(Store):
    def __init__(self, context: Context) -> None:
        del context

    def usage(self, since: str, *, everything: bool) -> Iterator[Any]:
        del since, everything
        yield from ()

    def status(self) -> Status:
        return Status(ok=True)


class PickyConfig(msgspec.Struct, frozen=True, kw_only=True):
    seed: int = 0
    free: bool = False
    ready: bool = True


class PickyBackend(Backend):
    """Takes images and some parameters that are not for everybody."""

    def __init__(self, config: PickyConfig, _: object) -> None:
        self._seed = config.seed
        self._free = config.free
        self._ready = config.ready

    @property
    def about(self) -> About:
        return About(
            model="picky",
            honours=frozenset({"images", "size", "seed"}),
            seed=self._seed or None,
            params=None
            if self._free
            else (
                Param(name="mask", local=True),
                Param(name="6.text", listed=False),
                Param(name="scale", type="float"),
            ),
        )

    def status(self) -> Status:
        return Status(ok=self._ready, text="tired")

    def generate(self, request: Request) -> Generator[Any, None, None]:
        yield Image(data=png(), mime="image/png", seed=request.seed)


@hookimpl
def imagen_stores() -> list[StoreSpec]:
    stores = {"shared": "SharedStore", "usage": "UsageStore"}
    return [StoreSpec(name=name, create=f"{__name__}:{kind}") for name, kind in stores.items()]


@hookimpl
def imagen_backends() -> list[BackendSpec]:
    config, create = f"{__name__}:PickyConfig", f"{__name__}:PickyBackend"
    return [BackendSpec(type="picky", summary="", config=config, create=create)]


CONFIG = f"""
owner_user_id: {OWNER}
backends:
  picky: {{type: picky}}
  own: {{type: picky, seed: 7}}
  free: {{type: picky, free: true}}
"""


def shared(folder: Path, config: str = CONFIG, **environment: str) -> App:
    """An App with the store `shared` and the backends `picky`, `own` and `free`."""
    return App.for_test(
        Terminal(),
        folder,
        config=config,
        plugins={"queues": sys.modules[__name__]},
        environment=environment,
    )


def shared_folder(folder: Path) -> Path:
    """Where its queue is."""
    return folder / "data" / "shared"


def script(folder: Path, *lines: str) -> None:
    """What the shared queue is to say to the next questions: nothing, a word, or an error."""
    shared_folder(folder).mkdir(parents=True, exist_ok=True)
    (shared_folder(folder) / "script").write_text("\n".join(lines))


def interrupted_at_second(folder: Path) -> None:
    """Let Ctrl-C come as soon as the second job is in the shared queue of this world."""
    shared_folder(folder).mkdir(parents=True, exist_ok=True)
    (shared_folder(folder) / "interrupted").touch()
