"""`imagen jobs`."""

from __future__ import annotations

import contextlib
import re
import threading
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from imagen_core.app import App
from imagen_core.cli.options import instances
from imagen_core.cli.shared import (
    cancelled_by_signals,
    completing,
    config_option,
    end,
    json_option,
    pass_app,
    store_option,
)
from imagen_core.errors import ImagenError, UnavailableError, UsageError
from imagen_core.queueing import DAY, State
from imagen_core.types import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imagen_core.queueing import Queue

Command = TypeVar("Command", bound="Callable[..., Any]")

STATES = get_args(State)
SHORTEST = 4
"""How many characters of an id may stand for all of it."""
LOOKED_AT = 500
"""Among so many jobs, the latest, an id is looked for by its beginning."""
MOST = 1000
BEGINNING = re.compile(r"[0-9a-f-]{1,35}")
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Listing(click.Group):
    """A group that lists where no command of it is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `list` before options alone, but for what a shell asks about an empty line."""
        named = args and not (args[0].startswith("-") and args[0] not in ctx.help_option_names)
        if not named and (args or not ctx.resilient_parsing):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group("jobs", cls=Listing, help="List, show, cancel and retry the jobs of a queue.")
def command() -> None:
    """Everything about jobs."""


def queue_options(help: str) -> Callable[[Command], Command]:
    """`--store`, `--json` and `--config`."""

    def decorate(function: Command) -> Command:
        function = json_option(help)(config_option(function))
        return store_option("Whose queue: local, or the store of a plugin.")(function)

    return decorate


@contextlib.contextmanager
def opened(app: App, store: str) -> Iterator[tuple[str, Queue]]:
    """The queue of that store, closed in the end."""
    name, queue = app.queue(store)
    with contextlib.closing(queue):
        yield name, queue


@command.command("list", help="List the jobs, the latest first; this is what 'imagen jobs' does.")
@click.option(
    "--state", "states", multiple=True, type=click.Choice(STATES), help="Of this state; repeatable."
)
@click.option(
    "--backend",
    default="",
    metavar="NAME",
    shell_complete=completing(instances),
    help="For this backend.",
)
@click.option("--owner", metavar="ID", help="Of this owner; '' are those of nobody.")
@click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1, MOST), help="So many at most."
)
@click.option("--before", default="", metavar="ID", help="Older than this one.")
@click.option("--watch", is_flag=True, help="Draw the list again and again, until Ctrl-C.")
@queue_options("Print one JSON object a job.")
@pass_app
def list_jobs(app: App, *, store: str, watch: bool, before: str, **filters: Any) -> None:
    """Print a table, or draw it until somebody has seen enough."""
    from imagen_core.cli.jobs_shown import HEAD, rows
    from imagen_core.resolve import check_text

    check_text("owner", filters["owner"] or "")
    check_text("name of the backend", filters["backend"])
    with opened(app, store) as (name, queue):
        if before:
            filters["before"] = whole_id(queue, before)

        if watch:
            _watch(app, queue, filters)
            return
        jobs = queue.jobs(**filters)
        if app.console.as_json:
            for job in jobs:
                app.console.json(job)
            return
        room = _room(app)
        app.console.table(HEAD, rows(jobs, room=room))
        if not jobs:
            any_owner = filters["owner"] is None
            any_job = any_owner and not (before or filters["states"] or filters["backend"])
            such = "" if any_job else "such "
            app.console.info(f"there is no {such}job in the queue '{name}'")
        elif room and len(jobs) == filters["limit"]:
            app.console.info(f"there may be more: --before {jobs[-1].id} shows older ones")


def _room(app: App) -> int:
    """How many columns those have who read the list; 0 if a program does."""
    return getattr(app.console, "room", 0)


def _watch(app: App, queue: Queue, filters: dict[str, Any]) -> None:
    """Draw the list in its place until a signal comes, which is no error."""
    from imagen_core.board import Pane
    from imagen_core.cli.jobs_shown import HEAD, rows
    from imagen_core.script import cut
    from imagen_core.terminal import Terminal, aligned

    console: Any = app.console
    if app.console.as_json or not (isinstance(console, Terminal) and console.draws):
        told = "--watch draws on a terminal"
        raise UsageError(told, hint="leave it out, and call 'imagen jobs' as often as you like")
    pane, stop = Pane(console), threading.Event()
    limit = filters.pop("limit")
    lines: list[str] = []
    with cancelled_by_signals(stop):
        while not stop.is_set():
            try:
                fitting = min(limit, max(pane.room - 1, 1))
                found = rows(queue.jobs(**filters, limit=fitting), room=console.width)
                lines = [cut(line, console.width) for line in aligned((HEAD, *found))]
                pane.show(lines)
            except UnavailableError as error:
                pane.show([*lines[: pane.room - 1], cut(f"imagen: {error}", console.width)])
            stop.wait(queue.pace)


@command.command(help="Show all that is known of jobs.")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@queue_options("Print each job as a JSON object.")
@pass_app
def show(app: App, *, ids: tuple[str, ...], store: str) -> None:
    """Print what the queue has of each."""
    from imagen_core.cli.jobs_shown import everything

    printed = 0

    def tell(queue: Queue, job_id: str) -> None:
        nonlocal printed
        job = queue.get(job_id)
        if job is None:
            raise unknown(job_id)
        if app.console.as_json:
            app.console.json(job)
            return
        if printed:
            app.console.line("")
        printed += 1
        for line in everything(job):
            app.console.line(line)

    _each(app, store, ids, tell)


