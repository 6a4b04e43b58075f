"""`imagen cloud`: what is missing there, how things stand, and addresses to give away."""

from __future__ import annotations

import re
from collections import Counter
from hashlib import sha256
from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from imagen_core import (
    App,
    Cancelled,
    Failure,
    ImagenError,
    PartialFailure,
    Progress,
    UsageError,
    config_option,
    expand_home,
    json_option,
    pass_app,
    told,
)
from imagen_supabase.keys import seconds_of

if TYPE_CHECKING:
    from imagen_supabase.client import Project
    from imagen_supabase.cloud import Sent
    from imagen_supabase.inventory import Item

PATHS = (
    "PATH: a picture or a folder with pictures and their sidecars; without, those of the ledger."
)


@click.group(help="Push pictures to the cloud.")
def cloud() -> None:
    """The commands below it do the work."""


@cloud.command(
    "push", help=f"Send the pictures, and what they cost, that the cloud lacks.\n\n{PATHS}"
)
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path())
@click.option("--dry-run", is_flag=True, help="Tell what would be sent, and send nothing.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@json_option("Print one JSON object a picture on stdout, errors too.")
@config_option
@pass_app
def push(app: App, paths: tuple[str, ...], *, dry_run: bool, quiet: bool) -> None:
    """Compare, and send what is wanting; whatever interrupts it, the next push goes on."""
    app.console.quiet = quiet
    with_pictures = _tell_owner(app, paths)
    problems: dict[str, ImagenError] = {}
    for push_half, wanted in (
        (_push_pictures, with_pictures),
        (_push_usage, not paths),
    ):
        # What is wrong with the one is no reason to leave out the other.
        try:
            if wanted:
                push_half(app, paths, dry_run=dry_run)
        except Cancelled:
            raise
        except ImagenError as error:
            problems.setdefault(str(error), error)
    first, *others = [*problems.values(), None]
    for problem in others:
        if problem:
            app.console.error(problem)
    if first:
        raise first


def _tell_owner(app: App, paths: tuple[str, ...]) -> bool:
    """Whether there are pictures that can be sent: somebody has to see them."""
    if paths or app.context.owner_user_id:
        return True
    if any(run.owner for run in app.context.ledger.runs()):
        app.console.info("owner_user_id is empty: only pictures of jobs are sent, and usage")
        return True
    app.console.info("owner_user_id is empty: usage alone is sent")
    return False


def _push_pictures(app: App, paths: tuple[str, ...], *, dry_run: bool) -> None:
    from imagen_supabase import inventory
    from imagen_supabase.client import connect

    project = app.context.once(connect)
    found = inventory.pictures(app.context, paths)
    if not (paths or app.context.owner_user_id):
        found = (picture for picture in found if picture.owner)
    items, _ = inventory.survey(app.context, project, found)
    if paths and not items:
        app.console.info("no picture there has a sidecar; without a path those of the ledger go")
    refused = [item for item in items if item.reason]
    for item in refused:
        assert item.reason is not None
        app.console.error(item.reason, {"path": str(item.picture.path)})
    wanting = [item for item in items if item.is_wanting]
    if dry_run:
        _tell_plan(app, wanting)
        return
    failed = _send(app, project, wanting)
    there = sum(item.state == inventory.State.THERE for item in items)
    sent = len(wanting) - failed
    app.console.info(f"pictures: {sent} sent, {there} there already")
    if bad := failed + len(refused):
        kind = PartialFailure if sent or there else ImagenError
        raise kind(f"{bad} of {len(items)} pictures are not in the cloud")


def _send(app: App, project: Project, wanting: list[Item]) -> int:
    """Send them with a bar, and say how many failed; a fault that all would meet is raised."""
    from imagen_supabase import inventory

    bar = app.console.bar(len(wanting))
    failed = sent = 0
    try:
        for item, outcome in inventory.push(project, wanting):
            path = str(item.picture.path)
            if outcome.problem is None:
                sent += 1
                _tell_sent(app, item, outcome.place)
                _remember(app, project, item, outcome.place)
                bar.finish(path)
                bar.take(path, Progress(message=item.picture.path.name))
            elif isinstance(outcome.problem, inventory.FINAL):
                left = f"{outcome.problem}; {len(wanting) - sent} pictures are left"
                raise replace(Failure.of(outcome.problem), message=left).error()
            else:
                failed += 1
                app.console.error(_problem(path, outcome), {"path": path})
    except KeyboardInterrupt:
        left = f"{len(wanting) - sent} of {len(wanting)} pictures are left"
        raise Cancelled(left, hint="'imagen cloud push' goes on") from None
    finally:
        bar.hide()
    return failed


def _problem(path: str, outcome: Sent) -> ImagenError:
    """Why a picture is not in the cloud, or is there without its row; says which picture."""
    problem = outcome.problem
    assert problem is not None
    if outcome.place:
        return replace(Failure.of(problem), message=f"{path} is {outcome.text}", hint="").error()
    named = str(problem) if path in str(problem) else f"{path}: {problem}"
    return replace(Failure.of(problem), message=named).error()


def _remember(app: App, project: Project, item: Item, place: str) -> None:
    from imagen_supabase import inventory

    try:
        inventory.remember(app.context, project, item.picture, place)
    except ImagenError as error:
        app.console.warn(f"the ledger does not know that {place} was sent: {error}")


def _push_usage(app: App, paths: tuple[str, ...], *, dry_run: bool) -> None:
    from imagen_supabase import inventory
    from imagen_supabase.client import connect

    del paths
    project = app.context.once(connect)
    rows = inventory.missing_usage(app.context, project)
    if dry_run:
        app.console.info(f"usage: {len(rows)} rows would be sent")
        return
    refused = list(inventory.push_usage(project, rows))
    if rows:
        app.console.info(f"usage: {len(rows) - len(refused)} rows sent")
    for run_id, error in refused:
        app.console.error(error, {"id": run_id})
    if refused:
        raise ImagenError(f"{len(refused)} rows of usage are not in the cloud")


@cloud.command("status", help=f"Compare this machine with the cloud.\n\n{PATHS}")
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path())
@json_option("Print one JSON object.")
@config_option
@pass_app
def status(app: App, paths: tuple[str, ...]) -> None:
    """Count the pictures by how they stand, and name those that can't be sent."""
    from imagen_supabase import inventory
    from imagen_supabase.client import connect
    from imagen_supabase.tables import BUCKET

    project = app.context.once(connect)
    found = inventory.pictures(app.context, paths)
    items, there = inventory.survey(app.context, project, found)
    usage = len(inventory.missing_usage(app.context, project))
    counts = Counter(item.state for item in items)
    if app.console.as_json:
        app.console.json(
            {
                "project": project.url,
                "bucket": BUCKET,
                **{state.name.lower(): counts[state] for state in inventory.State},
                "rows": len(there.rows),
                "usage_missing": usage,
                "refused_pictures": [_refused(item) for item in items if item.reason],
            }
        )
        return
    rows = [(state.value, str(counts[state])) for state in inventory.State]
    rows += [("rows of the owner", str(len(there.rows)))]
    rows += [("usage to be sent", str(usage))]
    app.console.table(("pictures", "count"), rows)
    for item in items:
        if item.reason:
            app.console.warn(told(item.reason))
    if usage or any(item.is_wanting for item in items):
        app.console.info("'imagen cloud push' sends what is missing")


