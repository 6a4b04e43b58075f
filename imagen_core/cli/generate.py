"""`imagen generate`."""

from __future__ import annotations

import sys
from typing import Any

import click

from imagen_core import known
from imagen_core.app import App
from imagen_core.cli.shared import (
    app_of,
    completing,
    config_option,
    json_option,
    pass_app,
    see_through,
)
from imagen_core.errors import UsageError
from imagen_core.files import expand_home
from imagen_core.instances import absent
from imagen_core.types import Options, Text

STDIN = "-"


class SwitchedCommand(click.Command):
    """A command with the flags of every installed switch, and of the absent first-party ones."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Its own parameters, then a pair of flags a switch."""
        params = super().get_params(ctx)
        flags = [click.Option([name, dest], **rest) for name, dest, rest in _flags(app_of(ctx))]
        return [*params[:-1], *flags, params[-1]]


def _flags(app: App) -> Any:
    """Name, destination and settings of each switch's flags."""
    there = {switch.key: switch for switch in app.switches()}
    for key, switch in there.items():
        for flag, value, verb in (
            (switch.on_flag, "on", "Force"),
            (switch.off_flag, "off", "Without"),
        ):
            if flag:
                rest = {"flag_value": value, "help": f"{verb} {switch.help}."}
                yield flag, f"switch_{key}_{value}", {"is_flag": True, "default": None, **rest}
    for key, known_switch in known.SWITCHES.items():
        if key not in there:
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


def _params(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, Text]:
    found = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"'{value}' is not KEY=VALUE", hint="for instance -p format=webp")
        found[key.strip()] = Text(text)
    return found


def _backends(app: App) -> list[str]:
    return app.instances()


def _styles(app: App) -> list[str]:
    return list(app.settings.table("styles"))


@click.command("generate", cls=SwitchedCommand, help="Make an image, or several, from one prompt.")
@click.argument("prompt")
@click.option(
    "--backend",
    default="",
    metavar="NAME",
    shell_complete=completing(_backends),
    help="A configured instance.  [default: default_backend of the configuration]",
)
@click.option(
    "--size", default="", metavar="WxH", help="In pixels.  [default: the instance's, or 1024x1024]"
)
@click.option("--seed", default=0, help="0 draws one, and records it.", show_default=True)
@click.option("--steps", default=0, help="0 is the backend's own number.", show_default=True)
@click.option(
    "--style",
    default="",
    metavar="NAME",
    shell_complete=completing(_styles),
    help="A style of the configuration.",
)
@click.option("--negative", default="", metavar="TEXT", help="What should not be in it.")
@click.option("--count", default=1, show_default=True, help="So many, with consecutive seeds.")
@click.option(
    "--image",
    "images",
    type=click.Path(),
    multiple=True,
    metavar="PATH",
    help="An input image; repeatable.",
)
@click.option(
    "-p",
    "--param",
    "params",
    multiple=True,
    metavar="KEY=VALUE",
    callback=_params,
    help="An option of the backend; repeatable.",
)
@click.option(
    "--output",
    default="",
    metavar="PATH",
    type=click.Path(),
    help="Write here, over what is there; a folder keeps the naming template.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be done, and ask nobody.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@json_option("Print one JSON object an image on stdout, errors too.")
@config_option
@pass_app
def command(
    app: App, prompt: str, *, output: str, dry_run: bool, quiet: bool, **given: Any
) -> None:
    """Resolve the flags, make the pictures, print a path each."""
    app.console.quiet = quiet
    flags = _switched(given)
    options = Options(prompt=_read_stdin() if prompt == STDIN else prompt, **given)
    _tell_of_mock(app, options)
    requests = app.resolve(options)
    target = app.target(output)
    app.warn_of_settings()
    if dry_run:
        from imagen_core.cli.plan import origins, print_plan

        places = origins(app, target, backend=options.backend, output=output)
        print_plan(app, requests, target, flags, places)
        return
    if not options.prompt.strip():
        app.console.warn("the prompt is empty")
    app.warn_of_plugins(app.instance(requests[0].backend).type)
    relative = bool(output) and not expand_home(output).is_absolute()
    see_through(app, requests, target, flags, relative=relative)


def _switched(given: dict[str, Any]) -> dict[str, str]:
    """Take the switches' flags out of what was given: on or off, by key."""
    flags = {}
    for name in [name for name in given if name.startswith("switch_")]:
        if value := given.pop(name):
            flags[name.removeprefix("switch_").rpartition("_")[0]] = value
    return flags


def _read_stdin() -> str:
    if sys.stdin is None:
        raise UsageError("standard input is closed", hint='imagen generate "a cat"')
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"standard input is not UTF-8 (byte {error.start})") from error
    text = text.replace("\r\n", "\n").rstrip("\n")
    if not text.strip():
        raise UsageError("standard input has no prompt", hint='imagen generate "a cat"')
    return text


def _tell_of_mock(app: App, options: Options) -> None:
    default = app.settings.knob("default_backend")
    if options.backend or default.origin.layer != "default":
        return
    if app.config_path.exists():
        app.console.info(f"{app.config_path} names no default_backend: using 'mock'")
    else:
        app.console.info(
            "there is no configuration: using the built-in backend 'mock' "
            "('imagen config init --write' makes one)"
        )
