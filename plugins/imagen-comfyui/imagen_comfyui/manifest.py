"""The manifest of a workflow: what it is, what it takes, and what a server must have for it."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from msgspec.structs import asdict

from imagen_core import Param

Positive = Annotated[int, Meta(ge=1)]

GIVEN = ("prompt", "negative", "seed", "width", "height", "filename_prefix", "image")
"""The placeholders that imagen itself fills in; all others are parameters."""

Kind = Literal["int", "float", "str", "bool"]
ParamKind = Literal["int", "float", "str", "bool", "json"]

KINDS: dict[type, ParamKind] = {bool: "bool", int: "int", float: "float", str: "str"}

TYPES: dict[str, ParamKind] = {
    "steps": "int",
    "cfg": "float",
    "sampler": "str",
    "scheduler": "str",
    "denoise": "float",
}
"""The types of the usual parameters, for a workflow whose manifest does not say."""

OWN_TYPES: dict[str, Kind] = {
    **dict.fromkeys(("prompt", "negative", "filename_prefix", "image"), "str"),
    **dict.fromkeys(("seed", "steps", "width", "height"), "int"),
}
"""The types of what imagen itself fills in, which no manifest can change."""

FILES = ("unet", "checkpoint", "clip_l", "clip_g", "t5xxl", "text_encoder", "vae")
"""The placeholders that name a model file; the first ones say best which model it is."""


class Parameter(Struct, frozen=True, kw_only=True):
    """A value that may be set: by the instance's block, or by `-p`."""

    type: Kind
    default: Any = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    help: str = ""

    def param(self, name: str) -> Param:
        """The same as imagen knows it."""
        return Param(name=name, **asdict(self))


class Size(Struct, frozen=True, kw_only=True):
    """Which sizes the model makes, in pixels a side."""

    default: str = "1024x1024"
    multiple: Positive = 8
    minimum: Positive = 16
    maximum: Positive = 16_384

    def problem(self) -> str:
        """Why its default is no such size, or an empty string."""
        if not re.fullmatch(r"[1-9]\d{0,5}x[1-9]\d{0,5}", self.default):
            return f"expected WIDTHxHEIGHT, got '{self.default}'"
        if all(self.takes(self.side(name)) for name in ("width", "height")):
            return ""
        return f"{self.default} is not of {self.minimum} to {self.maximum}, by {self.multiple}"

    def side(self, name: str) -> int:
        """The width or the height of its default."""
        width, _, height = self.default.partition("x")
        return int(width if name == "width" else height)

    def nearest(self, side: int) -> int:
        """The nearest length that a side may have."""
        least = -(-self.minimum // self.multiple) * self.multiple
        most = self.maximum // self.multiple * self.multiple
        return max(least, min(most, round(side / self.multiple) * self.multiple))

    def takes(self, side: int) -> bool:
        """Whether a side may be so long."""
        return self.minimum <= side <= self.maximum and side % self.multiple == 0


class Model(Struct, frozen=True, kw_only=True):
    """A model file that the server needs: its folder there, and where it comes from.

    `placeholder` is the value that names it. `path` is its place in the Hugging Face repository.
    """

    placeholder: str = ""
    folder: str
    file: str
    repository: str = ""
    path: str = ""
    note: str = ""


class Manifest(Struct, frozen=True, kw_only=True):
    """What is known of a workflow beside its graph. `output`: the node whose pictures count."""

    title: str = ""
    description: str = ""
    size: Size = Size()
    parameters: dict[str, Parameter] = {}
    models: tuple[Model, ...] = ()
    nodes: tuple[str, ...] = ()
    negative: bool | None = None
    images: Annotated[int, Meta(ge=0)] | None = None
    output: str | int = ""
