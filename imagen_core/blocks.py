"""A block of the configuration as its owner's struct: field by field, every problem placed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Struct

from imagen_core.errors import ConfigError, ConfigErrors, PluginError, told
from imagen_core.files import expand_home
from imagen_core.yaml_file import Document, KeyPath, dotted, read_document

T = TypeVar("T", bound=Struct)

_WORDS = {
    " | null": "",  # a key without a value is left out, so nobody need know that it may be one
    "object": "keys and values",
    "array": "a list",
    "null": "nothing",
    "`": "",
}


def convert(
    document: Document, path: KeyPath, struct: type[T], *, leave: Iterable[str] = ()
) -> tuple[T | None, list[ConfigError]]:
    """A block as a struct, or None and every problem of it. A key without a value is left out."""
    raw: Any = document.data
    for part in path:
        raw = raw.get(part) if isinstance(raw, dict) else None
    problems: list[ConfigError] = []
    value = _block({} if raw is None else raw, struct, document, path, problems, leave)
    return (None, problems) if problems else (value, [])


def read_yaml(file: Path, struct: type[T]) -> T:
    """A YAML file as a struct; raises all that is wrong with it, by file, line and key."""
    value, problems = convert(read_document(file), (), struct)
    if value is None:
        raise ConfigErrors.of(problems)
    return value


def _block(
    raw: Any,
    struct: type[T],
    document: Document,
    path: KeyPath,
    problems: list[ConfigError],
    leave: Iterable[str] = (),
) -> T | None:
    """The struct of these keys; what is wrong with them goes to `problems`."""
    if not isinstance(raw, dict):
        problems.append(document.problem(path, f"expected keys and values, got {raw!r}"))
        return None
    before = len(problems)
    fields = {field.encode_name: field for field in fields_of(struct, path)}
    values: dict[str, Any] = {}
    for key, value in raw.items():
        if key in leave:
            continue
        if key not in fields:
            problems.append(unknown_key(document, (*path, key), [*fields, *leave]))
        elif value is not None:
            field = fields[key]
            values[field.name] = _value(value, field.type, document, (*path, key), problems)
    for name, field in fields.items():
        if field.required and raw.get(name) is None:
            problems.append(document.problem((*path, name), "is missing"))
    return None if len(problems) > before else _made(struct, values, document, path, problems)


def _made(
    struct: type[T],
    values: dict[str, Any],
    document: Document,
    path: KeyPath,
    problems: list[ConfigError],
) -> T | None:
    try:
        # The fields are converted already; this runs the struct's own checks.
        return struct(**values)
    except ValueError as error:
        problems.append(document.problem(path, str(error)))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin's struct may raise anything
        problems.append(document.problem(path, told(error)))
    return None


def fields_of(struct: type[Struct], path: KeyPath) -> tuple[msgspec.structs.FieldInfo, ...]:
    """The fields of a plugin's struct; a PluginError if it is none that msgspec can read."""
    try:
        return msgspec.structs.fields(struct)
    except Exception as error:
        name = f"{getattr(struct, '__module__', '?')}:{getattr(struct, '__qualname__', struct)}"
        raise PluginError(
            f"the block '{dotted(path)}' can't be read: {name} is no usable Struct: {error}",
            hint="this is a fault of the plugin that it belongs to",
        ) from error


def _value(
    value: Any, kind: Any, document: Document, path: KeyPath, problems: list[ConfigError]
) -> Any:
    """A value as this type. Blocks and lists are taken apart, so that each problem has its path."""
    alternatives = _alternatives(kind)
    several = sum(map(_is_struct, alternatives)) > 1
    for one in alternatives:
        origin, arguments = get_origin(one), get_args(one)
        if isinstance(value, dict) and _is_struct(one):
            if several or one.__struct_config__.tag is not None:
                break  # which of them it is, its tag says: msgspec knows
            return _block(value, one, document, path, problems)
        if isinstance(value, dict) and origin is dict:
            return {
                key: _value(item, arguments[1], document, (*path, key), problems)
                for key, item in value.items()
            }
        if isinstance(value, list) and (origin is list or (origin is tuple and ... in arguments)):
            return origin(
                _value(item, arguments[0], document, (*path, index), problems)
                for index, item in enumerate(value)
            )
    return _converted(value, kind, document, path, problems)


def _converted(
    value: Any, kind: Any, document: Document, path: KeyPath, problems: list[ConfigError]
) -> Any:
    try:
        return msgspec.convert(value, kind, dec_hook=_decode)
    except msgspec.ValidationError as error:
        problems.append(document.problem(path, _readable(str(error), kind)))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin's struct may raise anything
        problems.append(document.problem(path, told(error)))
    return None


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def unknown_key(document: Document, path: KeyPath, valid: Iterable[str]) -> ConfigError:
    """The problem of a key that nobody knows, with the nearest one that somebody does."""
    return document.problem(
        path, "unknown key", hint=suggestion(str(path[-1]), valid, "the keys here are")
    )


def suggestion(word: str, valid: Iterable[str], otherwise: str) -> str:
    """`did you mean X?`, or all that is valid where nothing is near."""
    names = sorted({*valid})
    if near := nearest(word, names):
        return f"did you mean '{near}'?"
    return f"{otherwise}: {', '.join(names)}" if names else ""


def nearest(word: str, names: Iterable[str]) -> str:
    """The name that this word was most likely meant to be, or an empty string."""
    import difflib

    return next(iter(difflib.get_close_matches(word, names, n=1)), "")


def _decode(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return expand_home(value)
    raise TypeError(f"Expected `{kind.__name__}`, got `{type(value).__name__}`")


def _alternatives(kind: Any) -> tuple[Any, ...]:
    """The types of a union, or the one that it is."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _readable(message: str, kind: Any) -> str:
    """What is wrong, in the words of this program."""
    choices = [
        c for one in _alternatives(kind) if get_origin(one) is Literal for c in get_args(one)
    ]
    if choices:
        shown = (str(choice) or "''" for choice in choices)
        return f"expected one of {', '.join(shown)}"
    message, _, where = message.partition(" - at ")
    for theirs, ours in _WORDS.items():
        message = message.replace(theirs, ours)
    place = f" (at {where.strip('`').removeprefix('$')})" if where else ""
    return message[:1].lower() + message[1:] + place
