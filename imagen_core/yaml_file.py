"""A YAML file as plain data that remembers its lines, so that every problem can name one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from imagen_core.errors import ConfigError, ConfigErrors

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

KeyPath = tuple[str | int, ...]

_STANDARD = "tag:yaml.org,2002:"
_MERGE = f"{_STANDARD}merge"
_BOOLEAN = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_INTEGER = re.compile(r"[-+]?(0|[1-9]\d{0,39})")
_FLOAT = re.compile(r"[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?")
_NOTHING = ("", "~", "null", "Null", "NULL")
_TAGS = {
    f"{_STANDARD}{name}"
    for name in ("null", "bool", "int", "float", "str", "timestamp", "merge", "value", "seq", "map")
}
MAX_DEPTH = 100
MAX_VALUES = 100_000
_LONG = 20_000


class Document(Struct, frozen=True, kw_only=True):
    """What a file says, and on which line it says it."""

    file: str = ""
    data: dict[str, Any] = {}
    lines: dict[KeyPath, int] = {}
    problems: tuple[ConfigError, ...] = ()

    def line(self, path: KeyPath) -> int:
        """The line of this key, or of the nearest one above it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)

    def problem(self, path: KeyPath, message: str, *, hint: str = "") -> ConfigError:
        """An error that says where in this file it is."""
        return ConfigError(
            message, hint=hint, key=dotted(path), file=self.file, line=self.line(path)
        )


def dotted(path: KeyPath) -> str:
    """The path as people write it: `backends.flux.steps`, `tags[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")


def read_document(path: Path) -> Document:
    """Parse the file; everything that is wrong with it as YAML is raised at once."""
    return _sound(examine(path))


def examine(path: Path) -> Document:
    """What the file has, with everything that is wrong with it as its `problems`."""
    try:
        return _examined(_read(path), str(path))
    except ConfigError as error:
        return Document(file=str(path), problems=(error,))


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot read it: {error.strerror}", file=str(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"it is not UTF-8 (byte {error.start})", file=str(path)) from error


def parse(text: str, file: str) -> Document:
    """The data of a YAML text whose top level is a mapping; an empty text is an empty one."""
    return _sound(_examined(text, file))


def read_list(text: str, file: str) -> tuple[list[Any], Document]:
    """The items of a YAML text whose top level is a list, with their lines and their problems."""
    root = _compose(text, file)
    reader = _Reader(file)
    data = reader.value(root, ()) if root else []
    if data is not None and not isinstance(data, list):
        raise ConfigError("expected a list", file=file, line=reader.lines[()])
    return data or [], Document(file=file, lines=reader.lines, problems=tuple(reader.problems))


def _sound(document: Document) -> Document:
    if document.problems:
        raise ConfigErrors.of(document.problems)
    return document


def _examined(text: str, file: str) -> Document:
    root = _compose(text, file)
    reader = _Reader(file)
    data = reader.value(root, ()) if root else {}
    if data is not None and not isinstance(data, dict):
        line = reader.lines[()]
        reader.problems.append(ConfigError("expected keys and values", file=file, line=line))
        data = {}
    return Document(file=file, data=data or {}, lines=reader.lines, problems=tuple(reader.problems))


def _compose(text: str, file: str) -> Any:
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        if len(text) > _LONG:
            # The composer of libyaml recurses, and would take the whole process with it.
            _check_depth(yaml.parse(text, Loader=loader), file)
        return yaml.compose(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        told = error.problem or error.context or ""
        told = f"{error.context} {told}" if told.startswith("but ") else told
        raise ConfigError(
            f"not YAML: {told}" + (f" (column {mark.column + 1})" if mark else ""),
            file=file,
            line=mark.line + 1 if mark else 0,
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {' '.join(str(error).split())}", file=file) from error


def _check_depth(events: Iterable[Any], file: str) -> None:
    depth = 0
    for event in events:
        name = type(event).__name__
        depth += name.endswith("StartEvent") - name.endswith("EndEvent")
        if depth > MAX_DEPTH:
            raise ConfigError("nested too deeply", file=file, line=event.start_mark.line + 1)


class _Reader:
    """Turns YAML nodes into values; collects the lines, and what is wrong."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[KeyPath, int] = {}
        self.problems: list[ConfigError] = []
        self._open: list[int] = []
        self._left = MAX_VALUES

    def value(self, node: Any, path: KeyPath) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        self._left -= 1
        if self._left < 0:
            return self._problem(node, path, "too many values") if self._left == -1 else None
        if id(node) in self._open:
            return self._problem(node, path, "an alias may not contain itself")
        if len(self._open) > MAX_DEPTH:
            return self._problem(node, path[:1], "nested too deeply")
        if node.tag not in _TAGS:
            return self._problem(node, path, f"tags such as {node.tag} mean nothing here")
        if node.id == "scalar":
            return _scalar(node)
        self._open.append(id(node))
        try:
            if node.id == "sequence":
                return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
            return self._mapping(node, path)
        finally:
            self._open.pop()

    def _mapping(self, node: Any, path: KeyPath) -> dict[str, Any]:
        found = self._merged(node, path)
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == _MERGE:
                continue
            key = key_node.value if key_node.id == "scalar" else None
            if key is None or not isinstance(_scalar(key_node), str):
                shown = key_node.value if key is not None else "?"
                self._problem(key_node, path, f'expected text as key; quote it: "{shown}"')
                continue
            if key in seen:
                self._problem(
                    key_node, (*path, key), f"stands twice: on line {seen[key]} and line {line}"
                )
            seen[key] = line
            self.lines[(*path, key)] = line
            before = len(self.problems)
            value = self.value(value_node, (*path, key))
            # What is no value is told already; left out, it is told once.
            if value is not None or len(self.problems) == before:
                found[key] = value
        return found

    def _merged(self, node: Any, path: KeyPath) -> dict[str, Any]:
        """What the merge keys of a mapping bring, before its own keys: the first one wins."""
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag != _MERGE:
                continue
            bases = value_node.value if value_node.id == "sequence" else [value_node]
            for base in reversed(bases):
                if base.id != "mapping":
                    self._problem(base, path, "a merge key takes keys and values")
                    continue
                value = self.value(base, path)
                merged = {**merged, **value} if isinstance(value, dict) else merged
        return merged

    def _problem(self, node: Any, path: KeyPath, message: str) -> None:
        line = node.start_mark.line + 1
        self.problems.append(ConfigError(message, key=dotted(path), file=self.file, line=line))


def _scalar(node: Any) -> Any:
    """A plain scalar as YAML 1.2 reads it, with YAML 1.1's words for true and false."""
    text: str = node.value
    # YAML 1.1 takes 1e-5 for text; any other text that is no text here is tagged !!str.
    if node.style or (node.tag == f"{_STANDARD}str" and not _FLOAT.fullmatch(text)):
        return text
    if text in _NOTHING:
        return None
    if text.lower() in _BOOLEAN:
        return _BOOLEAN[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
