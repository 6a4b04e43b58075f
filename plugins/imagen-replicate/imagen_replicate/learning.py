"""What Replicate itself says of a model's inputs, kept in the cache folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from imagen_core import RejectedError, suggestion, write_atomically
from imagen_replicate.catalogue import from_schema, known
from imagen_replicate.problems import NotFoundError

if TYPE_CHECKING:
    from imagen_replicate.client import Api, Call
    from imagen_replicate.config import Reference
    from imagen_replicate.model import Model


def kept(folder: Path, reference: Reference) -> Model | None:
    """The model as it was when somebody last asked; None if nobody did, or it can't be read."""
    try:
        schema = msgspec.json.decode(_file(folder, reference).read_bytes())
        return from_schema(str(reference), schema)
    except (OSError, ValueError, RecursionError):
        return None


def learn(api: Api, folder: Path, reference: Reference) -> Call[tuple[Model, dict[str, Any]]]:
    """Ask for the model's inputs and keep them; returns the rest of what was said, too."""
    try:
        said = yield from api.describe(reference)
    except NotFoundError as error:
        near = "" if reference.model in known() else suggestion(reference.model, known(), "")
        usual = "look at the block's model: owner/name, as in its address on replicate.com"
        raise RejectedError(
            f"{api.who} has no model {reference}, or not for this token",
            hint=near if near.startswith("did") else usual,
        ) from error
    version = said if reference.version else said.get("latest_version")
    schema = version.get("openapi_schema") if isinstance(version, dict) else None
    try:
        model = from_schema(str(reference), schema)
    except ValueError as error:
        hint = "pin a version: model: owner/name:version"
        raise RejectedError(f"{api.who} does not say what it takes: {error}", hint=hint) from error
    _keep(_file(folder, reference), schema)
    return model, said


def forget(folder: Path, reference: Reference) -> None:
    """Ask again next time."""
    try:
        _file(folder, reference).unlink(missing_ok=True)
    except OSError:
        return  # then it stays, and the server goes on to judge


def _file(folder: Path, reference: Reference) -> Path:
    name = "--".join(filter(None, (reference.owner, reference.name, reference.version)))
    return folder / "replicate" / f"{name}.json"


def _keep(file: Path, schema: Any) -> None:
    """Without a folder to write to, the next process asks again."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, msgspec.json.encode(schema))
    except OSError:
        return
