"""Options to Requests: the one place for defaults, styles, seeds, and refusals."""

from __future__ import annotations

import math
import random
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from imagen_core import files
from imagen_core.blocks import nearest, suggestion
from imagen_core.config import Style
from imagen_core.errors import UsageError
from imagen_core.files import expand_home
from imagen_core.header import image_header
from imagen_core.types import MAX_SEED, InputImage, Options, Param, Request, Text, new_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen_core.config import Settings
    from imagen_core.protocols import Instance
    from imagen_core.types import About

DRAWN_SEEDS = 2**31 - 1
DEFAULT_SIZE = "1024x1024"
MAX_SIDE = 16_384
MAX_COUNT = 10_000
MAX_IMAGE_BYTES = 50 * 2**20
_REFUSED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
FLAGS = {
    "seed": "--seed",
    "steps": "--steps",
    "size": "--size",
    "width": "--size",
    "height": "--size",
    "negative": "--negative",
}
"""What is no parameter of any backend, since it has a flag of its own."""


def resolve(
    options: Options,
    settings: Settings,
    instance: Callable[[str], Instance],
    *,
    lenient: bool = False,
    read: Callable[[str], InputImage] | None = None,
) -> tuple[Request, ...]:
    """The Requests that these Options come to; whatever makes no sense is a UsageError.

    `lenient`: a size or steps that the backend does not honour are no reason to refuse. `read`
    gets an input image by what the Options call it, else that is a path.
    """
    name = options.backend or settings.default_backend()
    backend = instance(name).backend
    about = backend.about
    _refuse_what_is_not_honoured(name, options, about, lenient=lenient)
    style = _style(options.style, settings)
    _check_texts(options, style)
    width, height = parse_size(options.size or about.size or DEFAULT_SIZE)
    seeds = _seeds(options.seed or about.seed or 0, options.count)
    first = Request(
        id=new_id(),
        prompt=style.prompt.replace("{prompt}", options.prompt),
        typed_prompt=options.prompt,
        negative=", ".join(text for text in (style.negative, options.negative) if text),
        style=options.style,
        backend=name,
        width=width,
        height=height,
        seed=seeds[0],
        seed_asked=bool(options.seed),
        steps=_at_least("number of steps", options.steps, 0) or about.steps,
        params=resolve_params(name, options.params, about.params),
        images=tuple(map(read or read_image, options.images)),
    )
    backend.check(first)
    others = (replace(first, id=new_id(), seed=seed) for seed in seeds[1:])
    return (first, *others)


def _check_texts(options: Options, style: Style) -> None:
    check_text("prompt", options.prompt)
    check_text("negative prompt", options.negative)
    check_text(f"prompt of the style '{options.style}'", style.prompt)
    check_text(f"negative prompt of the style '{options.style}'", style.negative)


def check_text(what: str, text: str) -> None:
    """Refuse what no backend should ever see: control characters, broken Unicode."""
    if not (found := _REFUSED.search(text)):
        return
    place = f"at position {found.start() + 1}"
    if found[0] >= "\ud800":
        raise UsageError(f"the {what} is not valid UTF-8 {place}")
    raise UsageError(
        f"the {what} has a control character (U+{ord(found[0]):04X}) {place}",
        hint="remove it; newlines and tabs are fine",
    )


def parse_size(size: str) -> tuple[int, int]:
    """Width and height of a `WxH`."""
    match = re.fullmatch(r"(\d{1,6})[xX×](\d{1,6})", size.strip())
    if not match:
        raise UsageError(
            f"the size '{size}' is not WIDTHxHEIGHT", hint="for instance --size 1024x768"
        )
    width, height = int(match[1]), int(match[2])
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise UsageError(f"the size '{size}' is out of range: 1 to {MAX_SIDE} pixels a side")
    return width, height


def read_image(path: str) -> InputImage:
    """An input image from a file, known to be a picture."""
    file = expand_home(path)
    try:
        # A pipe or a device may never end, and opening one may wait for ever.
        if not stat.S_ISREG(file.stat().st_mode):
            raise UsageError(f"the input image {path} is not a regular file")
        with file.open("rb") as opened:
            data = opened.read(MAX_IMAGE_BYTES + 1)
    except (OSError, ValueError) as error:
        told = f"cannot read the input image {path}: {files.reason(error)}"
        raise UsageError(told) from error
    return input_image(data, path, name=Path(path).name)


