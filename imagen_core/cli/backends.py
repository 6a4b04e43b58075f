"""`imagen backends`."""

from __future__ import annotations

from typing import NamedTuple

import click

from imagen_core.app import App
from imagen_core.cli.shared import config_option, json_option, pass_app
from imagen_core.errors import told
from imagen_core.specs import BackendSpec
from imagen_core.types import Status


class Listed(NamedTuple):
    """One instance as it is shown."""

    name: str
    type: str
    model: str
    default: bool
    status: Status


@click.command("backends", help="List the configured instances and the types of backend.")
@click.option("--check", is_flag=True, help="Ask every server; without it nobody is asked.")
@config_option
@json_option("Print one JSON object.")
@pass_app
def command(app: App, *, check: bool) -> None:
    """Print each instance with its status, then the types that can be configured."""
    listed = [_look(app, name, check=check) for name in app.instances()]
    types = app.catalog.usable(BackendSpec)
    app.warn_of_settings()
    if app.console.as_json:
        app.console.json(
            {
                "instances": [
                    {**row._asdict(), "ok": row.status.ok, "status": row.status.text}
                    for row in listed
                ],
                "types": {name: spec.summary for name, spec in types.items()},
            }
        )
        return
    app.console.table(
        ("instance", "type", "model", "status"),
        [
            (f"{row.name} *" if row.default else row.name, row.type, row.model, row.status.text)
            for row in listed
        ],
    )
    app.console.info("* is the default backend")
    for name, spec in types.items():
        app.console.info(f"type {name}: {spec.summary}")


def _look(app: App, name: str, *, check: bool) -> Listed:
    default = app.settings.knob("default_backend").text == name
    block = app.settings.raw(("backends", name))
    kind = str(block.get("type", "?")) if isinstance(block, dict) else "mock"
    model = ""
    try:
        instance = app.instance(name)
        model = instance.backend.about.model
        status = instance.backend.probe() if check else instance.backend.status()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin's status may raise anything
        status = Status(ok=False, text=told(error))
    return Listed(name, kind, model, default, status)
