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
from imagen_replicate.client import ONCE_MORE
from imagen_replicate.creating import Creating, Order
from imagen_replicate.following import Following
from imagen_replicate.learning import forget
from imagen_replicate.pictures import address, fetch
from imagen_replicate.prediction import Prediction
from imagen_replicate.prices import estimate
from imagen_replicate.problems import InvalidError, NotFoundError

if TYPE_CHECKING:
    from imagen_core import Request
    from imagen_replicate.backend import ReplicateBackend
    from imagen_replicate.client import Api, Call
    from imagen_replicate.model import Model, Size
    from imagen_replicate.prices import Estimate

Events = Generator[Event, None, None]

SPARE_SECONDS = 5
"""How much later Replicate stops a prediction by itself that nobody stopped here; at least 5."""


class Running:
    """Makes the pictures of one Request."""

    def __init__(self, backend: ReplicateBackend, api: Api, request: Request) -> None:
        self._backend = backend
        self._api = api
        self._request = request
        self._creating: Creating | None = None
        self._following: Following | None = None
        self._sent: Mapping[str, Any] = {}
        self._cost: Cost | None = None

    def events(self) -> Events:
        """What happens, from the first question to the last picture.

        Closed, it stops the prediction, and says whether that costs something.
        """
        try:
            model = yield from self._model()
            following = yield from self._begun(model)
            yield Accepted(remote_id=following.now.id)
            yield from self._followed(following, model)
        except GeneratorExit:
            if told := self._stopped():
                raise told from None
            raise

    def _model(self) -> Call[Model]:
        """What is known of the model; where that does not do, Replicate is asked first."""
        if self._request.resume:
            return self._backend.described
        model = yield from self._backend.learned(self._api)
        params = inputs.check_params(model, self._request.params)
        self._request = replace(self._request, params=params)
        inputs.check(model, self._backend.config, self._request)
        return model

    def _begun(self, model: Model) -> Call[Following]:
        """Have a prediction, a new one or an earlier one."""
        patience = self._backend.patience
        if id := self._request.resume:
            self._following = Following(self._api, Prediction(id=id, status="starting"), patience)
            self._following.now = yield from self._api.prediction(id, retry=ONCE_MORE)
            self._sent = self._following.now.input
            return self._following
        self._sent = yield from self._inputs(model)
        order = self._order(model)
        self._creating = Creating(self._api, order, self._backend.account, patience)
        try:
            made = yield from self._creating.prediction()
        except InvalidError:
            forget(self._backend.cache, self._backend.reference)
            raise
        except NotFoundError:
            yield from self._backend.explain_absence(self._api)
            raise
        self._following = Following(self._api, made, patience)
        self._creating = None
        return self._following

    def _inputs(self, model: Model) -> Call[dict[str, Any]]:
        images = []
        for image in self._request.images:
            if not image.data:
                raise UsageError(
                    f"the input image {image.name} is needed again, and is kept nowhere",
                    hint="make a new request, with --image",
                )
            images.append((yield from address(self._api, image)))
        return inputs.build(model, self._backend.config, self._request, images)

    def _order(self, model: Model) -> Order:
        backend = self._backend
        limit = math.ceil(backend.limit)
        return Order(
            backend.reference,
            self._sent,
            {name: secret.reveal() for name, secret in backend.secrets.items()},
            hold=min(backend.config.wait, limit),
            cancel_after=max(5, limit + SPARE_SECONDS),
            default=model.default,
            is_known=backend.is_recorded,
        )

    def _followed(self, following: Following, model: Model) -> Events:
        """See it to its end, and take what it made; raises what it failed with."""
        limit = self._backend.limit
        try:
            stops = not self._backend.only_watches
            wanted = self._enough(model)
            done = yield from following.events(limit=limit, wanted=wanted, stops=stops)
        except ImagenError as error:
            id = following.now.id
            left = f"'imagen replicate fetch {id}' gets what the prediction may still make"
            error.hint = "; ".join(filter(None, (error.hint, left)))
            raise
        made = following.now
        problem = verdicts.failure(made, limit=limit)
        if not done:
            problem = self._out_of_time(following)
        if problem and not made.outputs:
            yield from self._spent(model, made)
            raise self._over(problem) if made.ended else problem
        yield from self._delivered(made, model)
        if problem:
            raise problem

    def _over(self, problem: ImagenError) -> ImagenError:
        """The same problem, not to be waited for: asked for again, it stays what it is."""
        if self._request.resume and isinstance(problem, UnavailableError):
            return ImagenError(problem.message, hint=problem.hint)
        return problem

    def _out_of_time(self, following: Following) -> ImagenError:
        made, limit = following.now, self._backend.limit
        if not self._backend.only_watches:
            return verdicts.out_of_time(made, limit=limit, told=following.told)
        told = f"the prediction {made.id} is not done yet, and goes on"
        return UnavailableError(told, hint="try again later")

    def _enough(self, model: Model) -> float:
        """How many pictures show that none is still to come, before the record says so.

        Whoever waits for the first reply gets all; later a model may give them one by one.
        """
        held = self._backend.config.wait and not self._request.resume
        counted = "num_outputs" in model.inputs
        return number_of(self._sent) if held or counted else math.inf

    def _spent(self, model: Model, made: Prediction) -> Events:
        """What a prediction costs that made nothing, where that is known."""
        if verdicts.is_free(made):
            yield Cost(usd=0, basis="it never started")
        elif _is_timed(model):
            yield from self._costs(estimate(model, {}, pixels=(), predict_time=made.predict_time))

    def _delivered(self, made: Prediction, model: Model) -> Events:
        """Take each picture, whatever is wrong with another."""
        number, problem = number_of(self._sent), None
        if len(made.outputs) < number:
            left = number - len(made.outputs)
            told = f"a safety filter kept {left} of {number} pictures back"
            yield Remark(text=told)
        for text in inputs.seed_notes(model, self._request, self._sent):
            yield Remark(text=text)
        yield from self._costs(self._estimate(model, made, None))
        first = True
        for url in made.outputs:
            try:
                data = yield from fetch(self._api, made, url, self._backend.patience)
            except ImagenError as error:
                problem = problem or error
                continue
            if first and _is_timed(model) and made.predict_time is None:
                made = yield from self._timed(made)
            yield from self._picture(made, model, data=data, first=first)
            first = False
        if problem:
            raise problem

    def _timed(self, made: Prediction) -> Call[Prediction]:
        """The same with its run time, which is told once the record is complete; or without."""
        following = Following(self._api, made, self._backend.patience)
        try:
            late = self._backend.patience.late
            yield from following.events(limit=late, wanted=math.inf, stops=False)
        except ImagenError:
            return made
        return replace(made, metrics=following.now.metrics)

    def _picture(self, made: Prediction, model: Model, *, data: bytes, first: bool) -> Events:
        header = image_header(data)
        size = (header.width, header.height) if header else None
        spent = self._estimate(model, made, size)
        if first:
            yield from self._costs(spent)
            yield from self._size_remark(model, size)
        secrets = self._backend.config.secrets
        about = record.metadata(model, self._request, made, self._sent, secrets=secrets)
        about |= record.priced(spent)
        about |= {"width": size[0], "height": size[1]} if size else {}
        mime = header.mime if header else "application/octet-stream"
        yield Image(data=data, mime=mime, seed=made.seed, metadata=about)

    def _costs(self, spent: Estimate | None) -> Events:
        """The Cost of an estimate, where it is known and was not told yet."""
        cost = Cost(usd=spent.usd, basis=spent.basis) if spent else self._cost
        if cost and cost != self._cost:
            self._cost = cost
            yield cost

    def _size_remark(self, model: Model, size: Size | None) -> Events:
        """Tell where the picture is not as large as somebody asked for."""
        request = self._request
        asked = (request.width, request.height)
        if size and size != asked and inputs.is_asked(model, self._backend.config, request):
            told = f"asked for {asked[0]}x{asked[1]}, the picture is {size[0]}x{size[1]}"
            yield Remark(text=told)

    def _estimate(self, model: Model, made: Prediction, size: Size | None) -> Estimate | None:
        """What the whole prediction costs, once one of its pictures is known."""
        return estimate(
            model,
            self._sent,
            pixels=[size] * max(len(made.outputs), 1),
            input_pixels=input_pixels(self._request),
            predict_time=made.predict_time,
            images=made.image_count,
        )

    def _stopped(self) -> Cancelled | None:
        """Stop whatever was begun; None if there is nothing to say of it."""
        patience = self._backend.patience
        self._api.hurry(patience.closing)
        try:
            if self._creating and (made := http.finish(self._creating.withdrawn())):
                self._following = Following(self._api, made, patience)
        except ImagenError as error:
            return Cancelled(f"cancelled; {error.message}", hint=error.hint)
        if self._following is None:
            return None
        if not self._backend.only_watches:
            http.finish(self._following.stopping(patience.closing / 2))
        made, told = self._following.now, self._following.told
        return Cancelled(f"cancelled; the prediction {made.id}: {self._told(made, told=told)}")

    def _told(self, made: Prediction, *, told: bool) -> str:
        if self._backend.only_watches and not made.ended:
            return "it goes on"
        return verdicts.stopped(made, told=told)


def input_pixels(request: Request) -> Sequence[Size | None]:
    """The size of each input image, where its bytes are there."""
    headers = (image_header(image.data) for image in request.images)
    return [(header.width, header.height) if header else None for header in headers]


def number_of(sent: Mapping[str, Any]) -> int:
    """How many pictures were asked for."""
    found = sent.get("num_outputs")
    return found if isinstance(found, int) and found > 0 else 1


def _is_timed(model: Model) -> bool:
    """Whether the time that it runs is what it costs."""
    return any(price.per == "second" for price in model.prices)
