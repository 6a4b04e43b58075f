"""What is said below a picture: its prompt, and how it was made, from the sidecar."""

from __future__ import annotations

import os
from typing import Any, TypeGuard

LONGEST = 4_000_000
"""Bytes of a sidecar that are read; a larger file is none."""
BOLD, DIM, RESET = "\x1b[1m", "\x1b[2m", "\x1b[0m"
TENTH_MS, SECOND_MS = 100, 1000
MINUTE = 60
TEXT_LENGTH = 10_000
"""So much of a text is looked at: no terminal is as wide, even with marks on its letters."""
MARKS = 8
"""So many characters a column, on average."""


def caption(path: str, size: tuple[int, int], number: tuple[int, int]) -> list[str]:
    """Two lines: the prompt, or the file's name; and backend, seed, size, time and number.

    `number`: which of how many pictures it is.
    """
    name = os.path.basename(path)  # noqa: PTH119 - pathlib takes time to import
    facts = _read(f"{path}.json")
    prompt = _text(facts.get("prompt"))
    details = [_text(facts.get("backend"))]
    if _is_number(seed := facts.get("seed")):
        details.append(f"seed {seed}")
    details += [f"{size[0]}x{size[1]}" if all(size) else "", _duration(facts.get("latency_ms"))]
    details += [_moment(facts), printable(name) if prompt else ""]
    if number[1] > 1:
        details.insert(0, f"{number[0]}/{number[1]}")
    return [prompt or printable(name), " · ".join(filter(None, details))]


def printable(text: str) -> str:
    """The text in one line, with nothing that could steer a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def cut(text: str, columns: int) -> str:
    """As much of the text as fits into so many columns."""
    if text.isascii() and len(text) <= columns:
        return text
    taken, kept = 0, []
    # Marks take no columns: nobody has so many on his letters.
    text = text[: columns * MARKS]
    for character in text:
        taken += width(character)
        kept.append((taken, character))
    if taken <= columns:
        return text
    return "".join(character for end, character in kept if end < columns) + "…" * (columns > 0)


def width(text: str) -> int:
    """How many columns it takes."""
    if text.isascii():
        return len(text)
    import unicodedata

    wide = {"W": 2, "F": 2}
    return sum(
        0 if unicodedata.combining(c) else wide.get(unicodedata.east_asian_width(c), 1)
        for c in text
    )


def _read(file: str) -> dict[str, Any]:
    """The sidecar; empty if there is none, or something else is there."""
    import stat

    try:
        about = os.stat(file)  # noqa: PTH116 - pathlib takes time to import
        if not stat.S_ISREG(about.st_mode) or about.st_size > LONGEST:
            return {}
        import json

        with open(file, "rb") as opened:  # noqa: PTH123
            found = json.load(opened)
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(value: object) -> str:
    return printable(value[:TEXT_LENGTH]) if isinstance(value, str) else ""


def _duration(value: object) -> str:
    if not _is_number(value) or value <= 0:
        return ""
    tenths = _rounded(value, TENTH_MS)
    if tenths < MINUTE * 10:
        return f"{tenths / 10:.1f} s"
    minutes, seconds = divmod(_rounded(value, SECOND_MS), MINUTE)
    return f"{minutes} min {seconds} s"


def _is_number(value: object) -> TypeGuard[int]:
    """Whether it is a whole number; for Python `true` is one, too."""
    return isinstance(value, int) and not isinstance(value, bool)


def _rounded(value: int, unit: int) -> int:
    """In whole units; a float would not hold every number that a file may have."""
    return (value + unit // 2) // unit


def _moment(facts: dict[str, Any]) -> str:
    date, time = _text(facts.get("date")), _text(facts.get("time"))
    return f"{date} {time[:2]}:{time[2:4]}" if date and len(time) == len("143015") else date
