"""What `imagen jobs` prints: jobs as rows of a table, and all that is known of one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from imagen_core.cli.plan import as_text
from imagen_core.script import columns, cut
from imagen_core.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from imagen_core.queueing import Job, Load, Offer
    from imagen_core.types import Progress

HEAD = ("id", "state", "backend", "attempt", "created", "prompt")
LOAD_HEAD = (
    *("backend", "ready", "delayed", "running", "succeeded", "failed", "cancelled"),
    "oldest waits",
)
OFFER_HEAD = ("backend", "resource", "at most", "worker", "seen")
SHORT = 8
"""How many characters of an id are shown, where no two of the list have the same."""
LEAST = 20
"""So much of a prompt is shown on the narrowest terminal."""
UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def ago(at: str | None, now: datetime) -> str:
    """A time as people say it: `3 min ago`, `in 2 h`."""
    if not at:
        return ""
    try:
        seconds = (now - datetime.fromisoformat(at)).total_seconds()
    except (TypeError, ValueError):
        return at
    if abs(seconds) < 1:
        return "now"
    told = span(abs(seconds))
    return f"{told} ago" if seconds > 0 else f"in {told}"


def span(seconds: float) -> str:
    """So many seconds in the one unit that says most: `3 min`."""
    size, unit = next((one for one in UNITS if seconds >= one[0]), UNITS[-1])
    return f"{seconds / size:.0f} {unit}"


def now() -> datetime:
    """By the clock of this machine, which is near enough to the database's."""
    return datetime.now(UTC)


def rows(jobs: Sequence[Job], *, room: int = 0) -> list[tuple[str, ...]]:
    """A row a job: short, for people who have so many columns; else whole, for programs."""
    if not room:
        return [(*_whole(job), job.created_at, _prompt(job)) for job in jobs]
    length = _length([job.id for job in jobs])
    moment = now()
    found = [
        (job.id[:length], _state(job), *_whole(job)[2:], ago(job.created_at, moment))
        for job in jobs
    ]
    taken = [*zip(HEAD, *found, strict=False)]
    left = room - sum(max(map(columns, column)) + 2 for column in taken)
    prompts = (cut(printable(_prompt(job), newlines=False), max(left, LEAST)) for job in jobs)
    return [(*row, prompt) for row, prompt in zip(found, prompts, strict=True)]


def _whole(job: Job) -> tuple[str, ...]:
    return job.id, job.state, job.backend, f"{job.attempt}/{job.max_attempts}"


def load_rows(loads: Sequence[Load]) -> list[tuple[str, ...]]:
    """A row a backend."""
    return [
        (
            load.backend,
            *map(str, (load.ready, load.delayed, load.running)),
            *map(str, (load.succeeded, load.failed, load.cancelled)),
            span(load.waiting_seconds) if load.ready else "-",
        )
        for load in loads
    ]


def offer_rows(offers: Sequence[Offer], *, people: bool) -> list[tuple[str, ...]]:
    """A row for each backend that a worker serves."""
    moment = now()
    return [
        (
            *(offer.backend, offer.resource or "-"),
            str(offer.max_running) if offer.resource else "-",
            offer.worker,
            ago(offer.seen_at, moment) if people else offer.seen_at,
        )
        for offer in offers
    ]


def everything(job: Job) -> Iterator[str]:
    """All that is known of a job, a line each."""
    for key, value in _facts(job):
        if value not in ("", None, {}, [], 0):
            yield printable(f"{key}: {as_text(value)}", newlines=False)


def _facts(job: Job) -> Iterator[tuple[str, Any]]:
    moment = now()
    yield "id", job.id
    yield "state", _state(job)
    yield "backend", job.backend
    options = job.payload.get("options")
    if isinstance(options, dict):
        yield from options.items()
        yield "caller", job.payload.get("caller")
    else:
        yield "payload", msgspec.json.encode(job.payload).decode()
    yield "owner", job.owner
    yield "key", job.key
    yield "priority", str(job.priority)
    yield "attempts", f"{job.attempt} of {job.max_attempts}"
    yield "workers that were lost", job.crashes
    times = {
        "created": job.created_at,
        "not before": job.run_at if job.state == "queued" and job.run_at > job.created_at else None,
        "started": job.started_at,
        "finished": job.finished_at,
        "held until": job.lease_expires_at,
        "at the latest until": job.deadline_at,
    }
    for key, at in times.items():
        yield key, f"{ago(at, moment)} ({at})" if at else ""
    yield "worker", job.worker
    yield "resource", job.resource
    yield "checkpoint", job.checkpoint
    for error in job.errors:
        told, hint = error.failure, error.failure.hint
        more = f"; {hint}" if hint else ""
        place = f"attempt {error.attempt}, {ago(error.at, moment)}, {error.worker or 'no worker'}"
        yield "error", f"{place}: {told.code}: {told.message}{more}"
    yield from _result(job.result or {})


def _result(result: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a Run says of itself; whoever wrote it, so nothing of it is sure."""
    for output in _objects(result.get("outputs")):
        yield "path", output.get("path")
        yield "seed of the picture", output.get("seed")
    for note in _objects(result.get("notes")):
        yield (
            "warning" if note.get("warning") else "note",
            f"{note.get('step')}: {note.get('text')}",
        )
        yield "address", note.get("url")
    if isinstance(cost := result.get("cost"), dict):
        yield "cost", f"{cost.get('usd')} USD ({cost.get('basis')})"


def _objects(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _length(ids: Sequence[str]) -> int:
    """How many characters of these ids tell them apart."""
    longest = max(map(len, ids), default=SHORT)
    return next(
        (n for n in range(SHORT, longest) if len({id[:n] for id in ids}) == len(ids)), longest
    )


def _state(job: Job) -> str:
    if job.state == "running" and job.cancel_requested:
        return "running, to be cancelled"
    if job.state == "running" and job.progress:
        return f"running {_progress(job.progress)}".strip()
    if job.state == "queued" and datetime.fromisoformat(job.run_at) > now():
        return "queued, to be tried again" if job.errors else "queued, for later"
    return str(job.state)


def _progress(progress: Progress) -> str:
    return "" if progress.fraction is None else f"{progress.fraction:.0%}"


def _prompt(job: Job) -> str:
    options = job.payload.get("options")
    prompt = options.get("prompt") if isinstance(options, dict) else None
    return prompt if isinstance(prompt, str) else ""
