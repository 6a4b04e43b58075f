"""Rows: a file of prompts, a line or an entry each, with whatever options a row sets itself."""

from __future__ import annotations

import csv
import re
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from imagen_core.blocks import suggestion
from imagen_core.errors import ConfigError, UsageError
from imagen_core.types import Text
from imagen_core.yaml_file import read_list

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SUFFIXES = {
    ".txt": "text",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".yaml": "yaml",
    ".yml": "yaml",
}
COLUMNS: dict[str, type] = {
    "prompt": str,
    "negative": str,
    "style": str,
    "backend": str,
    "size": str,
    "seed": int,
    "steps": int,
    "count": int,
    "image": list,
    "images": list,
    "params": dict,
    "output": str,
}
PARAM_PREFIXES = ("p", "param")
WORDS = {str: "text", int: "a whole number", list: "a path or a list of paths", dict: "an object"}
"""What people are told that a column takes."""

_INTEGER = re.compile(r"[-+]?\d{1,40}")
_SHOWN = 40


class Row(NamedTuple):
    """What one row sets, by the names of Options, and where its picture is to go."""

    number: int
    line: int
    options: dict[str, Any]
    output: str = ""


class Problem(NamedTuple):
    """What is wrong with a row, or with one column of it. Row and line 0: it is in none."""

    line: int
    row: int
    column: str
    message: str

    def told(self, source: str) -> str:
        """The problem with its place, in one line."""
        place = f"{source}:{self.line}" if self.line else source
        where = ", ".join(filter(None, (f"row {self.row}" if self.row else "", self.column)))
        return ": ".join(filter(None, (place, where, self.message)))


class Rows(NamedTuple):
    """The rows of a source, and everything that is wrong with them as such."""

    source: str
    form: str
    rows: tuple[Row, ...]
    problems: tuple[Problem, ...]


class RowsError(UsageError):
    """Everything that is wrong with the rows of a source, told together."""

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        ordered = sorted(problems, key=lambda problem: (problem.line, problem.row))
        super().__init__("\n".join(problem.told(source) for problem in ordered))
        self.problems = tuple(ordered)


class _Raw(NamedTuple):
    """A row as its format has it. `typed`: its values are text, whatever they stand for."""

    line: int
    value: object = None
    typed: bool = False
    problem: str = ""


def format_of(path: str) -> str:
    """The format that a file's suffix stands for."""
    return SUFFIXES.get(PurePath(path).suffix.lower(), "text")


def parse_rows(data: bytes, form: str, source: str) -> Rows:
    """The rows in these bytes; raises only where there are none to speak of."""
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"{source} is not UTF-8 (byte {error.start})") from error
    rows: list[Row] = []
    problems: list[Problem] = []
    number = 0
    for found in _READERS[form](text, source):
        if isinstance(found, Problem):
            problems.append(found)
            continue
        number += 1
        rows.append(_row(found, number, problems))
    if not (number or problems):
        raise UsageError(f"{source} has no rows", hint="a text file has a prompt a line")
    return Rows(source, form, tuple(rows), tuple(problems))


def _read_text(text: str, _: str) -> Iterator[_Raw]:
    for number, line in enumerate(text.split("\n"), 1):
        if (prompt := line.strip()) and not prompt.startswith("#"):
            yield _Raw(number, {"prompt": prompt})


def _read_jsonl(text: str, _: str) -> Iterator[_Raw | Problem]:
    if text.lstrip()[:1] == "[":
        try:
            for value in msgspec.json.decode(text, type=list[Any]):
                yield _Raw(0, value)
        except msgspec.DecodeError as error:
            yield Problem(0, 0, "", f"not JSON: {error}")
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield _Raw(number, msgspec.json.decode(line))
            except msgspec.DecodeError as error:
                yield _Raw(number, problem=f"not JSON: {error}")


def _read_yaml(text: str, source: str) -> Iterator[_Raw | Problem]:
    try:
        values, document = read_list(text, source)
    except ConfigError as error:
        yield Problem(error.line, 0, "", error.message)
        return
    for problem in document.problems:
        place = re.fullmatch(r"\[(\d+)\]\.?(.*)", problem.key)
        row, column = (int(place[1]) + 1, place[2]) if place else (0, problem.key)
        yield Problem(problem.line, row, column, problem.message)
    for index, value in enumerate(values):
        yield _Raw(document.line((index,)), value)


