"""`imagen enqueue`."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import click

from imagen_core.app import App
from imagen_core.cli.options import instances, request_options, tell_of_mock
from imagen_core.cli.rowing import checking, format_option, order_of, read_rows, times_options
from imagen_core.cli.shared import (
    cancelled_by_signals,
    completing,
    config_option,
    json_option,
    pass_app,
    read_prompt,
    store_option,
)
from imagen_core.errors import Cancelled, ImagenError, UsageError
from imagen_core.types import Options

if TYPE_CHECKING:
    from collections.abc import Iterator, Sized

    from imagen_core.enqueuing import Intake, Wish
    from imagen_core.queueing import Enqueued, NewJob


@click.command("enqueue", help="Put a prompt, or a file of them, into a queue.")
@click.argument("prompt", required=False)
@click.option(
    "--file",
    default="",
    metavar="FILE",
    type=click.Path(),
    help="Put the rows of this file there, as batch reads them, in place of a prompt.",
)
@format_option
@click.option(
    "--backend",
    default="",
    metavar="NAME",
    shell_complete=completing(instances),
    help="An instance, here or at a worker.  [default: default_backend of the configuration]",
)
@click.option("--seed", default=0, help="0 leaves it to the worker.", show_default=True)
@click.option(
    "--count",
    default=1,
    show_default=True,
    help="So many jobs, with consecutive seeds if one is given.",
)
@request_options
@times_options
@click.option(
    "--priority",
    default=5,
    show_default=True,
    type=click.IntRange(0, 9),
    help="The lowest runs first.",
)
@click.option(
    "--delay", default=0.0, metavar="SECONDS", help="Not before so many seconds have passed."
)
@click.option(
    "--max-attempts",
    default=3,
    show_default=True,
    type=click.IntRange(1, 20),
    help="How often it is tried, if what goes wrong may pass.",
)
@click.option("--key", metavar="TEXT", help="Enqueue nothing twice under this key.")
@store_option("Whose queue: local, or the store of a plugin.")
@click.option("--wait", is_flag=True, help="Wait for the pictures, and print their paths.")
@click.option("--quiet", is_flag=True, help="No progress and no notices on stderr.")
@json_option("Print one JSON object a job on stdout, with --wait one a picture; errors too.")
@config_option
@pass_app
def command(
    app: App,
    prompt: str | None,
    *,
    file: str,
    form: str | None,
    store: str,
    wait: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Check everything, put it into the queue, print an id each."""
    from imagen_core.enqueuing import Intake, Terms

    app.console.quiet = quiet
    key = given.pop("key")
    if key is not None and not key.strip():
        raise UsageError("the key is empty", hint="leave --key out, or name what is asked for")
    terms = Terms(
        key=key or "", **{name: given.pop(name) for name in Terms._fields if name in given}
    )
    _refuse_confusion(prompt, file, form, given)
    name, queue = app.queue(store)
    with contextlib.closing(queue):
        intake = Intake(app, name, queue)
        if file:
            wishes = _of_file(app, intake, file, form, given)
        else:
            wishes = _of_prompt(app, intake, read_prompt(prompt or ""), given)
        app.warn_of_settings()
        _put(app, intake, wishes, intake.jobs(wishes, terms), wait=wait)


def _refuse_confusion(
    prompt: str | None, file: str, form: str | None, given: dict[str, Any]
) -> None:
    if file and prompt is not None:
        raise UsageError("a prompt and --file are two things", hint="give one of them")
    if not file and prompt is None:
        raise UsageError("a prompt is needed", hint='imagen enqueue "a cat"')
    if not file and (form or given["repeat"] != 1 or given["expand"] != "random"):
        told = "--format, --repeat and --expand are for the rows of a --file"
        raise UsageError(told, hint="--count makes several of one prompt")


def _of_prompt(app: App, intake: Intake, prompt: str, given: dict[str, Any]) -> list[Wish]:
    fields = {name: value for name, value in given.items() if name not in ("repeat", "expand")}
    options = Options(prompt=prompt, **fields)
    tell_of_mock(app, options.backend)
    wishes = intake.wishes(options)
    if not prompt.strip():
        app.console.warn("the prompt is empty")
    return wishes


def _of_file(
    app: App, intake: Intake, file: str, form: str | None, given: dict[str, Any]
) -> list[Wish]:
    _, rows = read_rows(file, form)
    order = order_of(app, rows, given)
    with checking(app, rows) as watch:
        return intake.wishes_of(rows, order, app.target(), watch)


def _put(app: App, intake: Intake, wishes: list[Wish], jobs: list[NewJob], *, wait: bool) -> None:
    """Enqueue them, say what is there now, and wait for it if that is wanted."""
    from imagen_core.cli.waiting import Awaited, Waiting

    stop = threading.Event()
    there: list[Awaited] = []
    known = 0
    with cancelled_by_signals(stop):
        for wish, (job, enqueued) in zip(wishes, _enqueued(app, intake, jobs), strict=True):
            known += not enqueued.created
            there.append(Awaited(enqueued.id, job.backend, wish.row))
            if app.console.as_json and not wait:
                app.console.json(_about(intake, wish, job, enqueued))
            elif not wait:
                app.console.line(enqueued.id)
            if stop.is_set():
                break
        if known and not app.console.quiet:
            one = f"the job {enqueued.id} is"
            many = f"{known} of {len(there)} jobs are"
            app.console.info(f"{one if len(jobs) == 1 else many} there already, by the key")
        if wait:
            if len(there) < len(jobs):
                app.console.info(f"{_number(there, jobs)}{_way_on(jobs)}")
            Waiting(app, intake, there, stop).run()
    if len(there) < len(jobs):
        hint = "'imagen jobs cancel' with their ids cancels; 'imagen jobs' lists what there is"
        raise Cancelled(f"interrupted: {_number(there, jobs)}", hint=f"{hint}{_way_on(jobs)}")


def _enqueued(app: App, intake: Intake, jobs: list[NewJob]) -> Iterator[tuple[NewJob, Enqueued]]:
    done = []
    try:
        for one in intake.enqueue(jobs):
            done.append(one)
            yield one
    except (ImagenError, KeyboardInterrupt) as error:
        if len(jobs) > 1:
            least = "at least " * isinstance(error, KeyboardInterrupt)
            app.console.info(f"{least}{_number(done, jobs)}{_way_on(jobs)}")
        raise


def _number(done: Sized, jobs: list[NewJob]) -> str:
    return f"{len(done)} of {len(jobs)} jobs are in the queue"


def _way_on(jobs: list[NewJob]) -> str:
    return "; the same command adds the others" * bool(jobs[0].key)


def _about(intake: Intake, wish: Wish, job: NewJob, enqueued: Enqueued) -> dict[str, Any]:
    return {
        "id": enqueued.id,
        "created": enqueued.created,
        "store": intake.store,
        "backend": job.backend,
        "key": job.key or None,
        "owner": job.owner or None,
        "priority": job.priority,
    } | ({"row": wish.row, "repeat": wish.repeat} if wish.row else {})
