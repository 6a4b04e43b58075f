"""One attempt at one job: from its payload to how it ends, whatever an earlier attempt left."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from imagen_core import payload
from imagen_core.errors import (
    Cancelled,
    ConfigError,
    CredentialsError,
    ImagenError,
    PluginError,
    UnsavedError,
    UsageError,
)
from imagen_core.files import prepare
from imagen_core.hold import EndedError
from imagen_core.ledger import encoded
from imagen_core.making import UNBEGUN
from imagen_core.queueing import DEADLINE, legible
from imagen_core.stock import OVER, Stock
from imagen_core.types import Accepted, Failure, Note, Progress, Request, Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen_core.files import Target
    from imagen_core.hold import Hold
    from imagen_core.ledger import Ledger
    from imagen_core.pipeline import Pipeline
    from imagen_core.protocols import App, Backend
    from imagen_core.queueing import Ending, Queue
    from imagen_core.stock import Find

Stop = Literal["cancel", "deadline", "release"]
Result = Literal["succeeded", "queued", "failed", "cancelled", "released", "lost", "unanswered"]

HERE = (CredentialsError.code, ConfigError.code, PluginError.code, UnsavedError.code)
"""What is wrong with this worker rather than with the job: another one may do it."""


class Checkpoint(Struct, frozen=True, kw_only=True):
    """What the next attempt has to know, on whichever machine.

    `making`: how many makings were begun and paid for; `remote_id`: where this one is, made by
    this `model`.
    """

    making: int = 1
    remote_id: str = ""
    model: str = ""


class Report(NamedTuple):
    """How an attempt ended: what the job is now, and why."""

    result: Result
    run: Run | None = None
    failure: Failure | None = None
    seconds: float = 0.0


class Attempt:
    """Works on a claimed job, in a thread of its own; `stop` may come from another one."""

    def __init__(
        self,
        app: App,
        queue: Queue,
        hold: Hold,
        *,
        pipeline: Pipeline,
        ledger: Ledger | None,
        target: Target,
        pause: float,
    ) -> None:
        self.job = hold.job
        self.hold = hold
        self._app = app
        self._queue = queue
        self._pipeline = pipeline
        self._ledger = ledger
        self._target = target
        self._pause = pause
        self._cancel = threading.Event()
        self._stopped: Stop | None = None
        self._is_begun = self._is_made = self._is_handed_over = False
        self._checkpoint = Checkpoint()
        self._begun = time.monotonic()

    @property
    def seconds(self) -> float:
        """For how long it has been at work."""
        return time.monotonic() - self._begun

    @property
    def is_left_elsewhere(self) -> bool:
        """Whether it goes on at a remote side, for money, where the next attempt finds it."""
        begun = bool(self._checkpoint.remote_id) and not self._is_made
        return begun and self._backend.lasting

    @property
    def _backend(self) -> Backend:
        return self._app.instance(self.job.backend).backend

    def stop(self, why: Stop) -> None:
        """End it: the remote side is told, and then the queue."""
        self._stopped = self._stopped or why
        self._cancel.set()

    def doubt(self) -> None:
        """It may be another worker's by now: stop, unless that one would pick up the same thing.

        Before anybody is asked for a picture, the queue is asked whose the job is.
        """
        if self._is_begun and not self._checkpoint.remote_id:
            self.stop("release")

    def run(self) -> Report | None:
        """Work on it, and tell the queue how it ended; None if `release` says that. Never raises.

        What ends it says how it ended; who comes too late for that says nothing.
        """
        report = self._told(self._worked)
        self.hold.leave()
        return report

    def hand_over(self) -> None:
        """Let nobody wait for an answer any longer, and `release` say how it ended."""
        self._is_handed_over = True
        self.hold.leave()

    def release(self) -> Report | None:
        """Give it back as if it had not been taken; None if `run` has ended it. Never raises."""
        return self._told(self._released)

    def _told(self, work: Callable[[], Report | None]) -> Report | None:
        """What comes of it; whatever goes wrong, the worker goes on, and so does the job."""
        try:
            return work()
        except EndedError:
            return None
        except BaseException as error:  # noqa: BLE001 - plugins and queues may raise anything
            failure = _of_worker(error)
        try:
            return self._failed(failure)
        except EndedError:
            return None
        except BaseException as error:  # noqa: BLE001 - nothing can be said to that queue
            return Report("unanswered", failure=_of_worker(error))

    def _released(self) -> Report:
        ending = self.hold.end(self._queue.release)
        return Report("released" if ending == "queued" else ending or self._nobody)

    @property
    def _nobody(self) -> Result:
        """How it ended if no answer came: it is somebody else's, or nobody knows."""
        return "lost" if self.hold.standing == "lost" else "unanswered"

    def _doubtful(self, run: Run | None = None) -> Report | None:
        """How it ended where nobody said that it is still ours."""
        return None if self._is_handed_over else Report(self._nobody, run)

    def _worked(self) -> Report | None:
        with contextlib.suppress(msgspec.ValidationError):
            self._checkpoint = msgspec.convert(self.job.checkpoint, Checkpoint)
        try:
            found = payload.read(self.job)
            request = payload.request_of(self.job, found, self._app, self._queue)
        except UsageError as error:
            return self._failed(Failure.of(error))
        caller, owner = found.caller or None, self.job.owner
        self._pipeline = self._pipeline.on_behalf(caller, owner, self.hold.is_lost)
        request = replace(request, id=payload.making_id(self.job.id, self._checkpoint.making))
        stock = Stock(self._target.folder, self._ledger, where=Path)
        known = stock.recorded(request.id)
        if known and self._is_of_others(known, request):
            told = f"the id {request.id} is that of another picture"
            hint = "leave it out, and the job gets one of its own"
            return self._failed(Failure(code=UsageError.code, message=told, hint=hint))
        find = stock.find(request, self._target, self._backend.about)
        if find.run:
            return self._adopted(find, request, stock)
        request, target = self._resumed(find, request, stock)
        if self.hold.standing != "ours" and not self.hold.is_sure():
            return self._doubtful()  # it has slept, and another worker may be at it
        self._is_begun = True
        return self._made(request, target)

    def _is_of_others(self, known: Run, request: Request) -> bool:
        """Whether what is there under this id was made for somebody else, or of another prompt.

        Whoever enqueues chooses the id, and may choose that of a job which the queue forgot.
        """
        others = known.owner not in ("", self.job.owner)
        return others or known.request.typed_prompt != request.typed_prompt

    def _adopted(self, find: Find, request: Request, stock: Stock) -> Report | None:
        """It was made here before, and lacks its name or its steps at most."""
        assert find.run
        prepare(self._target)
        outputs = stock.take(find, request, self._target)
        run = replace(find.run, outputs=outputs, owner=self.job.owner)
        if not self.hold.is_sure():
            return self._doubtful(run)
        whole = self._pipeline.complete(run)
        stock.forget_taken()
        return self._ended(whole)

    def _resumed(self, find: Find, request: Request, stock: Stock) -> tuple[Request, Target]:
        """The Request that picks up what was begun, if anything was."""
        kept = self._checkpoint
        if not find.resume:
            find = find._replace(resume=kept.remote_id, model=kept.model)
        find.check(request, self._backend.about)
        self._checkpoint = replace(kept, remote_id=find.resume, model=find.model)
        if self._checkpoint != kept:
            self.hold.owe(msgspec.to_builtins(self._checkpoint))
        target = replace(self._target, there=stock.take(find, request, self._target))
        return replace(request, resume=find.resume), target

    def _made(self, request: Request, target: Target) -> Report | None:
        run: Run | None = None
        notes: list[Note] = []
        items = self._pipeline.each([request], target, self._cancel)
        with contextlib.closing(items):
            for _, item in items:
                match item:
                    case Accepted():
                        self._accepted(item)
                    case Progress():
                        self.hold.tell(item)
                    case Run():
                        run, self._is_made = item, True
                        if not self._may_publish(run):
                            return self._doubtful(run)
                    case Note():
                        notes.append(item)
        assert run
        if run.failure:
            return self._failed(run.failure, run)
        return self._ended(replace(run, notes=(*run.notes, *notes)))

    def _may_publish(self, run: Run) -> bool:
        """Whether its steps may go on: nobody should see it twice, or as failed once it is made."""
        return not self.hold.is_lost() if run.failure else self.hold.is_sure()

    def _accepted(self, event: Accepted) -> None:
        about = self._backend.about
        self._checkpoint = replace(self._checkpoint, remote_id=event.remote_id, model=about.model)
        self.hold.keep(msgspec.to_builtins(self._checkpoint))

    def _ended(self, run: Run) -> Report:
        """Its pictures are on the disk."""
        publishes = self._queue.publishes
        whose = self.job.owner or self._app.context.owner_user_id
        problems = self._pipeline.problems(run, publishes) if publishes and whose else []
        if problems:
            told = f"the picture is made, and not where its owner sees it: {'; '.join(problems)}"
            failure = Failure(code="unpublished", message=told, retryable=True)
            after = self._pause * self.job.attempt
            return self._given_up(failure, run, retry=True, after=after)
        result = _result(run)
        ending = self.hold.end(lambda id, token: self._queue.complete(id, token, result))
        if ending in ("ok", "already"):
            return Report("succeeded", run)
        return Report("lost" if ending else self._nobody, run)

    def _failed(self, failure: Failure, run: Run | None = None) -> Report:
        retry = failure.retryable or failure.code in HERE or bool(run and run.outputs)
        if run and run.remote_id and not run.outputs and self._is_over(failure):
            # Nothing more will come of that one; whoever asks once more pays for another.
            self._checkpoint = Checkpoint(making=self._checkpoint.making + 1)
            self.hold.owe(msgspec.to_builtins(self._checkpoint))
            # How the making of an earlier attempt ended is no reason not to make another.
            retry = retry or bool(run.request.resume and failure.code == ImagenError.code)
        if failure.code == Cancelled.code and self._stopped == "release":
            return self._released()._replace(run=run)
        if failure.code == Cancelled.code and self._stopped == "deadline":
            told, retry = "the job was not finished when its time was up", True
            hint = "'imagen worker --time-limit' gives jobs more"
            failure = Failure(code=DEADLINE, message=told, hint=hint, retryable=True)
        return self._given_up(failure, run, retry=retry)

    def _given_up(
        self, failure: Failure, run: Run | None, *, retry: bool, after: float | None = None
    ) -> Report:
        paths = [output.path for output in run.outputs] if run else []
        if unnamed := [path for path in paths if path not in failure.message]:
            told = f"{failure.message}; what was made is {', '.join(unnamed)}"
            failure = replace(failure, message=told)

        def fail(id: str, token: str) -> Ending:
            return self._queue.fail(id, token, failure, retry=retry, after=after)

        return Report(self.hold.end(fail) or self._nobody, run, failure)

    def _is_over(self, failure: Failure) -> bool:
        """Whether the remote side has ended the making, or was told to for good."""
        if failure.message == UNBEGUN:
            return False
        if failure.code == Cancelled.code:
            return self._backend.lasting or self._stopped != "release"
        return failure.code in OVER


def _of_worker(error: BaseException) -> Failure:
    """What went wrong around the making: it says nothing of the job, which another may do."""
    if not isinstance(error, ImagenError):
        error = ImagenError(f"the worker failed: {type(error).__name__}: {error}")
    return replace(Failure.of(error), retryable=True)


def _result(run: Run) -> dict[str, Any]:
    """A Run as the result of its job; it is made, so what nobody can write down is left out."""
    try:
        found: dict[str, Any] = msgspec.json.decode(encoded(run))
    except ImagenError:
        outputs = tuple(legible(replace(output, metadata={})) for output in run.outputs)
        request = replace(run.request, params={})
        bare = replace(run, request=request, outputs=outputs, notes=tuple(map(legible, run.notes)))
        return _result(bare) if bare != run else {"id": run.id}
    return found
