"""Files: how a picture is named, and put on disk whole or not at all."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from msgspec import Struct, structs

from imagen_core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from imagen_core.types import Output

SLUG_LENGTH = 40
SUFFIX_BYTES = 16
NAME_BYTES = 200
"""How long one file name may be, with room for `-99`, `.json` and what a temporary file adds."""
PARTS = ".imagen-*.part"
"""How temporary files are called, which only a kill leaves behind."""
LONGEST_NAME = 240
"""How long a name may be that somebody typed."""

LONGEST_FOLDER = 255
"""How long the name of a folder may be: no usual file system takes more."""

EXTENSIONS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/avif": "avif",
}
SUFFIXES = {**{f".{ext}": mime for mime, ext in EXTENSIONS.items()}, ".jpeg": "image/jpeg"}

_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(?=\.|$)", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')


class Moment(Struct, frozen=True, kw_only=True):
    """The instant of a making, as every name derived from it says it."""

    utc: str
    date: str
    time: str

    @classmethod
    def of(cls, instant: datetime) -> Moment:
        """The moment of an aware instant, in the local time zone."""
        from datetime import UTC

        try:
            local = instant.astimezone()
        except (ValueError, OverflowError):  # a TZ that means nothing
            local = instant.astimezone(UTC)
        return cls(
            utc=instant.astimezone(UTC).isoformat(timespec="milliseconds"),
            date=local.strftime("%Y-%m-%d"),
            time=local.strftime("%H%M%S"),
        )

    @classmethod
    def now(cls) -> Moment:
        """This moment."""
        from datetime import UTC

        return cls.of(datetime.now(UTC))


class Target(Struct, frozen=True, kw_only=True):
    """Where pictures are to go: a folder and a naming template, or one explicit path in it.

    `replace`: the user named this very file, so what is there gives way. `number`: the first
    number that its name may carry; 1 is no number. `there`: pictures of an earlier attempt, that
    keep their names if they come again. `flag`: the one that chooses another; empty: there is none.
    """

    folder: Path
    naming: str = "{date}-{slug}-{seed}.{ext}"
    path: Path | None = None
    replace: bool = False
    number: int = 1
    there: tuple[Output, ...] = ()
    flag: str = "--output"

    def candidates(self, values: Mapping[str, Any]) -> Iterator[Path]:
        """The paths to try: the name itself, then the same with -2, -3 … before its suffix."""
        first = self.path or self.folder / expand(self.naming, values)
        for number in itertools.count(self.number):
            yield first.with_stem(f"{first.stem}-{number}") if number > 1 else first

    def nth(self, index: int) -> Target:
        """The target of one of several pictures: the first alone may replace a file."""
        if self.path is None or index == 0:
            return self
        return structs.replace(self, number=self.number + index, replace=False)

    def free(self, values: Mapping[str, Any]) -> Path:
        """The path that a picture would get now."""
        paths = self.candidates(values)
        return next(paths) if self.replace else next(path for path in paths if not _taken(path))


def is_gone(path: Path) -> bool:
    """Whether it is surely not there; a disk that does not answer may have it."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass
    return False


def expand_home(path: str) -> Path:
    """The path with `~` as this user's home; as it is, where there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def check_path(path: Path) -> None:
    """Refuse a path that no file can have, or that no sidecar could say."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UsageError(f"the path {os.fsencode(path)!r} is not UTF-8") from None
    if control := _CONTROL.search(str(path)):
        raise UsageError(
            f"the path {str(path)!r} has a control character (U+{ord(control[0]):04X})",
            hint="leave it out",
        )
    _check_length(path.name, LONGEST_NAME, "choose a shorter one: its sidecar needs room, too")
    for name in path.parts[:-1]:
        _check_length(name, LONGEST_FOLDER, "choose a shorter one")


def _check_length(name: str, most: int, hint: str) -> None:
    if len(name.encode()) > most:
        raise UsageError(f"the name '{name[:40]}…' is longer than {most} bytes", hint=hint)


def is_folder(path: Path) -> bool:
    """Whether a folder is there; False, too, where nobody may look, or no path can be."""
    return os.path.isdir(path)  # noqa: PTH112


def reason(error: OSError | ValueError) -> str:
    """What a system has against a path, in its own words."""
    return str(getattr(error, "strerror", None) or error)


def slugify(prompt: str) -> str:
    """The prompt in lower-case ASCII words, at most 40 characters; never empty."""
    import unicodedata

    plain = unicodedata.normalize("NFKD", prompt[: SLUG_LENGTH * 20]).casefold()
    letters = "".join(c for c in plain if not unicodedata.combining(c))
    words = (word.encode("ascii", "ignore").decode() for word in _WORD.findall(letters))
    slug = "-".join(filter(None, words))
    if len(slug) > SLUG_LENGTH:
        # At the end of a word, unless the first one alone is too long.
        slug = slug[: SLUG_LENGTH + 1].rpartition("-")[0] or slug[:SLUG_LENGTH]
    return slug or "image"


