"""The sidecar: beside each picture a JSON file with all that is needed to make it again."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from imagen_core import files
from imagen_core.protocols import Context
from imagen_core.types import SCHEMA, Done, Note, Output, Run


def document(run: Run, output: Output) -> dict[str, Any]:
    """Everything that is known of one picture; sidecar, cloud row and `--json` are this."""
    request = run.request
    return {
        "schema": SCHEMA,
        "id": run.id,
        "ordinal": output.ordinal,
        "prompt": request.typed_prompt,
        "effective_prompt": request.prompt,
        "negative": request.negative,
        "style": request.style,
        "prompt_hash": sha256(request.typed_prompt.encode()).hexdigest(),
        "backend": request.backend,
        "type": run.backend_type,
        "model": run.model,
        "seed": output.seed,
        "steps": output.metadata.get("steps", request.steps),
        "width": output.width,
        "height": output.height,
        "latency_ms": run.latency_ms,
        "cost_usd_estimate": run.cost.usd if run.cost else None,
        "cost_basis": run.cost.basis if run.cost else None,
        "created_at": run.started_at,
        "date": output.date,
        "time": output.time,
        "slug": output.slug,
        "params": request.params,
        "images": [
            {"name": image.name, "mime": image.mime, "size": image.size, "sha256": image.sha256}
            for image in request.images
        ],
        "metadata": output.metadata,
        "file": Path(output.path).name,
        "size": output.size,
        "sha256": output.sha256,
        "mime": output.mime,
        "remote_id": run.remote_id,
        "caller": run.caller,
        **({"owner": run.owner} if run.owner else {}),
        "warnings": [note.text for note in run.notes if note.warning],
    }


def write_sidecars(done: Done, context: Context) -> tuple[Note, ...]:  # noqa: ARG001
    """Write `x.png.json` beside every `x.png` of these Runs."""
    for run in done.runs:
        for output in run.outputs:
            path = files.sidecar_path(Path(output.path))
            files.write_atomically(path, encode(document(run, output)))
    return ()


def encode(content: dict[str, Any]) -> bytes:
    """A document as the bytes of its file: indented, and readable in any language."""
    return msgspec.json.format(msgspec.json.encode(content, enc_hook=str), indent=2) + b"\n"
