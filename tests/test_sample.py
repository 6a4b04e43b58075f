"""`config init`: a sample that is right as it stands, whatever is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import yaml

from imagen_core import BackendSpec, Sample, SettingsSpec, StepSpec, Switch, hookimpl
from imagen_core.app import App
from imagen_core.checks import check_everything
from imagen_core.mock import MockBackend, MockConfig
from imagen_core.sample import sample_config
from imagen_core.terminal import Terminal
from imagen_core.yaml_file import parse

if TYPE_CHECKING:
    from pathlib import Path

    from imagen_core import Context


class ToyConfig(msgspec.Struct, frozen=True, kw_only=True):
    color: str
    token_env: str = "TOY_TOKEN"


class TowerConfig(msgspec.Struct, frozen=True, kw_only=True):
    height: int = 3


def make(config: object, context: Context) -> MockBackend:
    del config
    return MockBackend(MockConfig(), context)


def toys(kind: str, *samples: Sample) -> object:
    class Toys:
        @staticmethod
        @hookimpl
        def imagen_backends() -> tuple[BackendSpec, ...]:
            config = f"{__name__}:ToyConfig"
            spec = BackendSpec(
                type=kind, summary="", config=config, create=f"{__name__}:make", samples=samples
            )
            return (spec,)

    return Toys()


class Tower:
    @staticmethod
    @hookimpl
    def imagen_post_generate() -> tuple[StepSpec, ...]:
        return (
            StepSpec(
                name="tower",
                phase="show",
                run="x:y",
                switch=Switch(
                    key="light", env="IMAGEN_LIGHT", help="light: on top", default="auto"
                ),
                settings=SettingsSpec(
                    config=f"{__name__}:TowerConfig",
                    sample="# How high it is.\ntower:\n  height: 5\n\n\n",
                ),
            ),
        )


def app_with(folder: Path, **plugins: object) -> App:
    app = App.for_test(Terminal(), folder, plugins=plugins)
    return App.for_test(
        Terminal(), folder, plugins=plugins, config=sample_config(app.catalog, app.switches())
    )


def text_of(app: App) -> str:
    return app.paths.config.read_text(encoding="utf-8")


def assert_flawless(app: App) -> None:
    findings = check_everything(app.unchecked_settings, app.catalog, app.switches(), app.context)
    assert (findings.problems, findings.warnings) == ([], [])


def test_sample_of_the_core_alone_validates_and_chooses_the_mock(tmp_path: Path) -> None:
    app = app_with(tmp_path)

    assert_flawless(app)
    assert app.document.data == {
        "default_backend": "mock",
        "owner_user_id": "",
        "store": "auto",
        "output": {
            "dir": "~/Pictures/imagen",
            "naming": "{date}-{slug}-{seed}.{ext}",
            "ledger": True,
            "sidecar": True,
        },
        "styles": {
            "blog-header": {
                "prompt": "{prompt}, wide editorial illustration, muted palette",
                "negative": "text, watermark",
            },
            "line-art": {"prompt": "{prompt}, clean black line art on white"},
        },
        "backends": {"mock": {"type": "mock"}},
    }


def test_sample_with_plugins_validates_and_has_all_that_they_give(tmp_path: Path) -> None:
    block = "# Paint it.\ntype: toy\n\ncolor: red  # or blue"
    local = Sample(name="local", block=block, rank=20)
    remote = Sample(name="remote", block="{type: toy, color: blue}", rank=10)
    app = app_with(tmp_path, toys=toys("toy", remote, local), tower=Tower())

    assert_flawless(app)
    data = app.document.data
    assert data["default_backend"] == "local"
    assert data["backends"] == {
        "mock": {"type": "mock"},
        "remote": {"type": "toy", "color": "blue"},
        "local": {"type": "toy", "color": "red"},
    }
    assert data["output"]["light"] == "auto"
    assert data["tower"] == {"height": 5}
    assert "    # Paint it.\n" in text_of(app)
    assert "# How high it is.\n" in text_of(app)


def test_highest_rank_of_all_plugins_is_the_default(tmp_path: Path) -> None:
    low = toys("a", Sample(name="low", block="{type: a, color: x}", rank=1))
    high = toys("b", Sample(name="high", block="{type: b, color: x}", rank=2))

    for plugins in ({"p": low, "q": high}, {"p": high, "q": low}):
        app = App.for_test(Terminal(), tmp_path, plugins=plugins)
        sample = parse(sample_config(app.catalog, app.switches()), "sample")
        assert sample.data["default_backend"] == "high"


def test_two_samples_of_one_name_leave_the_one_of_higher_rank(tmp_path: Path) -> None:
    low = toys("a", Sample(name="flux", block="{type: a, color: x}", rank=1))
    high = toys("b", Sample(name="flux", block="{type: b, color: x}", rank=2))
    app = app_with(tmp_path, low=low, high=high)

    assert_flawless(app)
    assert app.document.data["backends"]["flux"] == {"type": "b", "color": "x"}


def test_type_that_two_plugins_give_is_left_out(tmp_path: Path) -> None:
    one = toys("toy", Sample(name="one", block="{type: toy, color: x}", rank=1))
    two = toys("toy", Sample(name="two", block="{type: toy, color: x}", rank=2))
    app = app_with(tmp_path, one=one, two=two)

    assert_flawless(app)
    assert list(app.document.data["backends"]) == ["mock"]


def test_sample_explains_itself_and_names_every_variable(tmp_path: Path) -> None:
    text = text_of(app_with(tmp_path, tower=Tower()))

    for told in (
        "'imagen config validate'",
        "select id from auth.users where email = ",
        "$IMAGEN_BACKEND",
        "$IMAGEN_OUTPUT_DIR",
        "$IMAGEN_NAMING",
        "light: on top",
    ):
        assert told in text


def test_other_yaml_readers_take_the_sample_too(tmp_path: Path) -> None:
    app = app_with(tmp_path, tower=Tower())

    assert yaml.safe_load(text_of(app)) == app.document.data
