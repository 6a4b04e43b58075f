"""What the terminal can do: asked of tmux inside it, of the terminal itself outside.

Asking begins before the picture is decoded, and the answer is read afterwards.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from imagen_tmux.question import Question
from imagen_tmux.viewer import screen, sixel

if TYPE_CHECKING:
    from collections.abc import Mapping

TMUX_PATIENCE = 2.0
PATIENCE = 0.2
"""Seconds for a terminal to answer; one that is far away may take as long."""
FIELDS = (
    *("allow-passthrough", "window_active", "session_attached"),
    *("client_name", "client_termname", "client_termfeatures", "sixel_support"),
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

    `client`: which terminal was asked, through tmux.
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
        if self._tmux and protocol in ("auto", "kitty"):
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
        if self._protocol not in ("auto", "kitty"):
            return Found(self._protocol, tmux=True)
        facts = _facts(self._asked)
        seen = facts["window_active"] == "1" and facts["session_attached"] not in ("", "0")
        client = facts["client_name"]
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
    pane = environment.get("TMUX_PANE")
    wanted = "\n".join(f"#{{{field}}}" for field in FIELDS)
    command = ["tmux", "-u", "display-message", "-p", *(["-t", pane] if pane else []), wanted]
    try:
        return Question(command, environment)
    except OSError:
        return None


def _facts(asked: Question | None) -> dict[str, str]:
    answer = asked.answer(TMUX_PATIENCE) if asked else None
    lines = answer.out.split("\n") if answer and not answer.code else []
    return dict.fromkeys(FIELDS, "") | dict(zip(FIELDS, lines, strict=False))


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
