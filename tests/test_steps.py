"""Steps of plugins and their switches: order, isolation, and who decides."""

from __future__ import annotations

import itertools
import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core import CallerSpec, Note, StepSpec, Switch, hookimpl
from imagen_core.app import App
from imagen_core.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen_core import Context, Done

GENERATE = ("generate", "a cat", "--backend", "mock", "--size", "32x32")
SHARE = Switch(
    key="share",
    env="IMAGEN_SHARE",
    on_flag="--share",
    off_flag="--no-share",
    default="auto",
    auto=f"{__name__}:can_share",
    help="sharing of each picture",
)


def can_share(context: Context) -> tuple[bool, str]:
    if context.environment.get("SHARE_RULE") == "raise":
        raise RuntimeError("no rule")
    if context.environment.get("SHARE_RULE") == "exit":
        raise SystemExit(9)
    there = "SHARE_TOKEN" in context.environment
    return there, f"SHARE_TOKEN is {'set' if there else 'not set'}"


def share(done: Done, context: Context) -> Iterator[Note]:
    """Write down what it was given, and what it found on disk."""
    for path in done.paths:
        sidecar = json.loads(Path(f"{path}.json").read_text())
        log = context.paths.data / "shared"
        log.write_text(f"{log.read_text() if log.exists() else ''}{sidecar['prompt']}\n")
        yield Note(step="share", text=path, url=f"https://example.invalid/{sidecar['id']}")


def fail(*_: object) -> Iterator[Note]:
    raise RuntimeError("the disk of the cloud is full")


def show(done: Done, _: Context) -> Iterator[Note]:
    yield Note(step="show", text=f"showing {len(done.paths)} of {len(done.runs)}", warning=True)


class Sharing:
    @staticmethod
    @hookimpl
    def imagen_post_generate() -> list[StepSpec]:
        return [
            StepSpec(name="share", phase="publish", run=f"{__name__}:share", switch=SHARE),
            StepSpec(name="a fault", phase="publish", run=f"{__name__}:fail"),
            StepSpec(name="gone", phase="publish", run="no_such_module:run"),
            StepSpec(name="show", phase="show", run=f"{__name__}:show"),
        ]


def app(folder: Path, config: str = "", **environment: str) -> App:
    plugins = {"sharing": Sharing()}
    return App.for_test(Terminal(), folder, config=config, plugins=plugins, environment=environment)


def test_steps_run_in_order_and_a_failing_one_stops_no_other(imagen: Any, tmp_path: Path) -> None:
    done = imagen(*GENERATE, "--share", "--count", "2", app=app(tmp_path))

    assert done.exit_code == 0
    assert len(done.paths) == 2
    assert (tmp_path / "data" / "shared").read_text() == "a cat\na cat\n"
    assert [line for line in done.err.splitlines() if "fault" in line] == [
        "imagen: a fault: RuntimeError: the disk of the cloud is full"
    ] * 2
    assert (
        "imagen: gone: the plugin sharing (test-sharing) cannot load no_such_module:run" in done.err
    )
    assert done.err.splitlines()[-1] == "imagen: show: showing 2 of 2"


def test_notes_of_published_runs_are_in_the_ledger(imagen: Any, tmp_path: Path) -> None:
    given = app(tmp_path)
    imagen(*GENERATE, "--share", app=given)

    (run,) = given.ledger.runs()
    given.close()

    assert [note.step for note in run.notes] == ["share", "a fault", "gone"]
    assert run.notes[0].url == f"https://example.invalid/{run.id}"


@contextmanager
def line(context: Context) -> Iterator[list[str]]:
    """Something to be opened once; says in the data folder when."""
    log = context.paths.data / "line"
    log.parent.mkdir(exist_ok=True)
    with log.open("a") as file:
        file.write("opened\n")
        yield []
        file.write("closed\n")


def dial(done: Done, context: Context) -> Iterator[Note]:
    calls = context.once(line)
    calls.append("call")
    yield Note(step="dial", text=f"{len(calls)} of {len(done.runs)}", warning=True)


class Dialing:
    @staticmethod
    @hookimpl
    def imagen_post_generate() -> list[StepSpec]:
        return [StepSpec(name="dial", phase="publish", run=f"{__name__}:dial")]


def test_what_a_step_opens_once_is_shared_and_closed_with_the_command(
    imagen: Any, tmp_path: Path
) -> None:
    done = imagen(
        *GENERATE,
        "--count",
        "2",
        app=App.for_test(Terminal(), tmp_path, plugins={"dialing": Dialing()}),
    )

    assert done.err.splitlines() == ["imagen: dial: 1 of 1", "imagen: dial: 2 of 1"]
    assert (tmp_path / "data" / "line").read_text() == "opened\nclosed\n"


