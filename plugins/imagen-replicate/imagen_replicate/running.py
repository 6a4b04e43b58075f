"""One Request at Replicate: its prediction made or picked up, followed, its pictures fetched."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from imagen_core import (
    Accepted,
    Cancelled,
    Cost,
    Event,
    Image,
    ImagenError,
    Remark,
    UnavailableError,
    UsageError,
    http,
    image_header,
)
from imagen_replicate import inputs, record, verdicts
from imagen_replicate.creating import Creating, Order
from imagen_replicate.following import follow, stopping
from imagen_replicate.learning import forget
from imagen_replicate.pictures import address, fetch
from imagen_replicate.prices import estimate
from imagen_replicate.problems import InvalidError, NotFoundError

if TYPE_CHECKING:
    from imagen_core import Request
    from imagen_replicate.backend import ReplicateBackend
    from imagen_replicate.client import Api, Call
    from imagen_replicate.model import Model, Size
    from imagen_replicate.prediction import Prediction
    from imagen_replicate.prices import Estimate

Events = Generator[Event, None, None]

SPARE_SECONDS = 5
"""How much later Replicate stops a prediction by itself that nobody stopped here; at least 5."""
LATE_SECONDS = 4.0
"""How long a reply that is still to come is waited for once nobody wants it any more."""


class Running:
    """Makes the pictures of one Request."""

    def __init__(self, backend: ReplicateBackend, api: Api, request: Request) -> None:
        self._backend = backend
        self._api = api
        self._request = request
        self._creating: Creating | None = None
        self._made: Prediction | None = None
        self._wanted = 1

    def events(self) -> Events:
        """What happens, from the first question to the last picture.

        Closed, it stops the prediction, and says whether that costs something.
        """
        try:
            model = yield from self._model()
            sent = yield from self._ordered(model)
            assert self._made is not None
            yield Accepted(remote_id=self._made.id)
            sent = sent or dict(self._made.input)
            self._wanted = wanted(sent)
            self._made = yield from self._followed(self._made, model)
            yield from self._delivered(self._made, model, sent)
        except GeneratorExit:
            if told := self._stopped():
                raise told from None
            raise

    def _model(self) -> Call[Model]:
        """What is known of the model; where that is not enough to ask for a picture, Replicate is
        asked first."""
        if self._request.resume:
            return self._backend.described
        model = yield from self._backend.learned(self._api)
        params = inputs.check_params(model, self._request.params)
        self._request = replace(self._request, params=params)
        inputs.check(model, self._backend.config, self._request)
        return model

    def _ordered(self, model: Model) -> Call[dict[str, Any]]:
        """Have a prediction, new or an earlier one; returns what a new one was asked for."""
        if self._request.resume:
            self._made = yield from self._api.prediction(self._request.resume)
            return {}
        backend = self._backend
        given = inputs.build(model, backend.config, self._request, (yield from self._images()))
        order = Order(
            backend.reference,
            given,
            {name: secret.reveal() for name, secret in backend.secrets.items()},
            hold=backend.config.wait,
            cancel_after=max(5, math.ceil(backend.limit) + SPARE_SECONDS),
        )
        self._creating = Creating(self._api, order, pace=backend.pace, claims=backend.claims)
        try:
            self._made = yield from self._creating.prediction()
        except InvalidError:
            forget(backend.cache, backend.reference)
            raise
        except NotFoundError:
            yield from backend.explain_absence(self._api)
            raise
        self._creating = None
        return given

    def _images(self) -> Call[list[str]]:
        found = []
        for image in self._request.images:
            if not image.data:
                raise UsageError(
                    f"the input image {image.name} is needed again, and is kept nowhere",
                    hint="make a new request, with --image",
                )
            found.append((yield from address(self._api, image)))
        return found

    def _followed(self, made: Prediction, model: Model) -> Generator[Event, None, Prediction]:
        """See it to its end; raises what it failed with."""
        limit = self._backend.limit
        try:
            made = yield from follow(self._api, made, limit=limit, wanted=self._wanted)
        except UnavailableError:
            raise
        except ImagenError as error:
            left = f"'imagen replicate fetch {made.id}' gets what the prediction may still make"
            error.hint = "; ".join(filter(None, (error.hint, left)))
            raise
        if problem := verdicts.failure(made, limit=limit):
            self._made = made
            if verdicts.is_free(made):
                yield Cost(usd=0, basis="it never started")
            elif _is_timed(model):
                yield from _cost(estimate(model, {}, pixels=(), predict_time=made.predict_time))
            raise problem
        return made

    def _delivered(self, made: Prediction, model: Model, sent: Mapping[str, Any]) -> Events:
        """Take each picture, whatever is wrong with another."""
        problem: ImagenError | None = None
        made = yield from self._settled(made, model)
        kept_back = self._wanted - len(made.outputs)
        if kept_back > 0:
            yield Remark(text=f"a safety filter kept {kept_back} of {self._wanted} pictures back")
        for number, url in enumerate(made.outputs):
            try:
                data = yield from fetch(self._api, made, url)
            except ImagenError as error:
                problem = problem or error
                continue
            yield from self._picture(made, model, sent, data=data, first=not number)
        if problem:
            raise problem

    def _settled(self, made: Prediction, model: Model) -> Call[Prediction]:
        """The record with the run time, where the price depends on it."""
        if _is_timed(model) and not made.ended:
            made = yield from follow(self._api, made, limit=self._backend.limit, wanted=math.inf)
        return made

    def _picture(
        self, made: Prediction, model: Model, sent: Mapping[str, Any], *, data: bytes, first: bool
    ) -> Events:
        header = image_header(data)
        size = (header.width, header.height) if header else None
        spent = estimate(
            model,
            sent,
            pixels=[size] * max(len(made.outputs), 1),
            input_pixels=input_pixels(self._request),
            predict_time=made.predict_time,
            images=made.image_count,
        )
        if first:
            yield from _cost(spent)
        asked = (self._request.width, self._request.height)
        if first and size and size != asked and self._asks_for_size(model):
            yield Remark(
                text=f"asked for {asked[0]}x{asked[1]}, the picture is {size[0]}x{size[1]}"
            )
        about = record.metadata(model, self._request, made, sent) | record.priced(spent)
        about |= {"width": size[0], "height": size[1]} if size else {}
        mime = header.mime if header else "application/octet-stream"
        yield Image(data=data, mime=mime, seed=made.seed, metadata=about)

    def _asks_for_size(self, model: Model) -> bool:
        return inputs.is_asked(model, self._backend.config, self._request)

    def _stopped(self) -> Cancelled | None:
        """Stop whatever was begun; None if there is nothing to say of it."""
        try:
            if self._creating:
                self._made = http.finish(self._creating.withdrawn(LATE_SECONDS))
        except ImagenError as error:
            return Cancelled(f"cancelled; {error.message}", hint=error.hint)
        if self._made is None:
            return None
        made = self._made
        if not made.ended:
            made = http.finish(stopping(self._api, made.id)) or made
        return Cancelled(f"cancelled; the prediction {made.id}: {verdicts.stopped(made)}")


def input_pixels(request: Request) -> Sequence[Size | None]:
    """The size of each input image, where its bytes are there."""
    headers = (image_header(image.data) for image in request.images)
    return [(header.width, header.height) if header else None for header in headers]


def _is_timed(model: Model) -> bool:
    """Whether the time that it runs is what it costs."""
    return any(price.per == "second" for price in model.prices)


def _cost(spent: Estimate | None) -> Events:
    """The Cost of an estimate; none where nobody knows."""
    if spent:
        yield Cost(usd=spent.usd, basis=spent.basis)


def wanted(sent: Mapping[str, Any]) -> int:
    """How many pictures were asked for."""
    found = sent.get("num_outputs")
    return found if isinstance(found, int) and found > 0 else 1
