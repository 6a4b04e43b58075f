"""What the client makes of each reply that was recorded, or that is documented."""

from __future__ import annotations

import base64
import random
import re
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core import (
    Accepted,
    Cancelled,
    CredentialsError,
    Image,
    ImagenError,
    InputImage,
    Progress,
    RejectedError,
    Remark,
    UnavailableError,
    UsageError,
)
from imagen_replicate.prediction import read_prediction
from replicate_transcripts import PRO, REPLIES, SCHNELL
from replicate_world import Recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from imagen_core import Event
    from imagen_replicate.backend import ReplicateBackend

ID = "c5xk0v7d9drm40ct0000000001"
"""The prediction of all transcripts."""
BILLING = "https://replicate.com/account/billing"
MET: set[str] = set()
"""The transcripts that are met below."""


def meets(*numbers: str) -> pytest.MarkDecorator:
    """Runs a test once for each of these transcripts."""
    MET.update(numbers)
    return pytest.mark.parametrize("number", numbers)


@pytest.fixture
def recorded(png: bytes) -> Iterator[Recorded]:
    with Recorded(png) as server:
        yield server


@pytest.fixture
def backend(recorded: Recorded, make: Any) -> Callable[..., ReplicateBackend]:
    """Makes a backend that meets the recorded replies."""

    def of(model: str = SCHNELL, **block: Any) -> ReplicateBackend:
        made: ReplicateBackend = make(model=model, api_url=recorded.url, **block)
        return made

    return of


def body_of(number: str) -> Any:
    return REPLIES[number]["response"]["body"]


def model_of(number: str) -> str:
    """The model of a record."""
    return str(body_of(number)["model"])


def failing(events: Iterator[Event]) -> ImagenError:
    with pytest.raises(ImagenError) as caught:
        list(events)
    return caught.value


def told(error: ImagenError) -> tuple[type[ImagenError], int, bool]:
    """What programs see of an error."""
    return type(error), error.exit_code, error.retryable


def test_every_transcript_is_met() -> None:
    assert set(REPLIES) == MET
    assert len(REPLIES) == 36


# Creates that are accepted


@meets("01", "04", "05")
def test_prediction_without_pictures_is_looked_at(
    number: str, recorded: Recorded, backend: Any, ask: Any, events: Any
) -> None:
    recorded.say("create", number)
    recorded.say("get", "08", "09")

    happened = events(backend(model_of(number)), ask())

    assert [e.remote_id for e in happened if isinstance(e, Accepted)] == [ID]
    assert len([e for e in happened if isinstance(e, Image)]) == 1
    assert recorded.calls == ["create", "get", "get", "file"]


@meets("02", "03", "06")
def test_pictures_of_the_first_reply_are_taken_at_once(
    number: str, recorded: Recorded, backend: Any, ask: Any, images: Any, png: bytes
) -> None:
    recorded.say("create", number)

    [image] = images(backend(), ask())

    assert (image.data, image.seed) == (png, 41)
    assert image.metadata["prediction_id"] == ID
    assert recorded.calls == ["create", "file"]


@meets("07")
def test_pinned_version_is_asked_for_in_full(
    number: str, recorded: Recorded, backend: Any, ask: Any, images: Any
) -> None:
    recorded.say_body("model", body_of("35")["latest_version"])
    recorded.say("create", number)
    pinned = REPLIES[number]["request"]["body"]["version"]

    [image] = images(backend(pinned), ask())

    assert recorded.creates[0]["version"] == pinned
    assert image.metadata["version"] == pinned.partition(":")[2]
    assert recorded.calls == ["model", "create", "file"]


@meets("12")
def test_picture_inside_the_reply_is_decoded(
    number: str, recorded: Recorded, backend: Any, ask: Any, images: Any, png: bytes
) -> None:
    head, _, content = body_of(number)["output"][0].partition(",")
    assert png.startswith(base64.b64decode(content))
    whole = f"{head},{base64.b64encode(png).decode()}"
    recorded.say("create", number, output=[whole])

    [image] = images(backend(), ask())

    assert (image.data, image.mime) == (png, "image/png")
    assert recorded.calls == ["create"]