def _read_csv(text: str, _: str) -> Iterator[_Raw | Problem]:
    reader = csv.reader((f"{line}\n" for line in text.split("\n")), strict=True)
    try:
        header = [name.strip() for name in next(filter(None, reader), [])]
        yield from _check_header(header, reader.line_num)
        line = reader.line_num + 1
        for cells in reader:
            if any(cells):
                yield _csv_row(header, cells, line)
            line = reader.line_num + 1
    except csv.Error as error:
        yield Problem(reader.line_num, 0, "", f"not CSV: {error}")


def _csv_row(header: Sequence[str], cells: Sequence[str], line: int) -> _Raw:
    if any(cells[len(header) :]):
        told = f"has {len(cells)} cells, where the header has {len(header)}"
        return _Raw(line, problem=told)
    filled = {name: cell for name, cell in zip(header, cells, strict=False) if cell}
    if "prompt" not in header:
        filled["prompt"] = "?"  # that it is missing is told of the header, once
    return _Raw(line, {name: cell for name, cell in filled.items() if _known(name)}, typed=True)


def _check_header(header: Sequence[str], line: int) -> Iterator[Problem]:
    if header and "prompt" not in header:
        yield Problem(line, 0, "prompt", "is missing")
    for place, name in enumerate(header):
        if name in header[:place]:
            yield Problem(line, 0, name or f"column {place + 1}", "stands twice in the header")
        elif not _known(name):
            told = _unknown(name)
            if len(header) == 1 and (mark := next((m for m in ";\t" if m in name), "")):
                told = f"the columns of a CSV are separated by commas, not by {mark!r}"
            yield Problem(line, 0, name or f"column {place + 1}", told)


_READERS = {"text": _read_text, "jsonl": _read_jsonl, "yaml": _read_yaml, "csv": _read_csv}
FORMATS = tuple(_READERS)


def _row(raw: _Raw, number: int, problems: list[Problem]) -> Row:
    """The row of what a format has; what is wrong with it goes to `problems`."""
    value = {"prompt": raw.value} if isinstance(raw.value, str) else raw.value
    if not isinstance(value, dict):
        told = raw.problem or f"expected an object or a text, got {_shown(value)}"
        problems.append(Problem(raw.line, number, "", told))
        return Row(number, raw.line, {})
    options: dict[str, Any] = {}
    for column, given in value.items():
        if given is None:
            continue
        try:
            _take(str(column), given, options, typed=raw.typed)
        except ValueError as error:
            problems.append(Problem(raw.line, number, str(column), str(error)))
    if value.get("prompt") is None or not str(options.get("prompt", "x")).strip():
        problems.append(Problem(raw.line, number, "prompt", "is missing"))
    return Row(number, raw.line, options, options.pop("output", ""))


def _take(column: str, given: object, options: dict[str, Any], *, typed: bool) -> None:
    """Put the value of one column among the options; a ValueError says what is wrong with it."""
    if not _known(column):
        raise ValueError(_unknown(column))
    if column not in COLUMNS:
        name = column.partition(".")[2]
        value = Text(given) if isinstance(given, str) and typed else given
        options["params"] = {**options.get("params", {}), name: value}
        return
    value = _value(COLUMNS[column], given, typed=typed)
    if column == "params":
        options["params"] = {**value, **options.get("params", {})}
    elif column in ("image", "images"):
        if "images" in options:
            raise ValueError("'image' and 'images' are the same; give one of them")
        options["images"] = value
    else:
        options[column] = value


def _value(kind: type, given: object, *, typed: bool) -> Any:
    value = _read_typed(kind, given) if typed and isinstance(given, str) else given
    if kind is list:
        paths = [value] if isinstance(value, str) else value
        if isinstance(paths, list) and all(isinstance(path, str) for path in paths):
            return tuple(paths)
    elif isinstance(value, kind) and not isinstance(value, bool):
        return value
    quote = "; put it in quotes" if kind is str and isinstance(given, (bool, int, float)) else ""
    raise ValueError(f"expected {WORDS[kind]}, got {_shown(given)}{quote}")


def _read_typed(kind: type, given: str) -> Any:
    """A cell as what its column takes, if it can be read so."""
    if kind is int and _INTEGER.fullmatch(given.strip()):
        return int(given)
    if kind is dict or (kind is list and given.lstrip().startswith("[")):
        try:
            return msgspec.json.decode(given)
        except msgspec.DecodeError:
            return given
    return given


def _known(column: str) -> bool:
    prefix, _, name = column.partition(".")
    return column in COLUMNS or (prefix in PARAM_PREFIXES and bool(name))


def _unknown(column: str) -> str:
    hint = suggestion(column, COLUMNS, "there are")
    return f"unknown column; {hint}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
