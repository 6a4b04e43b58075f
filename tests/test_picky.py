"""What a backend says of itself, and refuses by itself, before anybody is asked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import Struct

from imagen_core import (
    About,
    Backend,
    BackendSpec,
    ConfigError,
    Context,
    Image,
    Options,
    Param,
    Remark,
    Request,
    UsageError,
    hookimpl,
)
from imagen_core.app import App
from imagen_core.errors import ConfigErrors
from imagen_core.resolve import check_param
from imagen_core.terminal import Terminal
from scripted import png

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


class PickyConfig(Struct, frozen=True, kw_only=True):
    model: str = "good"


class PickyBackend(Backend):
    about = About(
        model="picky",
        honours=frozenset({"size", "seed"}),
        seed=11,
        params=(
            Param(name="cfg", type="float", maximum=10),
            Param(name="8.cfg", type="float", listed=False),
        ),
    )

    def __init__(self, config: PickyConfig, context: Context) -> None:
        del context
        bad = ConfigError("there is no such model", key="model", hint="did you mean 'good'?")
        if config.model == "bad":
            raise bad
        if config.model == "worse":
            raise ConfigErrors((bad, ConfigError("no good at all")))
        if config.model == "odd":
            raise UsageError("it does not like the moon")

    def check(self, request: Request) -> None:
        if request.width % 16:
            raise UsageError("the width is a multiple of 16", hint="take 64")

    def generate(self, request: Request) -> Generator[Any, None, None]:
        yield Image(data=png(request.width, request.height), mime="image/png", seed=request.seed)
        yield Remark(text="it is all black")


def make(config: PickyConfig, context: Context) -> PickyBackend:
    return PickyBackend(config, context)


@hookimpl
def imagen_backends() -> list[BackendSpec]:
    names: dict[str, Any] = {"config": f"{__name__}:PickyConfig", "create": f"{__name__}:make"}
    return [BackendSpec(type="picky", summary="", **names)]


@pytest.fixture
def picky(tmp_path: Path) -> Any:
    """Makes an App with an instance `p` of these keys."""

    def app(block: str = "") -> App:
        config = f"default_backend: p\nbackends:\n  p:\n    type: picky\n    {block}\n"
        plugin = SimpleNamespace(imagen_backends=imagen_backends)
        return App.for_test(Terminal(), tmp_path, config=config, plugins={"picky": plugin})

    return app


def test_request_that_the_backend_refuses_is_refused_with_a_dry_run_too(
    picky: Any, imagen: Any
) -> None:
    for more in ((), ("--dry-run",)):
        done = imagen("generate", "a cat", "--size", "63x64", *more, app=picky())

        assert (done.exit_code, done.out) == (2, "")
        assert done.err == "imagen: error: the width is a multiple of 16\n  hint: take 64\n"


def test_seed_of_the_instance_is_used_if_none_is_typed(picky: Any) -> None:
    def seeds(**options: Any) -> list[int]:
        return [r.seed for r in picky().resolve(Options(prompt="a cat", size="64x64", **options))]

    assert (seeds(), seeds(count=2), seeds(seed=5)) == ([11], [11, 12], [5])


def test_parameter_that_is_not_listed_is_taken_and_suggested(picky: Any) -> None:
    def resolve(**params: Any) -> Any:
        return picky().resolve(Options(prompt="a cat", size="64x64", params=params))[0].params

    assert resolve(**{"8.cfg": 2}) == {"8.cfg": 2.0}
    with pytest.raises(UsageError) as near:
        resolve(**{"8.cg": 2})
    with pytest.raises(UsageError) as far:
        resolve(zzz=2)
    assert (near.value.hint, far.value.hint) == ("did you mean '8.cfg'?", "it has: cfg")


def test_remark_becomes_a_warning_and_is_kept(picky: Any, imagen: Any) -> None:
    app = picky()

    done = imagen("generate", "a cat", "--size", "64x64", "--json", app=app)

    [found] = done.json()
    assert (done.exit_code, done.err) == (0, "imagen: it is all black\n")
    assert found["warnings"] == ["it is all black"]


@pytest.mark.parametrize(
    ("model", "problems"),
    [
        ("bad", ["5: backends.p.model: there is no such model"]),
        (
            "worse",
            ["5: backends.p.model: there is no such model", "3: backends.p: no good at all"],
        ),
        ("odd", ["3: backends.p: it does not like the moon"]),
    ],
)
def test_what_a_backend_finds_wrong_with_its_block_has_file_line_and_key(
    picky: Any, imagen: Any, tmp_path: Path, model: str, problems: list[str]
) -> None:
    done = imagen("config", "validate", app=picky(f"model: {model}"))

    assert done.exit_code == 2
    assert [line for line in done.err.splitlines() if "error" in line] == [
        f"imagen: error: {tmp_path}/imagen.yaml:{problem}" for problem in problems
    ]


def test_what_a_backend_finds_is_told_beside_other_problems(picky: Any, imagen: Any) -> None:
    done = imagen(
        "config", "validate", app=picky("model: bad\n  q: {type: picky, modl: x}\nodd: 1")
    )

    assert [line.partition("yaml:")[2] for line in done.err.splitlines() if "error" in line] == [
        "7: odd: unknown key",
        "5: backends.p.model: there is no such model",
        "6: backends.q.modl: unknown key",
    ]


def test_generate_tells_the_same_of_a_block_that_is_wrong(
    picky: Any, imagen: Any, tmp_path: Path
) -> None:
    done = imagen("generate", "a cat", app=picky("model: bad"))

    assert done.exit_code == 2
    assert done.err == (
        f"imagen: error: {tmp_path}/imagen.yaml:5: backends.p.model: there is no such model\n"
        "  hint: did you mean 'good'?\n"
    )


def test_parameter_is_checked_for_plugins_as_for_the_command_line() -> None:
    param = Param(name="cfg", type="float", maximum=10)

    value = check_param(param, 2)

    assert (value, type(value)) == (2.0, float)
    with pytest.raises(UsageError, match="the parameter cfg is at most 10; got 11"):
        check_param(param, 11)
