"""The report of a compare: one HTML page beside its pictures, which asks nobody for anything."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

TEMPLATE = Path(__file__).with_name("report.html")
EXACT = 2**53
"""From here on JavaScript no longer tells one integer from the next."""

_PLACE = re.compile(r"\{\{(\w+)\}\}")
_OWN_CODE = re.compile(r'<(style|script)(?: type="module")?>(.*?)</\1>', re.DOTALL)
_DANGEROUS = re.compile("[<>&\u2028\u2029]")


def render(document: Mapping[str, Any]) -> bytes:
    """The page that shows a `compare.json`, to lie in its folder; the same bytes each time."""
    template = TEMPLATE.read_text(encoding="utf-8")
    names = {name: _address(name) for cell in document["cells"] for name in cell["files"]}
    prompts: dict[str, int] = {}
    cells = [_brief(cell, prompts) for cell in document["cells"]]
    content = {"compare": {**document, "cells": cells}, "addresses": names, "prompts": [*prompts]}
    parts = {
        "policy": _policy(template),
        "title": escape(" ".join(document["prompt"].split())),
        "data": _data(content),
    }
    return _PLACE.sub(lambda place: parts[place[1]], template).encode()


def _brief(cell: Mapping[str, Any], prompts: dict[str, int]) -> Mapping[str, Any]:
    """The cell with the number of its prompt in place of the text, which all may have alike."""
    made = cell.get("document")
    if not made or "effective_prompt" not in made:
        return cell
    made = {key: value for key, value in made.items() if key != "prompt"}
    made["effective_prompt"] = prompts.setdefault(made["effective_prompt"], len(prompts))
    return {**cell, "document": made}


def _policy(template: str) -> str:
    """Allows the page its own code and the pictures beside it, and nothing else."""
    digests: dict[str, str] = {}
    for kind, code in _OWN_CODE.findall(template):
        digests[kind] = b64encode(sha256(code.encode()).digest()).decode()
    return (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src 'self' file: data:; "
        f"style-src 'sha256-{digests['style']}'; script-src 'sha256-{digests['script']}'"
    )


def _data(content: object) -> str:
    """JSON in which nothing can end the element it stands in."""
    text = msgspec.json.encode(_readable(content), enc_hook=str).decode()
    return _DANGEROUS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _readable(value: Any) -> Any:
    """The same with integers as text where JavaScript would round them."""
    if isinstance(value, Mapping):
        return {str(key): _readable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_readable(item) for item in value]
    return str(value) if isinstance(value, int) and abs(value) >= EXACT else value


def _address(name: str) -> str:
    """Where a file of the page's own folder is, whatever is in its name."""
    return f"./{quote(name, safe='')}"
