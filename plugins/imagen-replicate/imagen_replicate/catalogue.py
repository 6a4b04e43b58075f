"""What is known of Replicate's models: from the catalogue, or from what Replicate says of one."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from imagen_replicate.model import Input, InputType, Model, Price, Size

__all__ = ["Input", "Model", "Price", "from_schema", "hardware", "known", "merged", "model_of"]

_TYPES: tuple[InputType, ...] = get_args(InputType)
_DEEPEST = 20
_MULTIPLE = re.compile(r"multiples? of (\d{1,4})\b", re.IGNORECASE)
_MOST = re.compile(
    r"(?:up to |max(?:imum)?(?: of)?:? |\b1(?:-| to ))(\d{1,3}) (?:\w+ )?(?:images|pictures|files)",
    re.IGNORECASE,
)


class _Entry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model in the file. `like`: the one whose inputs it has, but for its own; null takes away.

    Its pixels, seconds and mime are those of the other one too, if it has none.
    """

    like: str = ""
    inputs: dict[str, Input | None] = {}
    prices: tuple[Price, ...]
    pixels: dict[str, Size] = {}
    seconds: float = 0.0
    mime: str = ""
    image_decides_size: bool = False
    notes: str = ""
    partial: bool = False
    gone: str = ""


class _File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: Literal[1]
    currency: Literal["USD"]
    hardware: dict[str, Price]
    help: dict[str, str]
    models: dict[str, _Entry]


def known() -> dict[str, Model]:
    """Every model of the catalogue by its name."""
    return _catalogue()[0]


def hardware() -> dict[str, Price]:
    """What a second costs on Replicate's machines."""
    return _catalogue()[1]


def model_of(name: str) -> Model | None:
    """The model of this name. At a pinned version its inputs may be others, so it is partial."""
    bare, _, version = name.partition(":")
    found = known().get(bare)
    return replace(found, name=name, partial=True) if found and version else found


def merged(file: Model | None, live: Model) -> Model:
    """A model with the inputs that it has today, and all else as the catalogue has it."""
    if not file:
        return live
    secret = {name for name, found in file.inputs.items() if found.secret}
    inputs = {n: replace(i, secret=i.secret or n in secret) for n, i in live.inputs.items()}
    return replace(file, inputs=inputs, partial=False)


def from_schema(name: str, schema: Any) -> Model:
    """The model that Replicate's `openapi_schema` describes; a ValueError if it is none."""
    schemas = _mapping(_mapping(_mapping(schema).get("components")).get("schemas"))
    form = _resolved(schemas.get("Input"), schemas, seen=set())
    properties = _mapping(form.get("properties"))
    if not properties:
        raise ValueError(f"the schema of {name} lists no inputs")
    required = _list(form.get("required"))
    inputs = {
        key: _input(_resolved(value, schemas, seen=set()), schemas, required=key in required)
        for key, value in sorted(properties.items(), key=_place)
    }
    return Model(name=name, inputs=inputs)


@functools.cache
def _catalogue() -> tuple[dict[str, Model], dict[str, Price]]:
    data = Path(__file__).with_name("models.json").read_bytes()
    file = msgspec.json.decode(data, type=_File)
    return {name: _built(name, file) for name in file.models}, file.hardware


def _built(name: str, file: _File) -> Model:
    entry = file.models[name]
    base = _built(entry.like, file) if entry.like else Model(name=name)
    inputs = {key: found for key, found in {**base.inputs, **entry.inputs}.items() if found}
    return Model(
        name=name,
        inputs={
            key: replace(found, help=found.help or file.help.get(key, ""))
            for key, found in inputs.items()
        },
        prices=entry.prices,
        pixels=entry.pixels or base.pixels,
        seconds=entry.seconds or base.seconds,
        mime=entry.mime or base.mime,
        image_decides_size=entry.image_decides_size or base.image_decides_size,
        notes=entry.notes,
        partial=entry.partial,
        gone=entry.gone,
    )


def _input(found: dict[str, Any], schemas: Mapping[str, Any], *, required: bool) -> Input:
    """An input from its schema; its description may tell what the rest of it leaves out."""
    text = _text(found.get("description"))
    choices = tuple(c for c in _list(found.get("enum")) if isinstance(c, str | bool | int | float))
    kind = _type(found.get("type"), choices)
    low, high = _number(found.get("minimum")), _number(found.get("maximum"))
    if low is not None and high is not None and low > high:
        low = high = None
    items = _resolved(found.get("items"), schemas, seen=set())
    many = kind == "array"
    numeric = kind in ("integer", "number")
    return Input(
        type=kind,
        format=_text((items if many else found).get("format")),
        choices=choices,
        default=found.get("default"),
        minimum=low,
        maximum=high,
        multiple=(_whole(found.get("multipleOf")) or _told(_MULTIPLE, text)) if numeric else 0,
        most=(_whole(found.get("maxItems")) or _told(_MOST, text)) if many else 0,
        required=required,
        secret=found.get("x-cog-secret") is True or found.get("format") == "password",
        deprecated=found.get("deprecated") is True,
        help=text,
    )


def _resolved(
    part: Any, schemas: Mapping[str, Any], *, seen: set[str], depth: int = 0
) -> dict[str, Any]:
    """A schema with all that it refers to. What stands nearer wins, but enums add up.

    Each reference is followed once, so that one that leads back to itself does no harm.
    """
    own = _mapping(part)
    merged: dict[str, Any] = {}
    enum: list[Any] = []
    for inner in _inner(own, schemas, seen) if depth < _DEEPEST else ():
        found = _resolved(inner, schemas, seen=seen, depth=depth + 1)
        if found.get("type") != "null":
            enum += _list(found.get("enum"))
            merged = {**found, **merged}
    return {**merged, **({"enum": enum} if enum else {}), **own}


def _inner(own: Mapping[str, Any], schemas: Mapping[str, Any], seen: set[str]) -> Iterator[Any]:
    reference = own.get("$ref")
    if isinstance(reference, str) and reference not in seen:
        seen.add(reference)
        yield schemas.get(reference.rpartition("/")[2])
    for key in ("allOf", "anyOf", "oneOf"):
        yield from _list(own.get(key))


def _type(told: Any, choices: tuple[Any, ...]) -> InputType:
    """The type; several at once are read as the first of them, "null" apart."""
    several = [kind for kind in (told if isinstance(told, list) else [told]) if kind != "null"]
    if several[:1] == [None] and choices and all(isinstance(choice, str) for choice in choices):
        return "string"
    return next((kind for kind in _TYPES if several[:1] == [kind]), "any")


def _place(item: tuple[str, Any]) -> float:
    place = _number(_mapping(item[1]).get("x-order"))
    return math.inf if place is None else place


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _whole(value: Any) -> int:
    number = _number(value)
    return int(number) if number is not None and number >= 1 else 0


def _told(pattern: re.Pattern[str], text: str) -> int:
    match = pattern.search(text)
    return int(match[1]) if match else 0


def _text(value: Any) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
