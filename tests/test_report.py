"""The page of a compare as text: nothing in it gets out of its place."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import pytest

from imagen_core import report

HOSTILE = [
    "</script><script>alert(1)</script>",
    "</SCRIPT >",
    "<!-- <script>",
    "<img src=x onerror=alert(1)>",
    "\u2028 and \u2029",
    "]]> &lt; &amp; \\u003c {{data}} {{policy}} $1",
    "quotes ' \" ` \\",
    "猫 🐈 ü مرحبا \x00\x1b",
]


class Read(HTMLParser):
    """The elements of a page with their attributes and their own text."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], str]] = []
        self.inside = False
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), ""))
        self.inside = True

    def handle_endtag(self, tag: str) -> None:
        del tag
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            tag, attributes, text = self.elements[-1]
            self.elements[-1] = (tag, attributes, text + data)

    def texts(self, tag: str) -> list[str]:
        return [text for name, _, text in self.elements if name == tag]

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(self.texts("script")[0])


def cell(**fields: Any) -> dict[str, Any]:
    plain = {
        "model": "mock",
        "seed": 1,
        "id": "1",
        "status": "done",
        "latency_ms": 1200,
        "cost_usd_estimate": None,
        "files": ["mock-1.png"],
        "document": {"width": 64, "height": 64, "metadata": {}},
        "error": None,
        "notes": [],
    }
    return {**plain, **fields}


def compare(*cells: dict[str, Any], prompt: str = "a cat", **fields: Any) -> dict[str, Any]:
    plain = {"schema": 1, "kind": "compare", "prompt": prompt, "date": "2026-11-24"}
    return {**plain, "options": {}, "cells": list(cells or [cell()]), "totals": {}, **fields}


def outline(page: bytes) -> list[str]:
    return [tag for tag, _, _ in Read(page).elements]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_ends_the_element_it_stands_in(text: str) -> None:
    error = {"code": "internal", "message": text, "hint": text, "retryable": False}
    document = compare(
        cell(model=text, notes=[text], document={"metadata": {text: text}}, files=[text]),
        cell(status="failed", error=error, files=[], document=None),
        prompt=text,
    )

    page = report.render(document)

    assert Read(page).data["compare"] == document
    assert outline(page) == outline(report.render(compare()))
    assert not re.search("[<>&\u2028\u2029]", Read(page).texts("script")[0])


def test_title_is_the_prompt_in_one_line() -> None:
    page = report.render(compare(prompt="a cat\n</title> &amp; a dog"))

    assert b"<title>a cat &lt;/title&gt; &amp;amp; a dog</title>" in page


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("mock-1.png", "./mock-1.png"),
        ("a 'b' \"c\".png", "./a%20%27b%27%20%22c%22.png"),
        ("100%25 #1?.png", "./100%2525%20%231%3F.png"),
        ("猫.png", "./%E7%8C%AB.png"),
        ("javascript:alert(1)", "./javascript%3Aalert%281%29"),
        ("//example.com/x.png", "./%2F%2Fexample.com%2Fx.png"),
    ],
)
def test_file_is_addressed_in_the_folder_of_the_page(name: str, address: str) -> None:
    page = report.render(compare(cell(files=[name])))

    assert Read(page).data["addresses"] == {name: address}


def test_same_document_gives_the_same_bytes() -> None:
    assert report.render(compare()) == report.render(compare())


def test_fields_of_a_later_schema_are_let_through() -> None:
    later = compare(cell(mood={"x": [1]}, document=None), weather="fair", schema=2)

    assert Read(report.render(later)).data["compare"] == later


def test_integers_that_javascript_would_round_are_text() -> None:
    cells = [cell(seed=seed) for seed in (2**53 - 1, 2**53, 2**64 - 1)]

    seeds = [each["seed"] for each in Read(report.render(compare(*cells))).data["compare"]["cells"]]

    assert seeds == [9007199254740991, "9007199254740992", "18446744073709551615"]


def test_policy_allows_the_pages_own_code_and_pictures_alone() -> None:
    page = Read(report.render(compare()))
    digests = [
        b64encode(sha256(code.encode()).digest()).decode()
        for code in (page.texts("style")[0], page.texts("script")[1])
    ]

    policy = next(
        attributes["content"]
        for tag, attributes, _ in page.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )

    assert policy == (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src 'self' file: data:; "
        f"style-src 'sha256-{digests[0]}'; script-src 'sha256-{digests[1]}'"
    )


def test_template_names_no_other_place() -> None:
    template = report.TEMPLATE.read_text(encoding="utf-8")

    assert re.findall(r"https?:|//\w+\.|@import|url\(|src=|innerHTML", template) == []
    assert len(template.splitlines()) < 400


def test_long_prompt_of_many_cells_is_there_once() -> None:
    prompt = "a cat " * 3000
    documents = [
        {"prompt": prompt, "effective_prompt": f"{prompt}, {style}", "seed": seed}
        for style in ("ink", "oil")
        for seed in range(200)
    ]
    cells = [cell(document=document) for document in documents]

    page = report.render({"prompt": prompt, "cells": cells})

    assert len(page) < 6 * len(prompt) + 400 * 500
    data = Read(page).data
    found = [made["document"]["effective_prompt"] for made in data["compare"]["cells"]]
    assert [data["prompts"][number] for number in found] == [
        document["effective_prompt"] for document in documents
    ]
