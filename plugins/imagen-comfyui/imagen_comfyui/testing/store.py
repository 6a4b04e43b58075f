"""The picture files of the server, which are kept in memory."""

from __future__ import annotations

import posixpath
import re
from datetime import datetime
from typing import NamedTuple

_ANNOTATED = re.compile(r"(.*?) ?\[(input|output|temp)\]$", re.DOTALL)


class Place(NamedTuple):
    """Where a picture is, as history names it; `type` is input, output or temp."""

    filename: str
    subfolder: str
    type: str

    @property
    def path(self) -> str:
        """The key of the picture in its folder of the store."""
        return posixpath.join(self.subfolder, self.filename)


class OutsideError(Exception):
    """A path that leaves its folder."""


class Store:
    """The folders input, output and temp, each a dict from a path such as `a/b_00001_.png`."""

    def __init__(self) -> None:
        self.input: dict[str, bytes] = {}
        self.output: dict[str, bytes] = {}
        self.temp: dict[str, bytes] = {}

    def folder(self, kind: str) -> dict[str, bytes] | None:
        """Gives the folder of that name, None if there is none."""
        return {"input": self.input, "output": self.output, "temp": self.temp}.get(kind)

    def find(self, name: str) -> bytes | None:
        """Reads a picture as LoadImage names it, which may be `sub/name.png [temp]`."""
        path, kind = split_annotated(name)
        return (self.folder(kind or "input") or {}).get(path)

    def next_places(
        self, prefix: str, *, count: int, size: tuple[int, int], kind: str
    ) -> list[Place]:
        """Names the next pictures of a prefix: the counter goes on from the files that exist.

        Raises OutsideError for a prefix that leaves the folder.
        """
        subfolder, stem = posixpath.split(inside(_fill(prefix, size)))
        folder = self.folder(kind)
        taken = re.compile(re.escape(posixpath.join(subfolder, stem)) + r"_(\d+)_?\.\w+$")
        numbers = [int(match[1]) for path in folder or () if (match := taken.match(path))]
        first = max(numbers, default=0) + 1
        return [
            Place(
                f"{stem}_{first + index:05}_.png".replace("%batch_num%", str(index)),
                subfolder,
                kind,
            )
            for index in range(count)
        ]

    def put(self, place: Place, data: bytes) -> None:
        """Writes a picture."""
        folder = self.folder(place.type)
        if folder is not None:
            folder[place.path] = data


def inside(path: str) -> str:
    """Tidies a path below a folder; raises OutsideError if it is not below."""
    tidy = posixpath.normpath(path) if path else ""
    if tidy.startswith(("/", "..")):
        raise OutsideError(path)
    return "" if tidy == "." else tidy


def split_annotated(name: str) -> tuple[str, str]:
    """Splits `name.png [temp]` into the name and the folder, which is empty if not given."""
    match = _ANNOTATED.match(name)
    return (match[1], match[2]) if match else (name, "")


def _fill(prefix: str, size: tuple[int, int]) -> str:
    if "%" not in prefix:
        return prefix
    now = datetime.now()
    words = {"width": size[0], "height": size[1], "year": now.year}
    for word in ("month", "day", "hour", "minute", "second"):
        words[word] = f"{getattr(now, word):02}"  # type: ignore[assignment]
    for word, value in words.items():
        prefix = prefix.replace(f"%{word}%", str(value))
    return prefix
