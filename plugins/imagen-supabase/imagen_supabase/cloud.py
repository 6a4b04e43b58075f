"""The step `cloud sync`: each picture into the bucket, then its row, and neither of them twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from imagen_core import ImagenError, Note, RejectedError, told
from imagen_supabase.client import IMAGES, connect
from imagen_supabase.config import needed_credentials, owner
from imagen_supabase.pictures import Picture, of_run
from imagen_supabase.problems import ConflictError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imagen_core import Context, Done
    from imagen_supabase.client import Project
    from imagen_supabase.pictures import Facts

STEP = "cloud sync"
LATER = "'imagen cloud push' sends it later"


class Sent(NamedTuple):
    """A picture that is in the bucket; `problem`: why it has no row."""

    place: str
    problem: ImagenError | None = None


def sync(done: Done, context: Context) -> Iterator[Note]:
    """Send the pictures of these Runs; what fails is told, and `imagen cloud push` finds it."""
    for run in done.runs:
        for picture in of_run(run):
            yield _note(picture, context)


def _note(picture: Picture, context: Context) -> Note:
    try:
        needed_credentials(context)
        whose = owner(context)
        project = context.once(connect)
        sent = send(project, picture, whose)
    except ImagenError as error:
        return Note(step=STEP, text=f"{told(error)}; {LATER}", warning=True)
    url = project.object_url(sent.place)
    if sent.problem:
        text = f"uploaded as {sent.place}, but without its row: {told(sent.problem)}; {LATER}"
        return Note(step=STEP, text=text, url=url, warning=True)
    return Note(step=STEP, text=sent.place, url=url)


def send(project: Project, picture: Picture, owner: str, *, place: str = "") -> Sent:
    """Upload a picture and write its row, as far as they are not there.

    `place`: where its row says that it is. Refuses by name what has no name or has changed.
    """
    facts = picture.facts()
    data = picture.read(facts)
    place = _uploaded(project, facts, data, (place,) if place else facts.places)
    try:
        _add_row(project, picture, facts, owner, place)
    except ImagenError as error:
        return Sent(place, error)
    return Sent(place)


def _uploaded(project: Project, facts: Facts, data: bytes, places: Sequence[str]) -> str:
    """The first of these places that takes the bytes, or has them."""
    for place in places:
        made = project.upload(place, data, mime=facts.mime, digest=facts.sha256)
        if made or project.digest(place) == facts.sha256:
            return place
    raise RejectedError(f"there is another picture at {' and at '.join(places)}")


def _add_row(project: Project, picture: Picture, facts: Facts, owner: str, place: str) -> None:
    try:
        project.insert(IMAGES, [picture.row(facts, owner=owner, place=place)])
    except ConflictError:
        # Another Run of this owner made the same bytes under the same name: that is one picture.
        conditions = {"owner_user_id": f"eq.{owner}", "storage_path": f"eq.{place}"}
        rows = project.select(IMAGES, "sha256", **conditions)
        if facts.sha256 not in [row["sha256"] for row in rows]:
            raise
