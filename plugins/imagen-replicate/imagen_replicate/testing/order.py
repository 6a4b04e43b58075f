"""What a prediction was asked for, and what it says while it works on that."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagen_replicate.testing.models import defaults, is_listed
from imagen_replicate.testing.pictures import pixels_of

if TYPE_CHECKING:
    from imagen_replicate.testing.problems import JSON
    from imagen_replicate.testing.script import Fate

_PLAIN = ("seed", "output_format", "output_quality")
"""Inputs that are not part of the look, or that are so in another way."""


@dataclass(frozen=True)
class Order:
    """An input with the defaults of its model, and the fate that a test has in mind for it."""

    look: str
    seed: int | None
    count: int
    steps: int
    size: tuple[int, int]
    kind: str
    quality: int
    fast: bool
    listed: bool
    seconds: float
    fate: Fate

    @property
    def kept(self) -> list[int]:
        """The numbers of the pictures that are not withheld."""
        order = [*range(self.count - 2, -1, -1), self.count - 1]
        return sorted(order[self.fate.withheld :])

    def look_of(self, index: int) -> str:
        """Gives what one picture depends on."""
        return f"{self.look} {self.seed} {index}"

    def progress(self, fraction: float) -> str:
        """Gives the logs of a prediction that has come so far."""
        if not self.listed:
            return ""
        done = int(min(fraction, 1.0) * self.steps)
        return "\n".join([*self._seed_line(), *self._bar(done)])

    def last_words(self, seconds: float) -> str:
        """Gives the logs of a prediction that has ended after so many seconds."""
        if self.fate.error:
            return self.fate.logs
        if self.fate.withheld:
            return "\n".join([*self._seed_line(), *self._filtered()])
        if not self.listed:
            return "\n".join([*self._seed_line(), *_VENDOR]).format(seconds=seconds)
        head = ["running quantized prediction", "generating"] if self.fast else ["generating"]
        rate = f"{self.steps / max(seconds, 0.001):.2f}it/s"
        bar = [f"{line} [00:{seconds:02.0f}<00:00, {rate}]" for line in self._bar(self.steps)]
        return "\n".join([*head, *self._seed_line(), *bar, self._total(self.count)])

    def _seed_line(self) -> list[str]:
        return [] if self.seed is None else [f"Using seed: {self.seed}"]

    def _bar(self, done: int) -> list[str]:
        if not self.steps:
            return []
        share = done / self.steps
        return [f"{100 * share:3.0f}%|{'#' * int(10 * share):10}| {done}/{self.steps}"]

    def _filtered(self) -> list[str]:
        lost = [index for index in range(self.count) if index not in self.kept]
        lines = [f"NSFW content detected in image {index}" for index in lost]
        return [*lines, self._total(len(self.kept))] if self.kept else lines

    def _total(self, safe: int) -> str:
        return f"Total safe images: {safe} out of {self.count}"


_VENDOR = (
    "Running prediction... ",
    "Generating image...",
    "Generated image in {seconds:.1f}sec",
    "Downloaded image in 0.01sec",
)


def read_order(model: JSON, given: JSON, *, run_seconds: float, fate: Fate) -> Order:
    """Reads what an input asks of a model."""
    values = {**defaults(model), **given}
    look = {key: value for key, value in values.items() if key not in _PLAIN}
    kind = values.get("output_format", "png")
    return Order(
        look=json.dumps(look, sort_keys=True),
        seed=_seed(values) if "seed" in model["schema"] else None,
        count=values.get("num_outputs", 1),
        steps=values.get("num_inference_steps", values.get("steps", 0)),
        size=pixels_of(values),
        kind="jpg" if kind == "jpeg" else kind,
        quality=values.get("output_quality", 80),
        fast=values.get("go_fast", False),
        listed=is_listed(model),
        seconds=model.get("seconds") or run_seconds,
        fate=fate,
    )


def _seed(values: JSON) -> int:
    seed: int | None = values.get("seed")
    if seed is None or (seed == 0 and values.get("go_fast") is False):
        return random.SystemRandom().randrange(2**32)
    return seed
