"""What each command may import: start-up is a promise."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

LIGHT = ("generate", "batch", "enqueue", "jobs")
HEAVY = {"httpx", "PIL", "supabase", "rich", "asyncio", "sqlite3"}
REPORT = """
import sys
from imagen_core import cli
try:
    sys.argv = ["imagen", *ARGS]
    cli.main()
except SystemExit:
    pass
print("\\n".join(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


def imported(*args: str, **environment: str) -> set[str]:
    """The top-level modules that a command line leaves behind, with a warm index."""
    run(["--help"])
    return set(run(args, **environment).split())


def run(args: Sequence[str], **environment: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", REPORT.replace("ARGS", repr(list(args)))],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=True,
    ).stderr


def test_version_imports_not_even_msgspec_and_pluggy() -> None:
    assert (
        imported("version") & {*HEAVY, "msgspec", "pluggy", "yaml", "importlib.metadata"} == set()
    )


@pytest.mark.parametrize("args", [("--help",), *((name, "--help") for name in LIGHT)], ids=" ".join)
def test_help_imports_nothing_heavy(args: tuple[str, ...]) -> None:
    assert imported(*args) & {*HEAVY, "pluggy", "yaml"} == set()


@pytest.mark.parametrize(
    "words", ["imagen ge", "imagen generate --ba", "imagen enqueue --pri", "imagen jobs "]
)
def test_completion_imports_nothing_heavy(words: str) -> None:
    environment = {
        "_IMAGEN_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }

    assert imported(**environment) & {*HEAVY, "pluggy", "yaml"} == set()


def test_dry_run_imports_no_client_and_no_database() -> None:
    assert imported("generate", "a cat", "--backend", "mock", "--dry-run") & HEAVY == set()


CLOUD = {"SUPABASE_URL": "http://127.0.0.1:9", "SUPABASE_SERVICE_KEY": "k"}


@pytest.mark.parametrize(
    ("flags", "environment"),
    [((), {}), (("--no-cloud",), CLOUD), ((), {**CLOUD, "IMAGEN_CLOUD_SYNC": "off"})],
    ids=["not configured", "flag", "variable"],
)
def test_picture_without_the_cloud_imports_nothing_of_it(
    flags: tuple[str, ...], environment: dict[str, str]
) -> None:
    found = imported(
        "generate", "a cat", "--backend", "mock", "--size", "32x32", *flags, **environment
    )

    assert "imagen_supabase" in found
    assert found & {"supabase", "postgrest", "storage3", "httpx", "psycopg"} == set()


def test_public_names_are_there_and_cost_nothing_until_used() -> None:
    code = (
        "import sys, imagen_core; assert 'msgspec' not in sys.modules; "
        "[getattr(imagen_core, name) for name in imagen_core.__all__]"
    )

    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
