"""Checking a whole configuration: every problem at once, and warnings apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pytest

from imagen_core import BackendSpec, SettingsSpec, StepSpec, Switch, hookimpl
from imagen_core.app import App
from imagen_core.checks import check_everything, masked, token_warnings
from imagen_core.mock import MockBackend, MockConfig
from imagen_core.plugins import Catalog, Plugin
from imagen_core.terminal import Terminal
from imagen_core.yaml_file import parse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagen_core import Context

TOKEN = "r8_0123456789abcdefghijABCDEFGHIJ"


class ToyConfig(msgspec.Struct, frozen=True, kw_only=True):
    color: str
    steps: int = 4


class TowerConfig(msgspec.Struct, frozen=True, kw_only=True):
    height: int = 3


def look_at_tower(context: Context) -> Iterator[str]:
    height = context.settings("tower").height
    if height == 0:
        raise RuntimeError("it fell")
    if height < 0:
        raise SystemExit(3)
    if height > 2:
        yield f"tower: {height} floors are too many"


def make(config: object, context: Context) -> MockBackend:
    del config
    return MockBackend(MockConfig(), context)


def backend(kind: str, **more: str) -> BackendSpec:
    config = more.get("config", f"{__name__}:ToyConfig")
    return BackendSpec(type=kind, summary="", config=config, create=f"{__name__}:make")


class Toys:
    @staticmethod
    @hookimpl
    def imagen_backends() -> tuple[BackendSpec, ...]:
        return (backend("toy"), backend("lost", config="no_such_module:Config"))


class Tower:
    @staticmethod
    @hookimpl
    def imagen_post_generate() -> tuple[StepSpec, ...]:
        settings = SettingsSpec(config=f"{__name__}:TowerConfig", check=f"{__name__}:look_at_tower")
        switch = Switch(key="light", env="IMAGEN_LIGHT", help="")
        return (StepSpec(name="t", phase="show", run="x:y", settings=settings, switch=switch),)


class Found(NamedTuple):
    problems: list[str]
    warnings: list[str]


def check(
    folder: Path, config: str, *more: Plugin, tower: bool = True, **environment: str
) -> Found:
    app = App.for_test(
        Terminal(),
        folder,
        config=config.strip("\n"),
        plugins={"toys": Toys(), **({"tower": Tower()} if tower else {})},
        environment=environment,
    )
    catalog = Catalog((*app.catalog.plugins, *more))
    findings = check_everything(app.unchecked_settings, catalog, app.switches(), app.context)
    return Found(
        *(
            [str(e).replace(f"{folder}/", "") + (f" ({e.hint})" if e.hint else "") for e in errors]
            for errors in findings
        )
    )


TOO_HIGH = "imagen.yaml: tower: 3 floors are too many"
TYPES = "mock, toy, lost"


def test_empty_configuration_has_no_problem(tmp_path: Path) -> None:
    found = check(tmp_path, "", tower=False)

    assert found == Found([], [])


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("outputs: {}", "imagen.yaml:1: outputs: unknown key (did you mean 'output'?)"),
        ("\ntowre: {}", "imagen.yaml:1: towre: unknown key (did you mean 'tower'?)"),
        (
            "zzz: 1",
            "imagen.yaml:1: zzz: unknown key (the keys here are: backends, default_backend, "
            "output, owner_user_id, serve, store, styles, supabase, tmux, tower)",
        ),
        ("output: 5", "imagen.yaml:1: output: expected keys and values, got 5"),
        (
            "output: {namings: x}",
            "imagen.yaml:1: output.namings: unknown key (did you mean 'naming'?)",
        ),
        (
            "output:\n  sidecar: sometimes",
            "imagen.yaml:2: output.sidecar: expected auto, on or off, got 'sometimes'",
        ),
        (
            "output:\n  light: dim",
            "imagen.yaml:2: output.light: expected auto, on or off, got 'dim'",
        ),
        ("styles: [a]", "imagen.yaml:1: styles: expected keys and values, got ['a']"),
        ("styles: false", "imagen.yaml:1: styles: expected keys and values, got False"),
        (
            "styles:\n  ink: {prompt: ink}",
            "imagen.yaml:2: styles.ink: the prompt of a style must have {prompt} in it",
        ),
        (
            "styles:\n  ink: {prompts: x}",
            "imagen.yaml:2: styles.ink.prompts: unknown key (did you mean 'prompt'?)",
        ),
        ("backends: x", "imagen.yaml:1: backends: expected keys and values, got 'x'"),
        ("backends:\n  a:", "imagen.yaml:2: backends.a: expected keys and values, got None"),
        (
            "backends:\n  a: {color: red}",
            f"imagen.yaml:2: backends.a.type: is missing (one of {TYPES})",
        ),
        (
            "backends:\n  a: {type: 5}",
            f"imagen.yaml:2: backends.a.type: expected text, got 5 (one of {TYPES})",
        ),
        (
            "backends:\n  a:\n    type: toyy",
            "imagen.yaml:3: backends.a.type: unknown type 'toyy' (did you mean 'toy'?)",
        ),
        (
            "backends:\n  a: {type: xyzzy}",
            "imagen.yaml:2: backends.a.type: unknown type 'xyzzy' (installed are: lost, mock, toy)",
        ),
        (
            "backends:\n  a: {type: toy}",
            "imagen.yaml:2: backends.a.color: is missing",
        ),
        (
            "backends:\n  a:\n    type: toy\n    color: red\n    steps: x",
            "imagen.yaml:5: backends.a.steps: expected int, got str",
        ),
        (
            "backends:\n  a b: {type: mock}",
            "imagen.yaml:2: backends.a b: a name has letters, digits, '.', '_' and '-' alone",
        ),
        (
            "backends:\n  ../x: {type: mock}",
            "imagen.yaml:2: backends.../x: a name has letters, digits, '.', '_' and '-' alone",
        ),
        (
            "default_backend: mokc",
            "default_backend: there is no backend 'mokc' (imagen.yaml:1) (did you mean 'mock'?)",
        ),
        (
            "default_backend: 5",
            'imagen.yaml:1: default_backend: expected text, got 5 (put it in quotes: "…")',
        ),
        ("tower: {height: high}", "imagen.yaml:1: tower.height: expected int, got str"),
        (
            "tower: {heights: 5}",
            "imagen.yaml:1: tower.heights: unknown key (did you mean 'height'?)",
        ),
    ],
)
def test_problem_is_told_once_with_its_place(tmp_path: Path, config: str, problem: str) -> None:
    assert check(tmp_path, config).problems == [problem]


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    config = """
default_backend: nobody
outputs: {}
output: {sidecar: maybe, light: 7}
styles: {ink: {prompt: ink}}
backends:
  a: {type: toy}
  b: {type: toyy}
