"""What `tmux-img` was asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from imagen_tmux import __version__

PROTOCOLS = ("auto", "kitty", "sixel", "blocks", "blocks-256")
WITHOUT_VALUE = ("-h", "--help", "--version", "--hold")
VARIABLE = "TMUX_IMG_PROTOCOL"
HELP = """\
Usage: tmux-img [--hold] [--protocol PROTOCOL] PATH...

Show pictures in the terminal, inside tmux and outside of it.

  --hold               fill the window, and wait for a key
  --protocol PROTOCOL  auto, kitty, sixel, blocks or blocks-256; the variable
                       TMUX_IMG_PROTOCOL says the same  [default: auto]
  --list FILE          show the pictures whose paths this file has, too, with a
                       NUL byte behind each
  --version            print the version
  -h, --help           print this

With --hold: Right, Down, Space, Page Down, n, l and j show the next picture, Left,
Up, Backspace, Page Up, p, h and k the one before, Home, End, g and G the first and
the last; r and Ctrl-L draw anew; Ctrl-Z stops it. Any other letter, Enter, Escape
and Ctrl-C end it; keys like F1 and Delete do nothing.
"""


class Misuse(Exception):
    """What was typed makes no sense; `hint` says what would."""

    def __init__(self, message: str, hint: str = "tmux-img --help shows what it takes") -> None:
        super().__init__(message)
        self.hint = hint


class Arguments(NamedTuple):
    """What to show, and how; `told` is all there is to say, if it is not empty.

    `warning`: what was wrong, and did not matter.
    """

    paths: tuple[str, ...] = ()
    hold: bool = False
    protocol: str = "auto"
    told: str = ""
    warning: str = ""


def parse(words: Sequence[str], environment: Mapping[str, str]) -> Arguments:
    """The arguments that these words come to; the flag is stronger than the variable."""
    paths: list[str] = []
    hold = False
    protocol = ""
    left = iter(words)
    for word in left:
        name, equals, value = word.partition("=")
        if word == "--":
            paths += left
        elif word in ("-h", "--help"):
            return Arguments(told=HELP)
        elif word == "--version":
            return Arguments(told=f"tmux-img, imagen-tmux {__version__}\n")
        elif word == "--hold":
            hold = True
        elif name == "--protocol":
            protocol = _protocol(value if equals else _next(left, name), name)
        elif name == "--list":
            paths += _listed(value if equals else _next(left, name))
        elif name in WITHOUT_VALUE and equals:
            raise Misuse(f"{name} takes no value", f"leave '={value}' out")
        elif word.startswith("-") and word != "-":
            raise Misuse(f"there is no option '{name}'", "a path that begins so goes behind --")
        else:
            paths.append(word)
    if not paths:
        raise Misuse("no picture is named", "tmux-img picture.png")
    warning = ""
    if not protocol:
        protocol = environment.get(VARIABLE) or "auto"
        if protocol not in PROTOCOLS:
            # It may come from somewhere far away, as the environment of tmux; a picture is better.
            warning = f"${VARIABLE}: there is no protocol '{protocol}'; taking auto"
            protocol = "auto"
    return Arguments(tuple(paths), hold, protocol, warning=warning)


def _next(left: Iterator[str], name: str) -> str:
    word = next(left, None)
    if word is None:
        raise Misuse(f"{name} needs a value")
    return word


def _protocol(text: str, source: str) -> str:
    if text not in PROTOCOLS:
        known = ", ".join(PROTOCOLS)
        raise Misuse(f"{source}: there is no protocol '{text}'", f"take one of {known}")
    return text


def _listed(file: str) -> list[str]:
    try:
        with open(file, "rb") as opened:  # noqa: PTH123 - pathlib takes time to import
            data = opened.read()
    except OSError as error:
        raise Misuse(f"cannot read {file}: {error.strerror}", "look at the path") from error
    return [os.fsdecode(path) for path in data.split(b"\0") if path]
