"""The kit for backends: toys that do one thing wrong fail that check, good ones pass."""

from __future__ import annotations

import os
import random
import threading
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from imagen_core import (
    About,
    Accepted,
    Backend,
    Cost,
    CredentialsError,
    Event,
    Image,
    ImagenError,
    Param,
    Progress,
    RejectedError,
    Request,
    Status,
    UnavailableError,
)
from imagen_core.testing import BackendConformance
from toys import Toy, ToyKit, check_backend, checks_of, good, image, yielding

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator


def raising(error: Exception) -> Callable[[Request], Iterator[Any]]:
    def generate(request: Request) -> Iterator[Any]:
        yield image(request)
        raise error

    return generate


def of(**fields: Any) -> Callable[[Request], Image]:
    """An Image that differs from a good one in these fields."""
    return lambda request: image(request, **fields)


def seeing(**fields: Any) -> Callable[[Request], Image]:
    """An Image of a request that was misread so."""
    return lambda request: image(replace(request, **fields), seed=request.seed)


def far(fraction: float) -> Progress:
    return Progress(fraction=fraction)


def truncated(request: Request) -> Image:
    return of(data=image(request).data[:60])(request)


def drawn(request: Request) -> Image:
    return seeing(seed=random.randint(3, 2**31))(request)


def listed(request: Request) -> list[Event]:
    return list(good(request))


BAD_BACKENDS: dict[str, list[tuple[str, Backend]]] = {
    "about_is_complete_and_consistent": [
        ("about.model is empty", Toy(model="")),
        ("Invalid enum value 'colour'", Toy(honours=frozenset({"colour"}))),
        ("Expected `int | null`, got `str`", Toy(steps="4")),
        ("at least 1", Toy(steps=0)),
        ("the size 'big' is not WIDTHxHEIGHT", Toy(size="big")),
    ],
    "params_are_declared_consistently": [
        ("a name twice", Toy(params=(Param(name="a"), Param(name="a")))),
        ("a is int, got 'x'", Toy(params=(Param(name="a", type="int", default="x"),))),
        ("a is one of b", Toy(params=(Param(name="a", choices=("b",), default="c"),))),
        ("a is at least 2", Toy(params=(Param(name="a", type="int", minimum=2, default=1),))),
    ],
    "only_events_are_yielded": [
        ("it yielded ['done']", Toy(yielding("done", image))),
        ("generate gives no generator", Toy(listed)),
    ],
    "pictures_decode_and_match_their_mime": [
        ("is no whole picture", Toy(yielding(truncated))),
        ("is no whole picture", Toy(yielding(of(data=b"<html>")))),
        ("Image.mime is image/webp, but its", Toy(yielding(of(mime="image/webp")))),
        ("about.mime is image/jpeg, but it makes image/png", Toy(mime="image/jpeg")),
        ("it ended without a picture", Toy(yielding(Progress()))),
    ],
    "size_is_honoured_or_not_claimed": [
        ("asked for 256x192, got 64x64", Toy(yielding(seeing(width=64, height=64)))),
    ],
    "seed_is_honoured_or_not_claimed": [
        ("Image.seed is None, the request's was 1", Toy(yielding(of(seed=None)))),
        ("two seeds give one picture", Toy(yielding(seeing(seed=5)))),
    ],
    "same_request_gives_the_same_picture": [("another picture", Toy(yielding(drawn)))],
    "steps_are_honoured_or_not_claimed": [
        ("asked for 3 steps, it reports [4]", Toy(yielding(Progress(step=1, steps=4), image))),
        ("asked for 3 steps, it reports [9]", Toy(yielding(of(metadata={"steps": 9})))),
    ],
    "progress_never_goes_back_nor_ends_early": [
        ("goes back: [0.5, 0.2]", Toy(yielding(far(0.5), far(0.2), image))),
        ("is 0 to 1: [0.5, 50.0]", Toy(yielding(far(0.5), image, far(50.0)))),
        ("1.0 before the last Image", Toy(yielding(image, far(1.0), image))),
    ],
    "cost_is_a_number_or_absent": [
        ("is no price", Toy(yielding(Cost(usd=float("nan"), basis="a guess"), image))),
        ("is no price", Toy(yielding(Cost(usd=-1, basis="a gift"), image))),
        ("rests on nothing", Toy(yielding(Cost(usd=1, basis=""), image))),
    ],
    "bad_option_is_refused_by_name": [
        ("'no_such_option' gave None", Toy(params=None)),
        ("gave RuntimeError", Toy(raising(RuntimeError("no_such_option")), params=None)),
    ],
    "refused_is_unavailable": [
        ("None: raise UnavailableError", Toy()),
        ("OSError()", Toy(raising(OSError()))),
    ],
    "denied_is_a_credentials_error_with_a_hint": [
        ("None: raise CredentialsError", Toy()),
        ("UnavailableError", Toy(raising(UnavailableError("no")))),
        ("has no hint", Toy(raising(CredentialsError("no")))),
    ],
    "crash_is_an_imagen_error": [
        ("None: raise an ImagenError", Toy()),
        ("KeyError('id')", Toy(raising(KeyError("id")))),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "told", "toy"),
    [(name, told, toy) for name, bad in BAD_BACKENDS.items() for told, toy in bad],
)
def test_bad_backend_fails_the_check(name: str, told: str, toy: Backend) -> None:
    with pytest.raises(AssertionError) as caught:
        check_backend(name, toy)

    assert told in str(caught.value)


