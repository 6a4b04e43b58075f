"""`imagen replicate`: the models that are known, and pictures that are fetched later."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import click
import msgspec

from imagen_core import (
    App,
    ImagenError,
    Request,
    Run,
    UsageError,
    config_option,
    json_option,
    pass_app,
    see_through,
)
from imagen_replicate import catalogue
from imagen_replicate.backend import ReplicateBackend
from imagen_replicate.inputs import takes_size
from imagen_replicate.prediction import ID
from imagen_replicate.prices import is_old, price_text

if TYPE_CHECKING:
    from datetime import date

    from imagen_replicate.model import Model
    from imagen_replicate.prediction import Prediction


class Own(NamedTuple):
    """An instance of this type."""

    name: str
    backend: ReplicateBackend


@click.group(help="List Replicate's models with their prices, and fetch a picture later.")
def replicate() -> None:
    """The commands below it do the work."""


@replicate.command("models", help="List the models that imagen knows, with prices and inputs.")
@json_option("Print one JSON object a model.")
@config_option
@pass_app
def models(app: App) -> None:
    """Print each with its price and that price's date; an old one is marked."""
    today = datetime.now(UTC).date()
    known = catalogue.known().values()
    if app.console.as_json:
        for model in known:
            app.console.json(_document(model, today))
        return
    head = ("model", "price USD", "as of", "takes", "remarks")
    app.console.table(head, [_row(model, today) for model in known])
    if any(_is_old(model, today) for model in known):
        app.console.info("(old): a price that nobody has looked at for over a quarter")


@replicate.command("fetch", help="Get the pictures of a prediction that was made earlier.")
@click.argument("prediction_id", metavar="ID")
@click.option("--backend", default="", metavar="NAME", help="The instance whose model made it.")
@click.option(
    "--output",
    default="",
    metavar="PATH",
    type=click.Path(),
    help="Write here, over what is there; a folder keeps the naming template.",
)
@json_option("Print one JSON object an image on stdout, errors too.")
@config_option
@pass_app
def fetch(app: App, prediction_id: str, *, backend: str, output: str) -> None:
    """Make the Run of that prediction whole: pictures, sidecar, steps; nothing is asked anew."""
    from imagen_core import http

    if not ID.fullmatch(prediction_id):
        told = f"'{prediction_id}' is no id of a prediction"
        raise UsageError(told, hint="it is in the message, or at replicate.com/predictions")
    target = app.target(output)
    earlier = _earlier(app, prediction_id)
    instance = _instance(app, backend, earlier.request.backend if earlier else "")
    with instance.backend.connect() as api:
        found = http.finish(api.prediction(prediction_id))
    if found.model:
        instance = _of_model(app, instance, found, named=bool(backend))
    request = earlier.request if earlier else _request(found, instance)
    request = msgspec.structs.replace(request, backend=instance.name, resume=found.id)
    see_through(app, [request], target)


def _earlier(app: App, prediction_id: str) -> Run | None:
    """The Run that asked for it, by the ledger; one that can't be read does not stop anybody."""
    try:
        found: Run | None = app.context.ledger.with_remote_id(prediction_id)
    except ImagenError as error:
        app.console.warn(f"ledger: {error}")
        return None
    return found


def _instance(app: App, name: str, earlier: str) -> Own:
    """The instance that is named, the one that asked for it, or any one: each can look at it."""
    if name:
        backend = app.instance(name).backend
        if not isinstance(backend, ReplicateBackend):
            raise UsageError(f"the backend '{name}' is none of Replicate's", hint="--backend NAME")
        return Own(name, backend)
    own = list(_own(app))
    if not own:
        raise UsageError(
            "no instance of the type replicate is configured",
            hint="'imagen config init' shows one",
        )
    return next((one for one in own if one.name == earlier), own[0])


def _of_model(app: App, instance: Own, found: Prediction, *, named: bool) -> Own:
    """An instance of the prediction's model, whose name and prices then hold for the picture."""
    others: Iterable[Own] = () if named else _own(app)
    for candidate in (instance, *others):
        if candidate.backend.reference.model == found.model:
            return candidate
    raise UsageError(
        f"the prediction {found.id} is of {found.model}, and no instance has this model",
        hint=f"backends: {{NAME: {{type: replicate, model: {found.model}}}}}",
    )


def _own(app: App) -> Iterator[Own]:
    """The instances of this type whose blocks are sound."""
    for name in app.instances():
        try:
            backend = app.instance(name).backend
        except UsageError:
            continue  # its faults are not this command's business
        if isinstance(backend, ReplicateBackend):
            yield Own(name, backend)


def _request(found: Prediction, instance: Own) -> Request:
    """What was asked for, as far as the prediction itself tells, where the ledger does not."""
    given = found.input
    prompt = str(given.get("prompt") or "")
    negative = given.get("negative_prompt")
    return Request(
        id=str(uuid4()),
        prompt=prompt,
        typed_prompt=prompt,
        negative=negative if isinstance(negative, str) else "",
        backend=instance.name,
        width=_whole(given.get("width"), 1024),
        height=_whole(given.get("height"), 1024),
        seed=found.seed or 0,
    )


def _whole(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) and value > 0 else otherwise


def _row(model: Model, today: date) -> tuple[str, ...]:
    dates = sorted({price.date for price in model.prices})
    as_of = f"{dates[0]} (old)" if _is_old(model, today) else (dates[0] if dates else "-")
    return model.name, price_text(model), as_of, ", ".join(_takes(model)), model.gone or "-"


def _takes(model: Model) -> list[str]:
    """What of imagen's own flags it takes, in a word each."""
    there = {
        "size": takes_size(model),
        "seed": model.takes_seed,
        "steps": bool(model.steps_key),
        "negative": model.takes_negative,
        f"images ({model.takes_images})": model.takes_images > 0,
    }
    return [word for word, takes in there.items() if takes]


def _document(model: Model, today: date) -> dict[str, Any]:
    """All that is known of a model, for programs."""
    return {
        "model": model.name,
        "prices": [msgspec.to_builtins(price) for price in model.prices],
        "price_is_old": _is_old(model, today),
        "timeout": model.seconds,
        "takes": _takes(model),
        "flags": model.flags(),
        "inputs": {name: _brief(found) for name, found in model.inputs.items()},
        "notes": model.notes,
        "gone": model.gone,
        "partial": model.partial,
    }


def _brief(found: Any) -> dict[str, Any]:
    """An input without what it does not have."""
    return {
        key: value
        for key, value in msgspec.to_builtins(found).items()
        if value not in (None, "", (), 0, False) or key == "type"
    }


def _is_old(model: Model, today: date) -> bool:
    return any(is_old(price.date, today) for price in model.prices)
