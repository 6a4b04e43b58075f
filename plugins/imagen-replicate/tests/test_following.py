"""A prediction is followed to its end: progress, faults on the way, endings, the time limit."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core import (
    Accepted,
    Cost,
    CredentialsError,
    Image,
    ImagenError,
    Progress,
    RejectedError,
    Remark,
    UnavailableError,
)
from imagen_replicate.prediction import Prediction, read_prediction
from imagen_replicate.testing import FakeReplicate
from replicate_fixtures import PAGE, begun, failing, pictures, until_failure, until_it_runs

if TYPE_CHECKING:
    pass

# Until it is there


def test_prediction_that_waits_and_runs_is_followed(
    server: FakeReplicate, make: Any, ask: Any
) -> None:
    server.hold("starting")
    events = make(wait=0).generate(ask())
    id = begun(events)

    waiting = next(events)
    server.release()
    rest = list(events)

    assert waiting == Progress(message="waiting for a machine")
    assert [event.metadata["prediction_id"] for event in rest if isinstance(event, Image)] == [id]


def test_steps_of_the_logs_are_the_progress(server: FakeReplicate, make: Any, ask: Any) -> None:
    server.hold()
    events = make(wait=0).generate(ask())
    begun(events)

    found = next(e for e in events if isinstance(e, Progress) and e.step)
    server.release()
    list(events)

    assert (found.step, found.steps) == (2, 4)
    assert found.fraction == pytest.approx(0.45)


def test_pictures_that_are_there_early_are_taken(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    server.files_ready_early(True)

    assert len(images(make(wait=60), ask())) == 1
    assert [received.method for received in server.requests] == ["POST"]


@pytest.mark.parametrize("kind", ["list", "string", "data"])
def test_output_of_any_shape_is_taken(
    server: FakeReplicate, make: Any, ask: Any, images: Any, kind: str
) -> None:
    server.answer_with(kind)

    [image] = images(make(), ask())

    assert image.mime == "image/png"


def test_several_pictures_of_one_prediction_are_taken(make: Any, ask: Any, events: Any) -> None:
    happened = events(make(), ask(params={"num_outputs": 3}))

    assert len(pictures(happened)) == 3
    [cost] = [event for event in happened if isinstance(event, Cost)]
    assert cost.usd == pytest.approx(0.009)


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, {"detail": "x"}), (502, PAGE), (200, PAGE), (404, {"detail": "not found"}), (None, "")],
    ids=str,
)
def test_look_that_fails_does_not_matter(
    server: FakeReplicate, make: Any, ask: Any, images: Any, status: int | None, body: Any
) -> None:
    server.hold()
    server.accept_then("get", status, body=body, times=3)
    timer = threading.Timer(0.5, server.release)
    timer.start()

    assert len(images(make(wait=0), ask())) == 1
    timer.join()


def test_look_that_is_throttled_waits(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    server.hold()
    body = {"detail": "Request was throttled. Your rate limit resets in ~0s."}
    server.refuse("get", 429, body=body, times=2)
    timer = threading.Timer(0.3, server.release)
    timer.start()

    assert len(images(make(wait=0), ask())) == 1
    timer.join()


def test_token_that_is_refused_on_the_way_leaves_the_id(
    server: FakeReplicate, make: Any, ask: Any
) -> None:
    server.hold()
    events = make(wait=0).generate(ask())
    id = begun(events)
    server.refuse("get", 401, body={"status": 401})

    error = failing(events, CredentialsError)

    assert f"'imagen replicate fetch {id}' gets what the prediction may still make" in error.hint


# Endings


@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        (
            "All generated images contained NSFW content. Try running it again with a different "
            "prompt.",
            RejectedError,
            "a safety filter refuses it",
        ),
        (
            "The input or output was flagged as sensitive. Please try again with different inputs. "
            "(E005) (uIJ6l3ruRD)",
            RejectedError,
            "a safety filter refuses it",
        ),
        (
            "Service is currently unavailable due to high demand. Please try again later. (E003)",
            UnavailableError,
            "the model's service is overloaded or down",
        ),
        (
            "Service is temporarily unavailable. Please try again later. (E004)",
            UnavailableError,
            "the model's service is overloaded or down",
        ),
        ("Prediction failed. (E001)", ImagenError, "account at the model's vendor does not work"),
        ("CUDA out of memory", ImagenError, "the model ran out of memory"),
        ("E1001: out of memory", ImagenError, "the model ran out of memory"),
        ("width must be a multiple of 32", RejectedError, "the model refuses the input"),
        ("Invalid image", RejectedError, "the model refuses the input"),
        ("E1000 something", ImagenError, "failed: E1000 something"),
    ],
)
def test_failure_is_told_by_its_text(
    server: FakeReplicate, make: Any, ask: Any, text: str, kind: type[ImagenError], told: str
) -> None:
    server.fail_with(text)

    error = failing(make().generate(ask()), kind)

    assert f"the prediction {server.predictions[0].id} failed: " in error.message
    assert told in error.message
    assert text in error.message


def test_pictures_that_a_filter_kept_back_are_told(
    server: FakeReplicate, make: Any, ask: Any, events: Any
) -> None:
    server.withhold(1)

    happened = events(make(), ask(params={"num_outputs": 4}))

    assert len(pictures(happened)) == 3
    assert Remark(text="a safety filter kept 1 of 4 pictures back") in happened
    assert [event.usd for event in happened if isinstance(event, Cost)] == [0.012]


def test_prediction_without_any_picture_is_refused(
    server: FakeReplicate, make: Any, ask: Any
) -> None:
    logs = "NSFW content detected in image 0"
    record = {"id": "abc", "status": "succeeded", "output": [], "logs": logs}
    server.accept_then("create", 201, body=record)

    error = failing(make().generate(ask()), RejectedError)

    assert str(error) == "the prediction abc ended, but a safety filter kept all of it back"


def test_one_that_did_not_start_in_time_costs_nothing(
    server: FakeReplicate, make: Any, ask: Any
) -> None:
    server.hold("starting")
    events = make(wait=0).generate(ask())
    id = begun(events)
    server.deadline(id)

    error = failing(events, UnavailableError)

    assert str(error) == (
        f"the prediction {id} did not start within its time and was given up: "
        "it had not started, which costs nothing"
    )


def test_free_ending_is_told_as_its_cost(server: FakeReplicate, make: Any, ask: Any) -> None:
    server.hold("starting")
    events = make(wait=0).generate(ask())
    server.deadline(begun(events))

    happened, _ = until_failure(events)

    assert happened[-1] == Cost(usd=0, basis="it never started")


def test_one_that_ran_out_of_time_is_charged(server: FakeReplicate, make: Any, ask: Any) -> None:
    server.hold()
    events = make(wait=0).generate(ask())
    id = begun(events)
    until_it_runs(server)
    server.deadline(id)

    error = failing(events, UnavailableError)

    assert f"the prediction {id} ran out of its time and was stopped: it had run for" in str(error)
    assert "which is charged" in str(error)


def test_one_that_somebody_cancelled_is_told(server: FakeReplicate, make: Any, ask: Any) -> None:
    server.hold()
    events = make(wait=0).generate(ask())
    id = begun(events)
    until_it_runs(server)
    server.cancel_elsewhere(id)

    error = failing(events, ImagenError)

    assert f"the prediction {id} was cancelled: it had run for" in str(error)


# The time limit


def test_limit_is_that_of_the_model_or_of_the_block(make: Any) -> None:
    limits = [make().limit, make(model="black-forest-labs/flux-dev").limit, make(timeout=7).limit]

    assert limits == [60, 120, 7]


def test_limit_that_is_reached_stops_the_prediction(
    server: FakeReplicate, make: Any, ask: Any
) -> None:
    server.hold()

    error = failing(make(wait=0, timeout=0.3).generate(ask()), UnavailableError)

    [made] = server.predictions
    assert made.status == "canceled"
    assert str(error).startswith(f"the prediction {made.id} was not done in 0.3 s: it had ")
    assert error.hint == "try again; 'timeout' in the block gives it more than 0.3 s"


def test_limit_that_is_reached_before_the_start_costs_nothing(
    server: FakeReplicate, make: Any, ask: Any
) -> None:
    server.hold("starting")

    error = failing(make(wait=0, timeout=0.2).generate(ask()), UnavailableError)

    assert "it had not started, which costs nothing" in str(error)


def test_picture_that_is_done_when_it_is_stopped_is_taken(
    server: FakeReplicate, make: Any, ask: Any
) -> None:
    server.hold()
    server.refuse("get", 502, body=PAGE, times=99)
    backend = make(wait=0, timeout=0.3)
    events = backend.generate(ask())
    begun(events)
    server.release()

    assert len(pictures(events)) == 1


def test_stop_that_is_not_confirmed_is_told(server: FakeReplicate, make: Any, ask: Any) -> None:
    server.hold()
    server.refuse("cancel", 502, body=PAGE, times=99)

    error = failing(make(wait=0, timeout=0.2).generate(ask()), UnavailableError)

    assert "Replicate could not be told to stop it" in str(error)


# An earlier one


def test_earlier_prediction_is_picked_up(
    server: FakeReplicate, make: Any, ask: Any, images: Any, events: Any
) -> None:
    [first] = images(make(), ask())
    id = server.predictions[0].id

    happened = events(make(), ask(resume=id))

    assert [event for event in happened if isinstance(event, Accepted)] == [Accepted(remote_id=id)]
    [again] = [event for event in happened if isinstance(event, Image)]
    assert (again.data, again.seed) == (first.data, 7)
    assert len(server.creates) == 1


def test_earlier_prediction_that_still_runs_is_followed(
    server: FakeReplicate, make: Any, ask: Any
) -> None:
    server.hold()
    events = make(wait=0).generate(ask())
    id = begun(events)
    following = make().generate(ask(resume=id))
    begun(following)
    server.release()

    assert len(pictures(following)) == 1
    assert len(server.creates) == 1
    list(events)


def test_earlier_prediction_whose_data_is_gone_is_told(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    images(make(), ask())
    id = server.predictions[0].id
    server.remove_data(id)

    error = failing(make().generate(ask(resume=id)), ImagenError)

    assert str(error) == (
        f"the pictures of the prediction {id} were made, and removed by Replicate an hour later"
    )


@pytest.mark.parametrize("how", ["canceled", "failed"])
def test_earlier_prediction_that_ended_is_not_made_again(
    server: FakeReplicate, make: Any, ask: Any, how: str
) -> None:
    if how == "failed":
        server.fail_with("Invalid image")
        failing(make().generate(ask()), RejectedError)
    else:
        server.hold()
        events = make(wait=0).generate(ask())
        server.cancel_elsewhere(begun(events))
        failing(events, ImagenError)

    with pytest.raises(ImagenError):
        list(make().generate(ask(resume=server.predictions[0].id)))

    assert len(server.creates) == 1


def test_earlier_prediction_that_ended_is_not_to_be_waited_for(
    server: FakeReplicate, make: Any, ask: Any
) -> None:
    server.fail_with("the service is temporarily unavailable (E003)")
    first = failing(make().generate(ask()), UnavailableError)

    again = failing(make().generate(ask(resume=server.predictions[0].id)), ImagenError)

    assert (again.code, again.retryable) == ("failed", False)
    assert str(again) == str(first)


def test_earlier_prediction_that_nobody_knows_is_told(make: Any, ask: Any) -> None:
    with pytest.raises(RejectedError, match="answered 404"):
        list(make().generate(ask(resume="gone")))


# What a record may lack


@pytest.mark.parametrize(
    "body",
    [None, [], "text", {}, {"id": 5, "status": "x"}, {"id": "a/b", "status": "x"}, {"id": "a"}],
    ids=str,
)
def test_what_is_no_prediction_is_none(body: Any) -> None:
    assert read_prediction(body) is None


def test_record_needs_no_more_than_id_and_status() -> None:
    assert read_prediction({"id": "a", "status": "starting"}) == Prediction(
        id="a", status="starting"
    )


def test_odd_values_do_no_harm() -> None:
    body: dict[str, Any] = {
        "id": "a",
        "status": "succeeded",
        "output": {"images": ["https://x/1.png", 5, None], "text": "no address"},
        "metrics": [],
        "input": "x",
        "logs": None,
        "error": {"a": 1},
    }

    found = read_prediction(body)

    assert found is not None
    assert found.outputs == ("https://x/1.png",)
    assert (found.predict_time, found.image_count, found.seed, found.step) == (None,) * 4
    assert found.kept_until == "an hour after it was made"
