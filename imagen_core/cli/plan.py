"""What `generate --dry-run` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen_core import files
from imagen_core.config import Origin, Value
from imagen_core.making import expected_values, ignored
from imagen_core.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from imagen_core.app import App
    from imagen_core.types import Request


def origins(app: App, target: files.Target, *, backend: str, output: str) -> dict[str, Value]:
    """What is used for the settings that were not typed, or were, with where each comes from."""
    flag = Origin(layer="flag", place="--output")
    folder, naming = (app.settings.knob(f"output.{key}") for key in ("dir", "naming"))
    found = {
        "backend": Value(text=backend, origin=Origin(layer="flag", place="--backend"))
        if backend
        else app.settings.knob("default_backend"),
        "output.dir": Value(text=str(target.folder), origin=flag if output else folder.origin),
        "output.naming": Value(text=target.path.name, origin=flag) if target.path else naming,
    }
    caller = app.caller_value()
    return {**found, "caller": caller} if caller else found


def print_plan(
    app: App,
    requests: Sequence[Request],
    target: files.Target,
    flags: Mapping[str, str],
    places: Mapping[str, Value],
) -> None:
    """Print what each Request would be, and where it comes from; nobody is asked."""
    decisions = [app.decide(switch, flags) for switch in app.switches()]
    switches = {
        decision.switch.key: {"on": decision.on, "reason": decision.reason}
        for decision in decisions
    }
    for index, request in enumerate(requests):
        plan = _plan(app, request, target.nth(index))
        if app.console.as_json:
            caller = places["caller"].text if "caller" in places else None
            shown = {key: str(value.origin) for key, value in places.items()}
            more = {"caller": caller, "switches": switches, "origins": shown}
            app.console.json({"dry_run": True, **plan, **more})
            continue
        for line in _lines(plan, switches, places):
            app.console.line(printable(line, newlines=False))
        if index + 1 < len(requests):
            app.console.line("")


def _lines(
    plan: Mapping[str, Any], switches: Mapping[str, Any], places: Mapping[str, Value]
) -> Iterator[str]:
    for key, value in plan.items():
        if value not in ("", None, {}, []) and key != "cost_usd_estimate":
            origin = f" ({places[key].origin})" if key in places else ""
            yield f"{key}: {as_text(value)}{origin}"
    for key, place in places.items():
        if key not in plan:
            yield f"{key}: {place.text} ({place.origin})"
    for key, switch in switches.items():
        yield f"{key}: {'on' if switch['on'] else 'off'} ({switch['reason']})"


def _plan(app: App, request: Request, target: files.Target) -> dict[str, Any]:
    instance = app.instance(request.backend)
    about = instance.backend.about
    cost = instance.backend.estimate(request)
    return {
        "backend": request.backend,
        "type": instance.type,
        "model": about.model,
        "prompt": request.prompt,
        "negative": request.negative,
        "style": request.style,
        "size": f"{request.width}x{request.height}",
        "steps": request.steps,
        "seed": request.seed,
        "params": request.params,
        "images": [image.name for image in request.images],
        "path": str(target.free(expected_values(request, about))),
        "cost_usd_estimate": cost.usd if cost else None,
        "cost": f"{cost.usd:g} USD ({cost.basis})" if cost else "unknown",
        "warnings": [*ignored(request, about), *instance.backend.remarks(request)],
    }


def as_text(value: object) -> str:
    """A value as people read it."""
    if isinstance(value, dict):
        return ", ".join(f"{key}={item}" for key, item in value.items())
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return str(value)
