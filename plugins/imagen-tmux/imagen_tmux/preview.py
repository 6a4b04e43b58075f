"""The step `preview`: one window beside the shell, with all pictures of a command."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from imagen_core import ImagenError, write_atomically
from imagen_tmux.server import Server, window_name
from imagen_tmux.settings import PLACEHOLDER, VIEWER, TmuxSettings, viewer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from imagen_core import Context, Done, Note

ROOM = 12_000
"""Bytes of arguments: tmux takes 16 KiB in one message, with everything else in it."""
LISTS = 16
"""So many lists of pictures stay in the cache folder; a window reads its own at once."""
VARIABLE = "TMUX_IMG_PROTOCOL"


def show(done: Done, context: Context) -> Iterable[Note]:
    """Open the window; raises an ImagenError that says why it can't be."""
    if not done.paths:
        return ()
    settings: TmuxSettings = context.settings("tmux")
    server = Server(context.environment)
    program = viewer(settings.command[0], context.environment)
    if program is None:
        raise _no_viewer(settings.command[0])
    paths = [os.path.abspath(path) for path in done.paths]  # noqa: PTH100 - `..` and all stay
    command = [program, *_arguments(settings.command[1:], paths)]
    if _size(command) > ROOM:
        command = _with_list(program, settings, paths, context)
    protocol = settings.protocol
    server.open(_name(done), command, {} if protocol == "auto" else {VARIABLE: protocol})
    return ()


def _name(done: Done) -> str:
    slugs = [output.slug for run in done.runs for output in run.outputs]
    return window_name(slugs[0] if slugs else Path(done.paths[0]).stem)


def _arguments(given: Sequence[str], paths: Sequence[str]) -> list[str]:
    """A `{path}` of its own is every picture, an argument each; in a word it is the first."""
    found: list[str] = []
    for word in given:
        found += paths if word == PLACEHOLDER else [word.replace(PLACEHOLDER, paths[0])]
    return found


def _size(command: Sequence[str]) -> int:
    return sum(len(os.fsencode(word)) + 1 for word in command)


def _with_list(
    program: str, settings: TmuxSettings, paths: Sequence[str], context: Context
) -> list[str]:
    """The command with more paths than fit into it: in a file, if the viewer can read one."""
    given = settings.command[1:]
    if settings.command[0] == VIEWER:
        return [program, *_arguments(given, ["--list", _list_file(paths, context)])]
    fitting = list(paths)
    while len(fitting) > 1 and _size([program, *_arguments(given, fitting)]) > ROOM:
        fitting = fitting[: len(fitting) // 2]
    return [program, *_arguments(given, fitting)]


def _list_file(paths: Sequence[str], context: Context) -> str:
    folder = context.paths.cache / "previews"
    data = b"".join(os.fsencode(path) + b"\0" for path in paths)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{os.urandom(8).hex()}.list"
        write_atomically(file, data)
        lists = sorted(folder.glob("*.list"), key=lambda path: path.stat().st_mtime)
    except OSError as error:
        raise ImagenError(
            f"cannot write to {folder}: {error.strerror}", hint="set IMAGEN_CACHE_DIR to a folder"
        ) from error
    for old in lists[:-LISTS]:
        with suppress(OSError):
            old.unlink()
    return str(file)


def _no_viewer(program: str) -> ImagenError:
    if program == VIEWER:
        hint = "reinstall imagen-tmux, which brings it, or name another viewer in tmux.command"
    else:
        hint = "correct tmux.command in the configuration"
    return ImagenError(f"there is no viewer '{program}' in the PATH", hint=hint)