@cloud.command("url", help="Print an address of a picture that opens for anybody, for a while.")
@click.argument("path", metavar="PATH", type=click.Path())
@click.option(
    "--expires",
    default="1h",
    show_default=True,
    metavar="TIME",
    help="When it ends: seconds, or 10m, 12h, 7d.",
)
@json_option("Print one JSON object.")
@config_option
@pass_app
def url(app: App, path: str, *, expires: str) -> None:
    """Find the picture by its bytes, and have its address signed."""
    from imagen_supabase.client import connect

    seconds = seconds_of(expires)
    project = app.context.once(connect)
    place = _place(app, project, path)
    signed = project.signed_url(place, seconds)
    if app.console.as_json:
        app.console.json({"url": signed, "storage_path": place, "expires_in": seconds})
    else:
        app.console.line(signed)


def _place(app: App, project: Project, path: str) -> str:
    """Where a picture of this machine is; what is none is taken for a path in the bucket."""
    from imagen_supabase.config import owner
    from imagen_supabase.pictures import Picture, read_sidecar
    from imagen_supabase.tables import IMAGES

    file = expand_home(path)
    if not file.is_file():
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}/[A-Za-z0-9-]+\.[a-z]+", path):
            return path
        raise UsageError(
            f"there is no picture {path}", hint="or name it as the bucket does: DATE/NAME"
        )
    try:
        digest = sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    whose = owner(app.context, Picture(file, read_sidecar(file)).owner)
    conditions = {"owner_user_id": f"eq.{whose}", "sha256": f"eq.{digest}"}
    for row in project.select(IMAGES, "id,storage_path", **conditions):
        return str(row["storage_path"])
    raise UsageError(f"{path} is not in the cloud", hint=f"imagen cloud push {path}")


def _tell_sent(app: App, item: Item, place: str) -> None:
    if app.console.as_json:
        app.console.json({"path": str(item.picture.path), "storage_path": place})
    else:
        app.console.line(place)


def _tell_plan(app: App, wanting: list[Item]) -> None:
    for item in wanting:
        path = str(item.picture.path)
        if app.console.as_json:
            app.console.json({"path": path, "state": item.state.name.lower()})
        else:
            app.console.line(path)
    app.console.info(f"pictures: {len(wanting)} would be sent")


def _refused(item: Item) -> dict[str, str]:
    return {"path": str(item.picture.path), "reason": str(item.reason)}
