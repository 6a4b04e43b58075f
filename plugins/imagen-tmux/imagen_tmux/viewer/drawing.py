"""A picture, drawn in the way that was found."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from imagen_tmux.viewer import blocks
from imagen_tmux.viewer.painting import Painting

if TYPE_CHECKING:
    from PIL.Image import Image

    from imagen_tmux.viewer.detect import Found
    from imagen_tmux.viewer.painting import Canvas
    from imagen_tmux.viewer.picture import Picture


class Drawn(NamedTuple):
    """A painting, or why there is none."""

    painting: Painting = Painting(0, 0)
    problem: str = ""


def draw(picture: Picture, canvas: Canvas, found: Found) -> Drawn:
    """The painting of a picture, whatever went wrong with it."""
    if picture.image is None:
        return Drawn(problem=picture.problem)
    try:
        return Drawn(_painting(picture.image, picture.size, canvas, found))
    except (ValueError, MemoryError):
        return Drawn(problem="there is not enough memory to draw it")


def _painting(image: Image, size: tuple[int, int], canvas: Canvas, found: Found) -> Painting:
    if found.protocol == "kitty":
        from imagen_tmux.viewer import kitty

        return kitty.paint(image, size, canvas, tmux=found.tmux)
    if found.protocol == "sixel":
        from imagen_tmux.viewer import sixel

        if (painting := sixel.paint(image, size, canvas)) is not None:
            return painting
    return blocks.paint(image, size, canvas, few=found.protocol == "blocks-256")
