"""What is here and what is in the cloud, side by side; and how what is missing gets there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from imagen_core import (
    CredentialsError,
    ImagenError,
    Note,
    UnavailableError,
    UsageError,
    expand_home,
)
from imagen_supabase.client import IMAGES, USAGE
from imagen_supabase.cloud import STEP, Sent, send
from imagen_supabase.pictures import Facts, Picture, of_run, read_sidecar
from imagen_supabase.usage import is_billed, row as usage_row

if TYPE_CHECKING:
    from imagen_core import Context, Run
    from imagen_supabase.client import Project

SIDE_BY_SIDE = 4
ROWS_AT_ONCE = 500
SIDECAR = ".json"


class State(StrEnum):
    """How a picture of this machine stands."""

    THERE = "in the cloud"
    MISSING = "to be sent"
    NO_OBJECT = "a row without its object"
    REFUSED = "can't be sent"
    GONE = "no longer on this machine"


class Item(NamedTuple):
    """A picture of this machine; `place`: where its row has it; `reason`: why it can't go."""

    picture: Picture
    state: State
    place: str = ""
    reason: ImagenError | None = None

    @property
    def is_wanting(self) -> bool:
        """Whether there is something to send."""
        return self.state in (State.MISSING, State.NO_OBJECT)


class Cloud(NamedTuple):
    """What the project has of one owner: rows by their ids, and the objects that are there."""

    rows: dict[str, tuple[str, str]]
    objects: set[str]

    @property
    def digests(self) -> dict[tuple[str, str], str]:
        """The ids of rows by place and sha256."""
        return {key: row_id for row_id, key in self.rows.items()}


def pictures(context: Context, paths: Iterable[str]) -> Iterator[Picture]:
    """The pictures of these files and folders, by their sidecars; of none, those of the ledger."""
    given = [expand_home(path) for path in paths]
    if not given:
        for run in context.ledger.runs():
            yield from of_run(run)
    for path in given:
        if path.is_dir():
            yield from _in_folder(path)
        else:
            yield _of_file(path)


def survey(project: Project, owner: str, found: Iterable[Picture]) -> tuple[list[Item], Cloud]:
    """How each of these pictures stands, and what was compared with."""
    rows = project.select(IMAGES, "id,storage_path,sha256", owner_user_id=f"eq.{owner}")
    there = {row["id"]: (row["storage_path"], row["sha256"]) for row in rows}
    folders = sorted({place.partition("/")[0] for place, _ in there.values()})
    cloud = Cloud(there, {name for folder in folders for name in project.names(folder)})
    known = cloud.digests
    return [_item(picture, cloud, known) for picture in found], cloud


def _item(picture: Picture, cloud: Cloud, known: dict[tuple[str, str], str]) -> Item:
    try:
        facts = picture.facts()
    except UsageError as error:
        return Item(picture, State.REFUSED, reason=error)
    place = _place(facts, cloud, known)
    if place in cloud.objects:
        return Item(picture, State.THERE, place)
    if not picture.path.exists():
        return Item(picture, State.GONE)
    return Item(picture, State.NO_OBJECT if place else State.MISSING, place)


def _place(facts: Facts, cloud: Cloud, known: dict[tuple[str, str], str]) -> str:
    """Where the picture is by its row, or by that of another Run which made the same."""
    if facts.row_id in cloud.rows:
        return cloud.rows[facts.row_id][0]
    return next((place for place in facts.places if (place, facts.sha256) in known), "")


def push(project: Project, owner: str, items: Sequence[Item]) -> Iterator[tuple[Item, Sent]]:
    """Send what is wanting, several at once, and tell of each. Closed early it ends early."""
    with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="imagen-push") as pool:
        works = {
            pool.submit(_sent, project, item, owner): item for item in items if item.is_wanting
        }
        try:
            for work in as_completed(works):
                yield works[work], work.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _sent(project: Project, item: Item, owner: str) -> Sent:
    try:
        return send(project, item.picture, owner, place=item.place)
    except ImagenError as error:
        return Sent("", error)


def is_final(problem: ImagenError) -> bool:
    """Whether the next picture would meet the same: nobody answers, or the key is refused."""
    return isinstance(problem, (UnavailableError, CredentialsError))


def remember(context: Context, project: Project, picture: Picture, place: str) -> None:
    """Write into the ledger that a picture is in the cloud, if the ledger has its Run."""
    run: Run | None = context.ledger.get(str(picture.about.get("id", "")))
    note = Note(step=STEP, text=place, url=project.object_url(place))
    if run and note not in run.notes:
        context.ledger.record(replace(run, notes=(*run.notes, note)), finished=True)


def missing_usage(context: Context, project: Project) -> list[dict[str, object]]:
    """The rows of what was spent here that the project does not have."""
    rows = {run.id: usage_row(run) for run in context.ledger.runs() if is_billed(run)}
    if not rows:
        return []
    since = min(str(row["created_at"]) for row in rows.values())
    found = project.select(USAGE, "id", order="created_at,id", created_at=f"gte.{since}")
    for there in found:
        rows.pop(there["id"], None)
    return list(rows.values())


def push_usage(project: Project, rows: list[dict[str, object]]) -> None:
    """Send them, many at once."""
    for begin in range(0, len(rows), ROWS_AT_ONCE):
        project.insert(USAGE, rows[begin : begin + ROWS_AT_ONCE])


def _of_file(path: Path) -> Picture:
    if not path.is_file():
        raise UsageError(f"there is no picture {path}")
    path = path.absolute()
    about = read_sidecar(path)
    if not about:
        told = f"{path} has no sidecar that can be read, so nothing is known of it"
        raise UsageError(told, hint="pictures of the ledger need none: imagen cloud push")
    return Picture(path, about)


def _in_folder(folder: Path) -> Iterator[Picture]:
    """All pictures below, which are those with a sidecar."""
    for place, folders, names in os.walk(folder.absolute()):
        folders.sort()
        there = set(names)
        for name in sorted(names):
            picture = name.removesuffix(SIDECAR)
            if name.endswith(SIDECAR) and picture in there:
                path = Path(place, picture)
                if (about := read_sidecar(path)).get("sha256"):
                    yield Picture(path, about)
