"""The Replicate backend: a Request becomes an input, the input a prediction, that pictures."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from imagen_core import (
    About,
    Backend,
    Context,
    Cost,
    CredentialsError,
    Event,
    ImagenError,
    RejectedError,
    Request,
    Secret,
    Status,
    UnavailableError,
)
from imagen_replicate import catalogue, inputs, learning
from imagen_replicate.account import account
from imagen_replicate.block import check_block
from imagen_replicate.config import ReplicateConfig
from imagen_replicate.model import Model
from imagen_replicate.patience import USUAL, Patience
from imagen_replicate.prices import estimate, price_text

if TYPE_CHECKING:
    from imagen_replicate.client import Api, Call

UNKNOWN_MIME = "image/png"


class ReplicateBackend(Backend):
    """One model at Replicate."""

    lasting = True

    def __init__(
        self, config: ReplicateConfig, context: Context, *, patience: Patience = USUAL
    ) -> None:
        self.config = config
        self.patience = patience
        self.only_watches = False
        """Whether it leaves a prediction alone that takes too long, or that nobody waits for."""
        self.reference = config.reference
        self.cache = context.paths.cache
        self.account = account(config.base, config.api_token_env)
        self._context = context
        self._model = self._known(learning.kept(self.cache, self.reference))
        check_block(config, self._model)
        self._token = context.secret(config.api_token_env)
        self._variables = {n: context.secret(variable) for n, variable in config.secrets.items()}
        self._about = self._described(self._model)

    @property
    def about(self) -> About:
        """The model, and what it takes, as far as that is known here."""
        return self._about

    @property
    def described(self) -> Model:
        """What is known of the model, which may be no more than its name."""
        return self._model or Model(name=str(self.reference))

    @property
    def limit(self) -> float:
        """After how many seconds to give up on a prediction."""
        return self.config.timeout or self.described.seconds

    @cached_property
    def secrets(self) -> dict[str, Secret]:
        """The inputs that are secret; raises if one of their variables is not set."""
        for name, secret in self._variables.items():
            if secret is None:
                variable = self.config.secrets[name]
                raise CredentialsError(
                    f"the input {name} needs ${variable}, which is not set", hint=f"set {variable}"
                )
        return {name: secret for name, secret in self._variables.items() if secret}

    def check(self, request: Request) -> None:
        """Refuse what the model can't take; what nobody knows here is judged later."""
        if self._model:
            inputs.check(self._model, self.config, request)

    def estimate(self, request: Request) -> Cost | None:
        """What it will cost by the catalogue, if the price and all that it depends on is known."""
        from imagen_replicate.running import input_pixels

        if not self._model:
            return None
        size = inputs.fitted(self._model, self.config, request)
        given = inputs.build(self._model, self.config, request)
        pixels = (size.width, size.height) if size.width and size.height else None
        number = given.get("num_outputs", 1)
        found = estimate(
            self._model, given, pixels=[pixels] * number, input_pixels=input_pixels(request)
        )
        return Cost(usd=found.usd, basis=found.basis) if found else None

    def remarks(self, request: Request) -> Iterable[str]:
        """Another size than was asked for, a seed that does not repeat, a model that is gone."""
        model = self._model
        if not model:
            yield f"what {self.reference} takes and costs is not known here: Replicate will judge"
            return
        if note := inputs.fitted(model, self.config, request).note:
            yield note
        yield from inputs.seed_notes(model, request, inputs.build(model, self.config, request))
        if model.gone:
            yield model.gone

    def status(self) -> Status:
        """Whether the variables are set that the block names."""
        variables = {self.config.api_token_env: self._token}
        variables |= {self.config.secrets[name]: found for name, found in self._variables.items()}
        missing = [variable for variable, found in variables.items() if found is None]
        if missing:
            return Status(ok=False, text=f"not configured (set {', '.join(missing)})")
        return Status(ok=True)

    def probe(self) -> Status:
        """Whether the token is accepted and the model is there; nothing is spent."""
        from imagen_core import http

        if not self.status().ok:
            return self.status()
        with self.connect() as api:
            model, said = http.finish(learning.learn(api, self.cache, self.reference))
        if problem := self._unpinned(said):
            return Status(ok=False, text=str(problem))
        price = price_text(self._known(model) or model)
        return Status(ok=True, text=f"the token is accepted, {self.reference} is there, {price}")

    def connect(self) -> Api:
        """A client of the server, for a `with` block."""
        from imagen_replicate.client import Api

        return Api(self.config, self._token, self.secrets)

    def generate(self, request: Request) -> Generator[Event, None, None]:
        """Make the pictures of this Request, or fetch those of its earlier prediction."""
        from imagen_replicate.running import Running

        with self.connect() as api:
            yield from Running(self, api, request).events()

    def learned(self, api: Api) -> Call[Model]:
        """The model, with its inputs by Replicate itself where the catalogue is not enough."""
        if self._model and not self._model.partial:
            return self._model
        try:
            live, said = yield from learning.learn(api, self.cache, self.reference)
        except (RejectedError, UnavailableError):
            if self._model is None:
                raise
            return self._model  # what is likely right is better than nothing
        if problem := self._unpinned(said):
            raise problem
        self._model = self._known(live) or live
        return self._model

    def is_recorded(self, prediction_id: str) -> bool:
        """Whether the ledger has this prediction, which then belongs to an earlier Run."""
        try:
            return self._context.ledger.with_remote_id(prediction_id) is not None
        except ImagenError:
            return False

    def explain_absence(self, api: Api) -> Call[None]:
        """Raise why this model can't be run by its name alone, if it is there at all."""
        try:
            _, said = yield from learning.learn(api, self.cache, self.reference)
        except UnavailableError:
            return
        if problem := self._unpinned(said):
            raise problem

    def _known(self, live: Model | None) -> Model | None:
        """The catalogue and what Replicate said, together; with the price of the hardware."""
        model = catalogue.model_of(str(self.reference))
        model = catalogue.merged(model, live) if live else model
        if model and (price := catalogue.hardware().get(self.config.hardware)):
            model = replace(model, prices=(price,))
        return model

    def _unpinned(self, said: dict[str, object]) -> RejectedError | None:
        """Why a model that Replicate does not run by its name alone needs a version."""
        if self.reference.version or said.get("is_official") is not False:
            return None
        latest = said.get("latest_version")
        version = latest.get("id") if isinstance(latest, dict) else None
        told = f"{self.reference} is no official model: it runs by its version alone"
        return RejectedError(told, hint=f"model: {self.reference}:{version or 'VERSION'}")

    def _described(self, model: Model | None) -> About:
        steps = self.config.default_steps
        if model is None:
            return About(
                model=str(self.reference),
                params=None,
                steps=steps,
                size=self.config.size,
                honours=frozenset({"negative", "steps", "size", "seed", "images"}),
            )
        fields: dict[Any, bool] = {
            "negative": model.takes_negative,
            "steps": bool(model.steps_key),
            "size": inputs.takes_size(model),
            "seed": model.takes_seed,
            "images": model.takes_images > 0,
        }
        default = model.default(model.steps_key)
        given = self.config.params
        params = (replace(p, default=given.get(p.name, p.default)) for p in model.params())
        # Told apart from a misspelling, they are refused with the way that there is for them.
        own = (replace(model.inputs[n].param(n), listed=False) for n in model.flags())
        return About(
            model=str(self.reference),
            honours=frozenset(field for field, there in fields.items() if there),
            size=self.config.size or inputs.natural_size(model),
            steps=steps or (default if isinstance(default, int) else None),
            params=(*params, *own),
            mime=model.expected_mime({**given, **model.format_input(given)}) or UNKNOWN_MIME,
        )
