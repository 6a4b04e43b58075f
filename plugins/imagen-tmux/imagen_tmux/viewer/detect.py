"""What the terminal can do: asked of tmux inside it, of the terminal itself outside.

Asking begins before the picture is decoded, and the answer is read afterwards.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from imagen_tmux.question import Question
from imagen_tmux.viewer import screen, sixel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TMUX_PATIENCE = 2.0
PATIENCE = 0.2
"""Seconds for a terminal to answer; one that is far away may take as long."""
FIELDS = "allow-passthrough", "sixel_support", "session_id", "window_id"
CLIENT_FIELDS = (
    *("window_id", "session_id", "client_activity"),
    *("client_pid", "client_termname", "client_termfeatures"),
)
DEVICE, DEVICE_REPLY = "\x1b[c", r"\x1b\[\?[\d;]*c"
KITTY = "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\"
SIXEL = "4"
"""What stands in the attributes of a device that draws sixels."""
KITTIES = "kitty", "ghostty"
TRUE_COLOUR_TERMS = "direct", "kitty", "ghostty", "alacritty", "foot", "wezterm", "contour"
TRUE_COLOUR_PROGRAMS = "iTerm.app", "WezTerm", "vscode", "ghostty", "WarpTerminal", "Tabby"
WITHOUT_REPLIES = "", "dumb", "linux"
MULTIPLEXERS = "tmux", "screen"
"""They take kitty's question for a title: nobody asks it of them, as over ssh from within tmux."""


class Found(NamedTuple):
    """How to draw. `waits`: kitty's graphics may be possible once somebody looks at the pane.

    `client`: which terminal was asked, through tmux: its process, as the next one may have the
    same name.
    """

    protocol: str
    tmux: bool = False
    waits: bool = False
    client: str = ""


class Probe:
    """The question what the terminal can do, unless the protocol is given and it does not matter.

    `replies`: the terminal may be written to and read from, in raw mode. `typed`: keys that came
    between the replies.
    """

    def __init__(self, protocol: str, environment: Mapping[str, str], *, replies: bool) -> None:
        self._protocol = protocol
        self._environment = environment
        self._replies = replies and environment.get("TERM", "") not in WITHOUT_REPLIES
        self._tmux = bool(environment.get("TMUX"))
        self._asked: Question | None = None
        self._written = False
        self.typed = b""
        if self._tmux and (protocol == "kitty" or (protocol == "auto" and os.isatty(screen.OUT))):
            self._asked = _ask_tmux(environment)
        elif not self._tmux and protocol == "auto" and self._replies:
            within = environment.get("TERM", "").startswith(MULTIPLEXERS)
            screen.write(DEVICE if within else KITTY + DEVICE)
            self._written = True

    def found(self) -> Found:
        """The answer, or a safe guess where there is none."""
        if self._tmux:
            return self._inside()
        if self._protocol != "auto":
            return Found(self._protocol)
        said = self._reply("") if self._written else ""
        if "\x1b_Gi=31;OK" in said:
            return Found("kitty")
        if _draws_sixels(said) and sixel.is_there():
            return Found("sixel")
        return Found("blocks" if _has_true_colour(self._environment) else "blocks-256")

    def _inside(self) -> Found:
        """tmux keeps true colours, and finds the nearest for a terminal that has fewer."""
        if self._asked is None:
            return Found("blocks" if self._protocol == "auto" else self._protocol, tmux=True)
        facts = _facts(self._asked)
        seen, client = facts["seen"] == "1", facts["client_pid"]
        if self._protocol == "kitty":
            return Found("kitty", tmux=True, client=client) if seen else _waiting(client)
        if facts["allow-passthrough"] not in ("", "0", "off"):
            if seen and any(name in facts["client_termname"] for name in KITTIES):
                return Found("kitty", tmux=True, client=client)
            if not seen:
                return _waiting(client)
        if self._sixels_inside(facts):
            return Found("sixel", tmux=True, client=client)
        return Found("blocks", tmux=True, client=client)

    def _sixels_inside(self, facts: Mapping[str, str]) -> bool:
        """Whether tmux was built with sixels, its client has them, and so do we."""
        if "sixel" not in facts["client_termfeatures"].split(",") or not sixel.is_there():
            return False
        if facts["sixel_support"] == "1":
            return True
        return self._replies and _draws_sixels(self._reply(DEVICE))

    def _reply(self, question: str) -> str:
        """What the terminal replies; what somebody typed meanwhile is kept."""
        said = screen.ask(question, DEVICE_REPLY, PATIENCE)
        self.typed += screen.without_replies(said)
        return said


def _waiting(client: str) -> Found:
    return Found("blocks", tmux=True, waits=True, client=client)


def _ask_tmux(environment: Mapping[str, str]) -> Question | None:
    """About the pane, and all clients: a window may be looked at in any session."""
    pane = environment.get("TMUX_PANE")
    target = ["-t", pane] if pane else []
    command = ["tmux", "-u", "display-message", "-p", *target, _fields(FIELDS), ";"]
    try:
        return Question([*command, "list-clients", "-F", _fields(CLIENT_FIELDS)], environment)
    except OSError:
        return None


def _fields(names: Sequence[str]) -> str:
    return "\t".join(f"#{{{name}}}" for name in names)


def _facts(asked: Question) -> dict[str, str]:
    """What is known of the pane, and of the terminal that it is seen in, or would be."""
    answer = asked.answer(TMUX_PATIENCE)
    lines = answer.out.split("\n") if answer and not answer.code else []
    facts = dict.fromkeys((*FIELDS, *CLIENT_FIELDS, "seen"), "")
    if not lines:
        return facts
    facts |= zip(FIELDS, lines[0].split("\t"), strict=False)
    clients = [
        dict(zip(CLIENT_FIELDS, fields, strict=True))
        for fields in (line.split("\t") for line in lines[1:])
        if len(fields) == len(CLIENT_FIELDS)
    ]
    for name, seen in (("window_id", "1"), ("session_id", "")):
        # Of several terminals it is the one that somebody used last.
        near = [client for client in clients if client[name] == facts[name]]
        if near:
            return facts | max(near, key=lambda found: found["client_activity"]) | {"seen": seen}
    return facts


def _draws_sixels(said: str) -> bool:
    attributes = said.rpartition("\x1b[?")[2].partition("c")[0]
    return SIXEL in attributes.split(";")[1:]


def _has_true_colour(environment: Mapping[str, str]) -> bool:
    if environment.get("COLORTERM") in ("truecolor", "24bit") or "WT_SESSION" in environment:
        return True
    if environment.get("TERM_PROGRAM") in TRUE_COLOUR_PROGRAMS:
        return True
    return any(name in environment.get("TERM", "") for name in TRUE_COLOUR_TERMS)


def can_reply() -> bool:
    """Whether a terminal reads what is written, writes what is read, and may be set for that."""
    return os.isatty(screen.IN) and os.isatty(screen.OUT) and screen.in_foreground()
