"""A picture, drawn in the way that was found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen_tmux.viewer import blocks

if TYPE_CHECKING:
    from imagen_tmux.viewer.detect import Found
    from imagen_tmux.viewer.painting import Canvas, Painting
    from imagen_tmux.viewer.picture import Picture


def draw(picture: Picture, canvas: Canvas, found: Found) -> Painting:
    """The painting of a picture that could be loaded."""
    assert picture.image is not None
    if found.protocol == "kitty":
        from imagen_tmux.viewer import kitty

        return kitty.paint(picture.image, picture.size, canvas, tmux=found.tmux)
    if found.protocol == "sixel":
        from imagen_tmux.viewer import sixel

        if (painting := sixel.paint(picture.image, picture.size, canvas)) is not None:
            return painting
    few = found.protocol == "blocks-256"
    return blocks.paint(picture.image, picture.size, canvas, few=few)


def largest(canvas: Canvas) -> tuple[int, int]:
    """How many pixels a picture may need in this room; before it is known how it is drawn."""
    return max(canvas.pixels[0], 1), max(canvas.pixels[1], 1)
