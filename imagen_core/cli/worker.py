"""`imagen worker`."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imagen_core.app import App
from imagen_core.cli import health
from imagen_core.cli.health import HealthFile
from imagen_core.cli.options import UnseenCommand, instances, switched
from imagen_core.cli.shared import (
    at_the_keys,
    cancelled_by_signals,
    completing,
    config_option,
    json_option,
    known_ledger,
    pass_app,
    store_option,
)
from imagen_core.errors import ImagenError, UnavailableError, UsageError, told
from imagen_core.files import prepare
from imagen_core.terminal import printable
from imagen_core.worker import Terms, Watcher, Worker, shared_resource, worker_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from imagen_core.attempt import Report
    from imagen_core.queueing import Job, Queue


class Seconds(click.FloatRange):
    """So many seconds; what is no number is in no range, although it compares as if it were."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number, if it is one."""
        seconds: float = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value} is not a number.", param, ctx)
        return seconds


@click.command("worker", cls=UnseenCommand, help="Make the pictures that wait in a queue.")
@store_option("Whose jobs: local, or the store of a plugin.")
@click.option(
    "--backends",
    multiple=True,
    metavar="NAME[,NAME]",
    shell_complete=completing(instances),
    help="What this machine serves.  [default: every instance that is ready]",
)
@click.option(
    "--concurrency",
    default=1,
    show_default=True,
    type=click.IntRange(1, 64),
    help="So many jobs at a time.",
)
@click.option("--once", is_flag=True, help="Take one job, if one is ready, and end.")
@click.option("--drain", is_flag=True, help="End when no job is ready any more.")
@click.option(
    "--max-jobs",
    default=0,
    type=click.IntRange(0),
    metavar="INTEGER",
    help="End after so many.  [default: 0, no limit]",
)
@click.option(
    "--grace",
    default=30.0,
    show_default=True,
    type=Seconds(0, 86_400),
    metavar="SECONDS",
    help="When told to stop, finish what is running for so long, then give it back.",
)
@click.option(
    "--time-limit",
    default=3600.0,
    show_default=True,
    type=Seconds(1, 7 * 86_400),
    metavar="SECONDS",
    help="How long a job may take.",
)
@click.option("--name", default="", help="What it is called in the queue.  [default: HOST-PID]")
@click.option(
    "--health-file",
    default="",
    metavar="FILE",
    type=click.Path(),
    help="Write this file every few seconds while all is well, for a supervisor.",
)
@json_option("Print one JSON object a job on stdout, errors too.")
@config_option
@pass_app
def command(
    app: App,
    *,
    store: str,
    backends: tuple[str, ...],
    once: bool,
    max_jobs: int,
    health_file: str,
    **given: Any,
) -> None:
    """Claim jobs, make their pictures, say so in the queue."""
    flags = switched(given)
    stop, hurry = threading.Event(), threading.Event()
    with (
        cancelled_by_signals(hurry, _tell(app), drain=stop) as signals,
        contextlib.ExitStack() as stack,
    ):
        name, queue = app.queue(store)
        stack.callback(queue.close)
        _refuse_unpublished(app, queue, name=name, flags=flags)
        served = _served(app, backends)
        target = app.target(flag="")
        prepare(target)
        app.warn_of_settings()
        terms = Terms(
            name=_name(given["name"]),
            concurrency=given["concurrency"],
            most=1 if once else max_jobs,
            drain=once or given["drain"],
            grace=given["grace"],
            limit=given["time_limit"],
        )
        watcher = _Log(app, health_file)
        stack.callback(watcher.close)
        worker = Worker(
            app,
            queue,
            served,
            terms,
            pipeline=app.pipeline(flags),
            ledger=known_ledger(app, flags),
            target=target,
            watcher=watcher,
        )
        app.console.info(f"worker {terms.name} serves {', '.join(served)} from '{name}'")
        worker.run(stop, hurry)
    _end(worker, signals if hurry.is_set() else ())


def _name(given: str) -> str:
    """What the worker is called: a line, in which no queue finds anything to refuse."""
    from imagen_core.resolve import check_text

    check_text("name of the worker", given)
    return " ".join(given.split()) or worker_name()


def _tell(app: App) -> Callable[[str], None]:
    """How to tell of a signal: what to press is for somebody at the keys, and not for a log."""
    return at_the_keys(app) or (lambda text: app.console.info(text.partition(";")[0]))


