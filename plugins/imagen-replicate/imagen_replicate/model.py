"""A model of Replicate: what it takes, what it costs, and what that means for imagen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from imagen_core import Param

Size = tuple[int, int]
InputType = Literal["string", "integer", "number", "boolean", "array", "any"]
Scalar = str | bool | int | float
Kind = Literal["str", "int", "float", "bool", "json"]

MEGAPIXEL = 1024 * 1024
"""What Replicate counts as one, as far as its bills tell."""

_KINDS: dict[str, Kind] = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "array": "json",
}
_IMAGES = ("image", "input_image", "image_prompt", "input_images", "images", "image_input")
_GUIDANCE = ("guidance", "guidance_scale", "cfg")
_MIMES = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp"}
_TWINS = {"jpg": "jpeg", "jpeg": "jpg"}
_MANY = 10


class Input(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An input of a model. `format` "uri": a picture or file, or for an array a list of them.

    `most`: how many of them an array takes. `multiple`: what a number must be a multiple of.
    """

    type: InputType = "string"
    format: str = ""
    choices: tuple[Scalar, ...] = ()
    default: Any = None
    minimum: float | None = None
    maximum: float | None = None
    multiple: int = 0
    most: int = 0
    required: bool = False
    secret: bool = False
    deprecated: bool = False
    help: str = ""

    def param(self, name: str) -> Param:
        """The same as imagen knows it."""
        kind = _KINDS.get(self.type, "json")
        choices = tuple(choice for choice in self.choices if isinstance(choice, str))
        return Param(
            name=name,
            type=kind,
            default=self.default,
            minimum=self.minimum if kind in ("int", "float") else None,
            maximum=self.maximum if kind in ("int", "float") else None,
            choices=choices if kind == "str" else (),
            help=self.help,
            listed=not (self.deprecated or self.secret),
        )


class Price(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one unit costs in USD, if the inputs are as in `when`; who says so, and since when.

    `date` may be as vague as a month or a year.
    """

    per: Literal["image", "megapixel", "input_megapixel", "run", "second"]
    usd: float
    when: dict[str, Scalar] = {}
    source: str
    date: str


class Model(Struct, frozen=True, kw_only=True):
    """A model of Replicate. `pixels`: the size that each of its ratios comes to at 1 megapixel.

    `seconds`: when to give up on it. `partial`: its inputs are not known for certain. `gone`: why
    it may no longer run. `image_decides_size`: an input image leaves no choice of a size.
    """

    name: str
    inputs: dict[str, Input] = {}
    prices: tuple[Price, ...] = ()
    pixels: dict[str, Size] = {}
    seconds: float = 300.0
    mime: str = ""
    image_decides_size: bool = False
    notes: str = ""
    partial: bool = False
    gone: str = ""

    @property
    def short_name(self) -> str:
        """The name without its owner and version."""
        return self.name.rpartition("/")[2].partition(":")[0]

    @property
    def steps_key(self) -> str:
        """The input for the number of steps; one that no longer does anything doesn't count."""
        return self._first(("num_inference_steps", "steps"))

    @property
    def guidance_key(self) -> str:
        """The input for how closely to follow the prompt."""
        return self._first(_GUIDANCE)

    @property
    def image_key(self) -> str:
        """The input for the pictures of `--image`."""
        return self._first(_IMAGES, types=("string", "array"))

    @property
    def takes_images(self) -> int:
        """How many input images it takes."""
        if not self.image_key:
            return 0
        found = self.inputs[self.image_key]
        return (found.most or _MANY) if found.type == "array" else 1

    @property
    def takes_seed(self) -> bool:
        """Whether it takes a seed."""
        return "seed" in self.inputs

    @property
    def takes_negative(self) -> bool:
        """Whether it takes a negative prompt."""
        return "negative_prompt" in self.inputs

    def default(self, name: str) -> Any:
        """What the model uses for an input that is not sent."""
        return self.inputs[name].default if name in self.inputs else None

    def seed_is_exact(self, inputs: Mapping[str, Any]) -> bool:
        """Whether the same seed gives the same picture again."""
        return self.takes_seed and not inputs.get("go_fast", self.default("go_fast"))

    def flags(self) -> dict[str, str]:
        """Its inputs that imagen has a way of its own for, and that way."""
        ways = {
            "prompt": "the prompt itself",
            "negative_prompt": "--negative",
            "seed": "--seed",
            "width": "--size",
            "height": "--size",
            self.steps_key: "--steps",
            self.image_key: "--image",
        }
        return {name: way for name, way in ways.items() if name in self.inputs}

    def params(self) -> tuple[Param, ...]:
        """Its other inputs: what `-p` takes."""
        flags = self.flags()
        return tuple(found.param(name) for name, found in self.inputs.items() if name not in flags)

    def format_input(self, given: Mapping[str, Any]) -> dict[str, str]:
        """The output format to send: png where nobody chose another; jpg as the model spells it."""
        found = self.inputs.get("output_format", Input())
        asked = given.get("output_format")
        if asked is None:
            return {"output_format": "png"} if "png" in found.choices else {}
        twin = _TWINS.get(str(asked), "")
        return {"output_format": twin} if twin in found.choices else {}

    def expected_mime(self, inputs: Mapping[str, Any]) -> str:
        """The type of the file that these inputs should give; empty if nobody knows."""
        if "output_format" not in self.inputs:
            return self.mime
        return _MIMES.get(str(inputs.get("output_format", self.default("output_format"))), "")

    def _first(self, names: tuple[str, ...], *, types: tuple[str, ...] = ()) -> str:
        known = ((name, self.inputs[name]) for name in names if name in self.inputs)
        fit = (n for n, i in known if not i.deprecated and (not types or i.type in types))
        return next(fit, "")
