"""The way of a create to its prediction, and to the reply."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen_replicate.testing.models import version_id
from imagen_replicate.testing.order import read_order
from imagen_replicate.testing.prediction import Prediction
from imagen_replicate.testing.problems import invalid_version, not_found, reply_record
from imagen_replicate.testing.validation import (
    check_create,
    check_input,
    read_cancel_after,
    read_prefer,
)

if TYPE_CHECKING:
    from imagen_core.testing import Received, Reply
    from imagen_replicate.testing.engine import Engine
    from imagen_replicate.testing.problems import JSON
    from imagen_replicate.testing.site import Site


class Creating:
    """Both endpoints that create."""

    def __init__(self, site: Site, engine: Engine) -> None:
        self.site = site
        self.engine = engine

    def by_model(self, received: Received, name: str, *, hold: bool) -> Reply | None:
        """Creates by the endpoint of an official model."""
        if not self._is_official(name):
            raise not_found()
        body = check_create(received, needs=("input",))
        return self._create(received, body["input"], model=name, version="hidden", hold=hold)

    def by_version(self, received: Received, *, hold: bool) -> Reply | None:
        """Creates by the endpoint for all models, which the body names."""
        body = check_create(received, needs=("version", "input"))
        name, version = self._resolve(str(body["version"]))
        return self._create(received, body["input"], model=name, version=version, hold=hold)

    def _resolve(self, said: str) -> tuple[str, str]:
        name, _, version = said.rpartition(":")
        if self._is_official(said):
            return said, "hidden"
        for known in [name] if name else list(self.site.models):
            if known in self.site.models and version_id(known) == version:
                return known, version
        raise invalid_version()

    def _is_official(self, name: str) -> bool:
        return name in self.site.models and bool(self.site.models[name]["official"])

    def _create(
        self, received: Received, given: JSON, *, model: str, version: str, hold: bool
    ) -> Reply | None:
        check_input(self.site.models[model], given)
        prefer, seconds = read_prefer(received)
        cancel_after = read_cancel_after(received)
        if not hold:
            seconds = 0
        with self.site.lock:
            one = self.engine.submit(
                lambda: self._make(given, model, version, cancel_after=cancel_after)
            )
            record = one.show(self.site.url)
        if not seconds:
            return self._reply(record, 201, location=True)
        self.engine.wait(one, seconds)
        return self._reply_held(one, prefer)

    def _make(
        self, given: JSON, model: str, version: str, *, cancel_after: float | None
    ) -> Prediction:
        script = self.site.script
        order = read_order(
            self.site.models[model], given, run_seconds=script.run_seconds, fate=script.fate()
        )
        return Prediction(model, version, given, order, cancel_after)

    def _reply_held(self, one: Prediction, prefer: str) -> Reply | None:
        with self.site.lock:
            if self.site.script.closing.is_set():
                return None
            early = self.site.script.early and one.status == "succeeded"
            record = one.show_early(self.site.url) if early else one.show(self.site.url)
            ended = one.ended
        reply = self._reply(record, 201 if ended else 202, location=not ended)
        reply.headers["Preference-Applied"] = prefer
        return reply

    def _reply(self, record: JSON, status: int, *, location: bool) -> Reply:
        reply = reply_record(record, status)
        if location:
            reply.headers["Location"] = record["urls"]["get"]
        return reply
