"""A picture on its way to the cloud: its bytes, all that is known of it, its place and its row."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar
from uuid import UUID, uuid5

import msgspec
from msgspec import Meta, Struct

from imagen_core import UsageError, document, sidecar_path

if TYPE_CHECKING:
    from imagen_core import Output, Run

T = TypeVar("T")

EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
"""What the bucket takes, and how it is called there."""
COLUMNS = (
    "id,created_at,owner_user_id,run_id,prompt,prompt_hash,backend,model,seed,steps,width,height,"
    "latency_ms,cost_usd_estimate,storage_path,sha256,mime,size,sidecar"
)
"""What a row has from here."""
NAMING = ("date", "slug", "seed")
SIDECAR_BYTES = 10_000_000

Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Small = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Big = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class PictureError(UsageError):
    """It is the picture's own fault: to send it again would not help."""


class Facts(Struct, frozen=True, kw_only=True):
    """What a row and a place are made of; the fields are those of a sidecar."""

    id: UUID
    ordinal: Small = 0
    created_at: Annotated[datetime, Meta(tz=True)]
    prompt: str
    prompt_hash: Digest
    backend: str
    model: str
    seed: Big
    steps: Small | None = None
    width: Small
    height: Small
    latency_ms: Big | None = None
    cost_usd_estimate: Annotated[float, Meta(ge=0)] | None = None
    date: date
    slug: Annotated[str, Meta(pattern=r"^[a-z0-9-]+\Z", max_length=80)]
    sha256: Digest
    mime: str
    size: Big

    @property
    def row_id(self) -> str:
        """The id of the row: the same whenever the picture is synced."""
        return str(uuid5(self.id, str(self.ordinal)))

    @property
    def places(self) -> tuple[str, str]:
        """Where it may lie in the bucket: the plain name, and one for when that is taken."""
        name, extension = f"{self.date}/{self.slug}-{self.seed}", EXTENSIONS[self.mime]
        return f"{name}.{extension}", f"{name}-{self.sha256[:8]}.{extension}"


class Picture(NamedTuple):
    """A file, and the content of its sidecar."""

    path: Path
    about: dict[str, Any]

    @property
    def owner(self) -> str:
        """Whose it is by itself, as that of a job may be; empty if the configuration says."""
        return str(self.about.get("owner") or "")

    def facts(self) -> Facts:
        """What is needed of it; refuses a picture of which something is missing, by name."""
        missing = [key for key in NAMING if self.about.get(key) in (None, "")]
        if missing:
            raise PictureError(
                f"{self.path} has no {' and no '.join(missing)}, so it has no name in the cloud",
                hint=f"look at {sidecar_path(self.path).name}",
            )
        try:
            facts = msgspec.convert(self.about, Facts)
        except msgspec.ValidationError as error:
            raise PictureError(f"the sidecar of {self.path} can't be used: {error}") from None
        if facts.mime not in EXTENSIONS:
            told = f"{self.path} is {facts.mime}, and the cloud takes PNG, JPEG and WebP"
            raise PictureError(told)
        return facts

    def read(self, facts: Facts) -> bytes:
        """Its bytes; refuses a file that is gone, or another than was made."""
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise PictureError(f"cannot read {self.path}: {error.strerror}") from None
        if sha256(data).hexdigest() != facts.sha256:
            told = f"{self.path} has changed since it was made"
            raise PictureError(told, hint="its sidecar and the ledger tell of another picture")
        return data

    def row(self, facts: Facts, *, owner: str, place: str) -> dict[str, Any]:
        """The row of imagen.images; without `tags`, which are the viewer's."""
        return storable(
            {
                "id": facts.row_id,
                "created_at": facts.created_at.isoformat(),
                "owner_user_id": owner,
                "run_id": str(facts.id),
                "prompt": facts.prompt,
                "prompt_hash": facts.prompt_hash,
                "backend": facts.backend,
                "model": facts.model,
                "seed": facts.seed,
                "steps": facts.steps,
                "width": facts.width,
                "height": facts.height,
                "latency_ms": facts.latency_ms,
                "cost_usd_estimate": facts.cost_usd_estimate,
                "storage_path": place,
                "sha256": facts.sha256,
                "mime": facts.mime,
                "size": facts.size,
                "sidecar": self.about,
            }
        )


def of_run(run: Run) -> Iterator[Picture]:
    """The pictures of a Run, with what their sidecars say; without one, with what the Run says."""
    for output in run.outputs:
        path = Path(output.path)
        about = read_sidecar(path)
        if not _is_about(about, output):
            about = _plain(document(run, output))
        if run.owner:
            about["owner"] = run.owner
        yield Picture(path, about)


def read_sidecar(path: Path) -> dict[str, Any]:
    """What the sidecar of this picture says; nothing if there is none that can be read."""
    try:
        with sidecar_path(path).open("rb") as file:
            found = msgspec.json.decode(file.read(SIDECAR_BYTES))
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_about(about: dict[str, Any], output: Output) -> bool:
    return about.get("sha256") == output.sha256


def _plain(content: dict[str, Any]) -> dict[str, Any]:
    """The content as JSON has it: what a backend put there may be anything."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(content, enc_hook=str))
    return plain


def storable(value: T) -> T:
    """The value without NUL characters, which PostgreSQL keeps in no text."""
    found: Any = value
    match value:
        case str():
            found = value.replace("\0", "\N{REPLACEMENT CHARACTER}")
        case list():
            found = [storable(item) for item in value]
        case dict():
            found = {storable(key): storable(item) for key, item in value.items()}
    return found  # type: ignore[no-any-return]
