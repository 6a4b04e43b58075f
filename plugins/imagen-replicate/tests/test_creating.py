"""A prediction is asked for once: what is sent, what is sent again, and what never is."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from imagen_core import (
    Accepted,
    Cancelled,
    CredentialsError,
    ImagenError,
    RejectedError,
    UnavailableError,
)
from imagen_replicate.testing import FakeReplicate
from replicate_fixtures import PAGE, image_of, until
from replicate_transcripts import PRO

THROTTLED = {"detail": "Request was throttled. Expected available in 0 second.", "retry_after": 0}


def sent(server: FakeReplicate) -> list[dict[str, Any]]:
    return [json.loads(received.body) for received in server.creates]


# Where it is sent


def test_model_is_asked_at_its_own_address(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    images(make(), ask())

    [received] = server.creates
    assert received.path == "/v1/models/black-forest-labs/flux-schnell/predictions"
    assert set(json.loads(received.body)) == {"input"}


def test_pinned_version_is_asked_at_the_common_address(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    model = f"black-forest-labs/flux-schnell:{server.version_of('black-forest-labs/flux-schnell')}"

    images(make(model=model), ask())

    [received] = server.creates
    assert received.path == "/v1/predictions"
    assert json.loads(received.body)["version"] == model


def test_create_is_held_for_a_second_and_ends_by_itself(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    images(make(), ask())

    [received] = server.creates
    assert received.headers["prefer"] == "wait=1"
    assert received.headers["cancel-after"] == "65s"


@pytest.mark.parametrize(("wait", "header"), [(60, "wait=60"), (0, None)])
def test_hold_is_that_of_the_block(
    server: FakeReplicate, make: Any, ask: Any, images: Any, wait: int, header: str | None
) -> None:
    images(make(wait=wait), ask())

    assert server.creates[0].headers.get("prefer") == header


def test_id_is_told_at_once(server: FakeReplicate, make: Any, ask: Any) -> None:
    server.hold()
    events = make(wait=0).generate(ask())

    accepted = next(event for event in events if isinstance(event, Accepted))

    assert accepted.remote_id == server.predictions[0].id
    with pytest.raises(Cancelled):
        events.close()


# What is refused


@pytest.mark.parametrize(
    ("status", "body", "kind", "message", "hint"),
    [
        (
            401,
            {"title": "Unauthenticated", "detail": "no", "status": 401},
            CredentialsError,
            "refuses the token (401): no",
            "set REPLICATE_API_TOKEN to a token that may do this",
        ),
        (
            402,
            {"title": "Insufficient credit", "detail": "You have insufficient credit."},
            RejectedError,
            "wants to be paid first: You have insufficient credit.",
            "add credit, or set up billing, at https://replicate.com/account/billing",
        ),
        (413, {"detail": "too large"}, RejectedError, "finds the request too large", ""),
        (
            422,
            {
                "title": "Input validation failed",
                "detail": "- input.go: x",
                "invalid_fields": [
                    {"type": "enum", "field": "input.go", "description": "input.go must be y"},
                    {"type": "required", "field": "input", "description": "prompt is required"},
                ],
            },
            RejectedError,
            "refuses the input: go: must be y; prompt is required",
            "",
        ),
        (418, {"detail": "a teapot"}, RejectedError, "answered 418: a teapot", ""),
        (302, "", RejectedError, "redirects", "look at the block's api_url"),
    ],
)
def test_refusal_is_told_and_not_sent_again(
    server: FakeReplicate,
    make: Any,
    ask: Any,
    images: Any,
    status: int,
    body: Any,
    kind: type[ImagenError],
    message: str,
    hint: str,
) -> None:
    server.refuse("create", status, body=body)

    with pytest.raises(kind) as caught:
        images(make(), ask())

    assert message in str(caught.value)
    assert hint in caught.value.hint
    assert len(server.creates) == 1


def test_model_that_is_not_there_is_told(make: Any, ask: Any, images: Any) -> None:
    with pytest.raises(RejectedError, match="has no model nobody/nothing, or not for this token"):
        images(make(model="nobody/nothing"), ask())


def test_model_that_is_known_and_gone_is_told(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    del server.models["google/nano-banana"]

    with pytest.raises(RejectedError, match="has no model google/nano-banana"):
        images(make(model="google/nano-banana"), ask())


def test_community_model_is_told_its_version(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    with pytest.raises(RejectedError, match="lab/tiny is no official model") as caught:
        images(make(model="lab/tiny"), ask())

    assert caught.value.hint == f"model: lab/tiny:{server.version_of('lab/tiny')}"
    assert server.creates == []


# What is sent again


@pytest.mark.parametrize("times", [1, 3])
def test_throttled_create_is_sent_again(
    server: FakeReplicate, make: Any, ask: Any, images: Any, times: int
) -> None:
    server.refuse("create", 429, body=THROTTLED, times=times)

    assert len(images(make(), ask())) == 1
    assert len(server.creates) == times + 1
    assert server.bills == 1


def test_create_that_is_throttled_to_the_end_is_given_up(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    server.refuse("create", 429, body=THROTTLED, times=9)

    with pytest.raises(UnavailableError, match="answered 429: Request was throttled") as caught:
        images(make(), ask())

    assert caught.value.retryable
    assert len(server.creates) == 4
    assert server.bills == 0


def test_wait_that_is_too_long_is_not_waited_for(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    server.refuse("create", 429, headers={"Retry-After": "3600"})

    with pytest.raises(UnavailableError) as caught:
        images(make(), ask())

    assert caught.value.hint == "try again in 3600 s"
    assert len(server.creates) == 1


def test_server_that_nobody_reaches_is_unavailable(make: Any, ask: Any, images: Any) -> None:
    with pytest.raises(UnavailableError, match="is unreachable"):
        images(make(api_url="http://127.0.0.1:9/v1"), ask())


@pytest.mark.parametrize("status", [500, 503])
def test_create_that_failed_at_the_api_is_sent_once_more(
    server: FakeReplicate, make: Any, ask: Any, images: Any, status: int
) -> None:
    server.refuse("create", status, body={"detail": "Internal server error", "status": status})

    assert len(images(make(), ask())) == 1
    assert len(server.creates) == 2
    assert server.bills == 1


def test_create_that_fails_twice_at_the_api_is_given_up(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    server.refuse("create", 503, body={"detail": "Service unavailable"}, times=9)

    with pytest.raises(UnavailableError, match="answered 503, and made nothing of the request"):
        images(make(), ask())

    assert len(server.creates) == 2


# What is looked up


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (None, ""),
        (500, {"detail": "Internal server error"}),
        (503, {"detail": "Service unavailable"}),
        (500, PAGE),
        (502, PAGE),
        (504, PAGE),
        (502, {"detail": "Bad gateway"}),
        (200, PAGE),
        (201, {"no": "prediction"}),
    ],
    ids=str,
)
def test_prediction_whose_reply_was_lost_is_adopted(
    server: FakeReplicate, make: Any, ask: Any, events: Any, status: int | None, body: Any
) -> None:
    server.accept_then("create", status, body=body)

    happened = events(make(), ask())

    assert [e.remote_id for e in happened if isinstance(e, Accepted)] == [server.predictions[0].id]
    assert len(server.creates) == 1
    assert server.bills == 1


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (502, PAGE, "answered 502"),
        (504, PAGE, "answered 504"),
        (503, PAGE, "answered 503"),
        (200, PAGE, "answered 200"),
    ],
)
def test_create_that_may_have_been_accepted_is_never_sent_twice(
    server: FakeReplicate, make: Any, ask: Any, images: Any, status: int, body: Any, why: str
) -> None:
    server.refuse("create", status, body=body)

    with pytest.raises(ImagenError) as caught:
        images(make(), ask())

    assert f"{why}, and no such prediction is listed: the request sent at " in str(caught.value)
    assert "UTC may have been accepted, and billed" in str(caught.value)
    assert (caught.value.exit_code, caught.value.retryable) == (1, False)
    assert len(server.creates) == 1
    assert [r.path.partition("?")[0] for r in server.requests[1:]] == ["/v1/predictions"] * 2


def test_connection_that_broke_off_is_told_as_possibly_billed(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    server.drop("create")

    with pytest.raises(ImagenError, match="may have been accepted, and billed") as caught:
        images(make(), ask())

    assert str(caught.value).startswith("the connection to Replicate")
    assert len(server.creates) == 1


def test_prediction_that_shows_up_late_is_adopted(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    server.accept_then("create", 502, body=PAGE)
    empty: dict[str, Any] = {"next": None, "previous": None, "results": []}
    server.accept_then("list", 200, body=json.dumps(empty).encode())

    assert len(images(make(), ask())) == 1
    assert (len(server.creates), server.bills) == (1, 1)


def test_list_that_cannot_be_read_leaves_it_open(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    server.refuse("create", 500, body={"detail": "Internal server error"})
    server.refuse("list", 502, body=PAGE, times=9)

    with pytest.raises(ImagenError, match="may have been accepted, and billed"):
        images(make(), ask())

    assert len(server.creates) == 1


def test_prediction_of_another_input_is_left_alone(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    images(make(), ask(seed=1))
    server.refuse("create", 502, body=PAGE)

    with pytest.raises(ImagenError, match="no such prediction is listed"):
        images(make(), ask(seed=2))


def test_prediction_of_another_making_is_left_alone(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    backend = make()
    images(backend, ask())
    server.refuse("create", 502, body=PAGE)

    with pytest.raises(ImagenError, match="no such prediction is listed"):
        images(backend, ask())


def test_equal_requests_at_once_each_get_their_own(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    """Without a seed all four have one input, and the reply to one of them is lost."""
    server.hold()
    server.accept_then("create", 502, body=PAGE)
    backend = make(model="google/nano-banana")
    made: list[Any] = []
    threads = [
        threading.Thread(target=lambda: made.extend(images(backend, ask()))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    until(lambda: len(server.predictions) == 4)
    server.release()
    for thread in threads:
        thread.join(60)

    assert len({image.metadata["prediction_id"] for image in made}) == 4
    assert server.bills == 4


# Input images


def test_small_input_image_travels_inside_the_request(
    server: FakeReplicate, make: Any, ask: Any, images: Any, png: bytes
) -> None:
    [image] = images(make(model=PRO), ask(images=(image_of(png),)))

    assert sent(server)[0]["input"]["image_prompt"].startswith("data:image/png;base64,iVBOR")
    assert "image_prompt" not in image.metadata["inputs"]


def test_large_input_image_is_uploaded(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    data = noise()

    images(make(model="google/nano-banana"), ask(images=(image_of(data),)))

    [upload] = server.uploads
    assert upload.data == data
    [address] = sent(server)[0]["input"]["image_input"]
    assert address.startswith(f"{server.url}/files/")


def noise() -> bytes:
    """A PNG of over 256 kB."""
    import random
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    Image.frombytes("RGB", (320, 320), random.Random(1).randbytes(320 * 320 * 3)).save(file, "png")
    return file.getvalue()


def test_lost_create_with_an_image_is_found_again(
    server: FakeReplicate, make: Any, ask: Any, images: Any, png: bytes
) -> None:
    server.accept_then("create", 504, body=PAGE)

    assert len(images(make(model=PRO), ask(images=(image_of(png),)))) == 1
    assert (len(server.creates), server.bills) == (1, 1)


def test_image_whose_bytes_are_gone_is_told(make: Any, ask: Any, images: Any, png: bytes) -> None:
    from msgspec.structs import replace

    stored = replace(image_of(png), data=b"")

    with pytest.raises(ImagenError, match=r"the input image in\.png is needed again"):
        images(make(model=PRO), ask(images=(stored,)))