def test_part_of_a_picture_inside_the_reply_is_no_picture(
    recorded: Recorded, backend: Any, ask: Any
) -> None:
    recorded.say("create", "12")

    error = failing(backend().generate(ask()))

    assert told(error) == (ImagenError, 1, False)
    assert f"the picture of the prediction {ID} is made and paid for, but it comes" in str(error)
    assert error.hint == f"'imagen replicate fetch {ID}' gets it until 09:00:00 UTC"
    assert recorded.calls == ["create"]


# Looks


@meets("08")
def test_steps_in_the_logs_are_progress(
    number: str, recorded: Recorded, backend: Any, ask: Any, events: Any
) -> None:
    recorded.say("create", "01")
    recorded.say("get", number, "09")

    happened = events(backend(), ask())

    steps = [(e.step, e.steps, e.fraction) for e in happened if isinstance(e, Progress) and e.step]
    assert steps == [(2, 4, 0.45)]
    assert recorded.calls == ["create", "get", "get", "file"]


@meets("09", "10")
def test_output_that_is_a_list_or_a_text_is_taken(
    number: str, recorded: Recorded, backend: Any, ask: Any, images: Any, png: bytes
) -> None:
    recorded.say("create", "01")
    recorded.say("get", number)

    [image] = images(backend(model_of(number)), ask())

    assert image.data == png
    assert image.metadata["model"] == model_of(number)
    assert recorded.calls == ["create", "get", "file"]


@meets("11")
def test_picture_that_was_kept_back_is_told(
    number: str, recorded: Recorded, backend: Any, ask: Any, events: Any
) -> None:
    asked = {**body_of(number)["input"], "num_outputs": 4}
    recorded.say("create", "01", input=asked)
    recorded.say("get", number, input=asked)

    happened = events(backend(), ask(params={"num_outputs": 4}))

    assert len([e for e in happened if isinstance(e, Image)]) == 3
    assert Remark(text="a safety filter kept 1 of 4 pictures back") in happened
    assert recorded.calls == ["create", "get", *["file"] * 3]


@meets("13", "14")
def test_content_that_is_refused_is_not_asked_for_again(
    number: str, recorded: Recorded, backend: Any, ask: Any
) -> None:
    recorded.say("create", "01")
    recorded.say("get", number)

    error = failing(backend(model_of(number)).generate(ask()))

    assert told(error) == (RejectedError, 4, False)
    assert str(error) == (
        f"the prediction {ID} failed: a safety filter refuses it: {body_of(number)['error']}"
    )
    assert error.hint == "change the prompt; another seed may do, too"
    assert recorded.calls == ["create", "get"]


@meets("15")
def test_service_that_is_overloaded_is_left_to_the_caller(
    number: str, recorded: Recorded, backend: Any, ask: Any
) -> None:
    recorded.say("create", "01")
    recorded.say("get", number)

    error = failing(backend(model_of(number)).generate(ask()))

    assert told(error) == (UnavailableError, 5, True)
    assert "the model's service is overloaded or down: Service is currently" in str(error)
    assert error.hint == "try again later"
    assert recorded.calls == ["create", "get"]


@meets("16")
def test_cancelled_prediction_is_told_with_its_cost(
    number: str, recorded: Recorded, backend: Any, ask: Any
) -> None:
    recorded.say("create", "01")
    recorded.say("get", "08")
    recorded.say("cancel", number)
    events: Generator[Event] = backend().generate(ask())
    next(e for e in events if isinstance(e, Progress) and e.step)

    with pytest.raises(Cancelled) as caught:
        events.close()

    assert told(caught.value) == (Cancelled, 130, False)
    assert str(caught.value) == (
        f"cancelled; the prediction {ID}: it had run for 0.128 s, which is charged"
    )
    assert recorded.calls == ["create", "get", "cancel"]