@command.command(help="Cancel jobs: at once if they wait, soon if they run.")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@queue_options("Print a JSON object a job.")
@pass_app
def cancel(app: App, *, ids: tuple[str, ...], store: str) -> None:
    """Print what each of them is now."""

    def tell(queue: Queue, job_id: str) -> None:
        state = queue.cancel(job_id)
        if state == "requested" and _has_freed(queue):
            state = queue.cancel(job_id)
        _tell_state(app, job_id, state)
        if state not in ("cancelled", "requested"):
            raise ImagenError(f"the job {job_id} can't be cancelled: it has {state}")

    _each(app, store, ids, tell)


def _has_freed(queue: Queue) -> bool:
    """Whether dead workers held jobs, which could only be asked to end."""
    freed = False
    with contextlib.suppress(ImagenError):
        while queue.rescue():
            freed = True
    return freed


@command.command(help="Queue jobs again that failed or were cancelled, with all their attempts.")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@queue_options("Print a JSON object a job.")
@pass_app
def retry(app: App, *, ids: tuple[str, ...], store: str) -> None:
    """Print what each of them is now."""

    def tell(queue: Queue, job_id: str) -> None:
        state = queue.retry(job_id)
        _tell_state(app, job_id, state)
        if state == "succeeded":
            hint = "'imagen enqueue' makes another picture"
            raise ImagenError(f"the job {job_id} can't be retried: it has succeeded", hint=hint)

    _each(app, store, ids, tell)


@command.command(help="Count the jobs by backend, and list what workers serve.")
@queue_options("Print one JSON object.")
@pass_app
def stats(app: App, *, store: str) -> None:
    """Print a table of backends, then one of offers."""
    from imagen_core.cli.jobs_shown import LOAD_HEAD, OFFER_HEAD, load_rows, offer_rows

    with opened(app, store) as (name, queue):
        loads, offers = queue.stats(), queue.offers()
    if app.console.as_json:
        app.console.json({"store": name, "backends": loads, "offers": offers})
        return
    people = _room(app) > 0
    app.console.table(LOAD_HEAD, load_rows(loads))
    app.console.line("")
    app.console.table(OFFER_HEAD, offer_rows(offers, people=people))
    if not offers:
        app.console.info(f"no worker has served the queue '{name}' in the last week")


@command.command(help="Forget jobs that ended long ago; pictures stay where they are.")
@click.option(
    "--succeeded",
    default=30,
    show_default=True,
    type=click.IntRange(0, 36_500),
    metavar="DAYS",
    help="Those that succeeded before so many days.",
)
@click.option(
    "--others",
    default=90,
    show_default=True,
    type=click.IntRange(0, 36_500),
    metavar="DAYS",
    help="Those that failed or were cancelled before so many days.",
)
@queue_options("Print one JSON object.")
@pass_app
def prune(app: App, *, store: str, succeeded: int, others: int) -> None:
    """Print how many there were."""
    forgotten = 0
    with opened(app, store) as (_, queue):
        while number := queue.prune(succeeded=succeeded * DAY, others=others * DAY):
            forgotten += number
    if app.console.as_json:
        app.console.json({"forgotten": forgotten})
    else:
        app.console.line(f"forgotten: {forgotten}")


def _each(app: App, store: str, ids: tuple[str, ...], tell: Callable[[Queue, str], None]) -> None:
    """Do it with each job; what is wrong with one keeps nobody from the others."""
    failures: list[Failure] = []
    with opened(app, store) as (_, queue):
        for given in ids:
            try:
                tell(queue, whole_id(queue, given))
            except UnavailableError:
                raise
            except ImagenError as error:
                app.console.error(error, {"id": given})
                failures.append(Failure.of(error))
    end(app, failures, len(ids))


def _tell_state(app: App, job_id: str, state: str) -> None:
    if state == "gone":
        raise unknown(job_id)
    if app.console.as_json:
        app.console.json({"id": job_id, "state": state})
    else:
        app.console.line(f"{job_id} {state}")


def unknown(job_id: str) -> UsageError:
    """What to say of an id that no job has."""
    return UsageError(
        f"there is no job '{job_id}'", hint="'imagen jobs' lists them; --store names another queue"
    )


def whole_id(queue: Queue, given: str) -> str:
    """The id that this is, or begins, among the latest jobs."""
    given = given.strip().lower()
    if ID.fullmatch(given):
        return given
    if not BEGINNING.fullmatch(given):
        raise unknown(given)
    if len(given) < SHORTEST:
        told = f"'{given}' is too short for the beginning of an id"
        raise UsageError(told, hint=f"give {SHORTEST} characters of it at least")
    found = [job.id for job in queue.jobs(limit=LOOKED_AT) if job.id.startswith(given)]
    if not found:
        raise unknown(given)
    if len(found) > 1:
        told = f"'{given}' begins the ids of {len(found)} jobs: {', '.join(found[:5])}"
        raise UsageError(told, hint="give more of it")
    return found[0]
