"""A ComfyUI graph in API format: read, checked for its shape, and its placeholders filled in.

A placeholder is a whole value such as "${seed}", and what replaces it keeps its type. Inside a
longer string it is left alone.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from imagen_core import ConfigError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

Node = dict[str, Any]
Graph = dict[str, Node]

EXPORT_HINT = "in ComfyUI, export it with Workflow > Export (API)"
_PLACEHOLDER = re.compile(r"\$\{([A-Za-z_]\w*)\}")


class Place(NamedTuple):
    """An input of a node."""

    node: str
    input: str

    def __str__(self) -> str:
        return f"{self.node}.{self.input}"


def read_graph(file: Path) -> Graph:
    """The graph in this file; a ConfigError says what it is instead, and on which line."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot read it: {error.strerror}", file=str(file)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"it is not UTF-8 (byte {error.start})", file=str(file)) from error
    return parse_graph(text, str(file))


def parse_graph(text: str, file: str) -> Graph:
    """The graph in this text; `file` is where it is from, for messages."""
    try:
        data = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise ConfigError(f"not JSON: {error.msg}", file=file, line=error.lineno) from error
    except _TwiceError as error:
        raise ConfigError(f"the key '{error}' stands twice", file=file) from error
    except (RecursionError, ValueError) as error:
        raise ConfigError("nested too deeply, or with a number of no end", file=file) from error
    if problem := shape_problem(data):
        raise ConfigError(problem, file=file, hint=EXPORT_HINT)
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ConfigError("it has a text that is not valid Unicode", file=file) from error
    graph: Graph = data
    return graph


class _TwiceError(ValueError):
    """A key that stands twice in one object, of which one value would be lost."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(next(name for name in names if names.count(name) > 1))
    return found


def shape_problem(data: object) -> str:
    """Why this is no graph in API format, or an empty string."""
    if not isinstance(data, dict):
        return "expected a graph: an object with a node under each id"
    if isinstance(data.get("nodes"), list):
        return "this is ComfyUI's format for its editor, not the API format that a server takes"
    if not data:
        return "the graph has no nodes"
    for name, node in data.items():
        if not isinstance(node, dict) or not isinstance(node.get("class_type"), str):
            return f"the node '{name}' has no class_type, so this is no graph in API format"
        given = node.get("inputs", {})
        if not isinstance(given, dict):
            return f"the inputs of the node '{name}' are no object"
        for key, value in given.items():
            if isinstance(value, float) and not math.isfinite(value):
                return f"the input {name}.{key} is {value}, which no server takes"
    return ""


def title(graph: Graph, node: str) -> str:
    """What a node is called: by its title if it has one, else by its class."""
    meta = graph[node].get("_meta")
    named = meta.get("title") if isinstance(meta, dict) else None
    return str(named or graph[node]["class_type"])


def inputs(graph: Graph) -> Iterator[tuple[Place, Any]]:
    """Every input of every node, with what it is given."""
    for name, node in graph.items():
        for key, value in node.get("inputs", {}).items():
            yield Place(name, key), value


def link(value: object) -> tuple[str, int] | None:
    """The node and the slot that an input is linked to; None if it is a value of its own."""
    if isinstance(value, list) and len(value) == 2:
        node, slot = value
        if isinstance(node, str) and isinstance(slot, int) and not isinstance(slot, bool):
            return node, slot
    return None


def placeholder_of(value: object) -> str:
    """The name of the placeholder that a value is; empty if it is none."""
    match = _PLACEHOLDER.fullmatch(value) if isinstance(value, str) else None
    return match[1] if match else ""


def placeholders(graph: Graph) -> dict[str, list[Place]]:
    """Each placeholder of the graph, with the inputs that it stands in."""
    found: dict[str, list[Place]] = {}
    for place, value in inputs(graph):
        for name in _named(value):
            found.setdefault(name, []).append(place)
    return found


def image_number(name: str) -> int | None:
    """Which input image a placeholder stands for: image is 1, image2 is 2; None if it is none."""
    if name == "image":
        return 1
    rest = name.removeprefix("image")
    return int(rest) if rest != name and rest.isdecimal() and len(rest) < 4 else None


def fill(graph: Graph, values: Mapping[str, Any], *, name: str) -> Graph:
    """The graph with every placeholder replaced, and every `node.input` of `values` set.

    All placeholders without a value are told at once; `name` is the workflow's.
    """
    missing = [
        f"${{{key}}} (node {place.node} '{title(graph, place.node)}', input {place.input})"
        for key, places in placeholders(graph).items()
        for place in places
        if key not in values and str(place) not in values
    ]
    if missing:
        told = ", ".join(missing)
        raise UsageError(
            f"the workflow '{name}' has placeholders without a value: {told}",
            hint="set each with -p NAME=VALUE, or in the instance's block",
        )
    return {
        key: {**node, "inputs": _filled(key, node.get("inputs", {}), values)}
        for key, node in graph.items()
    }


def _filled(node: str, given: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for key, value in given.items():
        override = str(Place(node, key))
        found[key] = values[override] if override in values else _replaced(value, values)
    return found


def _replaced(value: Any, values: Mapping[str, Any]) -> Any:
    """The value with each placeholder in it replaced, however deep it lies."""
    if name := placeholder_of(value):
        return values[name]
    if isinstance(value, list):
        return [_replaced(item, values) for item in value]
    if isinstance(value, dict):
        return {key: _replaced(item, values) for key, item in value.items()}
    return value


def _named(value: Any) -> Iterator[str]:
    if name := placeholder_of(value):
        yield name
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _named(item)