@meets("16")
def test_prediction_that_somebody_else_cancelled_has_ended(
    number: str, recorded: Recorded, backend: Any, ask: Any
) -> None:
    recorded.say("create", "01")
    recorded.say("get", number)

    error = failing(backend().generate(ask()))

    assert told(error) == (ImagenError, 1, False)
    assert str(error) == (
        f"the prediction {ID} was cancelled: it had run for 0.128 s, which is charged"
    )
    assert recorded.calls == ["create", "get"]


@meets("17", "18")
def test_prediction_that_ran_out_of_time_has_ended(
    number: str, recorded: Recorded, backend: Any, ask: Any
) -> None:
    recorded.say("create", "01")
    recorded.say("get", number)
    ends = {
        "17": "did not start within its time and was given up: "
        "it had not started, which costs nothing",
        "18": "ran out of its time and was stopped: it had run for 20.2 s, which is charged",
    }

    error = failing(backend().generate(ask()))

    assert told(error) == (UnavailableError, 5, True)
    assert str(error) == f"the prediction {ID} {ends[number]}"
    assert error.hint == "try again; 'timeout' in the block gives it more than 60 s"
    assert recorded.calls == ["create", "get"]


@meets("19")
def test_pictures_that_are_gone_are_told(
    number: str, recorded: Recorded, backend: Any, ask: Any
) -> None:
    recorded.say("get", number)

    error = failing(backend().generate(ask(resume=ID)))

    assert told(error) == (ImagenError, 1, False)
    assert str(error) == (
        f"the pictures of the prediction {ID} were made, and removed by Replicate an hour later"
    )
    assert error.hint == "they can't be fetched any more: make them again"
    assert recorded.calls == ["get"]


@meets("20")
def test_file_that_is_gone_is_told_with_the_prediction(
    number: str, recorded: Recorded, backend: Any, ask: Any
) -> None:
    recorded.say("create", "03")
    recorded.say("file", number)

    error = failing(backend().generate(ask()))

    assert told(error) == (ImagenError, 1, False)
    assert str(error) == (
        f"the picture of the prediction {ID} is made and paid for, but its file is gone (404)"
    )
    assert error.hint == f"'imagen replicate fetch {ID}' gets it until 09:00:00 UTC"
    assert recorded.calls.count("create") == 1


# Creates that are refused


@meets("21", "22")
def test_refused_token_names_its_variable(
    number: str, recorded: Recorded, backend: Any, ask: Any
) -> None:
    recorded.say("create", number)

    error = failing(backend().generate(ask()))

    assert told(error) == (CredentialsError, 3, False)
    said = body_of(number)["detail"]
    assert str(error) == f"Replicate at {recorded.url} refuses the token (401): {said}"
    assert error.hint == (
        "set REPLICATE_API_TOKEN to a token that may do this; "
        "they are at https://replicate.com/account/api-tokens"
    )
    assert recorded.calls == ["create"]


@meets("23", "24")
def test_missing_credit_shows_where_to_pay(
    number: str, recorded: Recorded, backend: Any, ask: Any
) -> None:
    recorded.say("create", number)

    error = failing(backend().generate(ask()))

    assert told(error) == (RejectedError, 4, False)
    assert str(error) == (
        f"Replicate at {recorded.url} wants to be paid first: {body_of(number)['detail']}"
    )
    assert error.hint == f"add credit, or set up billing, at {BILLING}"
    assert recorded.calls == ["create"]


