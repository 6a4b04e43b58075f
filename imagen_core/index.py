"""The index: all specs of all plugins in one JSON file, so that none is imported to list them.

It holds as long as every folder in which a distribution may appear and every file that was read
while the plugins loaded is unchanged; with a plugin that hung, for ten minutes at most. An index
that is stale, corrupt or cannot be written does no harm.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import msgspec
from msgspec import Struct

from imagen_core import __version__
from imagen_core.plugins import Catalog, Plugin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

RETRY_SECONDS = 600.0
"""How long a plugin that did not load in time is left alone: its disk may have been slow."""


class Index(Struct, frozen=True, kw_only=True):
    """The plugins as they were when all stamped files looked like this."""

    key: str
    stamps: dict[str, tuple[int, int] | None]
    plugins: tuple[Plugin, ...]
    retry_at: float | None = None


def open_catalog(
    environment: Mapping[str, str],
    cache: Path,
    *,
    rebuild: bool = True,
    fresh: bool = False,
    trace: Callable[[str], None] | None = None,
) -> Catalog:
    """The catalog from the index, or from the plugins themselves where the index is stale.

    Without `rebuild` a stale index is as good as any, and none means the core alone.
    """
    key = _key(environment)
    path = cache / f"index-{crc32(key.encode()):08x}.json"
    index = None if fresh or trace else _read(path, key)
    if index and (not rebuild or _holds(index)):
        return Catalog(index.plugins)
    from imagen_core.discovery import core, discover

    if not rebuild:
        return Catalog((core(),))
    plugins = discover(environment, trace=trace)
    retry_at = time.time() + RETRY_SECONDS if any(p.hangs for p in plugins) else None
    _write(path, Index(key=key, stamps=_stamps(plugins), plugins=plugins, retry_at=retry_at))
    return Catalog(plugins)


def _key(environment: Mapping[str, str]) -> str:
    """What decides which plugins are visible; there is one index for each such key."""
    parts = (
        __version__,
        sys.version,
        environment.get("IMAGEN_LOAD_PLUGINS", "*"),
        environment.get("IMAGEN_DISABLE_PLUGINS", ""),
        *sys.path,
    )
    return "\n".join(parts).encode(errors="replace").decode()


def _read(path: Path, key: str) -> Index | None:
    try:
        index = msgspec.json.decode(path.read_bytes(), type=Index)
    except (OSError, ValueError, msgspec.MsgspecError):
        return None
    return index if index.key == key else None


def _write(path: Path, index: Index) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(msgspec.json.encode(index))
        part.replace(path)
    except (OSError, ValueError, TypeError):
        return


def _holds(index: Index) -> bool:
    if index.retry_at is not None and time.time() >= index.retry_at:
        return False
    return all(_stamp(path) == stamp for path, stamp in index.stamps.items())


def _stamps(plugins: Iterable[Plugin]) -> dict[str, tuple[int, int] | None]:
    """What to watch: sys.path's folders, and the plugins' files that no distribution covers."""
    folders = {folder for folder in sys.path if _holds_any(folder, ".dist-info")}
    tops = {plugin.module.partition(":")[0].partition(".")[0] for plugin in plugins}
    standard = (str(Path(os.__file__).parent), "<")
    watched = folders | _path_folders()
    for plugin in plugins:
        for file in plugin.files:
            installed = next((f for f in folders if file.startswith(f + os.sep)), None)
            if installed:
                part = Path(file).relative_to(installed).parts[0]
                own = part.partition(".")[0] in tops or file.endswith("entry_points.txt")
            else:
                own = not file.startswith(standard)
            if own:
                watched.add(file)
    return {path: _stamp(path) for path in sorted(watched)}


def _path_folders() -> set[str]:
    """Where the first plugin may yet be installed: sys.path without the standard library."""
    standard = Path(os.__file__).parent
    # The first entry is the script's folder or the working one, in which pictures are written.
    script = "" if sys.flags.safe_path or not sys.path else sys.path[0]
    own = _holds_any(script, ".dist-info", ".egg-info")
    searched = sys.path if own or sys.flags.safe_path else sys.path[1:]
    return {
        folder for folder in searched if Path(folder) not in (standard, standard / "lib-dynload")
    }


def _holds_any(folder: str, *suffixes: str) -> bool:
    try:
        return any(path.suffix in suffixes for path in Path(folder).iterdir())
    except OSError:
        return False


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    # A folder's size says nothing, and differs between file systems.
    return found.st_mtime_ns, 0 if stat.S_ISDIR(found.st_mode) else found.st_size
