"""One Request on one server: its prompt chosen or sent, followed, and its pictures fetched."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import NAMESPACE_URL, uuid5

from msgspec.structs import replace

from imagen_comfyui import needs, record, values, verdicts
from imagen_comfyui.pictures import fetch, is_black, mime_of, name_of, size_of
from imagen_comfyui.probe import system_of
from imagen_comfyui.prompt import Prompt
from imagen_comfyui.watch import Watch
from imagen_core import Accepted, Event, Image, ImagenError, Remark

if TYPE_CHECKING:
    from imagen_comfyui.backend import ComfyBackend
    from imagen_comfyui.client import Call, Server
    from imagen_core import Request

Events = Generator[Event, None, None]

TRIES = 2
"""How often a prompt is made whose pictures are gone from the server when they are fetched."""

IDS = 20
"""How many tries at one Request a server may remember."""


class Making(NamedTuple):
    """A prompt that has ended: what came of it, and what there is to tell."""

    ending: verdicts.Ending
    frames: list[bytes]
    about: dict[str, Any]


class Running:
    """Makes the pictures of one Request."""

    def __init__(self, backend: ComfyBackend, server: Server, request: Request) -> None:
        self._backend = backend
        self._server = server
        self._request = request
        self._workflow = backend.workflow

    def events(self) -> Events:
        """What happens, from the first question to the last picture."""
        ids = _ids(self._request.resume or self._request.id)
        fetched = 0
        for _ in range(TRIES):
            making = yield from self._make(ids)
            for picture in making.ending.pictures[fetched:]:
                data = yield from fetch(self._server, picture)
                if data is None:
                    break
                fetched += 1
                yield from _delivered(making, data)
            else:
                yield from self._finish(making)
                return
        raise ImagenError(
            f"{self._server.who} made {name_of(picture)}, and has it no more",
            hint="somebody, or something, deletes its output: look there",
        )

    def _upload(self, *, known: bool) -> Call[dict[str, str]]:
        """Put the input images there; returns what to call them, by placeholder.

        A prompt that is there already has its images, and a stored Request has them no more.
        """
        found = {}
        names = values.image_names(self._workflow.graph)
        for name, image in zip(names, self._request.images, strict=False):
            found[name] = image.name if known else (yield from self._server.upload(image))
        return found

    def _make(self, ids: Iterator[str]) -> Generator[Event, None, Making]:
        """Send a prompt and follow it to its end, or follow one that is there already."""
        server, workflow = self._server, self._workflow
        prompt_id, known = yield from self._choose(ids)
        client_id = f"imagen-{prompt_id}"
        request = replace(self._request, id=prompt_id)
        images = yield from self._upload(known=known)
        graph = values.build(workflow, self._backend.values, request, images)
        quiet = self._backend.patience.quiet
        with Watch(server.base, client_id, server.headers, quiet=quiet) as watch:
            graph, missing = yield from needs.place_files(server, graph, self._backend.nodes)
            if missing:
                raise needs.lacks_files(server.who, workflow, graph, missing)
            prompt = Prompt(
                server,
                workflow,
                graph,
                prompt_id=prompt_id,
                client_id=client_id,
                patience=self._backend.patience,
            )
            started = time.monotonic()
            entry = yield from self._see_through(prompt, watch, known=known)
        latency = round((time.monotonic() - started) * 1000)
        ending = verdicts.ending(entry, graph, output=workflow.manifest.output)
        system = yield from system_of(server)
        about = record.metadata(self._backend, self._request, graph, system)
        about |= {"prompt_id": prompt_id, "client_id": client_id, "latency_ms": latency}
        return Making(ending, prompt.tracker.pictures, about)

    def _see_through(
        self, prompt: Prompt, watch: Watch, *, known: bool
    ) -> Generator[Event, None, dict[str, Any]]:
        """From sending it to its end; whatever comes between cancels it at the server."""
        try:
            yield from watch.opened()
            if not known:
                yield from prompt.submit(record.extra_data(self._backend, self._request))
            yield Accepted(remote_id=prompt.id)
            return (yield from prompt.follow(watch, self._backend.config))
        except GeneratorExit:
            if not prompt.cancel():
                raise ImagenError(f"{self._server.who} {_left(prompt)}") from None
            raise
        except BaseException as error:
            if not prompt.cancel() and isinstance(error, ImagenError):
                error.hint = "; ".join(filter(None, (error.hint, f"it {_left(prompt)}")))
            raise

    def _choose(self, ids: Iterator[str]) -> Call[tuple[str, bool]]:
        """The id to use, and whether the server has a prompt of this id that is worth following.

        One that failed earlier is left alone; a new try gets an id of its own.
        """
        queue = yield from self._server.queue()
        for prompt_id in ids:
            if prompt_id in (*queue.running, *queue.pending):
                return prompt_id, True
            entry = yield from self._server.history(prompt_id)
            if entry is None:
                return prompt_id, False
            if verdicts.ending(entry, self._workflow.graph).error is None:
                return prompt_id, True
        raise ImagenError("this request failed too often", hint="make a new one")

    def _finish(self, making: Making) -> Events:
        """What there is to say once all pictures of the history are here."""
        if making.ending.error:
            raise making.ending.error
        if not making.ending.pictures:
            for data in making.frames:
                yield from _delivered(making, data)
        if not making.ending.pictures and not making.frames:
            raise ImagenError(
                f"the workflow '{self._workflow.name}' ended without a picture",
                hint="give it a SaveImage node; if its manifest has an output, that one",
            )


def _delivered(making: Making, data: bytes) -> Events:
    size = size_of(data)
    about = making.about | ({"width": size[0], "height": size[1]} if size else {})
    seed = about["seed_used"] if isinstance(about["seed_used"], int) else None
    yield Image(data=data, mime=mime_of(data), seed=seed, metadata=about)
    if is_black(data):
        yield Remark(
            text="the picture is all black: the model or its VAE overflowed; "
            "another VAE, or another weight type, may help"
        )


def _left(prompt: Prompt) -> str:
    return f"may still make the prompt {prompt.id}: look at its queue"


def _ids(first: str) -> Iterator[str]:
    """The id of a making, and those of further tries at it, the same each time."""
    yield first
    for number in range(2, IDS):
        yield str(uuid5(NAMESPACE_URL, f"{first}/{number}"))
