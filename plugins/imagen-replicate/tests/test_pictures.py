"""The pictures: fetched whole and at once, without the token, or said how to get them later."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core import Accepted, Image, ImagenError
from imagen_core.testing import FailingServer
from imagen_replicate.client import Api
from imagen_replicate.config import ReplicateConfig
from replicate_fixtures import pictures, until_failure

if TYPE_CHECKING:
    from imagen_replicate.testing import FakeReplicate


@pytest.mark.parametrize("fault", ["truncate", "damage"])
@pytest.mark.parametrize("times", [1, 2])
def test_download_that_fails_is_tried_again(
    server: FakeReplicate, make: Any, ask: Any, images: Any, fault: str, times: int
) -> None:
    getattr(server, fault)(times)

    [image] = images(make(), ask())

    assert image.data.startswith(b"\x89PNG")
    assert len(server.downloads) == times + 1
    assert len(server.creates) == 1


@pytest.mark.parametrize("status", [500, 503, 429])
def test_host_that_fails_is_asked_again(
    server: FakeReplicate, make: Any, ask: Any, images: Any, status: int
) -> None:
    server.refuse("file", status, body="<html>busy</html>", times=2)

    assert len(images(make(), ask())) == 1
    assert len(server.downloads) == 3


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"status": 503}, "its host answered 503"),
        ({"status": 404}, "its file is gone (404)"),
        ({"status": 403}, "its host answered 403"),
        ({"status": 200}, "what comes is text/html"),
    ],
)
def test_picture_that_cannot_be_fetched_is_told_with_its_id(
    server: FakeReplicate, make: Any, ask: Any, images: Any, fault: Any, told: str
) -> None:
    server.refuse("file", **fault, body="<html>log in</html>", times=9)

    with pytest.raises(ImagenError) as caught:
        images(make(), ask())

    id = server.predictions[0].id
    assert str(caught.value) == (
        f"the picture of the prediction {id} is made and paid for, but {told}"
    )
    assert (caught.value.exit_code, caught.value.retryable) == (1, False)
    assert caught.value.hint.startswith(f"'imagen replicate fetch {id}' gets it until ")
    assert caught.value.hint.endswith(" UTC")
    assert len(server.downloads) == 3


def test_picture_that_stays_damaged_is_told(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    server.damage(9)

    with pytest.raises(ImagenError, match="but it comes damaged: it is corrupt"):
        images(make(), ask())


def test_one_picture_that_is_lost_does_not_take_the_others(
    server: FakeReplicate, make: Any, ask: Any
) -> None:
    server.refuse("file", 404, body="", times=3)

    happened, error = until_failure(make().generate(ask(params={"num_outputs": 3})))

    assert "its file is gone" in str(error)
    assert len(pictures(happened)) == 2


def test_data_url_that_cannot_be_read_is_told(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    record = {"id": "abc", "status": "succeeded", "output": ["data:image/png;base64,???"]}
    server.accept_then("create", 201, body=record)

    with pytest.raises(ImagenError, match="it comes as a data URL that can't be read"):
        images(make(), ask())


def test_data_url_gives_the_bytes_whatever_type_it_names(
    server: FakeReplicate, make: Any, ask: Any, images: Any, png: bytes
) -> None:
    address = f"data:application/octet-stream;base64,{base64.b64encode(png).decode()}"
    record = {"id": "abc", "status": "processing", "output": [address]}
    server.accept_then("create", 201, body=record)

    [image] = images(make(), ask())

    assert (image.data, image.mime) == (png, "image/png")


# The token


def test_no_token_goes_to_the_host_of_the_files(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    images(make(), ask())

    assert server.downloads
    assert [r for r in server.downloads if "authorization" in r.headers] == []


def test_no_token_goes_where_a_redirect_leads(
    server: FakeReplicate, make: Any, ask: Any, images: Any, png: bytes
) -> None:
    with FailingServer() as other:
        other.reply(200, png)
        server.redirect_files(f"{other.url}/x.png")

        [image] = images(make(), ask())

        assert image.data == png
        [received] = other.requests
    assert "authorization" not in received.headers


def test_no_token_goes_to_a_strange_host_that_asks_for_it(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    server.refuse("file", 401, body="", times=9)

    with pytest.raises(ImagenError, match="its host answered 401"):
        images(make(), ask())

    assert [r for r in server.downloads if "authorization" in r.headers] == []


def test_redirects_that_never_end_are_given_up(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    server.redirect_files(f"{server.files_url}/again.png")

    with pytest.raises(ImagenError, match="its host answered 302"):
        images(make(), ask())


@pytest.mark.parametrize(
    ("api_url", "url", "may"),
    [
        ("https://api.replicate.com/v1", "https://api.replicate.com/v1/files/x", True),
        ("https://api.replicate.com/v1", "https://replicate.delivery/x/y.png", True),
        ("https://api.replicate.com/v1", "https://pbxt.replicate.delivery/x/y.png", True),
        ("https://api.replicate.com/v1", "http://replicate.delivery/x/y.png", False),
        ("https://api.replicate.com/v1", "https://replicate.delivery.evil.com/x", False),
        ("https://api.replicate.com/v1", "https://evilreplicate.delivery/x", False),
        ("https://api.replicate.com/v1", "https://api.replicate.com.evil.com/v1/files/x", False),
        ("https://api.replicate.com/v1", "https://api.replicate.com@evil.com/v1/x", False),
        ("http://127.0.0.1:9/v1", "https://replicate.delivery/x/y.png", False),
        ("http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1/files/x", True),
        ("http://127.0.0.1:9/v1", "http://127.0.0.1:99/v1/files/x", False),
    ],
)
def test_token_is_for_replicates_own_hosts(context: Any, api_url: str, url: str, may: bool) -> None:
    config = ReplicateConfig(model="a/b", api_url=api_url)
    with Api(config, context.secret("REPLICATE_API_TOKEN"), {}) as api:
        assert api.may_have_token(url) is may


def test_accepted_comes_before_the_picture(make: Any, ask: Any, events: Any) -> None:
    kinds = [type(e) for e in events(make(), ask()) if isinstance(e, Accepted | Image)]

    assert kinds == [Accepted, Image]
