"""One making: what is written down when, and what a failing disk or backend costs."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from imagen_core import files
from imagen_core.errors import Cancelled, UnavailableError
from imagen_core.types import (
    Accepted,
    Cost,
    Failure,
    Image,
    Note,
    Progress,
    Request,
    Run,
)
from scripted import PICTURE, Bench, Scripted, png, request

if TYPE_CHECKING:
    from collections.abc import Iterator


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


def test_run_that_is_complete_when_it_is_cancelled_has_succeeded(bench: Bench) -> None:
    def script(_: Request) -> Iterator[Any]:
        bench.cancel.set()
        yield PICTURE

    run = bench.run(script)

    assert run.failure is None
    assert Path(run.outputs[0].path).is_file()


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


def test_backend_says_how_its_cancelling_went(bench: Bench) -> None:
    def script(_: Request) -> Iterator[Any]:
        bench.cancel.set()
        try:
            while True:
                yield Progress()
        except GeneratorExit:
            raise Cancelled("cancelled; it cost nothing", hint="ask again") from None

    run = bench.run(script)

    assert run.failure == Failure(
        code="cancelled", message="cancelled; it cost nothing", hint="ask again"
    )
    assert [note for note in run.notes if note.warning] == []


def test_backend_that_speaks_of_cancelling_does_not_hide_why_it_was_closed(bench: Bench) -> None:
    def script(_: Request) -> Iterator[Any]:
        try:
            yield Image(data=b"", mime="image/png")
        except GeneratorExit:
            raise Cancelled("cancelled; it cost nothing") from None

    run = bench.run(script)

    assert run.failure is not None
    assert run.failure.message == "the backend 'b' gave an empty picture"
    assert "cancelled; it cost nothing" in [note.text for note in run.notes]


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


def test_runs_survive_the_way_through_json(bench: Bench) -> None:
    run = bench.run(lambda _: iter([Cost(usd=1, basis="x"), PICTURE]))

    assert msgspec.json.decode(msgspec.json.encode(run), type=Run) == run
