"""Faults while a picture is fetched, and failures at the server."""

from __future__ import annotations

from typing import Any

import pytest

from imagen_comfyui.testing import FakeComfyUI
from imagen_core import (
    CredentialsError,
    Image,
    ImagenError,
    Remark,
    UnavailableError,
)


def test_truncated_download_is_fetched_again(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    server.truncate_view(times=2)

    assert len(images(make(), ask())) == 1


def test_damaged_picture_is_fetched_again(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    server.corrupt_view()

    assert len(images(make(), ask())) == 1


def test_picture_that_stays_damaged_is_an_error_that_names_it(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    server.corrupt_view(times=9)

    with pytest.raises(ImagenError, match=r"made, but .* damaged each time") as caught:
        images(make(), ask())

    assert "it is on the server as output/imagen/" in caught.value.hint


def test_5xx_of_view_is_tried_again(server: FakeComfyUI, make: Any, ask: Any, images: Any) -> None:
    server.fail("GET /view", 500, times=2)

    assert len(images(make(), ask())) == 1


@pytest.mark.parametrize(
    ("status", "kind"), [(400, ImagenError), (403, CredentialsError), (503, UnavailableError)]
)
def test_4xx_of_view_says_that_the_picture_is_made(
    server: FakeComfyUI, make: Any, ask: Any, images: Any, status: int, kind: Any
) -> None:
    server.fail("GET /view", status, times=9)

    with pytest.raises(kind, match="the picture is made, but") as caught:
        images(make(), ask())

    assert "output/imagen/" in caught.value.hint


def test_401_of_view_is_a_credentials_error(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    server.fail("GET /view", 401, times=9)

    with pytest.raises(CredentialsError):
        images(make(), ask())


def test_picture_that_is_gone_is_made_again_under_another_name(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    server.fail("GET /view", 404, times=2)

    assert len(images(make(), ask())) == 1
    prefixes = [graph["10"]["inputs"]["filename_prefix"] for _, graph, *_ in server.submits]
    assert len(set(prefixes)) == 2


def test_picture_that_is_always_gone_is_an_error(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    server.fail("GET /view", 404, times=9)

    with pytest.raises(ImagenError, match="has it no more"):
        images(make(), ask())

    assert len(server.submits) == 2


def test_error_of_a_node_names_it(server: FakeComfyUI, make: Any, ask: Any, images: Any) -> None:
    server.raise_in("VAEDecode", exception_type="RuntimeError", message="mat1 and mat2\n")

    with pytest.raises(ImagenError) as caught:
        images(make(), ask())

    assert str(caught.value) == ("node 9 'Decode' (VAEDecode) failed: RuntimeError: mat1 and mat2")
    assert caught.value.exit_code == 1


def test_out_of_memory_says_what_to_try(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    server.raise_in("KSampler")

    with pytest.raises(ImagenError, match="the GPU ran out of memory in node 8") as caught:
        images(make(), ask())

    assert "smaller --size" in caught.value.hint


def test_black_picture_is_kept_and_remarked(
    server: FakeComfyUI, make: Any, ask: Any, events: Any
) -> None:
    server.black()

    found = events(make(), ask())

    kinds = [type(event) for event in found if isinstance(event, Image | Remark)]
    assert kinds == [Image, Remark]


def test_messages_as_plain_strings_are_understood(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    server.string_messages()

    assert len(images(make(), ask())) == 1


def test_failure_with_plain_messages_is_an_error(
    server: FakeComfyUI, make: Any, ask: Any, images: Any
) -> None:
    server.string_messages()
    server.raise_in("KSampler")

    with pytest.raises(ImagenError, match="failed at the server"):
        images(make(), ask())


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
        (b"\0\0\0 ftyp", "video/mp4"),
    ],
)
def test_what_nobody_here_can_read_is_kept(
    server: FakeComfyUI, make: Any, ask: Any, images: Any, data: bytes, kind: str
) -> None:
    server.fail("GET /view", 200, body=data, content_type=kind)

    [image] = images(make(), ask())

    assert image.data == data


@pytest.mark.parametrize(
    ("data", "kind", "problem"),
    [
        (b"", "image/png", "it is empty"),
        (b"<html>log in</html>", "text/html; charset=utf-8", "it is text/html"),
        (b"\xff\xd8\xff\xe0", "image/jpeg", "it can't be decoded"),
    ],
)
def test_what_is_no_picture_is_an_error(
    server: FakeComfyUI, make: Any, ask: Any, images: Any, data: bytes, kind: str, problem: str
) -> None:
    server.fail("GET /view", 200, body=data, content_type=kind, times=9)

    with pytest.raises(ImagenError, match=f"damaged each time: {problem}"):
        images(make(), ask())
