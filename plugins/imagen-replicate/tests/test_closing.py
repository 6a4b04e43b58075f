"""However it ends: in time, with what is true of the prediction, and without a second one."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core import Accepted, Cancelled, Cost, Event, ImagenError, UnavailableError
from replicate_fixtures import PAGE, begun, failing, pictures, until_failure, until_it_runs

if TYPE_CHECKING:
    from collections.abc import Generator

    from imagen_replicate.testing import FakeReplicate

WAITS = {"Retry-After": "15"}


def close(events: Generator[Event, None, None]) -> str:
    with pytest.raises(Cancelled) as caught:
        events.close()
    return str(caught.value)


# Closing


def test_create_without_a_reply_is_looked_for_at_once(
    server: FakeReplicate, make: Any, ask: Any
) -> None:
    server.hold()
    server.hang("create")
    events = make(wait=30).generate(ask())
    next(events)
    until_it_runs(server)

    told = close(events)

    assert server.predictions[0].status == "canceled"
    assert f"the prediction {server.predictions[0].id}: it had run for" in told


def test_create_that_was_given_up_is_no_longer_in_the_way(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    server.hang("create")
    server.refuse("list", 502, body=PAGE, times=9)
    backend = make(model="google/nano-banana")
    events = backend.generate(ask())
    next(events)
    close(events)

    assert not backend.account.claims.undecided({})
    assert len(images(backend, ask(seed=8))) == 1


def test_waits_that_a_server_asks_for_are_not_kept_by_whoever_closes(
    server: FakeReplicate, make: Any, ask: Any
) -> None:
    server.hold()
    server.refuse("cancel", 503, headers=WAITS, times=99)
    events = make(wait=0).generate(ask())
    begun(events)

    told = close(events)

    assert "Replicate could not be told to stop it" in told
    assert len([r for r in server.requests if r.path.endswith("/cancel")]) == 3


def test_what_a_cancel_costs_is_told_by_the_last_look(
    server: FakeReplicate, make: Any, ask: Any
) -> None:
    server.hold("starting")
    events = make(wait=0).generate(ask())
    id = begun(events)
    server.release()
    server.wait_for(id, "succeeded")
    server.refuse("cancel", 502, body=PAGE, times=99)

    told = close(events)

    assert "which costs nothing" not in told


def test_resume_that_is_closed_at_its_first_look_stops_the_prediction(
    server: FakeReplicate, make: Any, ask: Any
) -> None:
    server.hold()
    events = make(wait=0).generate(ask())
    id = begun(events)
    until_it_runs(server)
    server.slow("get", 1)
    again = make().generate(ask(resume=id))
    next(again)

    told = close(again)

    assert f"the prediction {id}: it had run for" in told
    assert server.predictions[0].status == "canceled"
    with contextlib.suppress(ImagenError):
        list(events)


def test_whoever_only_watches_stops_nothing(server: FakeReplicate, make: Any, ask: Any) -> None:
    server.hold()
    events = make(wait=0).generate(ask())
    id = begun(events)
    watcher = make()
    watcher.only_watches = True
    watching = watcher.generate(ask(resume=id))
    begun(watching)

    told = close(watching)

    assert told == f"cancelled; the prediction {id}: it goes on"
    server.release()
    assert len(pictures(events)) == 1


def test_whoever_only_watches_leaves_one_that_takes_long(
    server: FakeReplicate, make: Any, ask: Any
) -> None:
    server.hold()
    events = make(wait=0).generate(ask())
    id = begun(events)
    watcher = make(timeout=0.2)
    watcher.only_watches = True

    error = failing(watcher.generate(ask(resume=id)), UnavailableError)

    assert str(error) == f"the prediction {id} is not done yet, and goes on"
    assert server.predictions[0].status == "processing"
    close(events)


# Time


def test_look_that_is_told_to_wait_long_does_not_hold_up_the_limit(
    server: FakeReplicate, make: Any, ask: Any
) -> None:
    server.hold()
    server.refuse("get", 503, headers={"Retry-After": "60"}, times=99)

    error = failing(make(wait=0, timeout=0.3).generate(ask()), UnavailableError)

    assert "was not done in 0.3 s" in str(error)


def test_hold_is_no_longer_than_the_limit(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    images(make(wait=60, timeout=7), ask())

    assert server.creates[0].headers["prefer"] == "wait=7"


# What was made is kept


def test_pictures_of_one_that_failed_later_are_kept(
    server: FakeReplicate, make: Any, ask: Any
) -> None:
    url = f"{server.files_url}/none.png"
    record = {"id": "abc", "status": "failed", "output": [url], "error": "Invalid image"}
    server.accept_then("create", 201, body=record)
    server.answer_with("data")

    happened, error = until_failure(make().generate(ask()))

    assert "abc" in str(error)
    assert [event.remote_id for event in happened if isinstance(event, Accepted)] == ["abc"]


def test_picture_is_kept_where_its_run_time_is_never_told(
    server: FakeReplicate, make: Any, ask: Any, events: Any
) -> None:
    server.files_ready_early(True)
    server.refuse("get", 502, body=PAGE, times=999)
    model = f"lab/tiny:{server.version_of('lab/tiny')}"

    happened = events(make(model=model, hardware="l40s", wait=60), ask())

    assert len(pictures(happened)) == 1
    assert [event for event in happened if isinstance(event, Cost)] == []


def test_cost_is_told_though_the_picture_cannot_be_fetched(
    server: FakeReplicate, make: Any, ask: Any
) -> None:
    server.refuse("file", 404, body="", times=9)

    happened, _ = until_failure(make().generate(ask()))

    assert [event.usd for event in happened if isinstance(event, Cost)] == [0.003]


def test_pictures_that_come_one_by_one_are_waited_for(
    server: FakeReplicate, make: Any, ask: Any, png: bytes
) -> None:
    """A model without num_outputs may list its first picture while it makes the next."""
    import base64

    server.hold()
    url = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    events = make(model="google/nano-banana", wait=0).generate(ask())
    id = begun(events)
    partly = {"id": id, "status": "processing", "output": [url]}
    whole = {"id": id, "status": "succeeded", "output": [url, url]}
    server.refuse("get", 200, body=partly, times=2)
    server.refuse("get", 200, body=whole)

    assert len(pictures(events)) == 2


@pytest.mark.parametrize(
    "output", [["http://[::1/x.png"], ["data:,hello"], ["https://[x"]], ids=str
)
def test_address_that_makes_no_sense_is_told_with_the_id(
    server: FakeReplicate, make: Any, ask: Any, output: list[str]
) -> None:
    record = {"id": "abc", "status": "succeeded", "output": output}
    server.accept_then("create", 201, body=record)

    error = failing(make().generate(ask()), ImagenError)

    assert str(error).startswith("the picture of the prediction abc is made and paid for, but ")


def test_odd_numbers_of_the_server_do_not_cost_the_picture(
    server: FakeReplicate, make: Any, ask: Any, images: Any, png: bytes
) -> None:
    import base64

    url = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    metrics = {"image_count": 10**30, "predict_time": 1e300}
    record = {"id": "abc", "status": "succeeded", "output": [url], "metrics": metrics}
    server.accept_then("create", 201, body=record)

    assert len(images(make(), ask())) == 1


# Whose it is


def test_prediction_with_more_inputs_is_left_alone(
    server: FakeReplicate, make: Any, ask: Any, images: Any, png: bytes
) -> None:
    from replicate_fixtures import image_of

    images(make(model="google/nano-banana"), ask(images=(image_of(png),)))
    server.drop("create")

    error = failing(make(model="google/nano-banana").generate(ask()), ImagenError)

    assert "no such prediction is listed" in str(error)


def test_prediction_of_another_model_is_left_alone(
    server: FakeReplicate, make: Any, ask: Any
) -> None:
    server.models["black-forest-labs/flux-krea-dev"] = server.models["black-forest-labs/flux-dev"]
    list(make(model="black-forest-labs/flux-krea-dev").generate(ask()))
    server.drop("create")

    error = failing(make(model="black-forest-labs/flux-dev").generate(ask()), ImagenError)

    assert "no such prediction is listed" in str(error)


def test_two_instances_of_one_account_share_what_is_whose(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    images(make(model="google/nano-banana"), ask())
    server.drop("create")

    error = failing(make(model="google/nano-banana").generate(ask()), ImagenError)

    assert "no such prediction is listed" in str(error)


def test_prediction_that_the_ledger_has_is_left_alone(
    server: FakeReplicate, imagen: Any, configured: Any
) -> None:
    configured(model="google/nano-banana")
    imagen("generate", "a cat")
    server.drop("create")

    done = imagen("generate", "a cat")

    assert done.exit_code == 1
    assert "no such prediction is listed" in done.err
    assert server.bills == 1


def test_look_that_fails_is_only_one_of_the_looks(
    server: FakeReplicate, make: Any, ask: Any, images: Any
) -> None:
    server.accept_then("create", 502, body=PAGE)
    server.refuse("list", 502, body=PAGE, times=2)

    assert len(images(make(), ask())) == 1
    assert (len(server.creates), server.bills) == (1, 1)


def test_gateway_that_answers_in_json_is_not_the_api(
    server: FakeReplicate, make: Any, ask: Any
) -> None:
    server.refuse("create", 503, body={"message": "upstream is away"})

    error = failing(make().generate(ask()), ImagenError)

    assert "may have been accepted, and billed" in str(error)
    assert len(server.creates) == 1


def test_clock_that_is_an_hour_off_does_no_harm(
    server: FakeReplicate, make: Any, ask: Any, images: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datetime as module

    from imagen_replicate import creating

    class Fast(module.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return super().now(tz) + module.timedelta(hours=1)

    monkeypatch.setattr("imagen_replicate.client.datetime", Fast)
    monkeypatch.setattr(creating, "datetime", Fast)
    server.accept_then("create", 502, body=PAGE)

    assert len(images(make(), ask())) == 1
    assert server.bills == 1


# The pace


def test_creates_keep_their_distance_after_a_refusal(
    server: FakeReplicate, make: Any, ask: Any
) -> None:
    backend = make()
    backend.account.pace.refused(30)
    events = backend.generate(ask())

    waiting = next(events)

    assert getattr(waiting, "message", "").startswith("waiting ")
    assert server.creates == []
    events.close()


def test_turns_are_spaced_after_a_refusal() -> None:
    from imagen_replicate.pace import Pace

    pace = Pace()
    pace.refused(0.05)
    turns = [pace.turn("x") for _ in range(2)]
    taken: list[int] = []

    def take(number: int) -> None:
        list(turns[number])
        taken.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(taken) == [0, 1]
    assert next(pace.turn("x"), None) is not None
