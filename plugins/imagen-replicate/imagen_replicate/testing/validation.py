"""Whether a body is one that the server takes, in the words of its JSON schema checker."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from imagen_replicate.testing.models import required
from imagen_replicate.testing.problems import JSON, ProblemError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from imagen_core.testing import Received

KEYS = ("input", "version", "webhook", "webhook_events_filter", "stream")
"""What the body of a create may have."""
_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
}
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")
_LEAST_SECONDS = 5


def check_create(received: Received, *, needs: Iterable[str]) -> JSON:
    """Gives the body of a create, or refuses it."""
    try:
        body = received.json()
    except ValueError as error:
        raise ProblemError(400, "The request body is not a JSON object.") from error
    found = [_missing("(root)", key) for key in needs if key not in body]
    found += [_additional("(root)", key) for key in body if key not in KEYS]
    if "input" in body and (wrong := _wrong_type("input", body["input"], "object")):
        found.append(wrong)
    _refuse(found)
    return body


def check_input(model: JSON, given: JSON) -> None:
    """Refuses inputs that a model does not take."""
    schema = model["schema"]
    found = [_missing("input", name) for name in required(model) if name not in given]
    for name, value in given.items():
        if name in schema:
            found += _check_value(f"input.{name}", value, schema[name])
        else:
            found.append(_additional("input", name))
    _refuse(found)


def read_prefer(received: Received) -> tuple[str, float]:
    """Gives the preference as it was sent, and for how many seconds the reply shall be held."""
    said = received.headers.get("prefer", "")
    if not said:
        return "", 0
    match = re.fullmatch(r"wait(?:=(\d+))?", said)
    seconds = int(match[1] or 60) if match else 0
    if not 1 <= seconds <= 60:
        raise ProblemError(422, "Prefer is `wait`, or `wait=n` with n from 1 to 60.")
    return said, seconds


def read_cancel_after(received: Received) -> float | None:
    """Gives the seconds after which a prediction ends in any case, if there is such a limit."""
    said = received.headers.get("cancel-after")
    if said is None:
        return None
    match = _DURATION.fullmatch(said)
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    total = 3600 * hours + 60 * minutes + seconds
    if total < _LEAST_SECONDS:
        raise ProblemError(422, "Cancel-After is a duration such as 90s or 5m, of 5 s at least.")
    return float(total)


def _refuse(found: list[JSON]) -> None:
    if found:
        detail = "".join(f"- {one['field']}: {one['description']}\n" for one in found)
        title = "Input validation failed"
        raise ProblemError(422, detail, title=title, invalid_fields=found)


def _check_value(field: str, value: Any, spec: JSON) -> Iterator[JSON]:
    if wrong := _wrong_type(field, value, spec.get("type", "")):
        yield wrong
        return
    if "enum" in spec and value not in spec["enum"]:
        choices = ", ".join(json.dumps(one) for one in spec["enum"])
        said = f"{field} must be one of the following: {choices}"
        yield _invalid("enum", field, said)
    if "minimum" in spec and value < spec["minimum"]:
        said = f"Must be greater than or equal to {spec['minimum']}"
        yield _invalid("number_gte", field, said)
    if "maximum" in spec and value > spec["maximum"]:
        said = f"Must be less than or equal to {spec['maximum']}"
        yield _invalid("number_lte", field, said)
    if "items" in spec:
        for index, item in enumerate(value):
            yield from _check_value(f"{field}.{index}", item, spec["items"])


def _wrong_type(field: str, value: Any, wanted: str) -> JSON | None:
    fits = isinstance(value, _TYPES.get(wanted, object))
    if fits and (wanted in ("", "boolean") or not isinstance(value, bool)):
        return None
    said = f"Invalid type. Expected: {wanted}, given: {_type_of(value)}"
    return _invalid("invalid_type", field, said)


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return next(name for name, kind in _TYPES.items() if isinstance(value, kind))


def _missing(field: str, name: str) -> JSON:
    return _invalid("required", field, f"{name} is required")


def _additional(field: str, name: str) -> JSON:
    said = f"Additional property {name} is not allowed"
    return _invalid("additional_property_not_allowed", field, said)


def _invalid(kind: str, field: str, description: str) -> JSON:
    return {"type": kind, "field": field, "description": description}
