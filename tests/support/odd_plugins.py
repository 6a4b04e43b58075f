"""Plugins that misbehave, each in its way."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple

import click
from msgspec import Struct

from imagen_core import (
    About,
    Backend,
    BackendSpec,
    CommandSpec,
    Context,
    Event,
    Image,
    Progress,
    Request,
    StoreSpec,
    hookimpl,
    http,
)
from imagen_core.types import Field

if TYPE_CHECKING:
    from collections.abc import Generator

PNG_HEAD = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1"


class OddConfig(Struct, frozen=True, kw_only=True):
    """The block of a backend that misbehaves."""

    how: str
    folder: Path = Path()

    def __post_init__(self) -> None:
        if self.how == "broken":
            raise ValueError("how: expected anything but broken")


class OddBackend(Backend):
    """A backend that misbehaves as it is told."""

    def __init__(self, config: OddConfig, context: Context) -> None:
        assert config.how != "never"
        self.how = config.how
        self.folder = config.folder
        self.context = context

    @property
    def about(self) -> About:
        takes_images: frozenset[Field] = frozenset({"images"})
        fields = dict.fromkeys(("images", "turning"), takes_images)
        fixed = "64x64" if self.how == "fixed" else ""
        return About(model="odd", size=fixed, honours=fields.get(self.how, frozenset({"seed"})))

    @property
    def resource(self) -> None:  # type: ignore[override]
        """Asked for when the images are checked, and before a making begins."""
        if self.how == "turning":
            with Path("turning.png").open("ab") as image:
                image.write(b".")

    def generate(self, request: Request) -> Generator[Event, None, None]:
        yield Progress(fraction=0.0)
        if self.how == "stop" and request.seed == 1:
            os.kill(os.getpid(), signal.SIGINT)
        if self.how == "nothing" or (self.how == "some" and request.seed % 2):
            return
        if self.how == "vanish" and self.folder.is_dir():
            shutil.rmtree(self.folder)
        elif self.how == "vanish":
            self.folder.unlink()
        if self.how == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
            yield from http.pause(20.0)
        data = {"empty": b"", "unknown": b"?"}.get(self.how, PNG_HEAD)
        yield Image(data=data, mime="image/png", seed=request.seed)


class Plain(NamedTuple):
    """What no block can be read as."""

    how: str = ""


def odd_backends() -> list[BackendSpec]:
    config, create = f"{__name__}:OddConfig", f"{__name__}:OddBackend"
    return [
        BackendSpec(type="odd", summary="odd", config=config, create=create),
        BackendSpec(type="mock", summary="a thief", config=config, create=create),
        BackendSpec(type="plain", summary="", config=f"{__name__}:Plain", create=create),
    ]


def odd_stores() -> list[StoreSpec]:
    return [StoreSpec(name="bad", create=f"{__name__}:no_store")]


def no_store(_: Context) -> None:
    """Fail to make a store."""
    raise RuntimeError("no store")


def odd_commands() -> list[CommandSpec]:
    return [
        CommandSpec(name="none", help="No command.", load=f"{__name__}:no_command"),
        CommandSpec(name="lost", help="Not there.", load="lost_module:command"),
        CommandSpec(name="crash", help="A bug.", load=f"{__name__}:crash"),
    ]


def no_command() -> None:
    """What a plugin gives in place of a command."""


@click.command()
def crash() -> None:
    """Run into a bug."""
    raise RuntimeError("a bug")


def twin_backends() -> list[BackendSpec]:
    return [BackendSpec(type="twin", summary="twin", config="x:y", create="x:y")]


def twin_commands() -> list[CommandSpec]:
    return [CommandSpec(name="both", help="Claimed twice.", load=f"{__name__}:no_command")]


TWIN = SimpleNamespace(
    imagen_backends=hookimpl(twin_backends), imagen_commands=hookimpl(twin_commands)
)
PLUGINS = {
    "odd": SimpleNamespace(
        imagen_backends=hookimpl(odd_backends),
        imagen_commands=hookimpl(odd_commands),
        imagen_stores=hookimpl(odd_stores),
    ),
    "one": TWIN,
    "two": TWIN,
}
