"""What all conformance kits share: no check is dropped unnoticed, and the import is light."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from imagen_core.protocols import Context

if TYPE_CHECKING:
    from imagen_core.app import App

HEAVY = frozenset({"httpx", "PIL", "yaml", "sqlite3", "supabase", "asyncio", "rich"})
MANY = 50
"""How many modules an import may bring beside those that every plugin needs."""

_REPORT = """
import importlib, sys
import imagen_core.hookspecs, imagen_core.specs
before = set(sys.modules)
importlib.import_module(sys.argv[1])
sys.stdout.write("\\0" + "\\n".join(sorted(set(sys.modules) - before)))
"""


class Conformance:
    """Checks that an author inherits. Subclass a kit, not this.

    A check can't be overridden or removed, except by one that is marked
    `pytest.mark.xfail(reason=…)`: whoever reads the tests then sees what does not hold.
    """

    module: ClassVar[str]
    """The plugin's import name, as in its entry point."""

    config: ClassVar[str] = ""
    """The configuration file that `context` sees, as YAML."""

    environment: ClassVar[Mapping[str, str]] = {}
    """The variables that `context` sees, and no others."""

    @pytest.fixture
    def context(self, tmp_path: Path) -> Iterator[Context]:
        """What a plugin gets to see: the plugin's settings, the environment, the ledger."""
        app = isolated_app(
            tmp_path, config=self.config, environment=self.environment, plugins=_plugin(self.module)
        )
        yield app.context
        app.close()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, check in _checks(cls).items():
            found = getattr(cls, name)
            if found is not check and not _is_expected_to_fail(found):
                raise TypeError(
                    f"{cls.__name__} overrides the check {name}; to say that it does not hold, "
                    "mark the override with pytest.mark.xfail(reason='why')"
                )

    def test_import_is_light(self) -> None:
        """Importing the plugin costs next to nothing, since every command may have to do it.

        To fix it: import heavy libraries inside the functions that use them, and keep the
        module of the entry point to its hooks, whose specs name the code as "module:attribute".
        """
        modules, printed = _imported_by(self.module)
        heavy = HEAVY & {name.partition(".")[0] for name in modules}
        advice = "import them inside the functions that use them"
        assert not heavy, f"{self.module} imports {', '.join(sorted(heavy))}: {advice}"
        few = len(modules) <= MANY
        assert few, f"{self.module} imports {len(modules)} modules; {advice}: {', '.join(modules)}"
        assert not printed, f"{self.module} prints when it is imported: {printed!r}"


def isolated_app(folder: Path, **options: Any) -> App:
    """An App that sees nothing but this folder, and prints nowhere."""
    from imagen_core.app import App
    from imagen_core.terminal import Terminal

    return App.for_test(Terminal(StringIO(), StringIO()), folder, **options)


def _plugin(module: str) -> dict[str, object]:
    """The plugin under the name of its entry point, by which it asks for its settings."""
    entries = entry_points(group="imagen")
    return {entry.name: entry.load() for entry in entries if entry.module == module}


def _checks(cls: type) -> dict[str, object]:
    """The checks of the kits that a class inherits from."""
    package = __name__.rpartition(".")[0]
    return {
        name: check
        for owner in reversed(cls.__mro__)
        if owner.__module__.startswith(f"{package}.")
        for name, check in vars(owner).items()
        if name.startswith("test_")
    }


def _is_expected_to_fail(check: object) -> bool:
    marks = getattr(check, "pytestmark", [])
    return any(mark.name == "xfail" and mark.kwargs.get("reason") for mark in marks)


def _imported_by(module: str) -> tuple[list[str], str]:
    """The modules that an import brings, and what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", _REPORT, module], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{module} can't be imported:\n{done.stderr}"
    printed, _, names = done.stdout.partition("\0")
    return names.split(), printed + done.stderr
