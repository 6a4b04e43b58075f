"""`imagen plugins`."""

from __future__ import annotations

from typing import Any

import click

from imagen_core import checks, known
from imagen_core.app import App
from imagen_core.cli.shared import json_option, pass_app
from imagen_core.errors import told
from imagen_core.plugins import KINDS, Catalog, Clash, Plugin


@click.command("plugins", help="List the plugins, what they give, and which are broken.")
@click.option("--refresh", is_flag=True, help="Read all plugins anew.")
@json_option("Print a JSON array with everything there is to know.")
@pass_app
def command(app: App, *, refresh: bool) -> None:
    """Print every plugin with its distribution, version, state and what it gives."""
    catalog = app.fresh_catalog() if refresh else app.catalog
    clashes = catalog.clashes()
    for warning in checks.unknown_plugins(app.environment, catalog):
        app.console.warn(told(warning))
    if app.console.as_json:
        app.console.json([_described(app, plugin, clashes) for plugin in catalog.plugins])
        return
    app.console.table(
        ("plugin", "distribution", "version", "state", "gives"),
        [_row(plugin, clashes) for plugin in catalog.plugins],
    )
    for clash in clashes:
        app.console.warn(str(clash))
    _print_stores(app, catalog)
    for plugin in catalog.plugins:
        if plugin.state == "broken":
            app.console.warn(f"{plugin} is broken: {plugin.problem}\n{plugin.trace}".rstrip())


def _print_stores(app: App, catalog: Catalog) -> None:
    from imagen_core.specs import StoreSpec

    for name in catalog.usable(StoreSpec):
        app.console.info(f"store {name}: {_store_status(app, name)}")


def _store_status(app: App, name: str) -> str:
    try:
        return app.store(name)[1].status().text
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin's store may raise anything
        return told(error)


def _row(plugin: Plugin, clashes: list[Clash]) -> tuple[str, ...]:
    state = plugin.state
    return (
        plugin.name,
        plugin.distribution,
        plugin.version,
        "clash" if state == "ok" and _clashing(plugin, clashes) else state,
        ", ".join(gives(plugin)) or plugin.problem,
    )


def _clashing(plugin: Plugin, clashes: list[Clash]) -> list[str]:
    return [
        str(clash)
        for clash in clashes
        if str(plugin) in clash.plugins and not (clash.core and plugin.distribution == known.CORE)
    ]


def gives(plugin: Plugin) -> list[str]:
    """Everything that a plugin gives, in words: `backend type mock`."""
    return [
        f"{KINDS[type(spec)][0]} {getattr(spec, KINDS[type(spec)][1])}" for spec in plugin.specs
    ]


def _described(app: App, plugin: Plugin, clashes: list[Clash]) -> dict[str, Any]:
    from imagen_core.specs import StoreSpec

    stores = {spec.name for spec in plugin.stores} & set(app.catalog.usable(StoreSpec))
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "state": "clash" if plugin.state == "ok" and _clashing(plugin, clashes) else plugin.state,
        "problem": plugin.problem,
        "clashes": _clashing(plugin, clashes),
        "trace": plugin.trace,
        "load_ms": plugin.load_ms,
        "hooks": plugin.hooks,
        "gives": gives(plugin),
        "stores": {name: _store_status(app, name) for name in sorted(stores)},
    }
