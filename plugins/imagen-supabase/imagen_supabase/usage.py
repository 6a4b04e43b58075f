"""What was spent: the step that writes it down in the project."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec

from imagen_core import is_billed, usage_row
from imagen_supabase.config import credentials
from imagen_supabase.pictures import storable
from imagen_supabase.tables import USAGE

if TYPE_CHECKING:
    from imagen_core import Context, Done, Run

COLUMNS = "id,created_at,backend,model,seed,latency_ms,cost_usd_estimate,caller"


def record(done: Done, context: Context) -> tuple[()]:
    """A row for each Run that was paid for, or may have been."""
    if credentials(context) and (rows := [row(run) for run in done.runs if is_accounted(run)]):
        # The client takes longer to import than all the rest, and most runs have no use for it.
        from imagen_supabase.client import connect

        context.once(connect).insert(USAGE, rows)
    return ()


def is_accounted(run: Run) -> bool:
    """Whether it cost something, or nobody knows; a failed one if it has begun elsewhere."""
    return is_billed(run) and bool(run.failure is None or run.outputs or run.remote_id)


def row(run: Run) -> dict[str, Any]:
    """The row of mai.imagen_usage; the prompt stays here."""
    about = msgspec.structs.asdict(usage_row(run))
    del about["failure"]
    prompt_hash = sha256(run.request.typed_prompt.encode()).hexdigest()
    return storable({**about, "prompt_hash": prompt_hash})