@pytest.mark.parametrize("name", sorted(checks_of(BackendConformance)))
def test_good_backend_passes_the_check(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    faults = {
        "refused_is_unavailable": UnavailableError("busy"),
        "denied_is_a_credentials_error_with_a_hint": CredentialsError("no", hint="set X"),
        "crash_is_an_imagen_error": ImagenError("nonsense"),
        "bad_option_is_refused_by_name": RejectedError("no_such_option: unknown"),
    }
    generate = raising(faults[name]) if name in faults else good

    for params in ((), None):
        check_backend(name, Toy(generate, params=params), capfd=capfd)


class Mute(Toy):
    def status(self) -> Status:
        return Status(ok=True, text="")


class Vague(Toy):
    def status(self) -> Any:
        return "ok"


class Guessing(Toy):
    def estimate(self, request: Request) -> Any:  # noqa: ARG002
        return 0.04


@pytest.mark.parametrize(
    ("name", "told", "toy"),
    [
        ("status_needs_no_run", "the Status has no text", Mute()),
        ("status_needs_no_run", "'ok', which is no Status", Vague()),
        ("cost_is_a_number_or_absent", "estimate() gave 0.04", Guessing()),
    ],
)
def test_bad_answer_fails_the_check(name: str, told: str, toy: Backend) -> None:
    with pytest.raises(AssertionError) as caught:
        check_backend(name, toy)

    assert told in str(caught.value)


def test_about_that_changes_fails_the_check() -> None:
    class Fickle(Toy):
        @property
        def about(self) -> About:
            return About(model=f"toy-{random.random()}")

        @about.setter
        def about(self, value: About) -> None: ...

    with pytest.raises(AssertionError, match="not the same twice"):
        check_backend("about_is_complete_and_consistent", Fickle())


CLOSING = "closing_stops_the_remote_and_leaves_no_thread"


def test_remote_that_goes_on_fails_the_check() -> None:
    with pytest.raises(AssertionError, match="the remote side still works"):
        check_backend(CLOSING, Toy(), remote_is_idle=lambda: False)


def test_backend_that_yields_nothing_fails_the_check() -> None:
    with pytest.raises(AssertionError, match="it yields nothing"):
        check_backend(CLOSING, Toy(yielding()))


def test_error_while_closing_comes_out() -> None:
    def stubborn(request: Request) -> Iterator[Event]:
        while True:
            try:
                yield image(request)
            except GeneratorExit:
                raise UnavailableError("can't cancel") from None

    with pytest.raises(UnavailableError, match="can't cancel"):
        check_backend(CLOSING, Toy(stubborn))


@pytest.mark.parametrize("name", ["mine", "fake-server-1", "imagen-background"])
def test_thread_that_is_left_fails_the_check_but_for_those_that_may_stay(name: str) -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait, name=name)

    def busy(request: Request) -> Iterator[Event]:
        thread.start()
        yield image(request)

    try:
        if name == "mine":
            with pytest.raises(AssertionError, match=r"threads are left: \['mine'\]"):
                check_backend(CLOSING, Toy(busy))
        else:
            check_backend(CLOSING, Toy(busy))
    finally:
        over.set()
        thread.join()


def test_closing_that_blocks_fails_the_check() -> None:
    over = threading.Event()

    def deaf(request: Request) -> Iterator[Event]:
        try:
            yield image(request)
        finally:
            over.wait()

    try:
        with pytest.raises(AssertionError, match="closing took over"):
            check_backend(CLOSING, Toy(deaf))
    finally:
        over.set()


def test_runs_that_share_a_state_fail_the_check() -> None:
    class Sharing(Toy):
        def generate(self, request: Request) -> Generator[Event, None, None]:
            self.request = request
            yield Progress()
            yield image(self.request)

    with pytest.raises(AssertionError, match="a request got another's picture"):
        check_backend("two_runs_at_once_do_not_mix", Sharing())


def test_runs_that_share_a_remote_id_fail_the_check() -> None:
    one = yielding(Accepted(remote_id="42"), image)

    with pytest.raises(AssertionError, match=r"one remote id: \['42'\]"):
        check_backend("two_runs_at_once_do_not_mix", Toy(one, honours=frozenset()))


def test_run_that_fails_beside_another_is_told() -> None:
    count = iter(range(4))

    def third_time_unlucky(request: Request) -> Iterator[Event]:
        if next(count) == 2:
            raise UnavailableError("one at a time")
        yield from good(request)

    with pytest.raises(UnavailableError, match="one at a time"):
        check_backend("two_runs_at_once_do_not_mix", Toy(third_time_unlucky))


def test_backend_that_prints_fails_the_check(capfd: pytest.CaptureFixture[str]) -> None:
    def loud(request: Request) -> Iterator[Event]:
        os.write(2, b"50 %")
        yield image(request)

    with pytest.raises(AssertionError, match="it prints"):
        check_backend("nothing_is_printed", Toy(loud), capfd=capfd)


@pytest.mark.parametrize(
    ("name", "toy"),
    [
        ("size_is_honoured_or_not_claimed", Toy(honours=frozenset())),
        ("seed_is_honoured_or_not_claimed", Toy(honours=frozenset())),
        ("same_request_gives_the_same_picture", Toy(honours=frozenset())),
        ("steps_are_honoured_or_not_claimed", Toy(honours=frozenset())),
        ("steps_are_honoured_or_not_claimed", Toy(yielding(image))),
    ],
)
def test_what_is_not_claimed_is_skipped(name: str, toy: Backend) -> None:
    with pytest.raises(pytest.skip.Exception, match=r"nothing (is promised|to compare)"):
        check_backend(name, toy)


def test_request_has_the_size_that_a_backend_declares() -> None:
    kit, plain = ToyKit(), Toy(honours=frozenset(), size="300x200", steps=7)

    request = kit.ask(plain, lambda act: {"act": act}, "slow")

    assert (request.width, request.height, request.steps) == (300, 200, 7)
    assert (request.seed, request.params) == (1, {"act": "slow"})
