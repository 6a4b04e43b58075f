"""`imagen supabase`: setting up the project."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from imagen_core import (
    App,
    CredentialsError,
    ImagenError,
    UsageError,
    config_option,
    json_option,
    pass_app,
)
from imagen_supabase import scripts
from imagen_supabase.postgres import VARIABLE, WHERE

if TYPE_CHECKING:
    from datetime import datetime

    from imagen_supabase.migrate import Outcome, Standing


@click.group(help="Set up and check the Supabase project.")
def supabase() -> None:
    """The commands below it do the work."""


@supabase.command("migrate", help="Make what the database lacks: tables, rights, the bucket.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--db-url", metavar="URL", help=f"The database; else what {VARIABLE} holds.")
@click.option("--print", "prints", is_flag=True, help="Print the SQL, all or that of each NAME.")
@click.option("--status", is_flag=True, help="Tell what is there, and change nothing.")
@click.option("--again", is_flag=True, help="Apply all of them, also what was applied already.")
@json_option("Print one JSON object a migration on stdout, errors too.")
@pass_app
def migrate(
    app: App,
    names: tuple[str, ...],
    *,
    db_url: str | None,
    prints: bool,
    status: bool,
    again: bool,
) -> None:
    """Apply what is missing, or print it, or tell how things stand."""
    if prints + status + again > 1:
        raise UsageError("--print, --status and --again exclude each other")
    chosen = scripts.named(names) if names else scripts.migrations()
    if prints:
        _print(app, chosen)
        return
    if names:
        raise UsageError(
            "only --print takes names: the others are about all migrations",
            hint=f"imagen supabase migrate --print {' '.join(one.name for one in chosen)}",
        )
    url = _url(app, db_url)
    if status:
        _tell_status(app, url)
    else:
        _apply(app, url, again=again)


@supabase.command("check", help="Look at all that the project needs, and say how to mend it.")
@json_option("Print one JSON object a finding.")
@config_option
@pass_app
def check(app: App) -> None:
    """Tell each thing as it is looked at; exit code 1 if something is wrong."""
    from imagen_supabase.checking import findings

    wrong = 0
    for found in findings(app.context):
        wrong += found.state == "wrong"
        if app.console.as_json:
            app.console.json(found._asdict())
        else:
            app.console.line(f"{found.state:7}  {found.name}: {found.text}")
    if wrong:
        raise click.exceptions.Exit(ImagenError.exit_code)


@supabase.command("token", help="Print a key for workers: it opens what they need, and no more.")
@click.option(
    "--expires",
    default="365d",
    show_default=True,
    metavar="TIME",
    help="When it ends: seconds, or 10m, 12h, 7d.",
)
@json_option("Print one JSON object.")
@pass_app
def token(app: App, expires: str) -> None:
    """Sign it with the project's secret, which is needed for this alone."""
    from imagen_supabase.keys import SECRET, WHERE as WHERE_IT_IS, WORKER, seconds_of, worker_key

    seconds = seconds_of(expires)
    secret = app.context.secret(SECRET)
    if secret is None:
        raise CredentialsError(f"${SECRET} is not set", hint=WHERE_IT_IS)
    key = worker_key(secret, seconds)
    if app.console.as_json:
        app.console.json({"token": key, "role": WORKER, "expires_in": seconds})
    else:
        app.console.line(key)


def _url(app: App, given: str | None) -> str:
    secret = app.context.secret(VARIABLE)
    url = given or (secret.reveal() if secret else "")
    if not url:
        raise CredentialsError(f"no database is named: ${VARIABLE} is not set", hint=WHERE)
    return url.strip()


def _print(app: App, chosen: tuple[scripts.Migration, ...]) -> None:
    if app.console.as_json:
        for one in chosen:
            app.console.json({"migration": one.name, "checksum": one.checksum, "sql": one.sql})
        return
    app.console.line(scripts.script(chosen))


def _tell_status(app: App, url: str) -> None:
    from imagen_supabase.migrate import migrating

    with migrating(url) as migrator:
        standings = migrator.standings(scripts.migrations())
    if app.console.as_json:
        for one in standings:
            app.console.json(_standing(one))
    else:
        rows = [(one.name, one.state, _time(one.applied_at)) for one in standings]
        app.console.table(("migration", "state", "applied at"), rows)
    for state, remark in _REMARKS.items():
        if any(one.state == state for one in standings):
            app.console.info(remark)


_REMARKS = {
    "missing": "'imagen supabase migrate' applies what is missing",
    "changed": "changed: the file is another one than that which was applied; "
    "'imagen supabase migrate --print NAME' has it",
    "unknown": "unknown: applied by another version of imagen-supabase",
}


def _apply(app: App, url: str, *, again: bool) -> None:
    from imagen_supabase.migrate import migrating

    with migrating(url) as migrator:
        for one in scripts.migrations():
            _tell_outcome(app, migrator.apply(one, again=again, tell=app.console.info))


def _tell_outcome(app: App, outcome: Outcome) -> None:
    for remark in outcome.remarks:
        (app.console.warn if remark.is_warning else app.console.info)(remark.text)
    if outcome.changed:
        app.console.warn(
            f"{outcome.name} is another file than that which was applied, and is not applied again"
        )
    if app.console.as_json:
        app.console.json(_outcome(outcome))
    else:
        done = "applied" if outcome.applied else f"there since {_time(outcome.since)}"
        app.console.line(f"{outcome.name}: {done}")


def _time(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC") if moment else "-"


def _standing(one: Standing) -> dict[str, str | None]:
    at = one.applied_at.isoformat() if one.applied_at else None
    return {"migration": one.name, "state": one.state, "applied_at": at}


def _outcome(one: Outcome) -> dict[str, object]:
    return {
        "migration": one.name,
        "applied": one.applied,
        "applied_at": one.since.isoformat(),
        "changed": one.changed,
        "remarks": [remark.text for remark in one.remarks],
    }
