"""The index: all specs of all plugins in one JSON file, so that none is imported to list them.

It holds as long as every folder with a `*.dist-info` and every file that was read while the
plugins loaded is unchanged. An index that is stale, corrupt or cannot be written does no harm.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import msgspec
from msgspec import Struct

from imagen_core import __version__
from imagen_core.plugins import Catalog, Plugin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class Index(Struct, frozen=True, kw_only=True):
    """The plugins as they were when all stamped files looked like this."""

    key: str
    stamps: dict[str, tuple[int, int] | None]
    plugins: tuple[Plugin, ...]


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
    _write(path, Index(key=key, stamps=_stamps(plugins), plugins=plugins))
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
    except (OSError, msgspec.MsgspecError):
        return None
    return index if index.key == key else None


def _write(path: Path, index: Index) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(msgspec.json.encode(index))
        part.replace(path)
    except OSError:
        return


def _holds(index: Index) -> bool:
    return all(_stamp(path) == stamp for path, stamp in index.stamps.items())


def _stamps(plugins: Iterable[Plugin]) -> dict[str, tuple[int, int] | None]:
    """What to watch: folders of distributions, and the plugins' files that none of them covers."""
    folders = {folder for folder in sys.path if _holds_distributions(folder)}
    tops = {plugin.module.partition(":")[0].partition(".")[0] for plugin in plugins}
    standard = (str(Path(os.__file__).parent), "<")
    watched = set(folders)
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


def _holds_distributions(folder: str) -> bool:
    try:
        return any(path.suffix == ".dist-info" for path in Path(folder).iterdir())
    except OSError:
        return False


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    # A folder's size says nothing, and differs between file systems.
    return found.st_mtime_ns, 0 if stat.S_ISDIR(found.st_mode) else found.st_size
