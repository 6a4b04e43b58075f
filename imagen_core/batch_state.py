"""The state of a batch: its plan, and a line for each making that is finished."""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct

from imagen_core import files
from imagen_core.errors import ImagenError, UnavailableError, UsageError
from imagen_core.types import SCHEMA, Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAN_SUFFIX = ".batch.json"
RESULTS_SUFFIX = ".batch.jsonl"


class Planned(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One making of a plan. `prompt`: what the wildcards of its row came to."""

    row: int
    repeat: int
    id: str
    seed: int
    prompt: str = ""


class Plan(Struct, frozen=True, kw_only=True):
    """What a batch is to make, drawn up once. `repeat` counts the makings of a row."""

    schema: int = SCHEMA
    source: str
    sha256: str
    flags: dict[str, Any]
    folder: str
    created_at: str
    makings: tuple[Planned, ...]


class Kept(Struct, frozen=True, kw_only=True):
    """A picture as it was when it was finished."""

    path: str
    sha256: str
    size: int


class Result(Struct, frozen=True, kw_only=True):
    """A line of the results; the last one of an id counts."""

    row: int
    repeat: int
    id: str
    status: Literal["done", "failed"]
    backend: str
    seed: int
    prompt: str
    template: str = ""
    outputs: tuple[Kept, ...] = ()
    cost_usd_estimate: float | None = None
    latency_ms: int = 0
    error: Failure | None = None
    finished_at: str = ""


class State:
    """The two files of a batch, `NAME.batch.json` and `NAME.batch.jsonl`, in its folder."""

    def __init__(self, folder: Path, name: str) -> None:
        if Path(name).name != name or name.startswith("."):
            raise UsageError(f"the name '{name}' is no file name", hint="for instance --name cats")
        self.folder = folder
        self.name = name
        self.plan_path = folder / f"{name}{PLAN_SUFFIX}"
        self.results_path = folder / f"{name}{RESULTS_SUFFIX}"
        self.unreadable = 0
        """How many lines of the results say nothing that can be read."""
        self._descriptor = -1
        files.check_path(self.results_path)

    def read_plan(self) -> Plan | None:
        """The plan that is there, if one is."""
        try:
            plan = msgspec.json.decode(self.plan_path.read_bytes(), type=Plan)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unreadable(error.strerror or str(error)) from error
        except msgspec.DecodeError as error:
            raise self._unreadable(str(error)) from error
        if plan.schema != SCHEMA:
            raise self._unreadable("a newer imagen wrote it")
        return plan

    def _unreadable(self, reason: str) -> UsageError:
        hint = "--restart makes a new one; pictures stay as they are"
        return UsageError(f"the plan {self.plan_path} can't be read: {reason}", hint=hint)

    def has_results(self) -> bool:
        """Whether there are results, of whatever plan."""
        with contextlib.suppress(OSError):
            return self.results_path.stat().st_size > 0
        return False

    def without_plan(self) -> UsageError:
        """What to say where there are results, and the plan that they belong to is gone."""
        told = f"{self.results_path} has results, and their plan {self.plan_path.name} is gone"
        hint = "put it back; or --restart makes all anew and keeps these results beside the new"
        return UsageError(told, hint=f"{hint}; or --name makes another batch")

    def seen(self) -> bytes:
        """The plan as it lies there now, whatever it is; nothing if it can't be read."""
        with contextlib.suppress(OSError):
            return self.plan_path.read_bytes()
        return b""

    def lock(self, seen: bytes) -> None:
        """Keep other processes off this batch until `close`; its plan is still as it was `seen`."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        try:
            self._descriptor = os.open(self.results_path, flags, 0o666)
        except OSError as error:
            raise UsageError(f"cannot write {self.results_path}: {error.strerror}") from error
        if not files.lock(self._descriptor) or self.seen() != seen:
            self.close()
            raise UnavailableError(
                f"the batch '{self.name}' in {self.folder} is being made by another process",
                hint="wait for it, or give this one a name of its own with --name",
            )

    @property
    def is_gone(self) -> bool:
        """Whether the plan is not there any longer, by which the others find what is made."""
        return files.is_gone(self.plan_path)

    def rescue_plan(self, plan: Plan, folder: Path) -> Path:
        """Put a plan into another folder, under a name that is free."""
        folder.mkdir(parents=True, exist_ok=True)
        place = files.Target(folder=folder, path=folder / self.plan_path.name)
        return files.place(_text(plan), place, {}, claim=lambda _: None)

    def write_plan(self, plan: Plan) -> None:
        """Put a plan there, whole."""
        try:
            files.write_atomically(self.plan_path, _text(plan))
        except OSError as error:
            raise UsageError(f"cannot write {self.plan_path}: {error.strerror}") from error

    def keep_results(self) -> Path | None:
        """Put a copy of the results beside them, under the first free number."""
        if not self.has_results():
            return None
        names = (f"{self.name}.batch.{number}.jsonl" for number in itertools.count(1))
        path = next(path for path in map(self.folder.joinpath, names) if not path.exists())
        try:
            files.write_atomically(path, self.results_path.read_bytes())
        except OSError as error:
            raise UsageError(f"cannot write {path}: {files.reason(error)}") from error
        return path

    def clear_results(self) -> None:
        """Forget the results of an earlier plan."""
        os.ftruncate(self._descriptor, 0)

    def read_results(self) -> dict[str, Result]:
        """The last result of each id, in the order of these lines.

        A line that was cut off by a kill is taken away.
        """
        try:
            data = self.results_path.read_bytes()
        except OSError:
            return {}
        whole = data.rfind(b"\n") + 1
        if whole < len(data) and self._descriptor >= 0:
            os.ftruncate(self._descriptor, whole)
        found: dict[str, Result] = {}
        for result in self._decoded(data[:whole]):
            found.pop(result.id, None)
            found[result.id] = result
        return found

    def _decoded(self, data: bytes) -> Iterator[Result]:
        self.unreadable = 0
        decoder = msgspec.json.Decoder(Result)
        for line in filter(None, data.splitlines()):
            try:
                yield decoder.decode(line)
            except msgspec.DecodeError:
                self.unreadable += 1

    def append(self, result: Result) -> None:
        """Write a line down, in one piece or not at all."""
        line = msgspec.json.encode(result) + b"\n"
        before = os.fstat(self._descriptor)
        try:
            if not os.path.samestat(before, self.results_path.stat()):
                raise OSError("another file is in its place by now")
            while line:  # what does not fit is asked for again, which says why
                line = line[os.write(self._descriptor, line) :]
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, before.st_size)
            told = f"cannot write {self.results_path}: {files.reason(error)}"
            raise ImagenError(told) from error

    def close(self) -> None:
        """Let others at it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _text(plan: Plan) -> bytes:
    return msgspec.json.format(msgspec.json.encode(plan), indent=1) + b"\n"
