"""One making: a backend's Events written down, its pictures saved the moment they arrive."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from imagen_core import files
from imagen_core.errors import Cancelled, ImagenError, UnsavedError
from imagen_core.header import image_header
from imagen_core.leftovers import is_there
from imagen_core.types import (
    Accepted,
    Cost,
    Event,
    Failure,
    Image,
    Note,
    Output,
    Preview,
    Progress,
    Remark,
    Run,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from imagen_core.protocols import Instance
    from imagen_core.types import About, Request

RESCUE_FOLDER = "rescued"
UNBEGUN = "cancelled before it began"


class Record(Protocol):
    """Writes a Run down as it is now."""

    def __call__(self, run: Run, *, finished: bool) -> None:
        """Write it down; `finished`: it will not change but for its notes."""
        ...


class Making:
    """Drives one backend for one Request; `run` is what became of it so far.

    A thread drives it, and another may give it up: what changes the Run holds the lock.
    """

    def __init__(
        self,
        request: Request,
        instance: Instance,
        target: files.Target,
        *,
        caller: str | None,
        owner: str,
        record: Record,
        rescue: Path,
        load: Callable[[Request], Request] = lambda request: request,
        is_lost: Callable[[], bool] = lambda: False,
    ) -> None:
        self._instance = instance
        self._target = target
        self._record = record
        self._rescue = rescue
        self._load = load
        self._is_lost = is_lost
        self._lock = threading.RLock()
        self._started = 0.0
        self._abandoned = False
        self._dropped = False
        self.errors: list[BaseException] = []
        self.moment = files.Moment.now()
        about = instance.backend.about
        ignores = ignored(request, about)
        self.run = Run(
            id=request.id,
            started_at=self.moment.utc,
            request=request,
            backend_type=instance.type,
            model=about.model,
            caller=caller,
            owner=owner,
            remote_id=request.resume,
            notes=tuple(Note(step="generate", text=text, warning=True) for text in ignores),
        )

    def drive(self, emit: Callable[[Event], None], cancel: threading.Event) -> None:
        """Run the backend to its end, or until `cancel` is set; never raises."""
        try:
            self._begin()
            self._consume(emit, cancel)
            if self._dropped:
                raise Cancelled("another worker sees to it by now")
            if not (self.run.outputs or self.run.failure):
                raise ImagenError(f"the backend '{self._instance.name}' ended without a picture")
        except ImagenError as error:
            self._fail(error)
        except BaseException as error:  # noqa: BLE001 - a backend may raise anything
            fault = ImagenError(
                f"the backend '{self._instance.name}' ({self._instance.type}) failed: "
                f"{type(error).__name__}: {error}",
                hint="this is a fault of the backend's plugin; --debug shows the trace",
            )
            self._fail(fault, cause=error)
        self._end()

    def give_up(self, seconds: float) -> None:
        """Cancelled, and not there to say so itself: it hangs, or it never began."""
        with self._lock:
            if not self._started:
                self._fail(Cancelled(UNBEGUN))
                return
            self._abandoned = True
            waited = f"did not react within {seconds:g} s" if seconds else "was not waited for"
            text = f"the backend '{self._instance.name}' {waited} and may still be at work"
            there = f", on {self.run.remote_id}" if self.run.remote_id else ""
            self._fail(Cancelled(f"cancelled; {text}{there}"))
            self._end()

    def note(self, *notes: Note) -> None:
        """Add what a step has to say."""
        with self._lock:
            self._change(notes=(*self.run.notes, *notes))

    @property
    def has_begun(self) -> bool:
        """Whether anything was done for it; if not, its Run has nothing for a step."""
        return bool(self._started)

    @property
    def resource(self) -> str | None:
        """What it can't share with another making."""
        return self._instance.backend.resource

    def _begin(self) -> None:
        with self._lock:
            self.moment = files.Moment.now()
            self._started = time.monotonic()
            self._change(started_at=self.moment.utc)

    def _end(self) -> None:
        with self._lock:
            self._change(latency_ms=round((time.monotonic() - self._started) * 1000))
            if self.run.failure:
                self._change(outputs=self._outputs())
            self._record(self.run, finished=True)

    def _note_down(self) -> None:
        """Record it as it is now, for whoever has to go on from here."""
        from msgspec.structs import replace

        self._record(replace(self.run, outputs=self._outputs()), finished=False)

    def _outputs(self) -> tuple[Output, ...]:
        """What it gave so far, and what an earlier attempt gave and this one may still."""
        given = self.run.outputs
        return (*given, *(o for o in self._target.there if o.ordinal >= len(given)))

    def _change(self, **changes: Any) -> None:
        from msgspec.structs import replace

        with self._lock:
            self.run = replace(self.run, **changes)

    def _fail(self, error: ImagenError, cause: BaseException | None = None) -> None:
        self.errors.append(cause or error)
        self._change(failure=self.run.failure or Failure.of(error))

    def _warn(self, text: str) -> None:
        self.note(Note(step="generate", text=text, warning=True))

    def _consume(self, emit: Callable[[Event], None], cancel: threading.Event) -> None:
        events = self._instance.backend.generate(self._load(self.run.request))
        late = False
        try:
            for event in events:
                self._take(event)
                emit(event)
                if cancel.is_set():
                    # What comes after a picture shows whether it was the last one.
                    if late or not isinstance(event, Image):
                        raise Cancelled("cancelled")
                    late = True
        finally:
            self._close(events, cancelled=cancel.is_set())

    def _close(self, events: Generator[Event, None, None], *, cancelled: bool) -> None:
        """End the backend; what goes wrong with that does not hide why it was ended.

        A Cancelled of its own says how it was cancelled, for instance whether it costs something.
        """
        try:
            events.close()
        except Cancelled as error:
            if cancelled:
                self._fail(error)
            else:
                self._warn(str(error))
        except BaseException as error:  # noqa: BLE001 - a backend may raise anything
            self.errors.append(error)
            self._warn(f"the backend '{self._instance.name}' did not stop cleanly: {error}")

    def _take(self, event: Event) -> None:
        match event:
            case Image():
                self._save(event)
            case Accepted():
                self._change(remote_id=event.remote_id)
                self._note_down()
            case Cost():
                self._change(cost=event)
            case Remark():
                self._warn(event.text)
            case Progress() | Preview():
                pass
            case _:
                raise TypeError(f"it yielded a {type(event).__name__}, which is no event")

    def _save(self, image: Image) -> None:
        if not image.data:
            raise ImagenError(f"the backend '{self._instance.name}' gave an empty picture")
        draft = self._draft(image)
        values = name_values(self.run.request, draft)
        target = self._target.nth(draft.ordinal)
        if self._abandoned:
            # Nobody waits for it any more, but it may be paid for.
            target = files.Target(folder=self._rescue)
        try:
            if self._abandoned:
                self._rescue.mkdir(parents=True, exist_ok=True)
            self._place(image.data, draft, target, values)
        except _NotOursError:
            # The remote side is not stopped, since another one follows it.
            self._dropped = True
            return
        except (OSError, ValueError) as error:
            self._save_elsewhere(image.data, draft, values, target.free(values), error)
            return
        suffix = Path(self.run.outputs[-1].path).suffix.lower()
        if files.SUFFIXES.get(suffix, draft.mime) != draft.mime:
            path = self.run.outputs[-1].path
            self._warn(f"{path} holds {draft.mime}, whatever its suffix says")

    def _draft(self, image: Image) -> Output:
        """The Output but for its path."""
        request = self.run.request
        header = image_header(image.data)
        if header is None:
            self._warn(f"its picture ({image.mime}) is of no type that imagen knows")
        return Output(
            path="",
            mime=header.mime if header else image.mime,
            width=header.width if header else request.width,
            height=header.height if header else request.height,
            sha256=files.digest(image.data),
            size=len(image.data),
            date=self.moment.date,
            time=self.moment.time,
            slug=files.slugify(request.typed_prompt),
            seed=request.seed if image.seed is None else image.seed,
            ordinal=len(self.run.outputs),
            metadata=image.metadata,
        )

    def _place(
        self, data: bytes, draft: Output, target: files.Target, values: dict[str, Any]
    ) -> Path:
        """Save it; the Run with this Output is recorded before its file appears."""
        from msgspec.structs import replace

        earlier = self.run.outputs

        def claim(path: Path) -> None:
            output = replace(draft, path=str(path.absolute()))
            self._change(outputs=(*earlier, output))
            self._note_down()
            if self._is_lost():
                raise _NotOursError

        try:
            for path in (Path(output.path) for output in target.there):
                if is_there(path, draft):
                    claim(path)
                    return path
            return files.place(data, target, values, claim=claim)
        except BaseException:
            self._change(outputs=earlier)
            raise

    def _save_elsewhere(
        self,
        data: bytes,
        draft: Output,
        values: dict[str, Any],
        wanted: Path,
        error: OSError | ValueError,
    ) -> None:
        """A picture that can't go where it should goes where it can, and the Run fails.

        It goes on, though: more pictures may come, and they are paid for, too.
        """
        import tempfile

        told, kind = f"could not write {wanted}: {files.reason(error)}; ", ImagenError
        for folder in (self._rescue, Path(tempfile.gettempdir()) / f"imagen-{RESCUE_FOLDER}"):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                path = self._place(data, draft, files.Target(folder=folder), values)
            except (OSError, ValueError):
                continue
            told += f"the picture is safe in {path}"
            hint = "move it from there, and make room or choose another folder"
            break
        else:
            told, kind = f"{told}nor to any other folder", UnsavedError
            hint = "make room on the disk"
        self._fail(kind(told, hint=hint), cause=error)


