"""For those who write plugins: conformance kits, a server that fails on demand, fixtures.

The fixtures `imagen_home` and `imagen` come by themselves, with the pytest plugin of this
package. The names here load on first use, as that plugin is part of every pytest run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

_HOME = {
    "BackendConformance": "imagen_core.testing.backend",
    "FailingServer": "imagen_core.testing.server",
    "Result": "imagen_core.testing.plugin",
    "StepConformance": "imagen_core.testing.step",
    "isolated_app": "imagen_core.testing.conformance",
}

__all__ = list(_HOME)

if TYPE_CHECKING:
    from imagen_core.testing.backend import BackendConformance as BackendConformance
    from imagen_core.testing.conformance import isolated_app as isolated_app
    from imagen_core.testing.plugin import Result as Result
    from imagen_core.testing.server import FailingServer as FailingServer
    from imagen_core.testing.step import StepConformance as StepConformance


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value
