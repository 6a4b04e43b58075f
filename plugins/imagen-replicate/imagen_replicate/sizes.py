"""A size in pixels, said in the words of a model: its own sides, a list of sizes, or a shape."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any, NamedTuple

from imagen_replicate.model import MEGAPIXEL, Input, Model, Size

SHAPES = ("aspect_ratio", "size", "resolution", "megapixels", "output_megapixels")
"""The inputs that decide on a size, beside width and height."""

QUARTER = 400_000
"""Up to so many pixels FLUX.1 is asked for a quarter of a megapixel."""

_MULTIPLE = 8
_LARGEST = 16_384
_COMMON = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3")
_MATCH = "match_input_image"
_UNSET = "Not set"


class Fit(NamedTuple):
    """What to send for a size, and the pixels that come of it; None where nobody knows.

    `note` tells where that is not what was asked; empty if it is, or if nobody asked.
    """

    inputs: dict[str, Any]
    width: int | None
    height: int | None
    note: str = ""


class _Way(NamedTuple):
    """One way to ask for a size. `shape`: how to call it where the pixels don't say it all."""

    inputs: dict[str, Any]
    pixels: Size | None
    shape: str = ""


def fit(
    model: Model,
    width: int,
    height: int,
    *,
    images: bool = False,
    asked: bool = True,
    fixed: Mapping[str, Any] = {},
) -> Fit:
    """The inputs by which the model comes nearest to this size.

    `images`: there are input images. `asked` False: nobody named a size. `fixed`: inputs that
    were set by hand; they stay, and the rest goes with them.
    """
    shown = f"{width}x{height}"
    way = _way(model, _by_hand(fixed, (width, height)), images=images, asked=asked, fixed=fixed)
    inputs = {name: value for name, value in way.inputs.items() if name not in fixed}
    note = _note(model, way, shown) if asked and way.pixels != (width, height) else ""
    made = way.pixels or (None, None)
    return Fit(inputs, made[0], made[1], note)


def _way(model: Model, size: Size, *, images: bool, asked: bool, fixed: Mapping[str, Any]) -> _Way:
    if images and model.image_decides_size:
        return _Way({}, None, _MATCH)
    matches = _MATCH in _choices(model, "aspect_ratio")
    if images and not asked and matches and "aspect_ratio" not in fixed:
        return _Way({"aspect_ratio": _MATCH}, None, _MATCH)
    for way in (_sides, _listed, _shaped):
        if found := way(model, size, fixed):
            return found
    return _Way({}, None)


# Width and height


def _sides(model: Model, size: Size, fixed: Mapping[str, Any]) -> _Way | None:
    """Width and height themselves: where the model has both, and nothing else decides."""
    width, height = (model.inputs.get(name) for name in ("width", "height"))
    if not (width and height) or any(fixed[n] != "custom" for n in SHAPES if n in fixed):
        return None
    custom = [name for name in SHAPES if "custom" in _choices(model, name)]
    if not custom and "aspect_ratio" in model.inputs:
        return None
    near = nearest_sides(size, width, height)
    pixels = _by_hand(fixed, near)
    sides = {"width": pixels[0], "height": pixels[1]}
    return _Way({**dict.fromkeys(custom[:1], "custom"), **sides}, pixels)


def nearest_sides(size: Size, width: Input, height: Input) -> Size:
    """The size that these two inputs take, with the shape of the one asked for if they can."""
    limits = [(side, *_limits(found)) for side, found in zip(size, (width, height), strict=True)]
    least = max(low / side for side, low, _ in limits)
    most = min(high / side for side, _, high in limits)
    factor = min(max(1.0, least), most)
    near = product(_near(size[0] * factor, width), _near(size[1] * factor, height))
    return min(near, key=lambda found: _distance(found, size))


def _limits(found: Input) -> Size:
    """The shortest and the longest side that the input takes."""
    if numbers := _numbers(found):
        return min(numbers), max(numbers)
    step = found.multiple or _MULTIPLE
    low = max(1, math.ceil(found.minimum or 1))
    high = _LARGEST if found.maximum is None else max(low, int(found.maximum))
    inside = math.ceil(low / step) * step, high // step * step
    return inside if inside[0] <= inside[1] else (low, high)


def _near(length: float, found: Input) -> list[int]:
    """The next shorter and the next longer side that the input takes, or the very one."""
    if numbers := _numbers(found):
        return sorted(numbers, key=lambda number: abs(number - length))[:2]
    (low, high), step = _limits(found), found.multiple or _MULTIPLE
    steps = round(length / step, 6)
    around = (math.floor(steps) * step, math.ceil(steps) * step)
    return [max(low, min(high, side)) for side in around]


def _numbers(found: Input) -> list[int]:
    return [int(n) for n in found.choices if isinstance(n, int | float) and n >= 1]


# A list of sizes


def _listed(model: Model, size: Size, fixed: Mapping[str, Any]) -> _Way | None:
    """One of the sizes that the model lists: in `size` the nearest, in `resolution` the same."""
    if fixed.get("aspect_ratio", _UNSET) != _UNSET:
        return None
    for name in ("size", "resolution"):
        if by_hand := _pixels(fixed.get(name)):
            return _Way({}, by_hand)
        sizes = {found: choice for choice in _choices(model, name) if (found := _pixels(choice))}
        if not sizes or name in fixed:
            continue
        if size in sizes or name == "size" or "aspect_ratio" not in model.inputs:
            near = min(sizes, key=lambda found: _distance(found, size))
            return _Way({name: sizes[near]}, near)
    return None