@meets("25")
@pytest.mark.parametrize("official", [True, False])
def test_model_that_is_not_found_is_looked_up(
    number: str, official: bool, recorded: Recorded, backend: Any, ask: Any
) -> None:
    recorded.say("create", number)
    if official:
        recorded.say("model", number)
    else:
        recorded.say("model", "35", is_official=False)

    error = failing(backend().generate(ask()))

    version = body_of("35")["latest_version"]["id"]
    assert told(error)[1:] == (4, False)
    assert (str(error), error.hint) == (
        (
            f"Replicate at {recorded.url} has no model {SCHNELL}, or not for this token",
            "look at the block's model: owner/name, as in its address on replicate.com",
        )
        if official
        else (
            f"{SCHNELL} is no official model: it runs by its version alone",
            f"model: {SCHNELL}:{version}",
        )
    )
    assert recorded.calls == ["create", "model"]


@meets("26")
def test_version_that_is_not_there_is_refused(
    number: str, recorded: Recorded, backend: Any, ask: Any
) -> None:
    recorded.say("model", number)
    recorded.say("create", number)
    version = REPLIES[number]["request"]["body"]["version"]

    error = failing(backend(f"{SCHNELL}:{version}").generate(ask()))

    assert told(error)[1:] == (4, False)
    assert "The specified version does not exist (or perhaps you don't" in str(error)
    assert recorded.calls == ["model", "create"]


@meets("27", "28")
def test_inputs_that_are_refused_are_named(
    number: str, recorded: Recorded, backend: Any, ask: Any
) -> None:
    recorded.say("create", number)
    fields = {
        "27": "num_outputs: Invalid type. Expected: integer, given: string",
        "28": 'prompt is required; aspect_ratio: must be one of the following: "1:1", "16:9"',
    }

    error = failing(backend().generate(ask()))

    assert told(error)[1:] == (4, False)
    assert str(error) == f"Replicate at {recorded.url} refuses the input: {fields[number]}"
    assert recorded.calls == ["create"]


@meets("29", "30")
def test_throttled_create_waits_as_long_as_it_is_told_with_all_others(
    number: str, recorded: Recorded, backend: Any, ask: Any
) -> None:
    recorded.say("create", number)
    asked = {"29": 30, "30": 5}[number]
    slowed = backend()
    first, second = slowed.generate(ask()), slowed.generate(ask())

    assert asked <= waiting(first, "trying Replicate at") <= asked * 1.1 + 1
    assert asked - 1 <= waiting(second, "waiting") <= asked * 1.1 + 1
    assert recorded.calls == ["create"]
    first.close()
    second.close()
    assert recorded.calls == ["create"]


def waiting(events: Iterator[Event], start: str) -> int:
    """How many seconds it says to wait."""
    messages = (e.message for e in events if isinstance(e, Progress))
    found = re.search(r"(\d+) s", next(m for m in messages if m.startswith(start)))
    assert found
    return int(found[1])


@meets("31")
def test_throttled_create_is_sent_again_after_its_wait(
    number: str, recorded: Recorded, backend: Any, ask: Any, events: Any
) -> None:
    recorded.say("create", number, "03")

    happened = events(backend(), ask())

    assert "again in 1 s" in "".join(e.message for e in happened if isinstance(e, Progress))
    assert len([e for e in happened if isinstance(e, Image)]) == 1
    assert recorded.calls == ["create", "create", "file"]


# Replies that are lost


@meets("32")
def test_create_that_was_lost_on_the_way_is_looked_for_and_not_sent_again(
    number: str, recorded: Recorded, backend: Any, ask: Any
) -> None:
    recorded.say("create", number)
    recorded.say("list", "33", results=[])

    error = failing(backend().generate(ask()))

    assert told(error) == (ImagenError, 1, False)
    assert "answered 502, and no such prediction is listed" in str(error)
    assert "may have been accepted, and billed" in str(error)
    assert "https://replicate.com/predictions" in error.hint
    assert recorded.calls == ["create", "list", "list"]


@meets("32")
def test_look_that_was_lost_is_made_again(
    number: str, recorded: Recorded, backend: Any, ask: Any, images: Any
) -> None:
    recorded.say("create", "01")
    recorded.say("get", number, "09")

    assert len(images(backend(), ask())) == 1
    assert recorded.calls == ["create", "get", "get", "file"]


