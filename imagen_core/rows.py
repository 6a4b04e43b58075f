"""Rows: a file of prompts, a line or an entry each, with whatever options a row sets itself."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from imagen_core.blocks import suggestion
from imagen_core.errors import ConfigError, UsageError
from imagen_core.types import Text
from imagen_core.yaml_file import MAX_DEPTH, read_list

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

STDIN = "-"
SUFFIXES = {
    ".txt": "text",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".yaml": "yaml",
    ".yml": "yaml",
}
FOREIGN = {
    *(".tsv", ".tab", ".xls", ".xlsx", ".xlsm", ".ods", ".numbers"),
    *(".parquet", ".feather", ".arrow", ".sqlite", ".db"),
    *(".toml", ".ini", ".xml", ".html", ".htm", ".docx", ".odt", ".rtf", ".pdf"),
}
"""Suffixes of what has rows or texts in it, and yet has no prompt a line."""

HINTS = {
    "text": "a text file has a prompt a line",
    "jsonl": "a JSON file has an object a line, or is an array of them",
    "csv": "a CSV has a header, and below it a row a line",
    "yaml": "a YAML file of rows is a list",
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
_TOO_DEEP = "nested too deeply"


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
    """A row as its format has it. `typed`: its values are text, whatever they stand for.

    `twice`: the keys that stand in it more than once.
    """

    line: int
    value: object = None
    typed: bool = False
    problem: str = ""
    twice: Sequence[str] = ()


def format_of(path: str) -> str:
    """The format that a file's suffix stands for; a UsageError if it stands for none of them."""
    suffix = PurePath(path).suffix
    if suffix.lower() in FOREIGN:
        raise UsageError(
            f"{path}: a {suffix} file is none that imagen reads rows from",
            hint="save it as .csv, .jsonl, .yaml or .txt; "
            "or say what it is with --format csv, jsonl, yaml or text",
        )
    return SUFFIXES.get(suffix.lower(), "text")


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
        raise UsageError(f"{source} has no rows", hint=HINTS[form])
    return Rows(source, form, tuple(rows), tuple(problems))


def _read_text(text: str, _: str) -> Iterator[_Raw]:
    for number, line in enumerate(text.split("\n"), 1):
        if (prompt := line.strip()) and not prompt.startswith("#"):
            yield _Raw(number, {"prompt": prompt})


def _read_jsonl(text: str, _: str) -> Iterator[_Raw | Problem]:
    if text.lstrip()[:1] != "[":
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                yield _json_row(line.encode(), number)
        return
    try:
        rows = msgspec.json.decode(text, type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError) as error:
        yield Problem(0, 0, "", _not_json(error))
        return
    for row in rows:
        yield _json_row(bytes(row), 0)


def _json_row(data: bytes, line: int) -> _Raw:
    try:
        value, twice = _decode_json(data)
    except ValueError as error:
        return _Raw(line, problem=str(error))
    return _Raw(line, value, twice=twice)


def _decode_json(data: bytes) -> tuple[Any, list[str]]:
    """The value of a JSON text, and the keys that stand twice in an object of it."""
    import json

    twice: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        if len(pairs) > len({key for key, _ in pairs}):
            counted = Counter(key for key, _ in pairs)
            twice.extend(key for key, number in counted.items() if number > 1)

    try:
        value = msgspec.json.decode(data)
        json.loads(data, object_pairs_hook=look, parse_int=str)
    except (msgspec.DecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(_not_json(error)) from error
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and _is_deep(value):
        raise ValueError(_TOO_DEEP)
    return value, twice


def _not_json(error: Exception) -> str:
    return _TOO_DEEP if isinstance(error, RecursionError) else f"not JSON: {error}"


def _is_deep(value: object) -> bool:
    """Whether more lists and objects stand inside each other than anybody needs."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(level)


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
    names = dict(zip(map(_meant, reversed(header)), reversed(header), strict=True))
    named = zip(header, cells, strict=False)
    # Of two columns for one thing the first is looked at; that there are two is told of the header.
    filled = {name: cell for name, cell in named if cell and names[_meant(name)] == name}
    if "prompt" not in header:
        filled["prompt"] = "?"  # that it is missing is told of the header, once
    return _Raw(line, {name: cell for name, cell in filled.items() if _known(name)}, typed=True)


def _check_header(header: Sequence[str], line: int) -> Iterator[Problem]:
    if header and "prompt" not in header:
        yield Problem(line, 0, "prompt", "is missing")
    meant = [_meant(name) for name in header]
    for place, name in enumerate(header):
        if meant[place] in meant[:place]:
            earlier = header[meant.index(meant[place])]
            told = "" if earlier == name else f"; it is the same as '{earlier}'"
            column = name or f"column {place + 1}"
            yield Problem(line, 0, column, f"stands twice in the header{told}")
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
    problems += [Problem(raw.line, number, key, "stands twice") for key in raw.twice]
    options: dict[str, Any] = {}
    for column, given in value.items():
        if given is None:
            continue
        try:
            _take(str(column), given, options, typed=raw.typed)
        except ValueError as error:
            problems.append(Problem(raw.line, number, str(column), str(error)))
    if "prompt" not in value or not str(options.get("prompt", "x")).strip():
        problems.append(Problem(raw.line, number, "prompt", "is missing"))
    return Row(number, raw.line, options, options.pop("output", ""))


def _take(column: str, given: object, options: dict[str, Any], *, typed: bool) -> None:
    """Put the value of one column among the options; a ValueError says what is wrong with it."""
    if not _known(column):
        raise ValueError(_unknown(column))
    if column not in COLUMNS:
        value = Text(given) if isinstance(given, str) and typed else given
        _take_params({column.partition(".")[2]: value}, options)
        return
    value = _value(COLUMNS[column], given, typed=typed)
    if column == "params":
        _take_params(value, options)
    elif column in ("image", "images"):
        if "images" in options:
            raise ValueError("'image' and 'images' are the same; give one of them")
        options["images"] = value
    else:
        options[column] = value


def _take_params(given: dict[str, Any], options: dict[str, Any]) -> None:
    params = options.setdefault("params", {})
    if twice := sorted({*given} & {*params}):
        raise ValueError(f"the parameter '{twice[0]}' is set by another column, too")
    params.update(given)


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
            value, twice = _decode_json(given.encode())
        except ValueError:
            return given
        if twice:
            raise ValueError(f"'{twice[0]}' stands twice in it")
        return value
    return given


def _meant(column: str) -> str:
    """The column, by one name for those that have two."""
    prefix, dot, name = column.partition(".")
    return f"{PARAM_PREFIXES[0]}.{name}" if dot and prefix in PARAM_PREFIXES else column


def _known(column: str) -> bool:
    prefix, _, name = column.partition(".")
    return column in COLUMNS or (prefix in PARAM_PREFIXES and bool(name))


def _unknown(column: str) -> str:
    hint = suggestion(column, COLUMNS, "there are")
    return f"unknown column; {hint}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
