"""A terminal outside: a pty that a program runs in, what it writes, and what it is answered."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
import zlib
from base64 import b64decode
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PATIENCE = 120
"""Seconds for whatever is waited for; a machine that is busy with other tests is slow."""
DEVICE = b"\x1b[c"
KITTY = re.compile(rb"\x1b_G([^;\x1b]*);([^\x1b]*)\x1b\\")


class Terminal:
    """Runs a program in a pty, and answers what a terminal is asked, as it is told."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        size: tuple[int, int] = (80, 24),
        cell: tuple[int, int] = (10, 20),
        replies: Mapping[bytes, bytes] | None = None,
    ) -> None:
        self.end, theirs = pty.openpty()
        self.written = b""
        self._cell = cell
        self._replies = dict(replies or {})
        self._size(theirs, size)
        self.before = termios.tcgetattr(theirs)
        self.theirs = theirs
        self.process = self._started(command, environment)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.end)
        os.close(self.theirs)

    def run(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Run another program once the first has ended, in a pty of the same name."""
        self.wait()
        self.written = b""
        self.process = self._started(command, environment)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read_until(self, wanted: bytes, *, after: int = 0) -> bytes:
        """All that was written, once this is in it."""
        limit = time.monotonic() + PATIENCE
        while wanted not in self.written[after:]:
            assert time.monotonic() < limit, f"{wanted!r} not in {self.written[-2000:]!r}"
            self._read(0.1)
        return self.written

    def wait(self) -> int:
        """The exit code, with everything read that was written."""
        limit = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < limit, f"it does not end: {self.written[-2000:]!r}"
            self._read(0.05)
        while self._read(0):
            pass
        return self.process.returncode

    def type(self, keys: bytes) -> None:
        os.write(self.end, keys)

    def _started(
        self, command: Sequence[str], environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        # A terminal belongs to the session whose leader opens it first.
        opening = ["/bin/sh", "-c", 'exec "$@" <>"$0" >&0 2>&0', os.ttyname(self.theirs)]
        return subprocess.Popen(
            [*opening, *command],
            stdin=subprocess.DEVNULL,
            env={"TERM": "xterm-256color", **environment},
            start_new_session=True,
        )

    def attributes_are_as_before(self) -> bool:
        return termios.tcgetattr(self.theirs) == self.before

    def _size(self, descriptor: int, size: tuple[int, int]) -> None:
        (columns, rows), (wide, high) = size, self._cell
        packed = struct.pack("HHHH", rows, columns, columns * wide, rows * high)
        fcntl.ioctl(descriptor, termios.TIOCSWINSZ, packed)

    def _read(self, seconds: float) -> bool:
        if not select.select([self.end], [], [], seconds)[0]:
            return False
        data = os.read(self.end, 65536)
        self.written += data
        for question, reply in list(self._replies.items()):
            if question in self.written:
                os.write(self.end, reply)
                del self._replies[question]
        return True


class Sent(NamedTuple):
    """A picture that was sent by kitty's protocol."""

    keys: dict[str, str]
    pixels: bytes

    def pixel(self, x: int, y: int) -> tuple[int, ...]:
        at = (y * int(self.keys["s"]) + x) * 3
        return tuple(self.pixels[at : at + 3])


def kitty_pictures(written: bytes) -> list[Sent]:
    """Every picture that this sends, put together from its pieces."""
    found: list[Sent] = []
    data = b""
    for match in KITTY.finditer(written):
        keys = dict(pair.split("=", 1) for pair in match[1].decode().split(","))
        if keys.get("a") == "q":
            continue
        assert len(match[2]) <= 4096
        if keys.get("a") == "T":
            first, data = keys, b""
        else:
            assert keys.keys() == {"q", "m"}
        data += match[2]
        if keys["m"] == "0":
            found.append(Sent(first, zlib.decompress(b64decode(data))))
    return found


def decode_sixel(text: str) -> dict[tuple[int, int], tuple[int, int, int]]:
    """The pixels of a picture in sixels; colours are in percent there, and so come back rounded."""
    body = re.search(r"\x1bP[\d;]*q(.*?)\x1b\\", text, re.DOTALL)
    assert body
    colours: dict[int, tuple[int, int, int]] = {}
    pixels: dict[tuple[int, int], tuple[int, int, int]] = {}
    x = y = colour = 0
    pattern = r'"[\d;]+|#(\d+)(?:;2;(\d+);(\d+);(\d+))?|(?:!(\d+))?([?-~])|([$-])'
    for match in re.finditer(pattern, body[1]):
        number, red, green, blue, times, sixel, move = match.groups()
        if number is not None:
            colour = int(number)
            if red is not None:
                colours[colour] = tuple(round(int(v) * 2.55) for v in (red, green, blue))  # type: ignore[assignment]
        elif sixel is not None:
            bits = ord(sixel) - 63
            for _ in range(int(times or 1)):
                for bit in range(6):
                    if bits >> bit & 1:
                        pixels[x, y + bit] = colours[colour]
                x += 1
        elif move == "$":
            x = 0
        elif move == "-":
            x, y = 0, y + 6
    return pixels
