"""What `generate --dry-run` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen_core import files
from imagen_core.making import extension, ignored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imagen_core.app import App
    from imagen_core.types import About, Request


def print_plan(
    app: App, requests: Sequence[Request], target: files.Target, flags: Mapping[str, str]
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
            app.console.json({"dry_run": True, **plan, "switches": switches})
            continue
        for key, value in plan.items():
            if value not in ("", None, {}, []) and key != "cost_usd_estimate":
                app.console.line(f"{key}: {_text(value)}")
        for key, switch in switches.items():
            app.console.line(f"{key}: {'on' if switch['on'] else 'off'} ({switch['reason']})")
        if index + 1 < len(requests):
            app.console.line("")


def _plan(app: App, request: Request, target: files.Target) -> dict[str, Any]:
    instance = app.instance(request.backend)
    about = instance.backend.about
    moment = files.Moment.now()
    values = {
        "date": moment.date,
        "time": moment.time,
        "slug": files.slugify(request.typed_prompt),
        "seed": request.seed,
        "backend": request.backend,
        "ext": extension(_expected_mime(request.params, about)),
    }
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
        "path": str(target.free(values)),
        "cost_usd_estimate": cost.usd if cost else None,
        "cost": f"{cost.usd:g} USD ({cost.basis})" if cost else "unknown",
        "warnings": list(ignored(request, about)),
    }


def _expected_mime(params: Mapping[str, Any], about: About) -> str:
    """The type that the picture will have, as far as it can be told beforehand."""
    asked = params.get("format") or params.get("output_format")
    return files.SUFFIXES.get(f".{asked}", about.mime)


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={item}" for key, item in value.items())
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return str(value)