@meets("33")
def test_prediction_of_a_lost_create_is_found_in_the_list(
    number: str, recorded: Recorded, backend: Any, ask: Any, events: Any
) -> None:
    request = ask(prompt="a lighthouse in fog", seed=41, width=1344, height=768)
    request.params["num_outputs"] = 1
    [listed] = body_of(number)["results"]
    # The list shows each input that was sent, and it was made just now.
    now = datetime.now(UTC).isoformat()
    mine = {**listed, "created_at": now, "input": {**listed["input"], "megapixels": "1"}}
    recorded.say("create", "32")
    recorded.say("list", number, results=[mine])

    happened = events(backend(), request)

    assert recorded.creates[0]["input"] == mine["input"]
    assert [e.remote_id for e in happened if isinstance(e, Accepted)] == [ID]
    assert len([e for e in happened if isinstance(e, Image)]) == 1
    assert recorded.calls == ["create", "list", "file"]


@meets("33")
def test_prediction_of_another_input_in_the_list_is_left_alone(
    number: str, recorded: Recorded, backend: Any, ask: Any
) -> None:
    recorded.say("create", "32")
    recorded.say("list", number)

    error = failing(backend().generate(ask(prompt="a lighthouse in fog", seed=42)))

    assert "no such prediction is listed" in str(error)
    assert recorded.calls == ["create", "list", "list"]


# Files and models


@meets("34")
def test_address_of_an_upload_is_the_input(
    number: str, recorded: Recorded, backend: Any, ask: Any, images: Any
) -> None:
    recorded.say("upload", number)
    recorded.say("create", "10")
    data = noise()
    image = InputImage(name="in.png", mime="image/png", sha256="0" * 64, size=len(data), data=data)

    assert len(images(backend(PRO), ask(images=(image,)))) == 1

    stored = body_of(number)["urls"]["get"].removeprefix("https://api.replicate.com/v1")
    assert recorded.creates[0]["input"]["image_prompt"] == f"{recorded.url}{stored}"
    assert recorded.requests[0].headers["content-type"].startswith("multipart/form-data")
    assert recorded.calls == ["upload", "create", "file"]


def noise() -> bytes:
    """A PNG that is too large to travel inside a request."""
    from PIL import Image as Pillow

    file = BytesIO()
    pixels = random.Random(1).randbytes(320 * 320 * 3)
    Pillow.frombytes("RGB", (320, 320), pixels).save(file, "png")
    return file.getvalue()


@meets("35")
def test_choices_behind_references_are_known_before_anything_is_sent(
    number: str, recorded: Recorded, backend: Any, ask: Any
) -> None:
    recorded.say("model", number)
    request = ask(params={"aspect_ratio": "16:10"})

    error = failing(backend("nobody/knows-it").generate(request))

    assert told(error) == (UsageError, 2, False)
    assert "aspect_ratio" in str(error)
    assert "16:10" in str(error)
    assert recorded.calls == ["model"]


@meets("35")
def test_inputs_of_the_live_schema_are_what_is_sent(
    number: str, recorded: Recorded, backend: Any, ask: Any, images: Any
) -> None:
    recorded.say("model", number)
    recorded.say("create", "03")

    images(backend("nobody/knows-it"), ask(width=1344, height=768))

    assert recorded.creates == [{"input": {"prompt": "a cat", "aspect_ratio": "16:9"}}]


@meets("36")
def test_record_that_is_pushed_is_read_as_any_other(number: str) -> None:
    pushed = read_prediction(REPLIES[number]["request"]["body"])

    assert pushed == read_prediction(body_of("09"))
    assert pushed is not None
    assert (pushed.id, pushed.ended, pushed.seed, pushed.image_count) == (ID, True, 41, 1)
