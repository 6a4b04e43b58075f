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

if TYPE_CHECKING:
    from imagen_supabase.client import Project
    from imagen_supabase.inventory import Item

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST_SECONDS = 10 * 365 * 86400
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
    from imagen_supabase import inventory
    from imagen_supabase.client import connect
    from imagen_supabase.config import owner

    app.console.quiet = quiet
    whose = owner(app.context)
    project = app.context.once(connect)
    items, _ = inventory.survey(project, whose, inventory.pictures(app.context, paths))
    usage = [] if paths else inventory.missing_usage(app.context, project)
    reasons = [(item, item.reason) for item in items if item.reason]
    for item, reason in reasons:
        app.console.error(reason, {"path": str(item.picture.path)})
    wanting = [item for item in items if item.is_wanting]
    if dry_run:
        _tell_plan(app, wanting, len(usage))
        return
    if usage:
        inventory.push_usage(project, usage)
    failed = _push(app, project, whose, wanting)
    there = sum(item.state == inventory.State.THERE for item in items)
    sent = len(wanting) - failed
    app.console.info(f"{sent} sent, {there} there already; {len(usage)} rows of usage sent")
    if bad := failed + len(reasons):
        kind = PartialFailure if sent or there else ImagenError
        raise kind(f"{bad} of {len(items)} pictures are not in the cloud")


def _push(app: App, project: Project, owner: str, wanting: list[Item]) -> int:
    """Send them with a bar, and say how many failed; a fault that all would meet is raised."""
    from imagen_supabase import inventory

    bar = app.console.bar(len(wanting))
    failed = sent = 0
    try:
        for item, (place, problem) in inventory.push(project, owner, wanting):
            path = str(item.picture.path)
            if problem is None:
                sent += 1
                inventory.remember(app.context, project, item.picture, place)
                _tell_sent(app, item, place)
                bar.finish(path)
                bar.take(path, Progress(message=item.picture.path.name))
            elif inventory.is_final(problem):
                told_so_far = f"{problem}; {len(wanting) - sent} pictures are left"
                raise replace(Failure.of(problem), message=told_so_far).error()
            else:
                failed += 1
                app.console.error(problem, {"path": path})
    except KeyboardInterrupt:
        left = f"{len(wanting) - sent} of {len(wanting)} pictures are left"
        raise Cancelled(left, hint="'imagen cloud push' goes on") from None
    finally:
        bar.hide()
    return failed


@cloud.command("status", help=f"Compare this machine with the cloud.\n\n{PATHS}")
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path())
@json_option("Print one JSON object.")
@config_option
@pass_app
def status(app: App, paths: tuple[str, ...]) -> None:
    """Count the pictures by how they stand, and name those that can't be sent."""
    from imagen_supabase import inventory
    from imagen_supabase.client import BUCKET, connect
    from imagen_supabase.config import owner

    project = app.context.once(connect)
    found = inventory.pictures(app.context, paths)
    items, there = inventory.survey(project, owner(app.context), found)
    usage = len(inventory.missing_usage(app.context, project))
    counts = Counter(item.state for item in items)
    orphans = {place for place, _ in there.rows.values()} - there.objects
    if app.console.as_json:
        app.console.json(
            {
                "project": project.url,
                "bucket": BUCKET,
                **{state.name.lower(): counts[state] for state in inventory.State},
                "rows": len(there.rows),
                "rows_without_object": len(orphans),
                "usage_missing": usage,
                "refused_pictures": [_refused(item) for item in items if item.reason],
            }
        )
        return
    rows = [(state.value, str(counts[state])) for state in inventory.State]
    rows += [("rows of the owner", str(len(there.rows)))]
    rows += [("of these without an object", str(len(orphans))), ("usage to be sent", str(usage))]
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

    seconds = _seconds(expires)
    project = app.context.once(connect)
    place = _place(app, project, path)
    signed = project.signed_url(place, seconds)
    if app.console.as_json:
        app.console.json({"url": signed, "storage_path": place, "expires_in": seconds})
    else:
        app.console.line(signed)


def _place(app: App, project: Project, path: str) -> str:
    """Where a picture of this machine is; what is none is taken for a path in the bucket."""
    from imagen_supabase.client import IMAGES
    from imagen_supabase.config import owner

    file = expand_home(path)
    if not file.is_file():
        if re.fullmatch(r"\d{4}-\d\d-\d\d/[^/]+", path):
            return path
        raise UsageError(
            f"there is no picture {path}", hint="or name it as the bucket does: DATE/NAME"
        )
    digest = sha256(file.read_bytes()).hexdigest()
    conditions = {"owner_user_id": f"eq.{owner(app.context)}", "sha256": f"eq.{digest}"}
    for row in project.select(IMAGES, "storage_path", **conditions):
        return str(row["storage_path"])
    raise UsageError(f"{path} is not in the cloud", hint=f"imagen cloud push {path}")


def _seconds(text: str) -> int:
    found = re.fullmatch(r"(\d{1,12})([smhd]?)", text.strip().lower())
    seconds = int(found[1]) * UNITS[found[2] or "s"] if found else 0
    if not 1 <= seconds <= LONGEST_SECONDS:
        raise UsageError(
            f"'{text}' is no time to expire in", hint="for instance 3600, 10m, 12h or 7d"
        )
    return seconds


def _tell_sent(app: App, item: Item, place: str) -> None:
    if app.console.as_json:
        app.console.json({"path": str(item.picture.path), "storage_path": place})
    else:
        app.console.line(place)


def _tell_plan(app: App, wanting: list[Item], usage: int) -> None:
    for item in wanting:
        path = str(item.picture.path)
        if app.console.as_json:
            app.console.json({"path": path, "state": item.state.name.lower()})
        else:
            app.console.line(path)
    app.console.info(f"{len(wanting)} pictures and {usage} rows of usage would be sent")


def _refused(item: Item) -> dict[str, str]:
    return {"path": str(item.picture.path), "reason": str(item.reason)}
