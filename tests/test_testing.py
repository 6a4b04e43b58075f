"""The testing kit: what is right passes, and toys that do one thing wrong fail that check."""

from __future__ import annotations

import inspect
import os
import random
import threading
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from imagen_core import (
    About,
    Accepted,
    Backend,
    Context,
    Cost,
    CredentialsError,
    Done,
    Event,
    Image,
    ImagenError,
    Note,
    Param,
    Preview,
    Progress,
    RejectedError,
    Request,
    Status,
    UnavailableError,
)
from imagen_core.app import App
from imagen_core.files import sidecar_path
from imagen_core.mock import MockBackend, MockConfig
from imagen_core.sidecar import write_sidecars
from imagen_core.terminal import Terminal
from imagen_core.testing import BackendConformance, StepConformance
from imagen_core.testing.step import Step, finished

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from imagen_core.testing.conformance import Conformance

pytest_plugins = ("pytester",)

ALL_FAULTS = frozenset({"slow", "refuse", "deny", "crash"})
MOCK_PARAMS: dict[str, dict[str, Any]] = {
    "ok": {},
    "slow": {"delay_ms": 60_000},
    "refuse": {"fail": "unavailable"},
    "deny": {"fail": "credentials"},
    "crash": {"fail": "failed"},
}


class TestMock(BackendConformance):
    module = "imagen_core"
    faults = ALL_FAULTS

    @pytest.fixture
    def backend(self) -> Backend:
        return MockBackend(MockConfig())

    @pytest.fixture
    def script(self) -> Callable[[str], dict[str, Any]]:
        return MOCK_PARAMS.__getitem__


class TestSidecar(StepConformance):
    module = "imagen_core"
    name = "sidecar"

    @pytest.fixture
    def step(self) -> Any:
        return write_sidecars


def image(request: Request, **fields: Any) -> Image:
    """One colour that only the request decides."""
    from PIL import Image as Pillow

    file = BytesIO()
    colour = (request.seed * 37 % 256, len(request.prompt), 0)
    Pillow.new("RGB", (request.width, request.height), colour).save(file, "png")
    return Image(**{"data": file.getvalue(), "mime": "image/png", "seed": request.seed, **fields})


def good(request: Request) -> Iterator[Event]:
    yield Accepted(remote_id=request.id)
    yield Progress(fraction=0.5, step=1, steps=request.steps)
    yield Preview(data=b"half", mime="image/png")
    yield image(request, metadata={"steps": request.steps})
    yield Cost(usd=0, basis="local")
    yield Progress(fraction=1.0)


class Toy(Backend):
    """A good backend, but for what it is given."""

    about = About(model="toy", honours=frozenset({"size", "seed", "steps"}), steps=4)

    def __init__(self, events: Callable[[Request], Any] = good, **about: Any) -> None:
        self.events = events
        self.about = replace(self.about, **about)

    def generate(self, request: Request) -> Generator[Any, None, None]:
        return self.events(request)


class ToyKit(BackendConformance):
    module = "imagen_core"
    faults = ALL_FAULTS
    stops_within = 0.05


class ToySteps(StepConformance):
    module = "imagen_core"
    name = "toy"


def check(kit: Conformance, name: str, **fixtures: Any) -> None:
    """Call a check as pytest would, with those of the fixtures that it asks for."""
    test = getattr(kit, f"test_{name}")
    test(**{key: fixtures[key] for key in inspect.signature(test).parameters})


def check_backend(name: str, toy: Backend, **fixtures: Any) -> None:
    usual = {"script": lambda _: {}, "remote_is_idle": lambda: True}
    check(ToyKit(), name, **{"backend": toy, **usual, **fixtures})


def yielding(*events: Any) -> Callable[[Request], Iterator[Any]]:
    """Yields these; a function among them gets the request."""

    def generate(request: Request) -> Iterator[Any]:
        for event in events:
            yield event(request) if callable(event) else event

    return generate


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


def checks_of(kit: type[Conformance]) -> set[str]:
    return {name.removeprefix("test_") for name in dir(kit) if name.startswith("test_")}


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


@pytest.mark.parametrize("name", ["mine", "fake-server-1", "imagen-http"])
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


def picture_of(done: Done) -> Path:
    return Path(done.paths[0])


def note(done: Done, context: Context, **fields: Any) -> list[Note]:
    """A good step, but for these fields of its note."""
    del context
    return [Note(**{"step": "toy", "text": f"seen {len(done.paths)}", **fields})]


