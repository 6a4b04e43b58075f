"""Debian's packages for programs that tests need: installed once if they are not there."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence


def find_program(names: Sequence[str], package: str, *, called: str) -> str:
    """The path of the first of these programs; the package is installed if there is none."""
    lock = Path(tempfile.gettempdir()) / f"imagen-tests-{package}-{os.geteuid()}.lock"
    with lock.open("w") as held:
        # Several processes of pytest-xdist come here at once: the first installs, the others wait.
        fcntl.flock(held, fcntl.LOCK_EX)
        said = "" if _path(names) or sys.platform != "linux" else _install(package)
    if path := _path(names):
        return path
    if sys.platform != "linux":
        pytest.skip(f"there is no {called} here")
    pytest.fail(
        f"This test needs {called}. Install it (Debian, Ubuntu: apt-get install {package})."
        + (f"\nTrying to do so said:\n{said}" if said else ""),
        pytrace=False,
    )


def _path(names: Sequence[str]) -> str | None:
    return next((path for name in names if (path := shutil.which(name))), None)


def _install(package: str) -> str:
    """What apt-get said, if it could not."""
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if not all(shutil.which(tool) for tool in ["apt-get", *root[:1]]):
        return ""
    apt = [
        *root,
        "env",
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "-o",
        "DPkg::Lock::Timeout=300",
    ]
    install = [*apt, "install", "--yes", "--no-install-recommends", package]
    for command in (install, [*apt, "update"], install):
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode == 0 and command is install:
            return ""
    return done.stdout[-2000:]
