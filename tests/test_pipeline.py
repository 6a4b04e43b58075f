"""run() and each(): order, slots, cancelling, failing disks, failing steps."""

from __future__ import annotations

import asyncio
import errno
import threading
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from imagen_core import files
from imagen_core.errors import UnavailableError, UsageError
from imagen_core.ledger import Ledger
from imagen_core.pipeline import Pipeline, Step
from imagen_core.protocols import Backend, Instance
from imagen_core.types import (
    About,
    Accepted,
    Cost,
    Done,
    Failure,
    Image,
    Note,
    Progress,
    Request,
    Run,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator


def png(width: int = 4, height: int = 3, shade: int = 0) -> bytes:
    from PIL import Image as Pillow

    file = BytesIO()
    Pillow.new("L", (width, height), shade).save(file, "PNG")
    return file.getvalue()


PICTURE = Image(data=png(), mime="image/png", seed=1)


class Scripted(Backend):
    """Does what its script says."""

    def __init__(
        self,
        script: Callable[[Request], Iterator[Any]],
        resource: str | None = None,
        honours: frozenset[Any] = frozenset({"seed", "size", "steps", "negative"}),
    ) -> None:
        self.script = script
        self.resource = resource
        self._about = About(model="scripted", honours=honours)

    @property
    def about(self) -> About:
        return self._about

    def generate(self, request: Request) -> Generator[Any, None, None]:
        yield from self.script(request)


def noted(names: list[str], name: str) -> list[Note]:
    names.append(name)
    return [Note(step=name, text=name)]


def request(name: str = "b", number: int = 1, **fields: Any) -> Request:
    fields = {"prompt": "a cat", "typed_prompt": "a cat", "width": 4, "height": 3, **fields}
    return Request(id=f"00000000-0000-4000-8000-{number:012}", backend=name, seed=number, **fields)


class Bench:
    """A pipeline with scripted backends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "pictures"
        self.data = folder / "data"
        self.ledger = Ledger(self.data)
        self.backends: dict[str, Scripted] = {}
        self.steps: list[Step] = []
        self.grace = 10.0
        self.cancel = threading.Event()

    def pipeline(self) -> Pipeline:
        return Pipeline(
            instance=lambda name: Instance(name, "scripted", self.backends[name]),
            ledger=self.ledger,
            data=self.data,
            steps=self.steps,
            grace=self.grace,
        )

    def target(self, **fields: Any) -> files.Target:
        return files.Target(**{"folder": self.folder, "naming": "{slug}.{ext}", **fields})

    def run(self, script: Any, *, target: files.Target | None = None, **fields: Any) -> Run:
        self.backends["b"] = Scripted(script)
        return self.pipeline().run(request(**fields), target or self.target(), self.cancel)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.ledger.close()


def test_run_has_what_happened(bench: Bench) -> None:
    def script(_: Request) -> Iterator[Any]:
        yield Accepted(remote_id="r1")
        yield Progress(fraction=0.5)
        yield Cost(usd=0.003, basis="per image")
        yield PICTURE

    run = bench.run(script)

    assert run.failure is None
    assert (run.remote_id, run.cost) == ("r1", Cost(usd=0.003, basis="per image"))
    (output,) = run.outputs
    assert output.path == str(bench.folder / "a-cat.png")
    assert Path(output.path).read_bytes() == PICTURE.data
    assert (output.width, output.height, output.size) == (4, 3, len(PICTURE.data))
    assert output.sha256 == files.digest(PICTURE.data)
    assert bench.ledger.get(run.id) == run


def test_accepted_is_written_down_at_once(bench: Bench) -> None:
    seen: list[Run | None] = []

    def script(request: Request) -> Iterator[Any]:
        yield Accepted(remote_id="r1")
        seen.append(bench.ledger.get(request.id))
        yield PICTURE

    bench.run(script)

    assert seen[0] is not None
    assert seen[0].remote_id == "r1"


def test_ledger_knows_a_picture_before_its_file_appears(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    link = os.link
    known: list[Any] = []

    def watched(source: Any, path: Any) -> None:
        known.append((bench.ledger.get(request().id), Path(path).exists()))
        link(source, path)

    monkeypatch.setattr(os, "link", watched)

    run = bench.run(lambda _: iter([PICTURE]))

    (early, there) = known[0]
    assert not there
    assert [o.path for o in early.outputs] == [o.path for o in run.outputs]


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (
            UnavailableError("the server is away", hint="boot it"),
            Failure(
                code="unavailable", message="the server is away", hint="boot it", retryable=True
            ),
        ),
        (
            KeyError("x"),
            Failure(
                code="failed",
                message="the backend 'b' (scripted) failed: KeyError: 'x'",
                hint="this is a fault of the backend's plugin; --debug shows the trace",
            ),
        ),
        (
            asyncio.CancelledError("loop"),
            Failure(
                code="failed",
                message="the backend 'b' (scripted) failed: CancelledError: loop",
                hint="this is a fault of the backend's plugin; --debug shows the trace",
            ),
        ),
        (
            SystemExit(3),
            Failure(
                code="failed",
                message="the backend 'b' (scripted) failed: SystemExit: 3",
                hint="this is a fault of the backend's plugin; --debug shows the trace",
            ),
        ),
    ],
)
def test_run_is_returned_also_when_the_backend_fails(
    bench: Bench, error: BaseException, failure: Failure
) -> None:
    def script(_: Request) -> Iterator[Any]:
        yield Progress(fraction=0.1)
        raise error

    run = bench.run(script)

    assert run.failure == failure
    assert bench.ledger.get(run.id) == run


def test_picture_that_came_before_the_failure_is_kept(bench: Bench) -> None:
    def script(_: Request) -> Iterator[Any]:
        yield PICTURE
        raise UnavailableError("gone")

    run = bench.run(script)

    assert run.failure is not None
    assert Path(run.outputs[0].path).read_bytes() == PICTURE.data


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([], "the backend 'b' ended without a picture"),
        ([Image(data=b"", mime="image/png")], "the backend 'b' gave an empty picture"),
        (
            ["hello"],
            "the backend 'b' (scripted) failed: TypeError: it yielded a str, which is no event",
        ),
    ],
)
def test_backend_that_gives_no_picture_has_failed(
    bench: Bench, events: list[Any], message: str
) -> None:
    run = bench.run(lambda _: iter(events))

    assert run.failure is not None
    assert run.failure.message == message


def test_several_pictures_of_one_run_get_numbers(bench: Bench) -> None:
    pictures = [Image(data=png(shade=shade), mime="image/png") for shade in (1, 2, 3)]

    run = bench.run(lambda _: iter(pictures))

    assert [Path(output.path).name for output in run.outputs] == [
        "a-cat.png",
        "a-cat-2.png",
        "a-cat-3.png",
    ]
    assert [output.ordinal for output in run.outputs] == [0, 1, 2]


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


def test_bytes_of_another_type_are_kept_with_a_warning(bench: Bench) -> None:
    path = bench.folder / "x.jpg"

    run = bench.run(lambda _: iter([PICTURE]), target=bench.target(path=path, replace=True))

    assert path.read_bytes() == PICTURE.data
    assert run.notes == (
        Note(
            step="generate",
            text=f"{path} holds image/png, whatever its suffix says",
            warning=True,
        ),
    )


def test_suffix_follows_the_bytes_and_not_the_claim(bench: Bench) -> None:
    run = bench.run(lambda _: iter([Image(data=PICTURE.data, mime="image/webp")]))

    assert run.outputs[0].path.endswith("a-cat.png")
    assert run.outputs[0].mime == "image/png"


def test_what_a_backend_ignores_is_said(bench: Bench) -> None:
    bench.backends["b"] = Scripted(lambda _: iter([PICTURE]), honours=frozenset())

    run = bench.pipeline().run(request(negative="hands", steps=3), bench.target())

    assert [note.text for note in run.notes if note.warning] == [
        "the backend 'b' ignores the negative prompt",
        "the backend 'b' ignores the seed: the picture can't be made again",
        "the backend 'b' ignores the number of steps",
    ]


def test_full_disk_saves_the_picture_elsewhere(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    fsync = os.fsync
    full = [True]

    def failing(descriptor: int) -> None:
        if full and full.pop():
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)

    run = bench.run(lambda _: iter([PICTURE]))

    (output,) = run.outputs
    assert Path(output.path).parent == bench.data / "rescued"
    assert Path(output.path).read_bytes() == PICTURE.data
    assert run.failure is not None
    assert run.failure.message == (
        f"could not write {bench.folder}/a-cat.png: No space left on device; "
        f"the picture is safe in {output.path}"
    )
    assert list(bench.folder.iterdir()) == []


def test_folder_that_vanishes_costs_no_picture(bench: Bench) -> None:
    def script(_: Request) -> Iterator[Any]:
        bench.folder.rmdir()
        yield PICTURE

    run = bench.run(script)

    assert run.failure is not None
    assert "No such file or directory; the picture is safe in" in run.failure.message
    assert Path(run.outputs[0].path).read_bytes() == PICTURE.data
    assert not bench.folder.exists()


def test_later_pictures_of_a_run_are_saved_elsewhere_too(bench: Bench) -> None:
    def script(_: Request) -> Iterator[Any]:
        bench.folder.rmdir()
        yield from (Image(data=png(shade=shade), mime="image/png") for shade in (1, 2))

    run = bench.run(script)

    assert [Path(o.path).read_bytes() for o in run.outputs] == [png(shade=1), png(shade=2)]
    assert run.failure is not None


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
        order.append(type(item).__name__)
    pipeline.show([], [])

    assert order == ["Image", "sidecar", "Run", "share", "Note", "look"]
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


def test_cancelling_closes_the_backend_and_keeps_what_was_saved(bench: Bench) -> None:
    stopped: list[str] = []

    def script(_: Request) -> Iterator[Any]:
        try:
            yield PICTURE
            bench.cancel.set()
            while True:
                yield Progress()
        finally:
            stopped.append("remote")

    run = bench.run(script)

    assert stopped == ["remote"]
    assert run.failure is not None
    assert run.failure.code == "cancelled"
    assert Path(run.outputs[0].path).is_file()


def test_cancelled_before_it_began_has_a_run_and_no_record(bench: Bench) -> None:
    bench.cancel.set()

    run = bench.run(lambda _: iter([PICTURE]))

    assert run.failure == Failure(code="cancelled", message="cancelled before it began")
    assert list(bench.ledger.runs()) == []


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
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.daemon:
            thread.join(20)

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
    bench.grace = 0.2
    steps: list[str] = []
    bench.steps = [Step("count", "record", lambda done: noted(steps, done.runs[0].id))]

    def script(_: Request) -> Iterator[Any]:
        bench.cancel.set()
        release.wait(20)
        yield PICTURE

    bench.backends["b"] = Scripted(script, resource="one")
    done = bench.pipeline().each([request(number=n) for n in (1, 2)], bench.target(), bench.cancel)
    next(item for _, item in done if isinstance(item, Run))
    done.close()  # type: ignore[attr-defined]
    seen = list(steps)
    release.set()

    assert sorted(seen) == [request(number=1).id, request(number=2).id]


def test_clean_up_that_fails_does_not_hide_the_cancelling(bench: Bench) -> None:
    def script(_: Request) -> Iterator[Any]:
        try:
            bench.cancel.set()
            while True:
                yield Progress()
        finally:
            raise UnavailableError("the remote side can't be stopped")

    run = bench.run(script)

    assert run.failure == Failure(code="cancelled", message="cancelled")
    assert run.notes == (
        Note(
            step="generate",
            text="the backend 'b' did not stop cleanly: the remote side can't be stopped",
            warning=True,
        ),
    )


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
    events.close()  # type: ignore[attr-defined]

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
    events.close()  # type: ignore[attr-defined]

    assert seen == [str(bench.folder / "a-cat.png")]


def test_runs_survive_the_way_through_json(bench: Bench) -> None:
    run = bench.run(lambda _: iter([Cost(usd=1, basis="x"), PICTURE]))

    assert msgspec.json.decode(msgspec.json.encode(run), type=Run) == run