class _NotOursError(Exception):
    """Another process sees to this making by now."""


def name_values(request: Request, draft: Output) -> dict[str, Any]:
    """The values of the naming template's placeholders."""
    return {
        "date": draft.date,
        "time": draft.time,
        "slug": draft.slug,
        "seed": draft.seed,
        "backend": request.backend,
        "ext": extension(draft.mime),
    }


def expected_values(request: Request, about: About) -> dict[str, Any]:
    """The same, of a picture that is made now, as far as they can be told beforehand."""
    moment = files.Moment.now()
    asked = request.params.get("format") or request.params.get("output_format")
    return {
        "date": moment.date,
        "time": moment.time,
        "slug": files.slugify(request.typed_prompt),
        "seed": request.seed,
        "backend": request.backend,
        "ext": extension(files.SUFFIXES.get(f".{asked}", about.mime)),
    }


def extension(mime: str) -> str:
    """The file suffix of a MIME type, without its dot."""
    if mime in files.EXTENSIONS:
        return files.EXTENSIONS[mime]
    import mimetypes

    return (mimetypes.guess_extension(mime) or ".bin")[1:]


def ignored(request: Request, about: About) -> Iterator[str]:
    """What the Request asks for and this backend does not honour."""
    if request.negative and "negative" not in about.honours:
        yield f"the backend '{request.backend}' ignores the negative prompt"
    if "seed" not in about.honours:
        yield f"the backend '{request.backend}' ignores the seed: the picture can't be made again"
    if request.steps is not None and "steps" not in about.honours:
        yield f"the backend '{request.backend}' ignores the number of steps"
    size = f"{request.width}x{request.height}"
    if about.size and about.size != size and "size" not in about.honours:
        yield f"the backend '{request.backend}' ignores the size"
