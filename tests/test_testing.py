"""The testing kit: what authors get of it, and what they may not drop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core import (
    Backend,
)
from imagen_core.mock import MockBackend, MockConfig
from imagen_core.sidecar import write_sidecars
from imagen_core.testing import BackendConformance, StepConformance
from toys import (
    ALL_FAULTS,
    ToyKit,
    check,
    checks_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen_core.testing.conformance import Conformance

pytest_plugins = ("pytester",)
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
    stops_within = 30.0

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
    files = Path(__file__).parent.glob("test_testing*.py")
    source = "".join(file.read_text() for file in files)
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
