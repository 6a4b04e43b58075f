"""The nouns of imagen: what flows from Options to a finished Run, and who works on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from imagen_core.errors import ERRORS, ImagenError

SCHEMA = 1
"""The number that sidecars and other stored documents carry."""

MAX_SEED = 2**63 - 1


def new_id() -> str:
    """An id for a making that nothing else has."""
    import uuid

    return str(uuid.uuid4())


class Text(str):
    """A parameter's value as typed on a command line: JSON where it parses, else text."""

    __slots__ = ()


class InputImage(Struct, frozen=True, kw_only=True):
    """A picture that goes into a making. Its bytes stay out of everything that is stored."""

    name: str
    mime: str
    sha256: str
    size: int
    data: bytes = b""


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody asked for. Everything but the prompt may be left to the configuration."""

    prompt: str
    negative: str = ""
    style: str = ""
    backend: str = ""
    size: str = ""
    seed: int = 0
    steps: int = 0
    params: dict[str, Any] = {}
    images: tuple[str, ...] = ()
    count: int = 1


class Request(Struct, frozen=True, kw_only=True):
    """All that decides one picture. `id` names this making everywhere.

    `seed_asked`: somebody chose the seed, and may well expect the same picture again.
    """

    id: str
    prompt: str
    typed_prompt: str
    backend: str
    width: int
    height: int
    seed: int
    negative: str = ""
    style: str = ""
    steps: int | None = None
    params: dict[str, Any] = {}
    images: tuple[InputImage, ...] = ()
    resume: str = ""
    seed_asked: bool = False


class Accepted(Struct, frozen=True, kw_only=True, tag="accepted"):
    """The remote side has the request, under this id."""

    remote_id: str


class Progress(Struct, frozen=True, kw_only=True, tag="progress"):
    """How far it is: a fraction below 1.0 until the last Image, or None if nobody knows."""

    fraction: float | None = None
    message: str = ""
    step: int | None = None
    steps: int | None = None


class Preview(Struct, frozen=True, kw_only=True, tag="preview"):
    """A picture on the way, to look at and forget."""

    data: bytes
    mime: str


class Remark(Struct, frozen=True, kw_only=True, tag="remark"):
    """Something about this making that its reader should know; it becomes a warning."""

    text: str


class Image(Struct, frozen=True, kw_only=True, tag="image"):
    """A finished picture, to be written as it is. `seed` None: the seed is not known."""

    data: bytes
    mime: str
    seed: int | None = None
    metadata: dict[str, Any] = {}


class Cost(Struct, frozen=True, kw_only=True, tag="cost"):
    """What it costs in USD, and what that number rests on. 0 is free; no Cost is unknown."""

    usd: float
    basis: str


Event = Accepted | Progress | Preview | Remark | Image | Cost


class Output(Struct, frozen=True, kw_only=True):
    """A picture on disk. Date, time and slug are those of its name, whatever comes later."""

    path: str
    mime: str
    width: int
    height: int
    sha256: str
    size: int
    date: str
    time: str
    slug: str
    seed: int
    ordinal: int = 0
    metadata: dict[str, Any] = {}


class Failure(Struct, frozen=True, kw_only=True):
    """Why a Run failed, as data."""

    code: str
    message: str
    hint: str = ""
    retryable: bool = False

    @classmethod
    def of(cls, error: ImagenError) -> Failure:
        """The failure that this error stands for."""
        return cls(code=error.code, message=str(error), hint=error.hint, retryable=error.retryable)

    def error(self) -> ImagenError:
        """The error to raise for it."""
        kind = ERRORS.get(self.code, ImagenError)
        return kind(self.message, hint=self.hint)


class Note(Struct, frozen=True, kw_only=True):
    """What a step has to say of a Run: where it went, or what went wrong."""

    step: str
    text: str
    url: str = ""
    warning: bool = False


class Run(Struct, frozen=True, kw_only=True):
    """What became of one Request. `owner`: who is to see it, if not the configured one."""

    id: str
    started_at: str
    request: Request
    backend_type: str = ""
    model: str = ""
    latency_ms: int = 0
    caller: str | None = None
    owner: str = ""
    outputs: tuple[Output, ...] = ()
    cost: Cost | None = None
    remote_id: str = ""
    failure: Failure | None = None
    notes: tuple[Note, ...] = ()


class Done(Struct, frozen=True, kw_only=True):
    """Finished Runs, and the paths that are worth showing."""

    runs: tuple[Run, ...]
    paths: tuple[str, ...]


ParamType = Literal["str", "int", "float", "bool", "json"]
Field = Literal["negative", "steps", "size", "seed", "images"]


class Param(Struct, frozen=True, kw_only=True):
    """An option of a backend, given by `-p name=value`.

    `local`: it names a file, here or at a server, which no job may. `listed` False: it is taken,
    but lists of options leave it out, and no job sets it.
    """

    name: str
    type: ParamType = "str"
    default: Any = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    help: str = ""
    local: bool = False
    listed: bool = True


class About(Struct, frozen=True, kw_only=True):
    """What can be said of a backend without asking anybody. `params` None: the server knows.

    `size`, `steps` and `seed` are what it takes if none is asked for; without a seed one is drawn.
    """

    model: str
    honours: frozenset[Field] = frozenset()
    size: str = ""
    steps: int | None = None
    seed: int | None = None
    params: tuple[Param, ...] | None = ()
    mime: str = "image/png"


class Status(Struct, frozen=True, kw_only=True):
    """How an instance or a store does: ok or not, in a few words."""

    ok: bool
    text: str = "ok"


class UsageRow(Struct, frozen=True, kw_only=True):
    """One Run as the accounts see it."""

    id: str
    created_at: str
    backend: str
    model: str
    seed: int | None = None
    latency_ms: int = 0
    cost_usd_estimate: float | None = None
    caller: str | None = None
    failure: str = ""


class Paths(Struct, frozen=True, kw_only=True):
    """Where this user's things lie."""

    config: Path
    data: Path
    cache: Path
