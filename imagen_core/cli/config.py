"""`imagen config`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
from msgspec import NODEFAULT, Struct
from msgspec.structs import FieldInfo

from imagen_core import checks
from imagen_core.app import App
from imagen_core.blocks import fields_of
from imagen_core.cli.shared import config_option, json_option, pass_app
from imagen_core.config import DEFAULT, KNOBS, Style
from imagen_core.errors import ConfigErrors, ImagenError, UsageError, told
from imagen_core.instances import spec_of
from imagen_core.sample import sample_config
from imagen_core.yaml_file import KeyPath, dotted


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
        _create(path, text)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    app.console.line(str(path))


def _create(path: Path, text: str) -> None:
    """Write a new file whole, or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("x", encoding="utf-8")
    try:
        with file:
            file.write(text)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


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
        app.console.warn(f"warning: {told(warning)}")
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
    """Print what would be used now; what looks like a token is not shown."""
    rows = [(key, checks.masked(value), place) for key, value, place in _rows(app)]
    if app.console.as_json:
        content: dict[str, Any] = {
            key: {"value": value, "origin": place} if origin else value
            for key, value, place in rows
        }
        app.console.json(content)
        return
    head = ("key", "value", "origin") if origin else ("key", "value")
    app.console.table(head, [row[: len(head)] for row in rows])


def _rows(app: App) -> Iterator[tuple[str, str, str]]:
    for key in KNOBS:
        value = app.settings.knob(key)
        yield key, value.text, str(value.origin)
    for switch in app.switches():
        decision = app.settings.decide(switch)
        yield f"output.{switch.key}", decision.setting, str(decision.origin)
    for name in app.settings.table("styles"):
        yield from _block(app, ("styles", name), lambda: Style)
    for name in app.settings.table("backends"):
        yield from _block(app, ("backends", name), partial(_struct_of, app, name))
    for plugin, spec in app.catalog.blocks():
        yield from _block(app, (plugin.name,), partial(app.catalog.load, plugin, spec.config))


def _struct_of(app: App, name: str) -> type[Struct]:
    spec = spec_of(app.settings, app.catalog, name)
    struct: type[Struct] = app.catalog.load(spec, spec.config)
    return struct


def _block(
    app: App, path: KeyPath, struct: Callable[[], type[Struct]]
) -> Iterator[tuple[str, str, str]]:
    """What the file has in a block, then the defaults of its owner, if that one can be asked."""
    block = app.settings.raw(path)
    block = block if isinstance(block, dict) else {}
    for key, value in block.items():
        yield dotted((*path, key)), str(value), str(app.settings.origin((*path, key)))
    with contextlib.suppress(ImagenError):
        for field in fields_of(struct(), path):
            if field.encode_name not in block and not field.required:
                yield dotted((*path, field.encode_name)), _default(field), str(DEFAULT)


def _default(field: FieldInfo) -> str:
    made = field.default_factory
    value = field.default if made is NODEFAULT else made()
    return "" if value is None else str(value)
