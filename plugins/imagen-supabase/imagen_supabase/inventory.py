"""What is here and what is in the cloud, side by side; and how what is missing gets there."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from imagen_core import (
    CredentialsError,
    ImagenError,
    Note,
    UnavailableError,
    UsageError,
    expand_home,
    http,
)
from imagen_supabase.cloud import STEP, Sent, send
from imagen_supabase.config import owner
from imagen_supabase.pictures import Picture, PictureError, of_run, read_sidecar
from imagen_supabase.problems import RefusedRowError, SetUpError, StrangeError
from imagen_supabase.tables import IMAGES, USAGE
from imagen_supabase.usage import is_accounted, row as usage_row

if TYPE_CHECKING:
    from imagen_core import Context, Run
    from imagen_supabase.client import Project

SIDE_BY_SIDE = 4
ROWS_AT_ONCE = 500
SIDECAR = ".json"
FINAL = (UnavailableError, CredentialsError, SetUpError, StrangeError)
"""Faults that the next picture would meet, too."""


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
    owner: str = ""

    @property
    def is_wanting(self) -> bool:
        """Whether there is something to send."""
        return self.state in (State.MISSING, State.NO_OBJECT)


class Cloud(NamedTuple):
    """What the project has of these owners: place and sha256 by row, and the objects of these."""

    rows: dict[str, tuple[str, str]]
    objects: set[str]


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


def survey(
    context: Context, project: Project, found: Iterable[Picture]
) -> tuple[list[Item], Cloud]:
    """How each of these pictures stands, and what was compared with.

    Of the bucket only those folders are read in which such a picture may be. Rows are those of the
    configured owner, and of the owners that pictures have by themselves.
    """
    there: dict[str, tuple[str, str]] = {}
    known: dict[str, set[tuple[str, str]]] = {}

    def taken(owner: str) -> set[tuple[str, str]]:
        if owner not in known:
            rows = project.select(IMAGES, "id,storage_path,sha256", owner_user_id=f"eq.{owner}")
            own = {row["id"]: (row["storage_path"], row["sha256"]) for row in rows}
            there.update(own)
            known[owner] = set(own.values())
        return known[owner]

    if context.owner_user_id:
        taken(owner(context))
    items = [_owned(context, picture, there, taken) for picture in found]
    folders = sorted({item.place.partition("/")[0] for item in items if item.place})
    cloud = Cloud(there, {name for folder in folders for name in project.names(folder)})
    return [_with_object(item, cloud.objects) for item in items], cloud


def _owned(
    context: Context,
    picture: Picture,
    rows: dict[str, tuple[str, str]],
    taken: Callable[[str], set[tuple[str, str]]],
) -> Item:
    try:
        whose = owner(context, picture.owner)
    except UsageError as error:
        if not picture.owner:  # it is the configuration's fault, and so that of all
            raise
        return Item(picture, State.REFUSED, reason=error)
    return _item(picture, rows, taken(whose))._replace(owner=whose)


def _item(picture: Picture, rows: dict[str, tuple[str, str]], taken: set[tuple[str, str]]) -> Item:
    try:
        facts = picture.facts()
        place, digest = rows.get(facts.row_id, ("", facts.sha256))
        if digest != facts.sha256:
            raise PictureError(f"{picture.path} has the id of another picture in the cloud")
        # Another Run may have made the same.
        same = (one for one in facts.places if (one, facts.sha256) in taken)
        place = place or next(same, "")
        if not place and picture.path.exists():
            picture.read(facts)
    except PictureError as error:
        return Item(picture, State.REFUSED, reason=error)
    return Item(picture, State.MISSING, place)


def _with_object(item: Item, objects: set[str]) -> Item:
    """The same with what the bucket has of it."""
    if item.reason:
        return item
    if item.place in objects:
        return item._replace(state=State.THERE)
    if not item.picture.path.exists():
        return item._replace(state=State.GONE)
    return item._replace(state=State.NO_OBJECT if item.place else State.MISSING)


def push(project: Project, items: Sequence[Item]) -> Iterator[tuple[Item, Sent]]:
    """Send what is wanting, several at once, and tell of each.

    Closed early it begins nothing more; what is under way is left to itself, and the next push
    finds it.
    """
    waiting = deque(item for item in items if item.is_wanting)
    done: SimpleQueue[tuple[Item, Sent]] = SimpleQueue()

    def work() -> None:
        while waiting:
            try:
                item = waiting.popleft()
            except IndexError:  # another one took the last
                return
            done.put((item, _sent(project, item)))

    count = len(waiting)
    for _ in range(min(SIDE_BY_SIDE, count)):
        threading.Thread(target=work, name=http.THREAD_NAME, daemon=True).start()
    try:
        for _ in range(count):
            yield done.get()
    finally:
        waiting.clear()


def _sent(project: Project, item: Item) -> Sent:
    try:
        return send(project, item.picture, item.owner, place=item.place)
    except ImagenError as error:
        return Sent("", error)
    except Exception as error:  # noqa: BLE001 - whoever waits for it is to have an answer
        return Sent("", ImagenError(f"{type(error).__name__}: {error}"))


def remember(context: Context, project: Project, picture: Picture, place: str) -> None:
    """Write into the ledger that a picture is in the cloud, if the ledger has its Run.

    The note takes the place of those that say what went wrong.
    """
    run: Run | None = context.ledger.get(str(picture.about.get("id", "")))
    if run is None:
        return
    note = Note(step=STEP, text=place, url=project.object_url(place))
    kept = [one for one in run.notes if one != note and (one.step != STEP or not one.warning)]
    context.ledger.record(replace(run, notes=(*kept, note)), finished=True)


def missing_usage(context: Context, project: Project) -> list[dict[str, object]]:
    """The rows of what was spent here that the project does not have."""
    rows = {run.id: usage_row(run) for run in context.ledger.runs() if is_accounted(run)}
    if not rows:
        return []
    since = min(str(row["created_at"]) for row in rows.values())
    columns = "id,created_at"
    for there in project.select(USAGE, columns, order="created_at,id", created_at=f"gte.{since}"):
        rows.pop(there["id"], None)
    return list(rows.values())


def push_usage(
    project: Project, rows: Sequence[dict[str, object]]
) -> Iterator[tuple[str, ImagenError]]:
    """Send them, many at once; gives the ids of those that the database refuses, and why."""
    for begin in range(0, len(rows), ROWS_AT_ONCE):
        several = rows[begin : begin + ROWS_AT_ONCE]
        try:
            project.insert(USAGE, several)
        except RefusedRowError as error:
            if len(several) == 1:
                yield str(several[0]["id"]), error
                continue
            for one in several:
                yield from push_usage(project, [one])


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
    """All pictures below that have a sidecar, also one in which something is missing."""
    for place, folders, names in os.walk(folder.absolute()):
        folders.sort()
        there = set(names)
        for name in sorted(names):
            picture = name.removesuffix(SIDECAR)
            if name.endswith(SIDECAR) and picture in there:
                path = Path(place, picture)
                about = read_sidecar(path)
                if not about or "prompt" in about or "sha256" in about:
                    yield Picture(path, about)
