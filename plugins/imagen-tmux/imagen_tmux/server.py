"""The tmux server that this process runs in: windows, and what it knows of a pane."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from imagen_core import ImagenError
from imagen_tmux.question import Question
from imagen_tmux.viewer.caption import cut, printable

PATIENCE = 2.0
"""Seconds for a server to answer, which takes it some milliseconds."""
KEPT = 8
"""So many previews stay in a session."""
MARK = "@imagen-preview"
"""The pane option by which the own panes are known: a name, and a window, may be anybody's."""
CURRENT = "#{||:#{window_active},#{window_active_sessions}}"
"""Whether it is the current window of this session, or of one that has the same windows."""
CLOSABLE = f"#{{&&:#{{!=:{CURRENT},1}},#{{==:#{{window_panes}},1}}}}"
PANE = f"#{{pane_id}} {CLOSABLE} #{{{MARK}}}"
NAME_LENGTH = 40
MESSAGE_LENGTH = 200

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_PANE_ID = re.compile(r"%[0-9]{1,18}")
_LAST = "{end}"
"""Behind the last window of the session a new one moves no other."""


class Pane(NamedTuple):
    """A pane of the session: whether its window may be closed, and the mark of an own one."""

    id: str
    closable: bool
    mark: str

    @property
    def age(self) -> int:
        """Ids are counted up for as long as the server lives."""
        return int(self.id.removeprefix("%"))


class Server:
    """The server named by `$TMUX`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Raise an ImagenError if this is not inside tmux, or there is no tmux."""
        if not environment.get("TMUX"):
            raise ImagenError(
                "this is not inside tmux: $TMUX is not set",
                hint="start tmux first, or leave the preview out with --no-preview",
            )
        program = shutil.which("tmux", path=environment.get("PATH"))
        if program is None:
            raise ImagenError(
                "there is no tmux in the PATH",
                hint="install it, or leave the preview out with --no-preview",
            )
        self._program = program
        self._environment = dict(environment)
        self._session = _session(environment)

    def ask(self, *arguments: str) -> str:
        """What tmux prints for these arguments."""
        # -u: names in any script, whatever the locale of this process is.
        try:
            question = Question([self._program, "-u", *arguments], self._environment)
        except OSError as error:
            raise ImagenError(
                f"tmux can't be started: {error.strerror}", hint=f"look at {self._program}"
            ) from error
        answer = question.answer(PATIENCE)
        if answer is None:
            raise ImagenError(
                f"tmux did not answer within {PATIENCE:g} s",
                hint="look at the server with 'tmux info'; --no-preview leaves the preview out",
            )
        if answer.code:
            raise _refused(_short(answer.err) or f"exit code {answer.code}")
        return answer.out

    def open(self, name: str, command: Sequence[str], variables: Mapping[str, str]) -> str:
        """The id of the pane of a new window in the background that runs this command.

        The newest of the own windows stay, the others go.
        """
        given = [word for pair in variables.items() for word in ("-e", "=".join(pair))]
        if self._session is None:
            raise ImagenError(
                "neither $TMUX nor $TMUX_PANE says which session this is",
                hint="open a new shell in tmux, or leave the preview out with --no-preview",
            )
        mark, last = os.urandom(4).hex(), f"{self._session}:{_LAST}"
        found = self.ask(
            *("new-window", "-d", "-a", "-t", last, "-P", "-F", "#{pane_id}", "-n", name),
            *(*given, "--", *map(escaped, command), ";"),
            *("set-option", "-p", "-t", last, MARK, mark, ";"),
            *("list-panes", "-s", "-t", last, "-F", PANE),
        )
        pane, *rest = found.split("\n")
        if not _PANE_ID.fullmatch(pane):
            said = f"'{_short(pane)}'" if pane.strip() else "nothing"
            raise _refused(f"{said}, where the id of a pane should be")
        # Another imagen may tidy up at the same moment; the next one does what is left.
        with suppress(ImagenError):
            self._tidy(pane, mark, [found for found in map(_pane, rest) if found])
        return pane

    def _tidy(self, new: str, mark: str, panes: Sequence[Pane]) -> None:
        """Close the oldest of the own windows, but none that somebody looks at or has split."""
        orders: list[str] = []
        own: dict[str, Pane] = {}
        for pane in panes:
            if pane.id == new and pane.mark != mark:
                orders += ["set-option", "-p", "-t", new, MARK, mark, ";"]
            elif pane.id != new and pane.mark == mark:
                # A hook of the user's put it behind the new one.
                orders += ["set-option", "-p", "-u", "-t", pane.id, MARK, ";"]
            elif pane.id != new and pane.mark:
                own[pane.id] = pane
        oldest = sorted(own.values(), key=lambda pane: pane.age, reverse=True)[KEPT - 1 :]
        for pane in oldest:
            if pane.closable:
                # It is looked at once more: somebody may have come in between.
                kill = f"kill-pane -t {pane.id}"
                orders += ["if-shell", "-F", "-t", pane.id, CLOSABLE, kill, ";"]
        if orders:
            self.ask(*orders[:-1])


def window_name(slug: str) -> str:
    """`img:` and the slug, of letters, digits, `.`, `_` and `-` alone.

    tmux expands a name as a format, and `#(…)` in a format runs a command.
    """
    safe = _UNSAFE.sub("-", slug)[: NAME_LENGTH - len("img:")].strip("-")
    return f"img:{safe or 'image'}"


def escaped(argument: str) -> str:
    """The argument as tmux takes it: a `;` at the end would begin another command."""
    return f"{argument[:-1]}\\;" if argument.endswith(";") else argument


def _session(environment: Mapping[str, str]) -> str | None:
    """What stands for the own session in a target; nothing does where tmux knows it by the pane."""
    if environment.get("TMUX_PANE"):
        return ""
    number = environment["TMUX"].rpartition(",")[2]
    return f"${number}" if number.isdecimal() else None


def _pane(line: str) -> Pane | None:
    """What a line of the list says; None if it is none of it."""
    pane, closable, mark = [*line.split(" "), "", ""][:3]
    return Pane(pane, closable == "1", mark) if _PANE_ID.fullmatch(pane) else None


def _short(said: str) -> str:
    """In one line, as much as a message should have of it."""
    return cut(printable(said[:MESSAGE_LENGTH]), MESSAGE_LENGTH - 1)


def _refused(said: str) -> ImagenError:
    if said.startswith(("error connecting to", "no server running")):
        return ImagenError(
            f"the tmux server of $TMUX is gone: {said}",
            hint="open a new shell in tmux, or leave the preview out with --no-preview",
        )
    return ImagenError(f"tmux says: {said}", hint="--no-preview leaves the preview out")
