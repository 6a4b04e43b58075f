"""What a test has told the server to do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from imagen_core.testing import Reply


class Handle(Protocol):
    """Does what a request asks for; without `hold`, a create is answered at once."""

    def __call__(self, *, hold: bool = True) -> Reply | None:
        """Gives the reply."""
        ...


Act = Callable[[Handle], Reply | None]
ROUTES = ("create", "get", "list", "cancel", "file", "upload", "model")


@dataclass
class Fault:
    """Something that happens to the next requests of a route instead of a plain answer."""

    route: str
    act: Act
    times: int


class Fate(NamedTuple):
    """How a prediction will end, in whatever way it is not to succeed with all its pictures."""

    error: str = ""
    logs: str = ""
    withheld: int = 0


@dataclass
class Script:
    """All that holds until something else is said."""

    run_seconds: float = 0.0
    held: str = ""
    """The status in which new predictions stay; empty if they do not."""
    hold_seconds: float | None = None
    """How long replies are held, whatever the client asks for."""
    fates: list[Fate] = field(default_factory=list)
    shape: str = ""
    """The shape of outputs: list, string or data; empty for that of the model."""
    early: bool = False
    echo: bool = False
    redirect: str = ""
    downloads: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    upload_limit: int = 100 * 1024 * 1024
    closing: threading.Event = field(default_factory=threading.Event)

    def fault(self, route: str) -> Fault | None:
        """Takes what is next for a route."""
        for fault in self.faults:
            if fault.route == route and fault.times > 0:
                fault.times -= 1
                return fault
        return None

    def fate(self) -> Fate:
        """Takes how the next prediction ends."""
        return self.fates.pop(0) if self.fates else Fate()
