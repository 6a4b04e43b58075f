"""What a making costs, by the prices of the catalogue. What can't be known is None, never zero."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from imagen_replicate.model import MEGAPIXEL, Model, Price, Size

QUARTER = 92
"""After so many days a price is old."""

_UNITS = {
    "image": "an image",
    "run": "a run",
    "megapixel": "a megapixel",
    "input_megapixel": "an input megapixel",
    "second": "a second",
}


class Estimate(NamedTuple):
    """What something costs in USD, and which prices say so. `date`: that of the oldest of them."""

    usd: float
    basis: str
    date: str


def estimate(
    model: Model,
    inputs: Mapping[str, Any],
    *,
    pixels: Sequence[Size | None],
    input_pixels: Sequence[Size | None] = (),
    predict_time: float | None = None,
    images: int | None = None,
) -> Estimate | None:
    """The price of one prediction; None if anything that it depends on is unknown.

    `pixels`: of each picture that is made. `images`: how many Replicate itself counted.
    """
    units = [unit for unit in _UNITS if any(price.per == unit for price in model.prices)]
    if not input_pixels and "input_megapixel" in units:
        units.remove("input_megapixel")
    amounts: dict[str, Decimal | None] = {
        "image": _images(model, inputs, pixels, images),
        "run": Decimal(1),
        "megapixel": _output(model, inputs, pixels, images),
        "input_megapixel": _megapixels(input_pixels),
        "second": None if predict_time is None else Decimal(str(predict_time)),
    }
    total, used = Decimal(0), []
    for unit in units:
        price, amount = _applying(model, inputs, unit), amounts[unit]
        if price is None or amount is None:
            return None
        total += Decimal(str(price.usd)) * amount
        used.append(price)
    return Estimate(float(round(total, 6)), _basis(used), _oldest(used)) if used else None


def is_old(price_date: str, today: date) -> bool:
    """Whether a price is older than a quarter; a vague date counts from its first day."""
    return (today - _first_day(price_date)).days > QUARTER


def price_text(model: Model) -> str:
    """The price for a table; input pictures, which may cost more, are left out."""
    units = [unit for unit in _UNITS if unit != "input_megapixel"]
    return " + ".join(filter(None, (_span(model, unit) for unit in units))) or "unknown"


def _span(model: Model, unit: str) -> str:
    found = sorted({price.usd for price in model.prices if price.per == unit})
    ends = found if len(found) < 2 else (found[0], found[-1])
    return f"{' to '.join(map(_usd, ends))} {_UNITS[unit]}" if found else ""


def _applying(model: Model, inputs: Mapping[str, Any], unit: str) -> Price | None:
    """The price of this unit for these inputs."""
    for price in model.prices:
        conditions = price.when.items()
        if price.per == unit and all(_value(model, inputs, n) == value for n, value in conditions):
            return price
    return None


def _value(model: Model, inputs: Mapping[str, Any], name: str) -> Any:
    return inputs.get(name, model.default(name))


def _images(
    model: Model, inputs: Mapping[str, Any], pixels: Sequence[Size | None], images: int | None
) -> Decimal | None:
    """How many pictures are billed: those asked for, even where a filter keeps some back."""
    if images is None:
        images = _value(model, inputs, "num_outputs")
    count = len(pixels) or 1 if images is None else images
    return Decimal(count) if isinstance(count, int) and count > 0 else None


def _output(
    model: Model, inputs: Mapping[str, Any], pixels: Sequence[Size | None], images: int | None
) -> Decimal | None:
    """The megapixels of the pictures; those of one that never arrived are unknown."""
    if not pixels or (images or 0) > len(pixels):
        return None
    custom = _value(model, inputs, "aspect_ratio") == "custom"
    if _value(model, inputs, "resolution") == "0.5 MP" and not custom:
        return len(pixels) * Decimal("0.5")
    return _megapixels(pixels)


def _megapixels(pixels: Iterable[Size | None]) -> Decimal | None:
    """Megapixels, each picture's rounded up to whole ones."""
    total = 0
    for size in pixels:
        if size is None:
            return None
        total += -(-size[0] * size[1] // MEGAPIXEL)
    return Decimal(total)


def _basis(prices: Sequence[Price]) -> str:
    first, *others = prices
    more = "".join(f" + {_usd(price.usd)} {_UNITS[price.per]}" for price in others)
    sources = ", ".join(dict.fromkeys(price.source for price in prices))
    return f"{_usd(first.usd)} USD {_UNITS[first.per]}{more} ({sources}, {_oldest(prices)})"


def _usd(usd: float) -> str:
    return f"{Decimal(str(usd)):f}"


def _oldest(prices: Sequence[Price]) -> str:
    return min((price.date for price in prices), key=_first_day)


def _first_day(price_date: str) -> date:
    return date.fromisoformat(f"{price_date}-01-01"[:10])
