"""Options that commands which make pictures have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from imagen_core import known
from imagen_core.cli.shared import app_of, completing
from imagen_core.errors import UsageError
from imagen_core.instances import absent
from imagen_core.specs import StepSpec
from imagen_core.types import Text

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen_core.app import App

Command = TypeVar("Command", bound="Callable[..., Any]")


class SwitchedCommand(click.Command):
    """A command with the flags of every installed switch, and of the absent first-party ones.

    `shows` False: without those of steps that show something, as nobody looks.
    """

    shows = True

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Its own parameters, then a pair of flags a switch."""
        params = super().get_params(ctx)
        app = app_of(ctx)
        unseen = set() if self.shows else _showing(app)
        flags = [click.Option([name, dest], **rest) for name, dest, rest in _flags(app, unseen)]
        return [*params[:-1], *flags, params[-1]]


class UnseenCommand(SwitchedCommand):
    """One that runs where nobody looks."""

    shows = False


def _showing(app: App) -> set[str]:
    """The keys of the switches that belong to steps of the phase `show`."""
    steps = app.catalog.usable(StepSpec).values()
    return {step.switch.key for step in steps if step.switch and step.phase == "show"}


def _flags(app: App, unseen: set[str]) -> Any:
    """Name, destination and settings of each switch's flags."""
    there = {switch.key: switch for switch in app.switches() if switch.key not in unseen}
    for key, switch in there.items():
        for flag, value, verb in (
            (switch.on_flag, "on", "Force"),
            (switch.off_flag, "off", "Without"),
        ):
            if flag:
                rest = {"flag_value": value, "help": f"{verb} {switch.help}."}
                yield flag, f"switch_{key}_{value}", {"is_flag": True, "default": None, **rest}
    for key, known_switch in known.SWITCHES.items():
        if key not in there and key not in unseen:
            hidden = {"is_flag": True, "hidden": True, "expose_value": False}
            if known_switch.off_flag:
                yield known_switch.off_flag, f"absent_{key}_off", hidden
            if known_switch.on_flag:
                yield known_switch.on_flag, f"absent_{key}_on", {**hidden, "callback": _refuse}


def _refuse(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        key = str(param.name).removeprefix("absent_").removesuffix("_on")
        error = absent(app_of(ctx).catalog, known.SWITCHES[key].distribution)
        raise UsageError(f"{param.opts[0]} {error.message}", hint=error.hint)


def switched(given: dict[str, Any]) -> dict[str, str]:
    """Take the switches' flags out of what was given: on or off, by key."""
    flags = {}
    for name in [name for name in given if name.startswith("switch_")]:
        if value := given.pop(name):
            flags[name.removeprefix("switch_").rpartition("_")[0]] = value
    return flags


def parse_params(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, Text]:
    """`KEY=VALUE` as parameters, their values still as typed."""
    found = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"'{value}' is not KEY=VALUE", hint="for instance -p format=webp")
        found[key.strip()] = Text(text)
    return found


def instances(app: App) -> list[str]:
    """The names of all instances, for completion."""
    return app.instances()


def _styles(app: App) -> list[str]:
    return list(app.settings.table("styles"))


def tell_of_mock(app: App, backend: str) -> None:
    """Say so where nobody named a backend, and the mock is used."""
    default = app.settings.knob("default_backend")
    if backend or default.origin.layer != "default":
        return
    if app.config_path.exists():
        app.console.info(f"{app.config_path} names no default_backend: using 'mock'")
    else:
        app.console.info(
            "there is no configuration: using the built-in backend 'mock' "
            "('imagen config init --write' makes one)"
        )


def request_options(function: Command) -> Command:
    """`--size`, `--steps`, `--style`, `--negative`, `--image` and `-p`."""
    for option in reversed(_REQUEST_OPTIONS):
        function = option(function)
    return function


_REQUEST_OPTIONS = (
    click.option(
        "--size",
        default="",
        metavar="WxH",
        help="In pixels.  [default: the instance's, or 1024x1024]",
    ),
    click.option("--steps", default=0, help="0 is the backend's own number.", show_default=True),
    click.option(
        "--style",
        default="",
        metavar="NAME",
        shell_complete=completing(_styles),
        help="A style of the configuration.",
    ),
    click.option("--negative", default="", metavar="TEXT", help="What should not be in it."),
    click.option(
        "--image",
        "images",
        type=click.Path(),
        multiple=True,
        metavar="PATH",
        help="An input image; repeatable.",
    ),
    click.option(
        "-p",
        "--param",
        "params",
        multiple=True,
        metavar="KEY=VALUE",
        callback=parse_params,
        help="An option of the backend; repeatable.",
    ),
)
