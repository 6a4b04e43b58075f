"""`imagen config`."""

from __future__ import annotations

from typing import Any

import click

from imagen_core import checks
from imagen_core.app import App
from imagen_core.cli.shared import config_option, json_option, pass_app
from imagen_core.config import KNOBS
from imagen_core.errors import ConfigErrors, UsageError
from imagen_core.sample import sample_config


@click.group("config", help="Print, make, check and find the configuration.")
def command() -> None:
    """Everything about the configuration file."""


@command.command(help="Print a sample configuration, or write it where imagen looks for it.")
@click.option("--write", is_flag=True, help="Create the file; never over an existing one.")
@config_option
@pass_app
def init(app: App, *, write: bool) -> None:
    """Put the sample together from what the installed plugins contribute."""
    text = sample_config(app.catalog, app.switches())
    if not write:
        app.console.line(text.rstrip("\n"))
        return
    path = app.config_path
    if path.exists():
        hint = "move it away first; 'imagen config init' only prints"
        raise UsageError(f"{path} exists already", hint=hint)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    app.console.line(str(path))


@command.command(help="Check the active configuration: every problem at once.")
@config_option
@json_option("Print one JSON object.")
@pass_app
def validate(app: App) -> None:
    """Exit 0 with warnings alone, 2 with problems."""
    settings = app.unchecked_settings
    findings = checks.check_everything(settings, app.catalog, app.switches(), app.context)
    if app.console.as_json:
        app.console.json(
            {"ok": not findings.problems}
            | {
                name: [
                    {"message": e.message, "key": e.key, "file": e.file, "line": e.line}
                    | {"hint": e.hint}
                    for e in errors
                ]
                for name, errors in findings._asdict().items()
            }
        )
        if findings.problems:
            raise click.exceptions.Exit(ConfigErrors.exit_code)
        return
    for warning in findings.warnings:
        hint = f"; {warning.hint}" if warning.hint else ""
        app.console.warn(f"warning: {warning}{hint}")
    for problem in findings.problems:
        app.console.error(problem)
    if findings.problems:
        raise click.exceptions.Exit(ConfigErrors.exit_code)
    there = app.config_path.exists()
    app.console.info(f"{app.config_path} is fine" if there else "there is no file, which is fine")


@command.command(help="Print where the configuration file is, or would be.")
@config_option
@pass_app
def path(app: App) -> None:
    """Print the path; a line on stderr says if nothing is there."""
    app.console.line(str(app.config_path))
    if not app.config_path.exists():
        app.console.info("nothing is there yet; 'imagen config init --write' makes it")


@command.command(help="Print every setting as it stands.")
@click.option("--origin", is_flag=True, help="With the place that each one comes from.")
@config_option
@json_option("Print one JSON object.")
@pass_app
def show(app: App, *, origin: bool) -> None:
    """Print what the core would use now; secrets are not part of it."""
    rows = list(_rows(app))
    if app.console.as_json:
        content: dict[str, Any] = {
            key: {"value": value, "origin": place} if origin else value
            for key, value, place in rows
        }
        app.console.json(content)
        return
    head = ("key", "value", "origin") if origin else ("key", "value")
    app.console.table(head, [row[: len(head)] for row in rows])


def _rows(app: App) -> Any:
    for key in KNOBS:
        value = app.settings.knob(key)
        yield key, value.text, str(value.origin)
    for switch in app.switches():
        decision = app.settings.decide(switch)
        yield f"output.{switch.key}", decision.setting, str(decision.origin)
    for table in ("styles", "backends"):
        for name, block in app.settings.table(table).items():
            for key, value in block.items() if isinstance(block, dict) else ():
                path = (table, name, key)
                yield ".".join(path), str(value), str(app.settings.origin(path))