def expand(naming: str, values: Mapping[str, Any]) -> Path:
    """The template with its placeholders filled in; each part is a name that any system takes."""
    text = _PLACEHOLDER.sub(lambda m: str(values.get(m[1], m[0])), naming)
    parts = [part for part in text.split("/") if part not in ("", ".", "..")]
    return Path(*map(_safe_name, parts or ["image"]))


def sidecar_path(path: Path) -> Path:
    """Where the sidecar of this picture lies."""
    return path.with_name(f"{path.name}.json")


def prepare(target: Target) -> None:
    """Make the folder, and refuse one that can't be written to before anything is spent."""
    folder, flag = target.folder, target.flag
    hint = f"choose another with {flag}, or set output.dir" if flag else "set output.dir"
    try:
        if target.path and target.path.is_dir():
            raise UsageError(f"{target.path} is a folder", hint=f"--output {target.path}/")
        if target.path and target.path.exists() and not target.path.is_file():
            # Replacing /dev/null would take it from the whole system.
            raise UsageError(f"{target.path} is not a regular file", hint=hint)
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot make the folder {folder}: {reason(error)}", hint=hint) from error
    effective = os.access in os.supports_effective_ids
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=effective):
        why = "Read-only file system" if _is_read_only(folder) else "Permission denied"
        raise UsageError(f"cannot write to the folder {folder}: {why}", hint=hint)


def _is_read_only(folder: Path) -> bool:
    return hasattr(os, "statvfs") and bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def place(
    data: bytes, target: Target, values: Mapping[str, Any], *, claim: Callable[[Path], None]
) -> Path:
    """Write the bytes under the first free name, and never over another file unless told to.

    `claim` is called with a path before anything appears there, so that a record can be made.
    """
    paths = target.candidates(values)
    first = next(paths)
    if target.folder.is_dir():
        # What the template names below the folder is made; a folder that vanished is not.
        first.parent.mkdir(parents=True, exist_ok=True)
    with _part(first.parent) as part:
        with _synced(part) as file:
            file.write(data)
        if target.replace:
            claim(first)
            _replace(part, first)
            path = first
        else:
            path = next(p for p in itertools.chain([first], paths) if _take(part, p, claim))
        _sync_folder(path.parent)
        return path


def write_atomically(path: Path, data: bytes) -> None:
    """Put these bytes there whole, over what was there."""
    with overwriting(path) as file:
        file.write(data)


@contextlib.contextmanager
def overwriting(path: Path) -> Iterator[BinaryIO]:
    """A file that takes this place in the end, whole, unless something goes wrong."""
    with _part(path.parent) as part:
        with _synced(part) as file:
            yield file
        part.replace(path)


def lock(descriptor: int) -> bool:
    """Whether this open file is this process's alone now.

    It ends with the process, however that ends. Where there are no such locks nobody is kept off.
    """
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return True
    return True


def digest(data: bytes) -> str:
    """The sha256 of these bytes, in hex."""
    from hashlib import sha256

    return sha256(data).hexdigest()


def _safe_name(part: str) -> str:
    part = _UNSAFE.sub("_", part).rstrip(". ") or "image"
    if reserved := _RESERVED.match(part):
        part = f"{reserved[0]}_{part[reserved.end() :]}"
    stem, dot, suffix = part.encode(errors="ignore").rpartition(b".")
    if not stem or len(suffix) > SUFFIX_BYTES:
        stem, dot, suffix = stem + dot + suffix, b"", b""
    room = NAME_BYTES - len(dot + suffix)
    return (stem[:room].decode(errors="ignore").rstrip(". ") or "image") + (dot + suffix).decode()


def _taken(path: Path) -> bool:
    return os.path.lexists(path) or os.path.lexists(sidecar_path(path))


@contextlib.contextmanager
def _part(folder: Path) -> Iterator[Path]:
    """The path of a temporary file, which is gone afterwards, whatever happened."""
    part = folder / f".imagen-{os.getpid()}-{os.urandom(6).hex()}.part"
    try:
        yield part
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def _synced(path: Path) -> Iterator[BinaryIO]:
    """A new file, safely on disk at the end."""
    with path.open("xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _replace(part: Path, path: Path) -> None:
    """Put the picture over another one, whose sidecar then tells of a picture that is gone."""
    part.replace(path)
    with contextlib.suppress(OSError):
        sidecar_path(path).unlink()


def _take(part: Path, path: Path, claim: Callable[[Path], None]) -> bool:
    """Give the picture this name, unless something is there."""
    if _taken(path):
        return False
    claim(path)
    return _link(part, path)


def _link(part: Path, path: Path) -> bool:
    """Give the file its name; False if somebody else took that name first."""
    try:
        os.link(part, path)
    except FileExistsError:
        return False
    except OSError:
        # No hard links here (FAT, some network shares): take the name first, then fill it.
        if not part.exists() or not path.parent.is_dir():
            raise
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            return False
        try:
            part.replace(path)
        except OSError:
            path.unlink()
            raise
    return True


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        return  # some network file systems have no such call; the picture is there all the same
    finally:
        os.close(descriptor)