def _end(worker: Worker, signals: Sequence[int]) -> None:
    """End with the exit code that a supervisor should see; `signals`: those that hurried it."""
    if signals:
        raise click.exceptions.Exit(128 + signals[-1])
    if worker.unanswered:
        jobs = f"{worker.unanswered} job{'s' * (worker.unanswered != 1)}"
        raise UnavailableError(
            f"the queue did not say whether it knows how {jobs} ended",
            hint="nothing is lost: when the lease is over, the next worker goes on from there",
        )


def _served(app: App, given: tuple[str, ...]) -> dict[str, str]:
    """What to serve, and on which resource each stands."""
    named = [name.strip() for names in given for name in names.split(",") if name.strip()]
    if given and not named:
        raise UsageError("--backends names none", hint="for instance --backends mock,flux")
    served, unfit = {}, {}
    for name in named or app.instances():
        try:
            backend = app.instance(name).backend
        except ImagenError as error:
            if named:
                raise
            unfit[name] = told(error)
            continue
        if (status := backend.status()).ok:
            served[name] = shared_resource(backend.resource)
        else:
            unfit[name] = status.text
    if unfit and (named or not served):
        what = "; ".join(f"'{name}' is not ready: {text}" for name, text in unfit.items())
        raise UsageError(what, hint="'imagen backends' shows how each one does")
    return served


def _refuse_unpublished(app: App, queue: Queue, *, name: str, flags: Mapping[str, str]) -> None:
    """A job must not succeed while those who asked for it can't see its picture."""
    if not queue.publishes:
        return
    what = queue.publishes.replace("_", " ")
    switch = next((one for one in app.switches() if one.key == queue.publishes), None)
    decision = app.decide(switch, flags) if switch else None
    if not (switch and decision and decision.on):
        reason = decision.reason if decision else "no plugin has it that can be used"
        raise UsageError(
            f"{what} is off ({reason}), and whoever queued a job in '{name}' "
            "would not see its picture",
            hint=f"{switch.env}=on" if switch else "'imagen plugins' shows what is wrong",
        )


class _Log(Watcher):
    """Tells of each job in a line, and keeps the health file."""

    def __init__(self, app: App, health_file: str) -> None:
        self._console = app.console
        self._health = HealthFile(Path(health_file)) if health_file else None
        self._written = 0.0
        self._jobs: tuple[str, ...] | None = None
        self._done, self._problem = 0, ""
        if self._health:
            self._write(())

    def begun(self, job: Job) -> None:
        """Say so to people."""
        if not self._console.as_json:
            again = f", attempt {job.attempt} of {job.max_attempts}" if job.attempt > 1 else ""
            self._console.info(f"job {job.id} on '{job.backend}'{again}")

    def ended(self, job: Job, report: Report) -> None:
        """A line, or a JSON object."""
        self._done += 1
        run, failure = report.run, report.failure
        paths = [output.path for output in run.outputs] if run else []
        notes = [note for note in run.notes if note.warning] if run else []
        if self._console.as_json:
            self._console.json(
                {
                    "id": job.id,
                    "state": report.result,
                    "backend": job.backend,
                    "owner": job.owner or None,
                    "attempt": job.attempt,
                    "seconds": round(report.seconds, 3),
                    "paths": paths,
                    "cost_usd_estimate": run.cost.usd if run and run.cost else None,
                    "warnings": [note.text for note in notes],
                    "error": failure,
                }
            )
            return
        for note in notes:
            self._console.warn(f"job {job.id}: {note.step}: {note.text}")
        said = printable(failure.message).split() if failure else paths
        text = " ".join(said)
        text = text if text != report.result else ""  # cancelled, and nothing else
        what = "to be tried again" if report.result == "queued" else report.result
        self._console.line(f"{job.id} {what} after {report.seconds:.1f} s{': ' * bool(text)}{text}")

    def warned(self, text: str) -> None:
        """A line for people and programs alike, on stderr."""
        self._console.warn(text)

    def lives(self, jobs: tuple[Job, ...]) -> None:
        """Write the health file, when it is due or the jobs are others."""
        ids = tuple(job.id for job in jobs)
        due = ids != self._jobs or time.monotonic() > self._written + health.SECONDS
        if self._health and due:
            try:
                self._write(ids)
            except UsageError as error:
                # A supervisor sees that it grows old; the jobs are no reason for that.
                if error.message != self._problem:
                    self._console.warn(error.message)
                self._problem = error.message

    def close(self) -> None:
        """There is nothing more to tell."""
        if self._health:
            self._health.remove()

    def _write(self, ids: tuple[str, ...]) -> None:
        assert self._health
        self._written, self._jobs = time.monotonic(), ids
        self._health.write(ids, self._done)