def _distance(found: Size, size: Size) -> tuple[float, float]:
    """How far two sizes are from each other: by their shape, then by their area."""
    ratio, area = found[0] * size[1] / (found[1] * size[0]), math.prod(found) / math.prod(size)
    return round(abs(math.log(ratio)), 6), abs(math.log(area))


# A shape, with or without a tier


def _shaped(model: Model, size: Size, fixed: Mapping[str, Any]) -> _Way | None:
    """A ratio, and about how many pixels, where the model has such inputs."""
    inputs: dict[str, Any] = {}
    if "aspect_ratio" in model.inputs and (ratio := _nearest_ratio(model, size)):
        inputs["aspect_ratio"] = ratio
    for name in SHAPES[1:]:
        if (tier := _nearest_tier(name, _choices(model, name), math.prod(size))) is not None:
            inputs[name] = tier
    told = {**inputs, **{name: fixed[name] for name in SHAPES if name in fixed}}
    if not told:
        return None
    ratio = str(told.get("aspect_ratio", ""))
    pixels = _table_pixels(model, ratio, told.get("megapixels", "1"))
    return _Way(inputs, pixels, ratio if pixels or ratio == _MATCH else _shape(told))


def _shape(told: Mapping[str, Any]) -> str:
    """How to call a ratio and a tier, for instance 16:9 at 2K."""
    tiers = {n: str(value) for n, value in told.items() if n != "aspect_ratio" and _area(n, value)}
    shown = (f"{tier} MP" if tier[-1].isdigit() else tier for tier in tiers.values())
    return " at ".join(filter(None, (str(told.get("aspect_ratio", "")), *shown)))


def _nearest_ratio(model: Model, size: Size) -> str:
    """The ratio of exactly this shape, else the one whose pixels, or whose name, come nearest."""
    labels = _choices(model, "aspect_ratio") or _COMMON
    ratios = {str(label): ratio for label in labels if (ratio := _ratio(label))}
    if same := next((n for n, (a, b) in ratios.items() if a * size[1] == b * size[0]), ""):
        return same
    shapes = {name: model.pixels.get(name, ratio) for name, ratio in ratios.items()}
    return min(shapes, key=lambda name: _distance(shapes[name], size)[0], default="")


def _nearest_tier(name: str, choices: Iterable[Any], area: int) -> Any:
    """The choice of about so many pixels; None where there are no such choices."""
    tiers = {choice: found for choice in choices if (found := _area(name, choice))}
    quarter = next((choice for choice in tiers if str(choice) == "0.25"), None)
    if name == "megapixels" and quarter is not None and len(tiers) > 1:
        if area <= QUARTER:
            return quarter
        del tiers[quarter]
    return min(tiers, key=lambda choice: abs(math.log(tiers[choice] / area)), default=None)


def _table_pixels(model: Model, ratio: str, megapixels: Any) -> Size | None:
    full = model.pixels.get(ratio)
    if full is None or str(megapixels) not in ("1", "0.25"):
        return None
    return full if str(megapixels) == "1" else (full[0] // 2, full[1] // 2)


# Reading the words


def _ratio(label: Any) -> Size | None:
    match = re.fullmatch(r"([1-9]\d{0,3}):([1-9]\d{0,3})", str(label))
    return (int(match[1]), int(match[2])) if match else None


def _pixels(choice: Any) -> Size | None:
    match = re.fullmatch(r"([1-9]\d{1,4})[x×*]([1-9]\d{1,4})", str(choice))
    return (int(match[1]), int(match[2])) if match else None


def _area(name: str, choice: Any) -> float:
    """The pixels of a tier such as 2K, "0.5 MP" or 1; 0 if it is none."""
    unit = "(?:MP)?" if name.endswith("megapixels") else "(?:MP|K)"
    match = re.fullmatch(rf"(\d{{1,4}}(?:\.\d{{1,4}})?) ?({unit})", str(choice), re.IGNORECASE)
    if not match:
        return 0.0
    number = float(match[1])
    return (number**2 if match[2].upper() == "K" else number) * MEGAPIXEL


def _choices(model: Model, name: str) -> tuple[Any, ...]:
    return model.inputs[name].choices if name in model.inputs else ()


def _by_hand(fixed: Mapping[str, Any], size: Size) -> Size:
    """The size, but for sides that were set by hand."""
    width, height = fixed.get("width"), fixed.get("height")
    return (
        width if isinstance(width, int) and width > 0 else size[0],
        height if isinstance(height, int) and height > 0 else size[1],
    )


def _note(model: Model, way: _Way, shown: str) -> str:
    name = model.short_name
    if way.pixels:
        shape = f" ({way.shape})" if way.shape else ""
        return f"{name} makes {way.pixels[0]}x{way.pixels[1]}{shape} of {shown}"
    if way.shape == _MATCH:
        return f"{name} makes a picture of the input image's shape, not {shown}"
    if way.shape:
        return f"{name} makes {way.shape}, whose pixels it decides itself, of {shown}"
    return f"{name} takes no size: it decides itself what to make of {shown}"