def noting(**fields: Any) -> Step:
    return lambda done, context: note(done, context, **fields)


def spoil(done: Done, context: Context) -> list[Note]:
    with picture_of(done).open("ab") as file:
        file.write(b"seen")
    return note(done, context)


def lose_the_sidecar(done: Done, context: Context) -> list[Note]:
    sidecar_path(picture_of(done)).unlink()
    return note(done, context)


def collect(done: Done, context: Context) -> list[Note]:
    collected = context.paths.data / "collected"
    if collected.exists():
        return note(done, context, text="it is there already", warning=True)
    collected.write_bytes(picture_of(done).read_bytes())
    return note(done, context)


def mark_the_second_time(done: Done, context: Context) -> list[Note]:
    return spoil(done, context) if collect(done, context)[0].warning else []


def take_the_first(done: Done, context: Context) -> list[Note]:
    return note(done, context, text=done.runs[0].outputs[0].path)


def shout(done: Done, context: Context) -> list[Note]:
    os.write(1, b"done!\n")
    return note(done, context)


def check_step(name: str, step: Step, folder: Path, **fixtures: Any) -> None:
    done, failed = finished(folder), finished(folder, fail="unavailable")
    app = App.for_test(Terminal(), folder)
    usual = {"step": step, "context": app.context, "done": done, "failed": failed}
    check(ToySteps(), name, **usual, **fixtures)


BAD_STEPS: list[tuple[str, str, Step]] = [
    ("notes_are_its_own", "not of the step 'toy'", noting(step="other")),
    ("notes_are_its_own", "says nothing", noting(text="")),
    ("notes_are_its_own", "it gave 'done': yield Notes alone", lambda *_: ["done"]),
    ("picture_and_sidecar_stay_as_they_were", ".png: write", spoil),
    ("picture_and_sidecar_stay_as_they_were", ".png.json: write", lose_the_sidecar),
    ("twice_is_harmless", "it warns: it is there already", collect),
    ("twice_is_harmless", "it changes the picture", mark_the_second_time),
    ("run_without_a_picture_is_harmless", "gave IndexError", take_the_first),
    ("nothing_is_printed", "it prints", shout),
]  # fmt: skip


@pytest.mark.parametrize(("name", "told", "step"), BAD_STEPS)
def test_bad_step_fails_the_check(
    name: str, told: str, step: Step, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AssertionError) as caught:
        check_step(name, step, tmp_path, capfd=capfd)

    assert told in str(caught.value)


@pytest.mark.parametrize("step", [note, lambda *_: None], ids=["noting", "silent"])
@pytest.mark.parametrize("name", sorted({name for name, _, _ in BAD_STEPS}))
def test_good_step_passes_the_check(
    name: str, step: Step, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    check_step(name, step, tmp_path, capfd=capfd)


def test_warning_that_comes_each_time_is_no_new_one(tmp_path: Path) -> None:
    check_step("twice_is_harmless", noting(text="not configured", warning=True), tmp_path)


def module(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> type[ToyKit]:
    """A kit for a plugin with this text."""
    (folder / "toy_plugin.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return type("Kit", (ToyKit,), {"module": "toy_plugin"})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import sqlite3, asyncio.events", "toy_plugin imports asyncio, sqlite3: import them"),
        ("import xml.dom.minidom, http.server, mailbox", "modules; import them"),
        ("print('hello')", "toy_plugin prints when it is imported: 'hello\\n'"),
        ("1 / 0", "toy_plugin can't be imported:"),
    ],
)
def test_heavy_import_fails_the_check(
    text: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AssertionError) as caught:
        check(module(tmp_path, monkeypatch, text)(), "import_is_light")

    assert told in str(caught.value)


def test_light_import_passes_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = "About, Backend, BackendSpec, Image, Secret, UsageError, hookimpl"

    check(module(tmp_path, monkeypatch, f"from imagen_core import {names}")(), "import_is_light")


def test_every_check_has_advice_and_a_toy_that_fails_it() -> None:
    source = Path(__file__).read_text()
    names = checks_of(BackendConformance) | checks_of(StepConformance)

    assert [name for name in sorted(names) if f'"{name}"' not in source] == []
    for kit in (BackendConformance, StepConformance):
        for name in checks_of(kit):
            assert "To fix it:" in (getattr(kit, f"test_{name}").__doc__ or ""), name


