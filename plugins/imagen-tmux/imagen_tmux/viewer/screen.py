"""The terminal: its size, what is written to it and typed, and that it is left as it was."""

from __future__ import annotations

import math
import os
import re
import select
import signal
import termios
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from imagen_tmux.viewer.painting import Canvas

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

Owed = list["Callable[[], None]"]
"""What gives the terminal back, one after the other from the last."""

IN, OUT = 0, 1
COLUMNS, ROWS = 80, 24
"""How large a terminal is that does not say."""
USUAL_CELL = 10, 20
CHUNK = 65_536
PATIENCE = 5.0
"""Seconds for a terminal that takes nothing any more, when it is left."""

ESCAPE = "\x1b"
ESCAPE_SECONDS = 0.05
"""How long the key Escape may be the beginning of another one."""
REST_SECONDS = 1.0
"""How long the rest of a longer sequence is waited for; a slow line cuts them anywhere."""

ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[?1004h\x1b[2J"
"""The alternate screen, no cursor, no wrapping, and word when somebody comes to look."""
CLOSED = "\x1b\\\x1b\\"
"""Ends a sequence that was cut off, as one that passes through tmux, which would swallow all that
follows; twice, as the first may only complete an escape that was doubled."""
LEAVE = f"{CLOSED}\x1b[0m\x1b[?1004l\x1b[?7h\x1b[?25h\x1b[?1049l"

ENDING = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT
OTHERS = signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT

RESIZED, STOPPED, CONTINUED, GONE = "resized", "stopped", "continued", "gone"
"""Events that are no keys."""
_EVENTS = {
    signal.SIGWINCH: RESIZED,
    signal.SIGTSTP: STOPPED,
    signal.SIGCONT: CONTINUED,
}
_OPEN = r"\x1b(?:\[[0-?]*[ -/]*|O|[_P\]].*)?\Z"
_TOKEN = re.compile(
    rf"\x1b\[[0-?]*[ -/]*[@-~]|\x1bO.|\x1b[_P\]].*?(?:\x1b\\|\x07)|(?P<open>{_OPEN})|.", re.DOTALL
)

_REPLY = re.compile(r"\x1b_G.*?\x1b\\|\x1b\[\?[\d;]*c", re.DOTALL)


def canvas(environment: Mapping[str, str]) -> Canvas:
    """The size of the terminal, or what the environment says of it."""
    columns, rows, wide, high = _size()
    columns = columns or _number(environment.get("COLUMNS")) or COLUMNS
    rows = rows or _number(environment.get("LINES")) or ROWS
    cell = wide // columns, high // rows
    return Canvas(columns, rows, cell if all(cell) else USUAL_CELL)


def write(text: str, patience: float | None = None) -> None:
    """All of it to the terminal; whoever does not read it any more is no reason to fail.

    `patience`: seconds until a terminal that takes nothing is given up.
    """
    with suppress(OSError):
        send(text, patience)


def send(text: str, patience: float | None = None) -> None:
    """Like `write`, with an OSError if it can't be written."""
    data = memoryview(text.encode("utf-8", "replace"))
    while data and (patience is None or select.select([], [OUT], [], patience)[1]):
        data = data[os.write(OUT, data) :]


@contextmanager
def ending(leave: Callable[[int], None]) -> Iterator[Owed]:
    """The first signal that ends the process gives all back that is owed, and ends it by `leave`.

    Gives what is owed, which is nothing yet. All is done in the handler: what is raised there is
    lost wherever Python can't pass an exception on, as in the callbacks of its own imports.
    """

    def end(number: int, _: FrameType | None) -> None:
        for other in ENDING:
            signal.signal(other, _note)  # with `SIG_IGN` Python would complain of one that waits
        for give_back in reversed(owed):
            give_back()
        leave(number)

    owed: Owed = []
    handlers = {number: signal.signal(number, end) for number in ENDING}
    try:
        yield owed
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def owing(owed: Owed, give_back: Callable[[], None]) -> Iterator[None]:
    """Give this back in the end, also where a signal ends all; that may come in its midst."""
    owed.append(give_back)
    try:
        yield
    finally:
        give_back()
        owed.pop()


@contextmanager
def raw(owed: Owed) -> Iterator[list[Any]]:
    """Keys as they are typed; afterwards all is as it was.

    Gives the attributes that the terminal had.
    """
    before = termios.tcgetattr(IN)
    with owing(owed, lambda: _restore(before)):
        _set_raw(before)
        yield before


def in_foreground() -> bool:
    """Whether the terminal may be set: whoever tries it from the background is stopped."""
    try:
        return os.tcgetpgrp(IN) == os.getpgrp()
    except OSError:  # it is not the terminal of this session, which nobody is stopped by
        return True


def ask(question: str, pattern: str, seconds: float) -> str:
    """What the terminal replies, up to what the pattern matches; in raw mode."""
    write(question)
    limit, said = time.monotonic() + seconds, ""
    while not re.search(pattern, said, re.DOTALL):
        if not select.select([IN], [], [], max(limit - time.monotonic(), 0))[0]:
            break
        data = os.read(IN, CHUNK)
        if not data:
            break
        said += data.decode("latin-1")
    return said


def without_replies(said: str) -> bytes:
    """The keys among what was read."""
    return _REPLY.sub("", said).encode("latin-1")


def give_back(typed: bytes) -> None:
    """Let whoever reads next read these keys, where the system allows that."""
    import fcntl

    keys, _ = split_keys(typed)  # half a reply is no key
    with suppress(OSError):
        for byte in "".join(keys).encode():
            fcntl.ioctl(IN, termios.TIOCSTI, bytes([byte]))


class Screen:
    """The whole screen for as long as `with` lasts, with what happens to it as events."""

    def __init__(self) -> None:
        self._signals, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self._pending: list[str] = []
        self._open = b""
        self._open_until = 0.0
        self._before: list[Any] = []

    @contextmanager
    def taken(self) -> Iterator[Owed]:
        """Take the screen over, and give it back whatever happens, with all that is owed."""
        handlers = {number: signal.signal(number, _note) for number in OTHERS}
        wake = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        try:
            with (
                ending(_die) as owed,
                raw(owed) as self._before,
                owing(owed, lambda: write(LEAVE, PATIENCE)),
            ):
                write(ENTER)
                yield owed
        finally:
            signal.set_wakeup_fd(wake)
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def event(self, seconds: float | None) -> str:
        """A key, or what else happened; empty if nothing did for so long."""
        limit = math.inf if seconds is None else time.monotonic() + seconds
        while not self._pending:
            until = min(limit, self._open_until) if self._open else limit
            if self._wait(None if until == math.inf else max(until - time.monotonic(), 0)):
                continue
            if self._open and time.monotonic() >= self._open_until:
                self._give_up_on_the_rest()
            elif time.monotonic() >= limit:
                return ""
        return self._pending.pop(0)

    def unread(self, data: bytes) -> None:
        """Take these keys as typed; a sequence that is cut off waits for its rest."""
        if not data:
            return
        keys, rest = split_keys(self._open + data)
        self._pending += keys
        if not self._open or keys:
            patience = ESCAPE_SECONDS if rest == ESCAPE.encode() else REST_SECONDS
            self._open_until = time.monotonic() + patience
        self._open = rest

    def stop(self) -> None:
        """Give the terminal back and stop, as Ctrl-Z asks; later take it over again."""
        write(LEAVE)
        _restore(self._before)
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, _note)
        self.resume()

    def resume(self) -> None:
        """Take the terminal again after somebody else had it."""
        _set_raw(self._before)
        write(ENTER)

    def _wait(self, seconds: float | None) -> bool:
        """Whether something came."""
        ready = select.select([IN, self._signals], [], [], seconds)[0]
        if self._signals in ready:
            numbers = os.read(self._signals, CHUNK)
            events = (_EVENTS.get(signal.Signals(number), "") for number in numbers)
            # Ten resizes in a row are one.
            self._pending += dict.fromkeys(filter(None, events))
        if IN in ready:
            try:
                data = os.read(IN, CHUNK)
            except OSError:
                data = b""
            self.unread(data)
            self._pending += [] if data else [GONE]
        return bool(ready)

    def _give_up_on_the_rest(self) -> None:
        """The key Escape is one; no other half of a sequence is."""
        if self._open == ESCAPE.encode():
            self._pending.append(ESCAPE)
        self._open = b""


def split_keys(data: bytes) -> tuple[list[str], bytes]:
    """Keys and escape sequences, one each, and the beginning of one whose rest did not come."""
    keys = [*_TOKEN.finditer(data.decode("utf-8", "replace"))]
    rest = keys.pop()[0] if keys and keys[-1]["open"] else ""
    return [key[0] for key in keys], rest.encode()


def _set_raw(attributes: list[Any]) -> None:
    new = [*attributes]
    new[0] &= ~(termios.ICRNL | termios.IXON | termios.ISTRIP)
    new[3] &= ~(termios.ECHO | termios.ICANON | termios.ISIG | termios.IEXTEN)
    with suppress(termios.error):
        termios.tcsetattr(IN, termios.TCSANOW, new)


def _restore(attributes: list[Any]) -> None:
    if in_foreground():  # else somebody else has it, who set it
        with suppress(termios.error):  # the terminal may be gone
            termios.tcsetattr(IN, termios.TCSANOW, attributes)


def _size() -> tuple[int, int, int, int]:
    """Columns, rows and pixels of the terminal; zeros where there is none."""
    import fcntl
    import struct

    for descriptor in (OUT, IN, 2):
        with suppress(OSError):
            found = fcntl.ioctl(descriptor, termios.TIOCGWINSZ, bytes(8))
            rows, columns, wide, high = struct.unpack("HHHH", found)
            if rows and columns:
                return columns, rows, wide, high
    return 0, 0, 0, 0


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _die(number: int) -> None:
    """Whoever waits for this process is told that the signal ended it."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _note(_: int, __: FrameType | None) -> None:
    """Nothing: the number goes through the pipe of `Screen`, if there is one."""
