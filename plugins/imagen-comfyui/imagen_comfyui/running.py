"""One Request on one server: its prompt chosen or sent, followed, and its pictures fetched."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import NAMESPACE_URL, uuid5

from msgspec.structs import replace

from imagen_comfyui import needs, record, values, verdicts
from imagen_comfyui.cancelling import cancelling
from imagen_comfyui.pictures import fetch, name_of
from imagen_comfyui.probe import system_of
from imagen_comfyui.prompt import Prompt
from imagen_comfyui.tracker import frame_nodes
from imagen_comfyui.watch import Watch
from imagen_core import (
    Accepted,
    Cost,
    Event,
    Image,
    ImagenError,
    Remark,
    UsageError,
    damage,
    http,
    image_header,
    is_black,
)

if TYPE_CHECKING:
    from imagen_comfyui.backend import ComfyBackend
    from imagen_comfyui.client import Call, Server
    from imagen_comfyui.graph import Graph
    from imagen_core import Request

Events = Generator[Event, None, None]

Picture = Mapping[str, str] | bytes
"""A file at the server, or what came over the websocket alone."""

TRIES = 2
"""How often a prompt is made whose pictures are gone from the server when they are fetched."""

IDS = 20
"""How many ids a Request has, for as many tries at it that a server remembers."""


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
        self._output = str(backend.workflow.manifest.output)
        self._prompt: Prompt | None = None

    def events(self) -> Events:
        """What happens, from the first question to the last picture.

        Closed, or with an error, it ends the prompt at the server, unless that has ended.
        """
        try:
            try:
                yield Cost(usd=0, basis="local")
                yield from self._tries()
            except Exception as error:
                yield from self._end(error)
                raise
        except GeneratorExit:
            if left := http.finish(self._cancelling()):
                raise ImagenError(f"{self._server.who} {left}") from None
            raise

    def _end(self, error: Exception) -> Call[None]:
        """End the own prompt after an error, and add to it what can't be confirmed."""
        left = (yield from self._prompt.cancelling()) if self._prompt else ""
        if left and isinstance(error, ImagenError):
            error.hint = "; ".join(filter(None, (error.hint, f"it {left}")))

    def _cancelling(self) -> Call[str]:
        """End what is at the server: the own prompt, or the one that was to be resumed."""
        if self._prompt:
            return (yield from self._prompt.cancelling())
        if self._request.resume:
            seconds = self._backend.patience.closing
            return (yield from cancelling(self._server, self._request.resume, seconds=seconds))
        return ""

    def _tries(self) -> Events:
        """One prompt, and another one if the pictures of the first are gone from the server."""
        ids = _ids(self._request.resume or self._request.id)
        delivered: set[int] = set()
        for _ in range(TRIES):
            making = yield from self._make(ids)
            gone = yield from self._deliver(making, delivered)
            if not gone:
                break
        else:
            raise ImagenError(
                f"{self._server.who} made {gone}, and has it no more",
                hint="somebody, or something, deletes its output: look there",
            )
        if not delivered:
            raise ImagenError(
                f"the workflow '{self._workflow.name}' ended without a picture",
                hint="give it a SaveImage node; if its manifest has an output, that one",
            )

    def _deliver(self, making: Making, delivered: set[int]) -> Generator[Event, None, str]:
        """Take each picture, whatever is wrong with another; returns the name of one gone."""
        gone, problem = "", making.ending.error
        pictures: tuple[Picture, ...] = (*making.ending.pictures, *making.frames)
        for number, picture in enumerate(pictures):
            if number in delivered:
                continue
            try:
                data = yield from self._bytes(picture)
            except ImagenError as error:
                problem = problem or error
                continue
            if data is None:
                assert not isinstance(picture, bytes), "what came is not gone"
                gone = gone or name_of(picture)
                continue
            delivered.add(number)
            yield from _delivered(making, data)
        if problem:
            raise problem
        return gone

    def _bytes(self, picture: Picture) -> Call[bytes | None]:
        """Those that came over the websocket, or those of a file at the server, if it is there."""
        if not isinstance(picture, bytes):
            return (yield from fetch(self._server, picture))
        if problem := damage(picture):
            raise ImagenError(f"a picture came over the websocket damaged: {problem}")
        return picture

    def _upload(self, *, known: bool) -> Call[dict[str, str]]:
        """Put the input images there; returns what to call them, by placeholder.

        A prompt that is there already has its images, and a stored Request has them no more.
        """
        found = {}
        names = values.image_names(self._workflow.graph)
        for name, image in zip(names, self._request.images, strict=False):
            if not (known or image.data):
                raise UsageError(
                    f"the input image {image.name} is needed again, and is kept nowhere",
                    hint="make a new request, with --image",
                )
            found[name] = image.name if known else (yield from self._server.upload(image))
        return found

    def _make(self, ids: Iterator[str]) -> Generator[Event, None, Making]:
        """Send a prompt and follow it to its end, or follow one that is there already."""
        self._prompt = None
        prompt_id, known = yield from self._choose(ids)
        request = replace(self._request, id=prompt_id)
        images = yield from self._upload(known=known)
        graph = values.build(self._workflow, request, values=self._backend.values, images=images)
        # The more it reopens its socket, the more of what comes over it alone may be lost.
        frames = frame_nodes(graph, self._output)
        quiet = math.inf if frames else self._backend.patience.quiet
        client_id = f"imagen-{prompt_id}"
        server = self._server
        with Watch(
            server.base, client_id, headers=server.headers, quiet=quiet, again=known
        ) as watch:
            graph = graph if known else (yield from self._placed(graph))
            self._prompt = Prompt(
                server,
                self._workflow,
                graph=graph,
                prompt_id=prompt_id,
                client_id=client_id,
                patience=self._backend.patience,
                there=known,
            )
            return (yield from self._see_through(self._prompt, watch, graph=graph))

    def _placed(self, graph: Graph) -> Call[Graph]:
        """The graph with the server's own names of its model files."""
        placed, missing = yield from needs.place_files(self._server, graph, self._backend.nodes)
        if missing:
            raise needs.lacks_files(missing, graph, who=self._server.who, workflow=self._workflow)
        return placed

    def _see_through(
        self, prompt: Prompt, watch: Watch, *, graph: Graph
    ) -> Generator[Event, None, Making]:
        started = time.monotonic()
        yield from watch.opened()
        yield from prompt.submit(record.extra_data(self._backend, self._request))
        yield Accepted(remote_id=prompt.id)
        entry = yield from prompt.follow(watch, self._backend.config)
        ended = time.monotonic()
        about = record.metadata(self._backend, self._request, graph=graph)
        system = yield from system_of(self._server)
        about |= record.system(system)
        about |= {"prompt_id": prompt.id, "client_id": prompt.client_id}
        about |= {"latency_ms": round((ended - started) * 1000)}
        frames = prompt.tracker.pictures
        ending = verdicts.ending(entry, graph, output=self._output, looks=not frames)
        return Making(ending, frames, about)

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


def _delivered(making: Making, data: bytes) -> Events:
    header = image_header(data)
    about = making.about | ({"width": header.width, "height": header.height} if header else {})
    seed = about["seed_used"] if isinstance(about["seed_used"], int) else None
    mime = header.mime if header else "application/octet-stream"
    yield Image(data=data, mime=mime, seed=seed, metadata=about)
    if is_black(data):
        yield Remark(
            text="the picture is all black: the model or its VAE overflowed; "
            "another VAE, or another weight type, may help"
        )


def _ids(first: str) -> Iterator[str]:
    """The id of a making, and those of further tries at it, the same each time."""
    yield first
    for number in range(2, IDS + 1):
        yield str(uuid5(NAMESPACE_URL, f"{first}/{number}"))
