"""What a test has told the server to do."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from imagen_core.testing import Reply

    Answer = Reply | Callable[[socket.socket], None] | None
    Act = Callable[[Callable[[], Answer]], Answer]

END = "(end)"
"""The point of a run between its success event and its history entry."""


class Gate(NamedTuple):
    """A point at which runs stop; an empty class means whichever node samples."""

    class_type: str
    step: int


@dataclass
class Raise:
    """An exception that the next nodes of a class raise."""

    class_type: str
    exception_type: str
    message: str
    times: int


@dataclass
class Fault:
    """Something that happens to the next requests of a path instead of a plain answer."""

    method: str
    path: str
    act: Act
    times: int

    def fits(self, method: str, path: str) -> bool:
        """Tells whether a request is one that this is for."""
        below = path == self.path or path.startswith(self.path + "/")
        return below and self.method in ("", method) and self.times > 0


@dataclass
class Script:
    """All that holds until something else is said; a restart of the server does not change it."""

    step_seconds: float = 0.0
    load_seconds: float = 0.0
    run_seconds: float = 0.0
    previews: bool = False
    black: bool = False
    plain_messages: bool = False
    muted: int = 0
    refuse_sockets: int = 0
    gates: list[Gate] = field(default_factory=list)
    raises: list[Raise] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    views: list[str] = field(default_factory=list)
    closing: bool = False
    """Whether the server goes down, so that nothing may hang any more."""
    hung: set[threading.Event] = field(default_factory=set)

    def fault(self, method: str, path: str) -> Fault | None:
        """Takes what is next for such a request."""
        for fault in self.faults:
            if fault.fits(method, path):
                fault.times -= 1
                return fault
        return None

    def exception(self, class_type: str) -> Raise | None:
        """Takes what the next node of a class shall raise."""
        for one in self.raises:
            if one.times > 0 and one.class_type == class_type:
                one.times -= 1
                return one
        return None

    def release(self) -> None:
        """Opens all gates, and lets hung requests go."""
        self.gates.clear()
        self.release_hung()

    def hang(self, lock: threading.Condition, *, seconds: float | None = None) -> None:
        """Keeps a request for that long, or until it is released."""
        released = threading.Event()
        with lock:
            if self.closing:
                return
            self.hung.add(released)
            lock.notify_all()
        released.wait(seconds)
        with lock:
            self.hung.discard(released)

    def release_hung(self) -> None:
        """Lets hung requests go."""
        for event in self.hung:
            event.set()
