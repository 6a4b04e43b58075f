"""The step `cloud sync`: each picture into the bucket, then its row, and neither of them twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from imagen_core import ImagenError, Note, RejectedError, sidecar_path, told
from imagen_supabase.client import connect
from imagen_supabase.config import needed_credentials, owner
from imagen_supabase.pictures import Picture, PictureError, of_run
from imagen_supabase.problems import ConflictError
from imagen_supabase.tables import IMAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen_core import Context, Done, Run
    from imagen_supabase.client import Project
    from imagen_supabase.pictures import Facts

STEP = "cloud sync"


class Sent(NamedTuple):
    """A picture that is in the bucket; `problem`: why it has no row."""

    place: str
    problem: ImagenError | None = None

    @property
    def text(self) -> str:
        """What is to be said of a picture without its row."""
        reason = told(self.problem) if self.problem else ""
        return f"uploaded as {self.place}, but without its row: {reason}"


def sync(done: Done, context: Context) -> Iterator[Note]:
    """Send the pictures of these Runs; what fails is told, and `imagen cloud push` finds it."""
    for run in done.runs:
        for picture in of_run(run):
            yield _note(run, picture, context)


def _note(run: Run, picture: Picture, context: Context) -> Note:
    try:
        needed_credentials(context)
        whose = owner(context, run.owner)
        project = context.once(connect)
        sent = send(project, picture, whose)
    except PictureError as error:
        return Note(step=STEP, text=told(error), warning=True)
    except ImagenError as error:
        return Note(step=STEP, text=f"{told(error)}{_later(run, picture, context)}", warning=True)
    url = project.object_url(sent.place)
    if sent.problem:
        text = f"{sent.text}{_later(run, picture, context)}"
        return Note(step=STEP, text=text, url=url, warning=True)
    return Note(step=STEP, text=sent.place, url=url)


def _later(run: Run, picture: Picture, context: Context) -> str:
    """How the picture gets there later: the push finds what is in the ledger, or has a sidecar."""
    try:
        recorded = context.ledger.get(run.id) is not None
    except ImagenError:
        recorded = False
    if recorded:
        return "; 'imagen cloud push' sends it later"
    if sidecar_path(picture.path).exists():
        return f"; 'imagen cloud push {picture.path}' sends it later"
    return ""


def send(project: Project, picture: Picture, owner: str, *, place: str = "") -> Sent:
    """Upload a picture and write its row, as far as they are not there.

    `place`: where its row says that it is. Refuses by name what has no name or has changed.
    """
    facts = picture.facts()
    data = picture.read(facts)
    places = (place,) if place else facts.places
    for place in places:
        made = project.upload(place, data, mime=facts.mime, digest=facts.sha256)
        if not (made or project.digest(place) == facts.sha256):
            continue
        try:
            _add_row(project, picture, facts, owner, place)
        except ConflictError:
            if made:  # what belongs here got lost, and its row is there
                project.remove(place)
        except ImagenError as error:
            return Sent(place, error)
        else:
            return Sent(place)
    raise RejectedError(f"there is another picture at {' and at '.join(places)}")


def _add_row(project: Project, picture: Picture, facts: Facts, owner: str, place: str) -> None:
    """Write the row; a ConflictError means that this place is another picture's."""
    try:
        if project.insert(IMAGES, [picture.row(facts, owner=owner, place=place)]):
            return
    except ConflictError:
        # Another Run of this owner made the same bytes under the same name: that is one picture.
        conditions = {"owner_user_id": f"eq.{owner}", "storage_path": f"eq.{place}"}
        rows = project.select(IMAGES, "id,sha256", **conditions)
        if facts.sha256 not in [row["sha256"] for row in rows]:
            raise
        return
    own = {"id": f"eq.{facts.row_id}"}
    for row in project.select(IMAGES, "id,owner_user_id,storage_path", **own):
        if row["owner_user_id"] != owner:
            told = f"its row belongs to another owner, {row['owner_user_id']}"
            raise RejectedError(told, hint="owner_user_id was another one when it was synced")
        if row["storage_path"] != place:
            raise RejectedError(f"its row has it at {row['storage_path']}, and not at {place}")