def input_image(data: bytes, what: str, *, name: str = "") -> InputImage:
    """These bytes, if they are a picture; `what` they are in a message. No name: their digest."""
    header = image_header(data)
    if header is None:
        kinds = ", ".join(sorted(files.EXTENSIONS.values()))
        raise UsageError(f"{what} is no picture that imagen knows", hint=f"it takes {kinds}")
    if len(data) > MAX_IMAGE_BYTES:
        raise UsageError(f"the input image {what} is over {MAX_IMAGE_BYTES // 2**20} MiB")
    return InputImage(
        name=name or f"{files.digest(data)[:16]}.{files.EXTENSIONS.get(header.mime, 'bin')}",
        mime=header.mime,
        sha256=files.digest(data),
        size=len(data),
        data=data,
    )


def resolve_params(
    backend: str, given: dict[str, Any], declared: tuple[Param, ...] | None
) -> dict[str, Any]:
    """The given parameters with their types; without a declaration the server will judge."""
    if declared is None:
        return {name: _from_json(value) for name, value in given.items()}
    params = {param.name: param for param in declared}
    for name in given:
        if name not in params:
            raise UsageError(
                f"the backend '{backend}' has no parameter '{name}'",
                hint=_options(name, declared),
            )
    return {name: check_param(params[name], value) for name, value in given.items()}


def _options(name: str, declared: tuple[Param, ...]) -> str:
    """The option that was most likely meant, or all that are worth a list."""
    if name in FLAGS:
        return f"use {FLAGS[name]}"
    if near := nearest(name, (param.name for param in declared)):
        return f"did you mean '{near}'?"
    listed = (param.name for param in declared if param.listed)
    return suggestion(name, listed, "it has") or "it takes none"


def check_param(param: Param, given: Any) -> Any:
    """The value with the parameter's type; a UsageError if it is none that the parameter takes."""
    value = str(given) if param.type == "str" and isinstance(given, str) else _from_json(given)
    kinds: dict[str, Any] = {"str": str, "int": int, "float": float, "bool": bool}
    try:
        value = msgspec.convert(value, kinds.get(param.type, Any))
    except msgspec.ValidationError:
        raise UsageError(f"the parameter {param.name} is {param.type}, got '{given}'") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"the parameter {param.name} is a number, got '{given}'")
    if param.choices and value not in param.choices:
        choices = ", ".join(choice or "''" for choice in param.choices)
        raise UsageError(f"the parameter {param.name} is one of {choices}; got '{given}'")
    low, high = param.minimum, param.maximum
    if (low is not None and value < low) or (high is not None and value > high):
        least = f"at least {low:g}" if low is not None else ""
        most = f"at most {high:g}" if high is not None else ""
        limits = " and ".join(filter(None, (least, most)))
        raise UsageError(f"the parameter {param.name} is {limits}; got {value}")
    return value


def _from_json(value: Any) -> Any:
    if not isinstance(value, Text):
        return value
    try:
        return msgspec.json.decode(value.encode())
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return str(value)


def _refuse_what_is_not_honoured(
    name: str, options: Options, about: About, *, lenient: bool
) -> None:
    """What was typed and would be dropped is refused before anything is spent."""
    for field, typed in (
        ("size", options.size),
        ("steps", options.steps),
        ("images", options.images),
    ):
        if typed and field not in about.honours and not (lenient and field != "images"):
            what = "takes no input images" if field == "images" else f"does not honour --{field}"
            flag = "--image" if field == "images" else f"--{field}"
            raise UsageError(f"the backend '{name}' {what}", hint=f"leave out {flag}")


def _style(name: str, settings: Settings) -> Style:
    if not name:
        return Style()
    styles = settings.table("styles")
    if name not in styles:
        hint = suggestion(name, styles, "there are") or "the configuration has none"
        raise UsageError(f"there is no style '{name}'", hint=hint)
    return settings.style(name)


def _seeds(first: int, count: int) -> range:
    if not 1 <= count <= MAX_COUNT:
        raise UsageError(f"the count is 1 to {MAX_COUNT}, got {count}")
    _at_least("seed", first, 0)
    first = first or draw_seed(count)
    if first + count - 1 > MAX_SEED:
        raise UsageError(f"seeds go up to {MAX_SEED}; {first + count - 1} is too large")
    return range(first, first + count)


def draw_seed(count: int = 1) -> int:
    """A seed from which so many consecutive ones can be taken."""
    return random.SystemRandom().randint(1, DRAWN_SEEDS - count + 1)


def _at_least(what: str, value: int, least: int) -> int:
    if value < least:
        raise UsageError(f"the {what} is at least {least}, got {value}")
    return value
