"""The step `preview`: one window beside the shell, with all pictures of a command."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from imagen_core import ImagenError, write_atomically
from imagen_tmux.server import Server, window_name
from imagen_tmux.settings import PLACEHOLDER, VIEWER, TmuxSettings, is_own, viewer
from imagen_tmux.viewer.arguments import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from imagen_core import Context, Done, Note

ROOM = 12_000
"""Bytes of arguments: tmux takes 16 KiB in one message, with everything else in it."""
LISTS = 16
"""So many lists of pictures stay in the cache folder; a window reads its own at once."""


def show(done: Done, context: Context) -> Iterable[Note]:
    """Open the window; raises an ImagenError that says why it can't be."""
    if not done.paths:
        return ()
    settings: TmuxSettings = context.settings("tmux")
    server = Server(context.environment)
    program = viewer(settings.command[0], context.environment)
    if program is None:
        raise _no_viewer(settings.command[0])
    # `..` and all stay: behind a link to a folder it leads elsewhere than it reads.
    paths = [str(Path(path).absolute()) for path in done.paths]
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
    if is_own(program) and PLACEHOLDER in given and "--" not in given:
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
    except OSError as error:
        raise ImagenError(
            f"cannot write to {folder}: {error.strerror}", hint="set IMAGEN_CACHE_DIR to a folder"
        ) from error
    _tidy(folder)
    return str(file)


def _tidy(folder: Path) -> None:
    """Remove the oldest lists; another imagen may be at it, too."""
    ages: list[tuple[float, Path]] = []
    for file in folder.glob("*.list"):
        with suppress(OSError):
            ages.append((file.stat().st_mtime, file))
    for _, old in sorted(ages)[:-LISTS]:
        with suppress(OSError):
            old.unlink()


def _no_viewer(program: str) -> ImagenError:
    if program == VIEWER:
        hint = "reinstall imagen-tmux, which brings it, or name another viewer in tmux.command"
    else:
        hint = "correct tmux.command in the configuration"
    return ImagenError(f"there is no viewer '{program}' in the PATH", hint=hint)