tower: {height: high}
"""
    found = check(tmp_path, config, IMAGEN_LEDGER="perhaps")

    assert {
        problem.partition(" (")[0].rpartition("imagen.yaml:")[2] for problem in found.problems
    } == {
        "2: outputs: unknown key",
        "$IMAGEN_LEDGER: expected auto, on or off, got 'perhaps'",
        "3: output.sidecar: expected auto, on or off, got 'maybe'",
        "3: output.light: expected auto, on or off, got 7",
        "4: styles.ink: the prompt of a style must have {prompt} in it",
        "6: backends.a.color: is missing",
        "7: backends.b.type: unknown type 'toyy'",
        "default_backend: there is no backend 'nobody'",
        "8: tower.height: expected int, got str",
    }
    assert len(found.problems) == 9


def test_unknown_default_backend_is_told_beside_another_problem_without_any_backends(
    tmp_path: Path,
) -> None:
    assert len(check(tmp_path, "nope: 1\ndefault_backend: nobody").problems) == 2


def test_default_backend_of_the_environment_is_checked(tmp_path: Path) -> None:
    found = check(tmp_path, "default_backend: mock", IMAGEN_BACKEND="mokc")

    assert found.problems == [
        "default_backend: there is no backend 'mokc' ($IMAGEN_BACKEND) (did you mean 'mock'?)"
    ]


@pytest.mark.parametrize(
    ("config", "path", "distribution"),
    [
        ("tmux: {x: 1}", "tmux", "imagen-tmux"),
        ("output: {cloud_sync: on}", "output.cloud_sync", "imagen-supabase"),
        ("backends: {flux: {type: comfyui, url: x}}", "backends.flux.type", "imagen-comfyui"),
    ],
)
def test_what_an_absent_plugin_owns_is_a_warning_that_names_it(
    tmp_path: Path, config: str, path: str, distribution: str
) -> None:
    absent = (
        f"imagen.yaml:1: {path}: comes with {distribution}, which is not installed; "
        f"it is ignored (pip install {distribution})"
    )
    assert check(tmp_path, config) == Found([], [absent, TOO_HIGH])


@pytest.mark.parametrize("state", ["broken", "blocked"])
def test_what_a_broken_plugin_owns_is_not_called_uninstalled(tmp_path: Path, state: str) -> None:
    comfyui = Plugin(name="comfyui", distribution="imagen-comfyui", state=state)  # type: ignore[arg-type]

    found = check(tmp_path, "backends: {flux: {type: comfyui}}", comfyui)

    assert found.warnings[0] == (
        f"imagen.yaml:1: backends.flux.type: comes with imagen-comfyui, which is {state}; "
        "it is ignored ('imagen plugins' says why)"
    )


def test_type_whose_plugin_cannot_be_loaded_is_a_problem_that_names_the_plugin(
    tmp_path: Path,
) -> None:
    found = check(tmp_path, "backends: {a: {type: lost, any: thing}}")

    assert found == Found(
        [
            "imagen.yaml:1: backends.a.type: the plugin toys (test-toys) cannot load "
            "no_such_module:Config: ModuleNotFoundError: No module named 'no_such_module' "
            "('imagen plugins' lists what is installed; update or uninstall this one)"
        ],
        [TOO_HIGH],
    )


def test_type_that_two_plugins_give_is_a_problem_that_names_both(tmp_path: Path) -> None:
    twin = Plugin(name="twin", distribution="test-twin", backends=(backend("toy"),))

    found = check(tmp_path, "backends: {a: {type: toy, color: red}}", twin)

    assert found.problems == [
        "imagen.yaml:1: backends.a.type: toys (test-toys) and twin (test-twin) both give the "
        "backend type 'toy' (block one of them: IMAGEN_DISABLE_PLUGINS=NAME)"
    ]


def test_check_of_a_plugin_that_raises_is_a_warning(tmp_path: Path) -> None:
    found = check(tmp_path, "tower: {height: 0}")

    assert found == Found([], ["the plugin tower (test-tower): RuntimeError: it fell"])


def test_misspelt_variable_is_a_warning(tmp_path: Path) -> None:
    found = check(tmp_path, "tower: {height: 1}", IMAGEN_SIDECARS="on", IMAGEN_XYZ="1", HOME="/")

    assert [warning.partition(":")[0] for warning in found.warnings] == ["$IMAGEN_SIDECARS"]
    assert found.warnings[-1] == (
        "$IMAGEN_SIDECARS: imagen knows no such variable (did you mean 'IMAGEN_SIDECAR'?)"
    )


def test_plugin_that_there_is_not_is_a_warning_of_the_variable_that_names_it(
    tmp_path: Path,
) -> None:
    variables = {"IMAGEN_LOAD_PLUGINS": "tuys,test-toys", "IMAGEN_DISABLE_PLUGINS": "toys, zzz"}
    names = "there are: core, imagen-core, test-toys, toys"

    found = check(tmp_path, "", tower=False, **variables)

    assert found.warnings == [
        "$IMAGEN_LOAD_PLUGINS: there is no plugin 'tuys' (did you mean 'toys'?)",
        f"$IMAGEN_DISABLE_PLUGINS: there is no plugin 'zzz' ({names})",
    ]


def test_token_in_the_file_is_a_warning_that_does_not_repeat_it(tmp_path: Path) -> None:
    found = check(tmp_path, f"backends:\n  a: {{type: toy, color: {TOKEN}}}")

    assert found.problems == []
    assert found.warnings[-1].startswith("imagen.yaml:2: backends.a.color: this looks like a token")
    assert TOKEN not in "".join(found.warnings)


@pytest.mark.parametrize(
    "value",
    [
        TOKEN,
        "sk-proj-0123456789abcdefghijABCDEFGHIJ",
        "hf_0123456789abcdefghijABCDEFGHIJ",
        "ghp_0123456789abcdefghijABCDEFGHIJ",
        "sb_secret_0123456789abcdefghij",
        "Bearer " + TOKEN,
        "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.c2lnbmF0dXJl",
    ],
)
def test_value_that_looks_like_a_token_is_warned_of_and_not_repeated(value: str) -> None:
    document = parse(f"backends:\n  x:\n    tags:\n    - '{value}'\n", "f.yaml")

    (warning,) = token_warnings(document)

    assert str(warning) == (
        "f.yaml:4: backends.x.tags[0]: this looks like a token; put it in an environment variable"
    )
    assert value not in warning.hint


@pytest.mark.parametrize(
    "value",
    [
        "REPLICATE_API_TOKEN",
        "black-forest-labs/flux-schnell",
        "risk-averse-and-quite-long-words-here",
        "http://localhost:8188",
        "6f1ed002ab5595859014ebf0951522d9c1f0f2b1a4a5c0f1",
        "9b2f4a51-2f0c-4cf4-8f0c-6f2f6c3f6f3a",
    ],
)
def test_ordinary_value_is_not_taken_for_a_token(value: str) -> None:
    assert token_warnings(parse(f"a: '{value}'", "f.yaml")) == []


@pytest.mark.parametrize("size", ["0x0", "99999x1", "1x16385"])
def test_size_that_nobody_may_ask_for_is_a_problem_of_its_key(tmp_path: Path, size: str) -> None:
    config = f"backends:\n  x:\n    type: mock\n    size: {size}"

    found = check(tmp_path, config, tower=False)

    told = f"the size '{size}' is out of range: 1 to 16384 pixels a side (for instance 1024x768)"
    assert found == Found([f"imagen.yaml:4: backends.x.size: {told}"], [])


def test_key_that_stands_twice_hides_no_other_problem(tmp_path: Path) -> None:
    found = check(tmp_path, "store: auto\nstore: local\nnope: 1\ntower: {height: 1}")

    assert [problem.partition(" (")[0] for problem in found.problems] == [
        "imagen.yaml:2: store: stands twice: on line 1 and line 2",
        "imagen.yaml:3: nope: unknown key",
    ]
    assert found.warnings == []


def test_check_of_a_plugin_that_exits_is_a_warning(tmp_path: Path) -> None:
    found = check(tmp_path, "tower: {height: -1}")

    assert found == Found([], ["the plugin tower (test-tower): SystemExit: 3"])


def test_password_in_an_address_is_a_warning_and_masked(tmp_path: Path) -> None:
    found = check(tmp_path, "backends:\n  a: {type: toy, color: 'http://ada:hunter2@box'}")

    assert any("backends.a.color: this looks like a token" in told for told in found.warnings)
    assert "hunter2" not in "".join(found.warnings)
    assert masked("http://ada:hunter2@box/x") == "http://***@box/x"
