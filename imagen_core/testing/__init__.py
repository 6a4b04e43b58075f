"""For those who write plugins: conformance kits, servers that fail on demand, fixtures.

The fixtures `imagen_home` and `imagen` come by themselves, with the pytest plugin of this
package; others are for a conftest.py to import. The names here load on first use, as that
plugin is part of every pytest run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

_HOME = {
    "BackendConformance": "imagen_core.testing.backend",
    "FailingServer": "imagen_core.testing.server",
    "QueueConformance": "imagen_core.testing.queue",
    "Received": "imagen_core.testing.web",
    "Reply": "imagen_core.testing.web",
    "Result": "imagen_core.testing.plugin",
    "ServerThreads": "imagen_core.testing.web",
    "StepConformance": "imagen_core.testing.step",
    "WebServer": "imagen_core.testing.web",
    "events": "imagen_core.testing.fixtures",
    "images": "imagen_core.testing.fixtures",
    "isolated_app": "imagen_core.testing.conformance",
    "png": "imagen_core.testing.fixtures",
    "reply_json": "imagen_core.testing.web",
    "serve": "imagen_core.testing.serving",
    "work": "imagen_core.testing.working",
}

__all__ = list(_HOME)

if TYPE_CHECKING:
    from imagen_core.testing.backend import BackendConformance as BackendConformance
    from imagen_core.testing.conformance import isolated_app as isolated_app
    from imagen_core.testing.fixtures import events as events, images as images, png as png
    from imagen_core.testing.plugin import Result as Result
    from imagen_core.testing.queue import QueueConformance as QueueConformance
    from imagen_core.testing.server import FailingServer as FailingServer
    from imagen_core.testing.serving import serve as serve
    from imagen_core.testing.step import StepConformance as StepConformance
    from imagen_core.testing.web import (
        Received as Received,
        Reply as Reply,
        ServerThreads as ServerThreads,
        WebServer as WebServer,
        reply_json as reply_json,
    )
    from imagen_core.testing.working import work as work


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value
