"""A real Chromium: found, or installed, and driven over two pipes by the DevTools protocol."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import time
from base64 import b64decode
from typing import TYPE_CHECKING, Any, Self

from debian import find_program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAMES = ("chromium", "google-chrome", "google-chrome-stable", "chrome", "chromium-browser")
PATIENCE = 300
"""Seconds for whatever a page is asked; a machine that is busy with other tests is slow."""

FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    # Root has no sandbox, nor have many containers; the pages are our own.
    "--no-sandbox",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-breakpad",
    "--disable-crash-reporter",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-sync",
    "--password-store=basic",
    "--hide-scrollbars",
)

KEYS = {
    "Tab": (9, ""),
    "Enter": (13, "\r"),
    "Escape": (27, ""),
    "ArrowLeft": (37, ""),
    "ArrowRight": (39, ""),
}


def find_chromium() -> str:
    """The program; on Debian and Ubuntu it is installed if it is not there."""
    return find_program(NAMES, "chromium", called="Chromium or Chrome")


class Chromium:
    """A process of its own, which `with` ends together with whatever it has started."""

    def __init__(self, folder: Path) -> None:
        self.events: list[dict[str, Any]] = []
        self._folder = folder
        self._log = folder.with_suffix(".log")
        self._unread = b""
        self._count = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self._start(find_chromium())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            with contextlib.suppress(ConnectionError):
                self.send("Browser.close")
                self.read_until(lambda: False)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process, signal.SIGKILL)
            os.waitpid(self._process, 0)
            os.close(self._to)
            os.close(self._from)

    def _start(self, program: str) -> None:
        theirs_in, self._to = _pipe()
        self._from, theirs_out = _pipe()
        self._process = os.posix_spawn(
            program,
            [program, *FLAGS, f"--user-data-dir={self._folder}"],
            {**os.environ, "HOME": str(self._folder)},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self._log), os.O_WRONLY | os.O_CREAT, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
                (os.POSIX_SPAWN_DUP2, theirs_in, 3),
                (os.POSIX_SPAWN_DUP2, theirs_out, 4),
            ],
            setsid=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)

    def send(self, method: str, session: str = "", /, **params: Any) -> dict[str, Any]:
        """The result of a command of the protocol."""
        self._count += 1
        number = self._count
        message = {"id": number, "method": method, "params": params}
        message |= {"sessionId": session} if session else {}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        answer = self.read_until(lambda: self._answers.pop(number, None))
        assert "error" not in answer, answer
        return answer["result"]

    def read_until(self, found: Callable[[], Any]) -> Any:
        """Reads on until there is what is looked for."""
        end = time.monotonic() + PATIENCE
        while not (value := found()):
            left = end - time.monotonic()
            assert left > 0, f"Chromium did not do it in {PATIENCE} s: {self.events[-3:]}"
            if select.select([self._from], [], [], left)[0]:
                self._read()
        return value

    def _read(self) -> None:
        data = os.read(self._from, 1 << 20)
        if not data:
            raise ConnectionError(f"Chromium ended: {self._log.read_text()[-2000:]}")
        *messages, self._unread = (self._unread + data).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self._answers[message["id"]] = message
            else:
                self.events.append(message)


class Page:
    """A tab that shares nothing with other tabs, and what has happened in it."""

    def __init__(self, chromium: Chromium) -> None:
        self._chromium = chromium
        self._context = chromium.send("Target.createBrowserContext")["browserContextId"]
        target = chromium.send(
            "Target.createTarget", url="about:blank", browserContextId=self._context
        )
        attached = chromium.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")
        self.send("Page.setLifecycleEventsEnabled", enabled=True)

    def close(self) -> None:
        """Closes the tab."""
        self._chromium.send("Target.disposeBrowserContext", browserContextId=self._context)

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a command that concerns this tab."""
        return self._chromium.send(method, self._session, **params)

    def saw(self, method: str) -> list[dict[str, Any]]:
        """What was told in all the events of this kind since the page was opened."""
        return [
            event["params"]
            for event in self._chromium.events
            if event["method"] == method and event.get("sessionId") == self._session
        ]

    def await_events(self, method: str, count: int) -> list[dict[str, Any]]:
        """All of this kind, once there are so many."""
        self._chromium.read_until(lambda: len(self.saw(method)) >= count)
        return self.saw(method)

    def open(self, address: str) -> None:
        """Goes there, and waits until all of it is loaded."""
        self._chromium.events.clear()
        loader = self.send("Page.navigate", url=address)["loaderId"]
        loaded = {"loaderId": loader, "name": "load"}.items()
        self._chromium.read_until(
            lambda: any(loaded <= what.items() for what in self.saw("Page.lifecycleEvent"))
        )

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is waited for."""
        answer = self.send(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Returns as soon as a JavaScript condition holds, looking at it in each frame."""
        look = f"const look = () => ({condition}) ? done(true) : requestAnimationFrame(look)"
        self.ask(f"new Promise((done) => {{ {look}; look(); }})")

    def click(self, selector: str) -> None:
        """The mouse, in the middle of what a selector finds first."""
        # The mouse meets what was drawn last: what has scrolled is drawn first.
        at = self.ask(
            f"(async () => {{ const node = document.querySelector({json.dumps(selector)});"
            "node.scrollIntoView({ block: 'center' });"
            "for (const _ of [1, 2]) await new Promise(requestAnimationFrame);"
            "const box = node.getBoundingClientRect();"
            "return { x: box.x + box.width / 2, y: box.y + box.height / 2 }; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, **at, button="left", clickCount=1)

    def press(self, *keys: str) -> None:
        """Keys as a person presses them: `Tab`, `Enter`, `Escape` and the arrows."""
        for key in keys:
            code, text = KEYS[key]
            about = {"key": key, "code": key, "windowsVirtualKeyCode": code, "text": text}
            self.send("Input.dispatchKeyEvent", type="keyDown", **about)
            self.send("Input.dispatchKeyEvent", type="keyUp", **about)

    def look(self, *, width: int, height: int = 900, scheme: str = "light") -> None:
        """Has a window of this width, and this preference of colours."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.send("Emulation.setEmulatedMedia", features=features)

    def screenshot(self, *, whole: bool = False) -> bytes:
        """A PNG of what is seen, or of all there is."""
        answer = self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        return b64decode(answer["data"])


def _pipe() -> tuple[int, int]:
    """A pipe whose ends are not at the low numbers, where Chromium's own are to be."""
    ends = os.pipe()
    moved = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)
    return moved[0], moved[1]
