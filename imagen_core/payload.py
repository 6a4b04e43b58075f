"""The payload of a job: Options that came from elsewhere, and the Request that they come to."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from imagen_core.errors import UsageError
from imagen_core.resolve import DRAWN_SEEDS, input_image
from imagen_core.types import InputImage, Options, Request, Text

if TYPE_CHECKING:
    from imagen_core.protocols import App
    from imagen_core.queueing import Job, Queue
    from imagen_core.types import About

VERSION = 1
MARK = "sha256:"
"""How an input image is named in a payload: by its digest, and never by a path."""
MAX_IMAGES = 16
"""How many input images a job has at most: a worker has all of them in memory at once."""
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Payload(Struct, frozen=True, kw_only=True):
    """What a job carries: what somebody asked for, and who it was."""

    options: Options
    caller: str = ""


def payload(options: Options, caller: str) -> dict[str, Any]:
    """Options as a payload; their input images are named by digest already."""
    # What was typed goes as text, which is what `read` takes it for.
    params = {name: str(v) if isinstance(v, Text) else v for name, v in options.params.items()}
    plain = msgspec.to_builtins(replace(options, backend="", count=0, params=params))
    found = {field: value for field, value in plain.items() if value or field == "prompt"}
    return {"options": found, **({"caller": caller} if caller else {})}


def read(job: Job) -> Payload:
    """The payload of a job; a UsageError says what makes no sense in it."""
    if job.payload_version != VERSION:
        told = f"its payload has version {job.payload_version}, and this imagen reads {VERSION}"
        raise UsageError(told, hint="a newer imagen can")
    try:
        found = msgspec.convert(job.payload, Payload)
    except msgspec.ValidationError as error:
        raise UsageError(f"its payload makes no sense: {error}") from None
    options = found.options
    if options.backend not in ("", job.backend):
        raise UsageError(
            f"its payload names the backend '{options.backend}'; it is '{job.backend}'"
        )
    if options.count != 1:
        raise UsageError("a job is one picture: enqueue several instead of a count")
    # What is text may have been typed, as on a command line.
    params = {name: Text(v) if isinstance(v, str) else v for name, v in options.params.items()}
    return replace(found, options=replace(options, backend=job.backend, params=params))


def request_of(job: Job, found: Payload, app: App, queue: Queue) -> Request:
    """The Request that a job comes to, the same one at each attempt.

    What it names is looked for in the queue alone, and never on the disk of a worker.
    """
    options = found.options
    about = app.instance(job.backend).backend.about
    check_asked(options, about)
    seed = options.seed or about.seed or drawn_seed(job.id)

    def image(name: str) -> InputImage:
        return _image(name, queue, job.owner)

    request = app.resolve(replace(options, seed=seed), read=image)[0]
    return replace(request, id=job.id, seed_asked=bool(options.seed))


def check_asked(options: Options, about: About) -> None:
    """Refuse what a job can't ask for, such as files, wherever those lie: other people's."""
    name, number = options.backend, len(options.images)
    if number > MAX_IMAGES:
        raise UsageError(f"a job takes up to {MAX_IMAGES} input images, got {number}")
    for param in about.params or ():
        if param.name in options.params and param.local:
            told = f"a job can't set {param.name}, which names a file at the backend '{name}'"
            raise UsageError(told, hint="'imagen enqueue --image FILE' takes a picture along")
        if param.name in options.params and not param.listed:
            told = f"a job can't set {param.name}, which the backend '{name}' does not list"
            raise UsageError(told, hint=f"'imagen backends {name}' lists what can be set")


def drawn_seed(job_id: str) -> int:
    """The seed of a job that asks for none: another one for each job, and always the same."""
    return 1 + int.from_bytes(sha256(job_id.encode()).digest()[:8]) % DRAWN_SEEDS


def making_id(job_id: str, number: int) -> str:
    """The id of a job's first making is its own; one that is paid for anew has another."""
    return job_id if number == 1 else str(uuid5(UUID(job_id), str(number)))


def _image(name: str, queue: Queue, owner: str) -> InputImage:
    digest = name.removeprefix(MARK)
    if digest == name or not _DIGEST.fullmatch(digest):
        told = f"a job names its input images as {MARK} and 64 hexadecimal digits, not '{name}'"
        raise UsageError(told, hint="'imagen enqueue --image FILE' puts them into the queue")
    data = queue.image(digest, owner=owner)
    if data is None:
        raise UsageError(f"the queue has no input image {name} for this owner")
    if sha256(data).hexdigest() != digest:
        raise UsageError(f"the input image {name} has other bytes than its name says")
    return input_image(data, name)
