"""Virtual environments of the bench's own, kept in `.bench/` for as long as they are right."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".bench"
CONSTRAINTS = ROOT / "constraints.txt"
READY = "bench-ready"

SLEEPY_SECONDS = 2
SLEEPY_FILES = {
    "pyproject.toml": """
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "imagen-sleepy"
version = "1"

[project.entry-points.imagen]
sleepy = "imagen_sleepy"

[tool.hatch.build.targets.wheel]
packages = ["imagen_sleepy.py"]
""",
    "imagen_sleepy.py": f"""
import time

from imagen_core import BackendSpec, CommandSpec, hookimpl

time.sleep({SLEEPY_SECONDS})


@hookimpl
def imagen_backends():
    what = {{"config": "imagen_sleepy:Config", "create": "imagen_sleepy:Sleepy"}}
    return [BackendSpec(type="sleepy", summary="sleeps at import", **what)]


@hookimpl
def imagen_commands():
    return [CommandSpec(name="sleepy", help="Sleep.", load="imagen_sleepy:command")]
""",
}
"""A third-party plugin that does at import what none should do."""


class Environment(NamedTuple):
    """A virtual environment with what was asked for in it."""

    name: str
    folder: Path

    @property
    def python(self) -> str:
        """Its interpreter."""
        return self.script("python")

    def script(self, name: str) -> str:
        """The path of one of its commands."""
        return str(self.folder / "bin" / name)


def tell(text: str) -> None:
    """Print a line of progress on stderr."""
    print(text, file=sys.stderr, flush=True)


def imagen(*, sleepy: bool) -> Environment | None:
    """The repository with its first-party plugins, installed as a user does, not editable."""
    sources = [".", *plugins()]
    name = "imagen"
    if sleepy:
        name = "imagen-sleepy"
        sources.append(str(_write_sleepy()))
    constraints = {"PIP_CONSTRAINT": str(CONSTRAINTS), "PIP_BUILD_CONSTRAINT": str(CONSTRAINTS)}
    return _prepare(name, sources, stamp=_digest(), variables=constraints)


def peer(distribution: str, version: str, *more: str) -> Environment | None:
    """One peer in its pinned version, and what it needs more, from the package index.

    None if that fails.
    """
    return _prepare(distribution, [f"{distribution}=={version}", *more])


def _prepare(
    name: str,
    sources: Sequence[str],
    *,
    stamp: str = "",
    variables: Mapping[str, str] | None = None,
) -> Environment | None:
    """Make the environment, unless it is there and was made from the very same things."""
    made = Environment(name, CACHE / name)
    ready = made.folder / READY
    wanted = "\n".join((sys.version, *sources, stamp))
    if ready.exists() and ready.read_text(encoding="utf-8") == wanted:
        return made
    tell(f"making the environment {name} ...")
    shutil.rmtree(made.folder, ignore_errors=True)
    _venv(made.folder)
    pip = [sys.executable, "-m", "pip", "--python", made.python, "install", "--quiet"]
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **(variables or {})}
    done = subprocess.run(
        [*pip, *sources], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        tell(f"{name} could not be installed:\n{done.stderr[-2000:]}")
        return None
    ready.write_text(wanted, encoding="utf-8")
    return made


def _venv(folder: Path) -> None:
    CACHE.mkdir(exist_ok=True)
    (CACHE / ".gitignore").write_text("*\n", encoding="utf-8")
    # Without a pip of its own: the one that runs the bench installs, and that is quicker.
    command = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _write_sleepy() -> Path:
    folder = CACHE / "sleepy-source"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in SLEEPY_FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def plugins() -> list[str]:
    """The first-party distributions besides the core, as the Makefile finds them."""
    found = [*ROOT.glob("plugins/*/pyproject.toml"), *ROOT.glob("workflows/pyproject.toml")]
    return sorted(f"./{path.parent.relative_to(ROOT)}" for path in found)


def _digest() -> str:
    """A hash of everything that is installed from the repository."""
    seen = sha256()
    for path in sorted(_sources()):
        seen.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    for text in SLEEPY_FILES.values():
        seen.update(text.encode())
    return seen.hexdigest()


def _sources() -> Iterator[Path]:
    yield from (ROOT / "pyproject.toml", CONSTRAINTS)
    for folder in ("imagen_core", *plugins()):
        for path in (ROOT / folder).rglob("*"):
            parts = path.relative_to(ROOT).parts
            if path.is_file() and not any(
                part.startswith((".", "__py", "tests")) for part in parts
            ):
                yield path
