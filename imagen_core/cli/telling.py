"""What a command says of its makings while they happen, and when they are over."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from imagen_core import protocols
    from imagen_core.pipeline import Item
    from imagen_core.types import Event, Failure, Note, Output, Request, Run


class Meter(Protocol):
    """A bar or a board."""

    def take(self, key: str, event: Event) -> None:
        """Show what a making reports."""
        ...

    def hide(self) -> None:
        """Take it away."""
        ...


class Telling:
    """Tells of makings; people are told the same thing once, programs each time.

    `relative`: paths as seen from the working folder.
    """

    def __init__(self, app: protocols.App, *, relative: bool = False) -> None:
        self._console = app.console
        self._relative = relative
        self._told: set[tuple[str, str]] = set()

    def follow(
        self,
        items: Iterable[tuple[Request, Item]],
        meter: Meter,
        take: Callable[[Request, Run], None],
        *,
        key: Callable[[Request], str] = lambda request: request.id,
    ) -> None:
        """See makings through: Events are shown, Notes told, and each Run taken.

        Whoever does not wait for the end is told what may still be at work.
        """
        from imagen_core.types import Accepted, Note, Run

        there: dict[str, str] = {}
        try:
            for request, item in items:
                if isinstance(item, Run):
                    there.pop(request.id, None)
                    take(request, item)
                elif isinstance(item, Note):
                    self.note(item)
                else:
                    if isinstance(item, Accepted):
                        there[request.id] = f"'{request.backend}' on {item.remote_id}"
                    meter.take(key(request), item)
        except KeyboardInterrupt:
            for left in there.values():
                self._console.warn(f"{left} may still be at work")
            raise
        meter.hide()

    def run(self, run: Run, about: Mapping[str, Any] | None = None, *, place: str = "") -> None:
        """Tell of a Run that is over: its warnings, its pictures, and why it failed.

        `about`: what else a program should know of it. `place`: what people call it.
        """
        for note in run.notes:
            self.note(note)
        for output in run.outputs:
            self._output(run, output, about or {})
        if run.failure:
            more = {"id": run.id, "seed": run.request.seed, "backend": run.request.backend}
            more |= about or {}
            more |= {"remote_id": run.remote_id} if run.remote_id else {}
            self.failure(run.failure, more, place=place)

    def note(self, note: Note) -> None:
        """Tell of a note that is a warning."""
        if note.warning and self._is_new(note.step, note.text):
            text = note.text if note.step == "generate" else f"{note.step}: {note.text}"
            self._console.warn(text)

    def _output(self, run: Run, output: Output, about: Mapping[str, Any]) -> None:
        if self._console.as_json:
            from imagen_core.sidecar import document

            self._console.json({**document(run, output), "path": output.path, **about})
        else:
            self._console.line(_relative(output.path) if self._relative else output.path)

    def failure(self, failure: Failure, about: Mapping[str, Any], *, place: str = "") -> None:
        """Tell why something failed, and a program what it was."""
        error = failure.error()
        if not self._console.as_json:
            if not self._is_new(failure.code, failure.message):
                return
            error = type(error)(f"{place}{error}", hint=error.hint)
        self._console.error(error, about)

    def _is_new(self, kind: str, text: str) -> bool:
        new = (kind, text) not in self._told
        self._told.add((kind, text))
        return new


def spans(numbers: Iterable[int]) -> str:
    """Which numbers these are, as people say it: `2, 4-9 and 11`."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and parts[-1][-1] == number - 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number])
    *more, last = ["-".join(map(str, part)) for part in parts]
    return f"{', '.join(more)} and {last}" if more else last


def _relative(path: str) -> str:
    # The working folder may be gone, or on another drive than a picture that was rescued.
    with contextlib.suppress(OSError, ValueError):
        return os.path.relpath(path)
    return path
