"""The commands that are timed, as whole processes, and the rounds that time them."""

from __future__ import annotations

import random
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

from bench import environments
from bench.environments import tell

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.environments import Environment

PEERS = {"llm": "0.36", "hatch": "1.18.2", "comfy-cli": "1.23.0"}

PASS = "python -c pass"
CLICK = 'python -c "import click"'
VERSION = "version"
HELP = "--help"
COMPLETION = "completion of a command"
COMPLETION_OF_BACKENDS = "completion of --backend (reads a configuration)"
DRY_RUN = "generate --dry-run"
SMALL = "generate, mock, 64x64"
LARGE = "generate, mock, 1024x1024"

PYTHON = "python"
IMAGEN = "imagen"
SLEEPY = "imagen with a plugin that sleeps 2 s at import"

CONFIG = """\
backends:
  flux: {type: mock}
  film: {type: mock, size: 768x512}
  quick: {type: mock, size: 256x256, steps: 1}
"""
"""What the completion of backends reads; everything else runs without a configuration."""


class Case(NamedTuple):
    """One command line of one program, and what its standard output must have in it."""

    subject: str
    action: str
    command: tuple[str, ...]
    expects: str = ""
    variables: Mapping[str, str] = {}


class Timing(NamedTuple):
    """The seconds that each round took; none if the program is absent or did not do it."""

    case: Case
    seconds: list[float]
    problem: str = ""


def prepare(folder: Path) -> list[Case]:
    """Make the environments, and list every case that can run in them; `folder` is for files."""
    (folder / "imagen.yaml").write_text(CONFIG, encoding="utf-8")
    plain = environments.imagen(sleepy=False)
    sleepy = environments.imagen(sleepy=True)
    if plain is None or sleepy is None:
        raise SystemExit("imagen itself could not be installed")
    python = [
        Case(PYTHON, PASS, (plain.python, "-c", "pass")),
        Case(PYTHON, CLICK, (plain.python, "-c", "import click")),
    ]
    peers = (
        case
        for name, version in PEERS.items()
        for case in _peer(name, version, environments.peer(name, version))
    )
    return [*python, *_imagen(IMAGEN, plain, folder), *_imagen(SLEEPY, sleepy, folder), *peers]


def measure(cases: Sequence[Case], folder: Path, rounds: int) -> list[Timing]:
    """Time every case once a round, in a new order each round, so that drift hits all alike."""
    timings = [Timing(case, [], _first_run(case, folder)) for case in cases]
    runnable = [timing for timing in timings if not timing.problem]
    for number in range(rounds):
        tell(f"round {number + 1} of {rounds} ...")
        for timing in random.Random(number).sample(runnable, len(runnable)):
            environment = clean_environment(folder, timing.case.variables)
            seconds, _ = run_timed(timing.case.command, environment)
            timing.seconds.append(seconds)
    return timings


def _imagen(subject: str, environment: Environment, folder: Path) -> Iterator[Case]:
    program = environment.script("imagen")
    generate = (program, "generate", "a cat in a fishbowl", "--backend", "mock", "--seed", "42")
    picture = folder / environment.name / "cat.png"
    picture.parent.mkdir(exist_ok=True)
    output = ("--output", str(picture))
    configured = {"IMAGEN_CONFIG": str(folder / "imagen.yaml")}

    def completion(words: str) -> dict[str, str]:
        return _completion("_IMAGEN_COMPLETE", "bash_complete", words)

    yield Case(subject, VERSION, (program, "version"), "imagen ")
    # Help comes before completion: it builds the index, which completion never does.
    yield Case(subject, HELP, (program, "--help"), "sleepy" if subject == SLEEPY else "generate")
    yield Case(subject, COMPLETION, (program,), "plain,generate", completion("imagen gen"))
    yield Case(
        subject,
        COMPLETION_OF_BACKENDS,
        (program,),
        "plain,flux",
        configured | completion("imagen generate --backend f"),
    )
    yield Case(subject, DRY_RUN, (*generate, "--dry-run"), "seed: 42")
    yield Case(subject, SMALL, (*generate, "--size", "64x64", *output), "cat.png")
    yield Case(subject, LARGE, (*generate, "--size", "1024x1024", *output), "cat.png")


def _peer(name: str, version: str, environment: Environment | None) -> Iterator[Case]:
    """What a peer has in common with imagen."""
    subject = f"{name} {version}"
    if environment is None:
        yield from (Case(subject, action, ()) for action in (VERSION, HELP, COMPLETION))
        return
    script, words, found = {
        # llm completes no command at its top level (its group has a default one): a flag, then.
        "llm": ("llm", "llm logs --cou", "--count"),
        "hatch": ("hatch", "hatch en", "env"),
        "comfy-cli": ("comfy", "comfy mod", "model"),
    }[name]
    program = environment.script(script)
    instruction = "complete_bash" if name == "comfy-cli" else "bash_complete"
    yield Case(subject, VERSION, (program, "--version"), version)
    yield Case(subject, HELP, (program, "--help"), "Usage")
    asked = _completion(f"_{script.upper()}_COMPLETE", instruction, words)
    yield Case(subject, COMPLETION, (program,), found, asked)


def _completion(variable: str, instruction: str, words: str) -> dict[str, str]:
    """What a shell's completion function puts into the environment."""
    return {
        variable: instruction,
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }


def _first_run(case: Case, folder: Path) -> str:
    """Run it twice, to warm up and to see what it says; returns what is wrong, if anything."""
    if not case.command:
        return "could not be installed"
    for _ in range(2):
        done = subprocess.run(
            case.command,
            env=clean_environment(folder, case.variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode or case.expects not in done.stdout:
        tell(f"{case.subject}: {case.action} failed:\n{done.stdout[-500:]}{done.stderr[-500:]}")
        return f"exit code {done.returncode}" if done.returncode else "unexpected output"
    return ""


def run_timed(command: Sequence[str], environment: Mapping[str, str]) -> tuple[float, int]:
    """The seconds that a whole process took, and its exit code; what it says is not kept."""
    started = time.perf_counter()
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return time.perf_counter() - started, done.returncode


def clean_environment(folder: Path, variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Nothing of the user's own: no settings, keys or history, and no telemetry of a peer's."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "IMAGEN_DATA_DIR": str(folder / "data"),
        "IMAGEN_CACHE_DIR": str(folder / "cache"),
        "DO_NOT_TRACK": "1",
        **(variables or {}),
    }
