"""The graph in a picture of ComfyUI's."""

from __future__ import annotations

import json
import zlib

import pytest

from imagen_comfyui.mapping import read_png_graph
from imagen_core import ConfigError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GRAPH = {"1": {"class_type": "KSampler", "inputs": {"seed": 2**64 - 1, "text": "é ✓"}}}


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    check = zlib.crc32(kind + content).to_bytes(4)
    return len(content).to_bytes(4) + kind + content + check


def png(*parts: bytes) -> bytes:
    header = (1).to_bytes(4) + (1).to_bytes(4) + bytes([8, 0, 0, 0, 0])
    body = zlib.compress(b"\0\0")
    return SIGNATURE + b"".join(
        [chunk(b"IHDR", header), *parts, chunk(b"IDAT", body), chunk(b"IEND")]
    )


def with_text(key: str, value: str) -> bytes:
    return png(chunk(b"tEXt", key.encode() + b"\0" + value.encode("latin-1")))


@pytest.mark.parametrize(
    "part",
    [
        chunk(b"tEXt", b"prompt\0" + json.dumps(GRAPH).encode("ascii")),
        chunk(b"zTXt", b"prompt\0\0" + zlib.compress(json.dumps(GRAPH).encode("ascii"))),
        chunk(b"iTXt", b"prompt\0\0\0\0\0" + json.dumps(GRAPH, ensure_ascii=False).encode()),
    ],
    ids=["tEXt", "zTXt", "iTXt"],
)
def test_the_graph_of_a_picture_is_read(part):
    assert read_png_graph(png(part), "a.png") == GRAPH


def test_a_number_that_is_none_is_tolerated():
    text = '{"1": {"class_type": "A", "inputs": {}, "is_changed": [NaN]}}'

    assert read_png_graph(with_text("prompt", text), "a.png")["1"]["class_type"] == "A"


@pytest.mark.parametrize(
    ("data", "problem", "hint"),
    [
        (b"GIF89a", "a.png: it is no PNG", "or give the graph itself as JSON"),
        (
            png(),
            "a.png: there is no graph in this picture",
            "only a PNG as ComfyUI saved it has one, and a server may be told to leave it out",
        ),
        (
            with_text("workflow", '{"nodes": [], "links": []}'),
            "a.png: only what ComfyUI's editor shows is in this picture, "
            "not the graph for a server",
            "open it in ComfyUI, then export it with Workflow > Export (API)",
        ),
        (
            with_text("prompt", "a cat"),
            "a.png:1: not JSON: Expecting value",
            "",
        ),
        (
            with_text("prompt", "{}"),
            "a.png: the graph has no nodes",
            "in ComfyUI, export it with Workflow > Export (API)",
        ),
    ],
)
def test_a_picture_without_a_graph_says_what_is_missing(data, problem, hint):
    with pytest.raises(ConfigError) as caught:
        read_png_graph(data, "a.png")

    assert (str(caught.value), caught.value.hint) == (problem, hint)
