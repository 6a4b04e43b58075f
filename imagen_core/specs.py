"""What plugins declare: plain frozen data that names its code as `module:attribute`."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class SettingsSpec(Struct, frozen=True, kw_only=True):
    """A plugin's top-level block: its struct, a commented sample, and more to check."""

    config: str
    sample: str = ""
    check: str = ""


class Sample(Struct, frozen=True, kw_only=True):
    """An instance for `config init`, as YAML. The highest rank becomes the default backend."""

    name: str
    block: str
    rank: int = 0


class BackendSpec(Struct, frozen=True, kw_only=True):
    """A type of backend. `create(config, context)` makes one from its typed block."""

    type: str
    summary: str
    config: str
    create: str
    samples: tuple[Sample, ...] = ()
    settings: SettingsSpec | None = None


class Switch(Struct, frozen=True, kw_only=True):
    """One knob with the values auto, on and off, declared once for every way to set it.

    `auto(context) -> (bool, reason)` decides what auto means here.
    """

    key: str
    env: str
    help: str
    default: Literal["auto", "on", "off"] = "on"
    on_flag: str = ""
    off_flag: str = ""
    auto: str = ""


Phase = Literal["record", "publish", "show"]


class StepSpec(Struct, frozen=True, kw_only=True):
    """Something to do with a finished Run. `run(done, context)` yields Notes."""

    name: str
    phase: Phase
    run: str
    switch: Switch | None = None
    settings: SettingsSpec | None = None


class StoreSpec(Struct, frozen=True, kw_only=True):
    """A place that answers for usage. `create(context)` makes a Store."""

    name: str
    create: str
    settings: SettingsSpec | None = None


class CallerSpec(Struct, frozen=True, kw_only=True):
    """A way to learn who is asking. `resolve(context)` gives a name or None."""

    name: str
    resolve: str
    settings: SettingsSpec | None = None


class CommandSpec(Struct, frozen=True, kw_only=True):
    """A subcommand. `load` names a click command, or a function of none that makes one."""

    name: str
    help: str
    load: str
    settings: SettingsSpec | None = None


Spec = BackendSpec | StepSpec | StoreSpec | CallerSpec | CommandSpec