@pytest.mark.parametrize("kit", [BackendConformance, StepConformance])
@pytest.mark.parametrize("override", [None, lambda _: None], ids=["removed", "overridden"])
def test_check_can_not_be_dropped(kit: type[Conformance], override: Any) -> None:
    with pytest.raises(TypeError, match="TestMine overrides the check test_nothing_is_printed"):
        type("TestMine", (kit,), {"test_nothing_is_printed": override})


def test_check_can_not_be_dropped_by_a_mixin() -> None:
    mixin = type("Quiet", (), {"test_nothing_is_printed": lambda _: None})

    with pytest.raises(TypeError, match="overrides the check test_nothing_is_printed"):
        type("TestMine", (mixin, BackendConformance), {})


def test_check_that_is_expected_to_fail_needs_a_reason() -> None:
    def override() -> None: ...

    with pytest.raises(TypeError, match="mark the override with"):
        type(
            "TestMine", (StepConformance,), {"test_twice_is_harmless": pytest.mark.xfail(override)}
        )

    marked = pytest.mark.xfail(reason="the server forgets")(override)
    mine = type("TestMine", (StepConformance,), {"test_twice_is_harmless": marked})
    type("TestMineToo", (mine,), {})


def test_unknown_fault_is_refused() -> None:
    told = "TestMine.faults has explode; there are crash, deny, refuse, slow"

    with pytest.raises(TypeError, match=told):
        type("TestMine", (BackendConformance,), {"faults": frozenset({"explode", "slow"})})


AUTHORS_TEST = """
import pytest
from imagen_core.app import App
from imagen_core.files import sidecar_path
from imagen_core.mock import MockBackend, MockConfig
from imagen_core.sidecar import write_sidecars
from imagen_core.testing import BackendConformance, StepConformance

@pytest.fixture
def backend(context):
    return MockBackend(MockConfig(), context)

class TestBackend(BackendConformance):
    module = "imagen_core"

class TestStep(StepConformance):
    module = "imagen_core"
    name = "sidecar"

    @pytest.fixture
    def step(self):
        return write_sidecars

    @pytest.mark.xfail(reason="the server forgets")
    def test_twice_is_harmless(self):
        assert False
"""


def test_author_subclasses_and_inherits_the_checks(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(AUTHORS_TEST)

    result = pytester.runpytest_subprocess("-rs", "-p", "no:cacheprovider")

    both = len(checks_of(BackendConformance)) + len(checks_of(StepConformance))
    result.assert_outcomes(passed=both - 4, skipped=3, xfailed=1)
    for fault in ("refuse", "deny", "crash"):
        result.stdout.fnmatch_lines([f"SKIPPED*`faults` has no '{fault}', so this was not tried"])


TOY_PLUGIN = """
from msgspec import Struct
from imagen_core import Note, SettingsSpec, StepSpec, hookimpl

class Config(Struct, frozen=True):
    url: str = ""

def run(done, context):
    url, token = context.settings("toy").url, context.secret("TOY_TOKEN").reveal()
    return [Note(step="toy", text=f"{url} {token}")]

@hookimpl
def imagen_post_generate():
    settings = SettingsSpec(config="toy_plugin:Config")
    return [StepSpec(name="toy", phase="publish", run="toy_plugin:run", settings=settings)]
"""
TOY_TEST = """
import pytest
from imagen_core.testing import StepConformance

class TestToy(StepConformance):
    module = "toy_plugin"
    name = "toy"
    config = "toy: {url: 'http://127.0.0.1:1'}"
    environment = {"TOY_TOKEN": "t"}

    @pytest.fixture
    def step(self):
        from toy_plugin import run
        return run

    def test_says_where_it_went(self, step, done, context):
        assert [note.text for note in step(done, context)] == ["http://127.0.0.1:1 t"]
"""


def test_context_has_the_settings_of_an_installed_plugin(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = pytester.mkdir("toy-1.dist-info")
    (info / "METADATA").write_text("Name: toy\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[imagen]\ntoy = toy_plugin\n")
    pytester.makepyfile(toy_plugin=TOY_PLUGIN, test_toy=TOY_TEST)
    monkeypatch.setenv("PYTHONPATH", str(pytester.path))

    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")

    result.assert_outcomes(passed=len(checks_of(StepConformance)) + 1)