@pytest.mark.parametrize(
    ("config", "variable", "setting"),
    [
        ("", "", "auto"),
        ("output: {share: off}", "", "off"),
        ("output: {share: off}", "on", "on"),
    ],
)
def test_context_says_how_a_switch_is_set(
    tmp_path: Path, config: str, variable: str, setting: str
) -> None:
    environment = {"IMAGEN_SHARE": variable} if variable else {}

    assert app(tmp_path, config, **environment).context.setting("share") == setting


FILE = {
    None: "",
    "on": "on",
    "off": "off",
    "quoted on": '"on"',
    "quoted off": "'off'",
    "auto": "auto",
    "true": "true",
    "false": "false",
}
ENVIRONMENT = (None, "on", "off", "auto")
FLAG = (None, "--share", "--no-share")


@pytest.mark.parametrize(
    ("file", "environment", "flag"), list(itertools.product(FILE, ENVIRONMENT, FLAG)), ids=str
)
def test_switch_is_decided_by_flag_then_environment_then_file(
    imagen: Any, tmp_path: Path, file: str | None, environment: str | None, flag: str | None
) -> None:
    config = f"output: {{share: {FILE[file]}}}\n" if file else ""
    given = app(tmp_path, config, **({"IMAGEN_SHARE": environment} if environment else {}))

    (plan,) = imagen(*GENERATE, "--dry-run", "--json", *filter(None, [flag]), app=given).json()

    assert plan["switches"]["share"] == {
        "on": decided(file, environment, flag) == "on",
        "reason": reason(tmp_path, file, environment, flag),
    }


def decided(file: str | None, environment: str | None, flag: str | None) -> str:
    from_file = {"true": "on", "false": "off"}.get(
        file or "", (file or "auto").removeprefix("quoted ")
    )
    return {"--share": "on", "--no-share": "off"}.get(flag or "", environment or from_file)


def reason(folder: Path, file: str | None, environment: str | None, flag: str | None) -> str:
    if decided(file, environment, flag) == "auto":
        return "SHARE_TOKEN is not set"
    place = f"{folder}/imagen.yaml:1" if file else "default"
    return f"set by {flag or ('$IMAGEN_SHARE' if environment else place)}"


def test_auto_asks_the_rule_of_its_plugin(imagen: Any, tmp_path: Path) -> None:
    imagen(*GENERATE, app=app(tmp_path, SHARE_TOKEN="x"))

    assert (tmp_path / "data" / "shared").is_file()


def test_rule_that_fails_is_a_warning_and_means_off(imagen: Any, tmp_path: Path) -> None:
    done = imagen(*GENERATE, app=app(tmp_path, SHARE_RULE="raise"))

    assert done.exit_code == 0
    assert "imagen: share: RuntimeError: no rule\n" in done.err
    assert not (tmp_path / "data" / "shared").exists()


@pytest.mark.parametrize(
    ("config", "environment", "message"),
    [
        (
            "output: {share: maybe}",
            {},
            "{folder}/imagen.yaml:1: output.share: expected auto, on or off, got 'maybe'",
        ),
        (
            "output: {share: 1}",
            {},
            "{folder}/imagen.yaml:1: output.share: expected auto, on or off, got 1",
        ),
        ("", {"IMAGEN_SHARE": "yes"}, "$IMAGEN_SHARE: expected auto, on or off, got 'yes'"),
    ],
)
def test_any_other_value_is_an_error_that_names_its_source(
    imagen: Any, tmp_path: Path, config: str, environment: dict[str, str], message: str
) -> None:
    done = imagen(*GENERATE, app=app(tmp_path, config, **environment))

    assert done.exit_code == 2
    assert done.err.splitlines()[0] == f"imagen: error: {message.format(folder=tmp_path)}"


def test_flags_of_a_switch_are_in_the_help(imagen: Any, tmp_path: Path) -> None:
    done = imagen("generate", "--help", app=app(tmp_path))

    assert "--share" in done.out
    assert "Without sharing of each picture." in done.out


def test_both_flags_at_once_are_off(imagen: Any, tmp_path: Path) -> None:
    done = imagen(*GENERATE, "--share", "--no-share", app=app(tmp_path))

    assert done.exit_code == 0
    assert not (tmp_path / "data" / "shared").exists()


def test_rule_that_exits_is_a_warning_and_means_off(imagen: Any, tmp_path: Path) -> None:
    done = imagen(*GENERATE, app=app(tmp_path, SHARE_RULE="exit"))

    assert done.exit_code == 0
    assert "imagen: share: SystemExit: 9\n" in done.err


def leave(*_: object) -> str:
    raise SystemExit(9)


class Leaving:
    @staticmethod
    @hookimpl
    def imagen_callers() -> list[CallerSpec]:
        return [CallerSpec(name="who", resolve=f"{__name__}:leave")]


def test_caller_that_exits_is_a_warning(imagen: Any, tmp_path: Path) -> None:
    done = imagen(*GENERATE, app=App.for_test(Terminal(), tmp_path, plugins={"l": Leaving()}))

    assert (done.exit_code, len(done.paths)) == (0, 1)
    assert "imagen: who: SystemExit: 9\n" in done.err
