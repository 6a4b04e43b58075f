"""`imagen replicate`: the models that are known, and pictures that are fetched later."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import click
import msgspec

from imagen_core import (
    App,
    CredentialsError,
    ImagenError,
    Request,
    Run,
    UsageError,
    config_option,
    expand_home,
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
@click.option("--backend", default="", metavar="NAME", help="The instance to do it with.")
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
    id = prediction_id.strip()
    if "://" in id:  # pasted as its address
        id = id.rstrip("/").rpartition("/")[2]
    if not ID.fullmatch(id):
        told = f"'{prediction_id}' is no id of a prediction"
        raise UsageError(told, hint="it is in the message, or at replicate.com/predictions")
    target = app.target(output)
    earlier = _earlier(app, id)
    instances = _instances(app, backend, earlier.request.backend if earlier else "")
    instance, found = _found(instances, id)
    if found.model:
        instance = _of_model(instance, instances, found, named=bool(backend))
    instance.backend.only_watches = True
    request = earlier.request if earlier else _request(found, instance)
    request = msgspec.structs.replace(request, backend=instance.name, resume=found.id)
    # What the ledger has of a Run that went well stays, whatever becomes of this.
    flags = {"ledger": "off"} if earlier and earlier.outputs and not earlier.failure else {}
    relative = bool(output) and not expand_home(output).is_absolute()
    see_through(app, [request], target, flags, relative=relative)


def _earlier(app: App, prediction_id: str) -> Run | None:
    """The Run that asked for it, by the ledger; one that can't be read does not stop anybody."""
    try:
        found: Run | None = app.context.ledger.with_remote_id(prediction_id)
    except ImagenError as error:
        app.console.warn(f"ledger: {error}")
        return None
    return found


def _instances(app: App, name: str, earlier: str) -> list[Own]:
    """The instance that is named; else all, the one that asked for it first."""
    own = list(_own(app))
    if name:
        app.instance(name)  # if there is none of that name, or its block has a fault, it says so
        if named := [one for one in own if one.name == name]:
            return named
        hint = f"those of Replicate are {', '.join(one.name for one in own) or 'none'}"
        raise UsageError(f"the backend '{name}' is none of Replicate's", hint=hint)
    if not own:
        raise UsageError(
            "no instance of the type replicate is configured",
            hint="'imagen config init' shows one",
        )
    return sorted(own, key=lambda one: one.name != earlier)


def _found(instances: list[Own], id: str) -> tuple[Own, Prediction]:
    """The prediction, and the first instance whose token and server know it."""
    from imagen_core import http
    from imagen_replicate.client import ONCE_MORE
    from imagen_replicate.problems import NotFoundError

    problem: ImagenError | None = None
    for instance in instances:
        try:
            with instance.backend.connect() as api:
                return instance, http.finish(api.prediction(id, retry=ONCE_MORE))
        except NotFoundError:
            told = f"there is no prediction {id}, or not for this token"
            problem = problem or NotFoundError(told, hint="look at the id, and at --backend")
        except CredentialsError as error:
            problem = problem or error
    assert problem is not None
    raise problem


def _of_model(instance: Own, instances: list[Own], found: Prediction, *, named: bool) -> Own:
    """An instance of the prediction's model, whose name and prices then hold for the picture."""
    for candidate in (instance, *instances):
        if candidate.backend.reference.model.lower() == found.model.lower():
            return candidate
    if named:
        told = f"the prediction {found.id} is of {found.model}, and '{instance.name}' is not"
    else:
        told = f"the prediction {found.id} is of {found.model}, and no instance has this model"
    raise UsageError(told, hint=f"backends: {{NAME: {{type: replicate, model: {found.model}}}}}")


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
