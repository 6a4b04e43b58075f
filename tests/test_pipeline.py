"""run() and each(): order, slots, cancelling, failing disks, failing steps."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core.errors import UsageError
from imagen_core.pipeline import Step
from imagen_core.types import (
    Done,
    Failure,
    Image,
    Note,
    Progress,
    Request,
    Run,
)
from scripted import PICTURE, Bench, Scripted, join_makings, noted, png, request

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_explicit_path_is_replaced_and_later_ones_are_numbered(bench: Bench) -> None:
    bench.folder.mkdir()
    (bench.folder / "x.png").write_bytes(b"old")
    (bench.folder / "x-2.png").write_bytes(b"not mine")
    bench.backends["b"] = Scripted(
        lambda r: iter([Image(data=png(shade=r.seed), mime="image/png")])
    )
    target = bench.target(path=bench.folder / "x.png", replace=True)

    done = bench.pipeline().each([request(number=n) for n in (1, 2, 3)], target, bench.cancel)
    runs = {item.request.seed: item for _, item in done if isinstance(item, Run)}

    assert (bench.folder / "x.png").read_bytes() == png(shade=1)
    assert (bench.folder / "x-2.png").read_bytes() == b"not mine"
    assert {Path(runs[seed].outputs[0].path).name for seed in (2, 3)} == {"x-3.png", "x-4.png"}


def test_folder_that_cannot_be_made_is_refused_before_anything_is_spent(
    bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    asked: list[str] = []

    with pytest.raises(UsageError, match="cannot make the folder"):
        bench.run(
            lambda _: iter(noted(asked, "asked")), target=bench.target(folder=tmp_path / "file/x")
        )

    assert asked == []


def test_broken_ledger_is_one_warning_and_costs_no_picture(bench: Bench) -> None:
    bench.data.mkdir()
    bench.ledger.path.write_bytes(b"this is no database" * 100)

    run = bench.run(lambda _: iter([PICTURE]))

    assert run.failure is None
    assert Path(run.outputs[0].path).is_file()
    (note,) = run.notes
    assert (note.step, note.warning) == ("ledger", True)
    assert "file is not a database; nothing is recorded from here on" in note.text


def test_metadata_that_nobody_can_encode_costs_neither_picture_nor_ledger(bench: Bench) -> None:
    endless: dict[str, Any] = {}
    endless["x"] = endless

    def script(request: Request) -> Iterator[Any]:
        yield Image(data=png(), mime="image/png", metadata=endless if request.seed == 1 else {})

    bench.backends["b"] = Scripted(script, resource="one")
    done = bench.pipeline().each([request(number=n) for n in (1, 2)], bench.target(), bench.cancel)
    odd, fine = [item for _, item in done if isinstance(item, Run)]

    assert (odd.failure, fine.failure) == (None, None)
    assert Path(odd.outputs[0].path).is_file()
    assert [note.step for note in odd.notes] == ["ledger"]
    assert fine.notes == ()
    assert [run.id for run in bench.ledger.runs()] == [fine.id]


def test_steps_run_in_their_order_around_the_run(bench: Bench) -> None:
    order: list[str] = []

    def step(name: str, phase: Any) -> Step:
        return Step(name, phase, lambda _: noted(order, name))

    bench.steps = [step("share", "publish"), step("sidecar", "record"), step("look", "show")]
    bench.backends["b"] = Scripted(lambda _: iter([PICTURE]))
    pipeline = bench.pipeline()

    for _, item in pipeline.each([request()], bench.target(), bench.cancel):
        if isinstance(item, (Run, Note)):
            order.append(type(item).__name__)
    pipeline.show([], [])

    assert order == ["sidecar", "Run", "share", "Note", "look"]
    recorded = bench.ledger.get(request().id)
    assert recorded is not None
    assert [note.step for note in recorded.notes] == ["sidecar", "share"]


@pytest.mark.parametrize("error", [ValueError("no luck"), SystemExit("no luck")])
def test_step_that_fails_stops_no_other(bench: Bench, error: BaseException) -> None:
    def fail(_: Done) -> list[Note]:
        raise error

    bench.steps = [
        Step("first", "record", fail),
        Step("second", "record", lambda _: [Note(step="second", text="fine")]),
    ]

    run = bench.run(lambda _: iter([PICTURE]))

    assert run.failure is None
    assert run.notes == (
        Note(step="first", text=f"{type(error).__name__}: no luck", warning=True),
        Note(step="second", text="fine"),
    )


def test_step_that_gives_no_note_is_told(bench: Bench) -> None:
    bench.steps = [Step("odd", "record", lambda _: ["done"])]  # type: ignore[list-item]

    run = bench.run(lambda _: iter([PICTURE]))

    assert run.notes == (
        Note(step="odd", text="TypeError: it gave a str, which is no Note", warning=True),
    )


def test_equal_resources_never_run_at_once_and_others_do(bench: Bench) -> None:
    running: set[str] = set()
    both = threading.Barrier(2, timeout=20)
    overlaps: list[set[str]] = []

    def gpu(request: Request) -> Iterator[Any]:
        overlaps.append({name for name in running if name.startswith("gpu")})
        name = f"gpu{request.seed}"
        running.add(name)
        if request.seed == 1:
            both.wait()  # the cloud's run must be under way now, too
        yield PICTURE
        running.discard(name)

    def cloud(_: Request) -> Iterator[Any]:
        both.wait()
        yield PICTURE

    bench.backends = {
        "gpu": Scripted(gpu, resource="http://box"),
        "same": Scripted(gpu, resource="http://box"),
        "cloud": Scripted(cloud, resource="cloud"),
    }
    requests = [request("gpu", 1), request("same", 2), request("gpu", 3), request("cloud", 4)]

    done = bench.pipeline().each(requests, bench.target(), bench.cancel)
    runs = [item for _, item in done if isinstance(item, Run)]

    assert [run.failure for run in runs] == [None] * 4
    assert overlaps == [set(), set(), set()]


def test_results_come_as_they_finish(bench: Bench) -> None:
    fast_is_done = threading.Event()

    def slow(_: Request) -> Iterator[Any]:
        assert fast_is_done.wait(20)
        yield PICTURE

    bench.backends = {
        "slow": Scripted(slow, resource="a"),
        "fast": Scripted(lambda _: iter([PICTURE]), resource="b"),
    }
    finished = []
    requests = [request("slow", 1), request("fast", 2)]
    for request_, item in bench.pipeline().each(requests, bench.target(), bench.cancel):
        if isinstance(item, Run):
            finished.append(request_.backend)
            fast_is_done.set()

    assert finished == ["fast", "slow"]


def test_cancelled_before_it_began_has_a_run_and_no_record(bench: Bench) -> None:
    bench.cancel.set()

    run = bench.run(lambda _: iter([PICTURE]))

    assert run.failure == Failure(code="cancelled", message="cancelled before it began")
    assert list(bench.ledger.runs()) == []


def test_what_never_began_has_no_steps(bench: Bench) -> None:
    steps: list[str] = []
    bench.steps = [
        Step("keep", "record", lambda done: noted(steps, done.runs[0].id)),
        Step("tell", "publish", lambda done: noted(steps, done.runs[0].id)),
    ]
    is_begun = threading.Event()

    def script(_: Request) -> Iterator[Any]:
        is_begun.set()
        yield PICTURE

    bench.backends["b"] = Scripted(script, resource="one")
    requests = [request(number=n) for n in (1, 2, 3)]
    made = bench.pipeline().each(
        requests, bench.target(), bench.cancel, enough=lambda _: is_begun.is_set()
    )
    runs = [item for _, item in made if isinstance(item, Run)]

    assert [run.id for run in runs] == [each.id for each in requests]
    assert steps == [requests[0].id] * 2


def test_backend_that_does_not_react_is_left_behind(bench: Bench) -> None:
    release = threading.Event()
    bench.grace = 0.2

    def script(_: Request) -> Iterator[Any]:
        bench.cancel.set()
        release.wait(20)
        yield PICTURE

    run = bench.run(script)
    release.set()

    assert run.failure is not None
    assert run.failure.message == (
        "cancelled; the backend 'b' did not react within 0.2 s and may still be at work"
    )


def test_late_picture_of_a_backend_left_behind_is_kept(bench: Bench) -> None:
    release = threading.Event()
    bench.grace = 0.2

    def script(_: Request) -> Iterator[Any]:
        bench.cancel.set()
        release.wait(20)
        yield PICTURE

    run = bench.run(script)
    release.set()
    join_makings()

    assert run.outputs == ()
    recorded = bench.ledger.get(run.id)
    assert recorded is not None
    assert recorded.failure == run.failure
    assert Path(recorded.outputs[0].path).parent == bench.data / "rescued"
    assert Path(recorded.outputs[0].path).read_bytes() == PICTURE.data


def test_what_waits_behind_a_hanging_backend_never_began(bench: Bench) -> None:
    release = threading.Event()
    bench.grace = 0.2

    def script(_: Request) -> Iterator[Any]:
        bench.cancel.set()
        release.wait(20)
        yield PICTURE

    bench.backends["b"] = Scripted(script, resource="one")
    done = bench.pipeline().each(
        [request(number=n) for n in (1, 2, 3)], bench.target(), bench.cancel
    )
    runs = [item for _, item in done if isinstance(item, Run)]
    recorded = [run.id for run in bench.ledger.runs()]
    release.set()

    assert [run.failure and run.failure.message for run in runs[1:]] == [
        "cancelled before it began"
    ] * 2
    assert recorded == [runs[0].id]


def test_consumer_that_leaves_while_backends_are_given_up_sees_none_twice(bench: Bench) -> None:
    release = threading.Event()
    both_began = threading.Barrier(2, bench.cancel.set)
    bench.grace = 0.2
    steps: list[str] = []
    bench.steps = [Step("count", "record", lambda done: noted(steps, done.runs[0].id))]

    def script(_: Request) -> Iterator[Any]:
        both_began.wait()
        release.wait(20)
        yield PICTURE

    bench.backends["b"] = Scripted(script)
    done = bench.pipeline().each([request(number=n) for n in (1, 2)], bench.target(), bench.cancel)
    next(item for _, item in done if isinstance(item, Run))
    done.close()
    seen = list(steps)
    release.set()

    assert sorted(seen) == [request(number=1).id, request(number=2).id]


def test_consumer_that_goes_away_ends_everything(bench: Bench) -> None:
    closed = threading.Event()

    def script(_: Request) -> Iterator[Any]:
        try:
            while True:
                yield Progress()
        finally:
            closed.set()

    bench.backends["b"] = Scripted(script)
    events = bench.pipeline().each([request()], bench.target(), bench.cancel)

    next(events)
    events.close()

    assert closed.is_set()
    recorded = bench.ledger.get(request().id)
    assert recorded is not None
    assert recorded.failure is not None


def test_run_of_a_consumer_that_went_away_has_its_steps(bench: Bench) -> None:
    seen: list[str] = []
    bench.steps = [Step("sidecar", "record", lambda done: noted(seen, done.paths[0]))]

    def script(_: Request) -> Iterator[Any]:
        yield PICTURE
        yield Progress()

    bench.backends["b"] = Scripted(script)
    events = bench.pipeline().each([request()], bench.target(), bench.cancel)
    next(events)
    events.close()

    assert seen == [str(bench.folder / "a-cat.png")]


def test_second_interrupt_waits_for_no_backend(bench: Bench) -> None:
    release = threading.Event()
    bench.grace = 600

    def script(_: Request) -> Iterator[Any]:
        try:
            while True:
                yield Progress()
        finally:
            release.wait(60)

    bench.backends["b"] = Scripted(script)
    events = bench.pipeline().each([request()], bench.target(), bench.cancel)
    next(events)

    with pytest.raises(KeyboardInterrupt):
        events.throw(KeyboardInterrupt())

    assert not release.is_set()
    run = bench.ledger.get(request().id)
    assert run is not None
    assert run.failure is not None
    assert run.failure.message.endswith("'b' was not waited for and may still be at work")
    release.set()
