"""The configuration: layers with origins, typed blocks, switches, secrets.

A value comes from the first layer that has it: flag, environment, file, default. Blocks are
converted when they are needed, field by field, so that every problem is found and named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from msgspec import Struct

from imagen_core.blocks import convert, suggestion
from imagen_core.errors import ConfigError, ConfigErrors
from imagen_core.files import expand_home
from imagen_core.specs import Switch
from imagen_core.types import Paths
from imagen_core.yaml_file import Document, KeyPath

T = TypeVar("T", bound=Struct)
Setting = Literal["auto", "on", "off"]

MOCK = "mock"
INSTANCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

_SETTINGS = {"auto": "auto", "on": "on", "off": "off", "true": "on", "false": "off"}


class Secret:
    """A value that does not print itself; `reveal()` gives it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not stored")


class Origin(Struct, frozen=True, kw_only=True):
    """Which layer a value came from, and where in it."""

    layer: Literal["flag", "environment", "file", "default"]
    place: str = ""

    def __str__(self) -> str:
        return self.place or self.layer


DEFAULT = Origin(layer="default")


class Value(Struct, frozen=True, kw_only=True):
    """A configured text and where it came from."""

    text: str
    origin: Origin = DEFAULT


class Knob(Struct, frozen=True, kw_only=True):
    """One of the core's own text settings: key, variable, default."""

    key: str
    env: str
    default: str
    help: str


KNOBS = {
    knob.key: knob
    for knob in (
        Knob(
            key="default_backend",
            env="IMAGEN_BACKEND",
            default=MOCK,
            help="the instance that is used when none is named",
        ),
        Knob(
            key="owner_user_id",
            env="IMAGEN_OWNER_USER_ID",
            default="",
            help="auth.users.id of the owner; empty: no rows are inserted",
        ),
        Knob(
            key="store",
            env="IMAGEN_STORE",
            default="auto",
            help="who answers for usage, and has the queue: auto, local or the name of a store",
        ),
        Knob(
            key="output.dir",
            env="IMAGEN_OUTPUT_DIR",
            default="~/Pictures/imagen",
            help="the folder for pictures",
        ),
        Knob(
            key="output.naming",
            env="IMAGEN_NAMING",
            default="{date}-{slug}-{seed}.{ext}",
            help="file names: {date} {time} {slug} {seed} {backend} {ext}",
        ),
    )
}
CORE_KEYS = ("default_backend", "owner_user_id", "store", "output", "styles", "backends")


class Style(Struct, frozen=True, kw_only=True):
    """What a style adds to a prompt and to a negative one."""

    prompt: str = "{prompt}"
    negative: str = ""

    def __post_init__(self) -> None:
        if "{prompt}" not in self.prompt:
            raise ValueError("the prompt of a style must have {prompt} in it")


class Decision(Struct, frozen=True, kw_only=True):
    """How a switch stands, who set it, and what that comes to; `on` None: auto, not yet asked."""

    switch: Switch
    setting: Setting
    origin: Origin
    on: bool | None = None
    reason: str = ""


class Settings:
    """The active configuration: a document under the environment."""

    def __init__(self, document: Document, environment: Mapping[str, str]) -> None:
        self.document = document
        self.environment = environment

    def knob(self, key: str) -> Value:
        """One of the core's text settings."""
        knob = KNOBS[key]
        if text := self.environment.get(knob.env, ""):
            return Value(text=text, origin=variable(knob.env))
        path = tuple(key.split("."))
        found = self.raw(path)
        if found is None:
            return Value(text=knob.default)
        if not isinstance(found, str):
            raise self.document.problem(
                path, f"expected text, got {found!r}", hint='put it in quotes: "…"'
            )
        return Value(text=found, origin=self.origin(path))

    def raw(self, path: KeyPath) -> Any:
        """What the file has at this path, None if nothing."""
        found: Any = self.document.data
        for part in path:
            found = found.get(part) if isinstance(found, dict) else None
        return found

    def origin(self, path: KeyPath) -> Origin:
        """The place of a key in the file."""
        place = f"{self.document.file}:{self.document.line(path)}"
        return Origin(layer="file", place=place)

    def table(self, key: str) -> dict[str, Any]:
        """A top-level mapping such as `styles`; a problem if it is something else."""
        found = self.raw((key,))
        if found is None:
            return {}
        if not isinstance(found, dict):
            raise self.document.problem((key,), f"expected keys and values, got {found!r}")
        return found

    def instances(self) -> list[str]:
        """The names of all backends; `mock` works without being configured."""
        return list(dict.fromkeys([*self.table("backends"), MOCK]))

    def default_backend(self) -> str:
        """The backend that is used when none is named; a problem if there is none of that name."""
        value = self.knob("default_backend")
        if value.text not in self.instances():
            raise ConfigError(
                f"there is no backend '{value.text}' ({value.origin})",
                key="default_backend",
                hint=suggestion(value.text, self.instances(), "there are"),
            )
        return value.text

    def style(self, name: str) -> Style:
        """The style of that name."""
        return self.block(("styles", name), Style)

    def block(self, path: KeyPath, struct: type[T], *, leave: Iterable[str] = ()) -> T:
        """The block at this path as its owner's struct; raises all that is wrong with it."""
        value, problems = convert(self.document, path, struct, leave=leave)
        if value is None:
            raise ConfigErrors.of(problems)
        return value

    def decide(self, switch: Switch, flag: str = "") -> Decision:
        """How this switch is set: by flag, else environment, else file, else its default."""
        if flag:
            shown = switch.on_flag if flag == "on" else switch.off_flag
            return Decision(
                switch=switch, setting=_setting(flag), origin=Origin(layer="flag", place=shown)
            )
        path = ("output", switch.key)
        if text := self.environment.get(switch.env, ""):
            if text.lower() not in _SETTINGS:
                raise ConfigError(_three_values(text), key=f"${switch.env}")
            return Decision(switch=switch, setting=_setting(text), origin=variable(switch.env))
        if (found := self.raw(path)) is None:
            return Decision(switch=switch, setting=switch.default, origin=DEFAULT)
        if str(found).lower() not in _SETTINGS:
            raise self.document.problem(path, _three_values(found))
        return Decision(switch=switch, setting=_setting(found), origin=self.origin(path))


def variable(name: str) -> Origin:
    """The origin of what an environment variable says."""
    return Origin(layer="environment", place=f"${name}")


def default_paths(environment: Mapping[str, str]) -> Paths:
    """Where this user's configuration, data and cache lie on this platform."""
    import platformdirs

    def folder(name: str, usual: Path) -> Path:
        return expand_home(environment[name]) if environment.get(name) else usual

    return Paths(
        config=folder("IMAGEN_CONFIG", platformdirs.user_config_path() / "imagen.yaml"),
        data=folder("IMAGEN_DATA_DIR", platformdirs.user_data_path("imagen", appauthor=False)),
        cache=folder("IMAGEN_CACHE_DIR", platformdirs.user_cache_path("imagen", appauthor=False)),
    )


def _setting(value: object) -> Setting:
    return _SETTINGS[str(value).lower()]  # type: ignore[return-value]


def _three_values(found: object) -> str:
    return f"expected auto, on or off, got {found!r}"
