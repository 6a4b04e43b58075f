"""What each route of the API replies."""

from __future__ import annotations

import datetime
import re
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from imagen_replicate.testing import models
from imagen_replicate.testing.creating import Creating
from imagen_replicate.testing.problems import (
    ProblemError,
    invalid_version,
    not_found,
    reply_record,
    unauthenticated,
)
from imagen_replicate.testing.uploads import read_upload

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen_core.testing import Received, Reply
    from imagen_replicate.testing.engine import Engine
    from imagen_replicate.testing.prediction import Prediction
    from imagen_replicate.testing.problems import JSON
    from imagen_replicate.testing.site import Site

PAGE = 100
_MODEL = "/v1/models/([^/]+/[^/]+)"
_TABLE = (
    ("create", "POST", "/v1/predictions"),
    ("create", "POST", f"{_MODEL}/predictions"),
    ("list", "GET", "/v1/predictions"),
    ("get", "GET", "/v1/predictions/([^/]+)"),
    ("cancel", "POST", "/v1/predictions/([^/]+)/cancel"),
    ("model", "GET", _MODEL),
    ("model", "GET", f"{_MODEL}/versions/([^/]+)"),
    ("upload", "POST", "/v1/files"),
    ("upload", "GET", "/v1/files/([^/]+)"),
)


def route_of(received: Received) -> tuple[str, tuple[str, ...]]:
    """Gives the name of the route of a request, empty if there is none, and what its path names."""
    path = urlsplit(received.path).path
    for name, method, pattern in _TABLE:
        match = re.fullmatch(pattern, path)
        if match and method == received.method:
            return name, match.groups()
    return "", ()


class Routes:
    """The routes of the API."""

    def __init__(self, site: Site, engine: Engine) -> None:
        self.site = site
        self.engine = engine
        self._creating = Creating(site, engine)

    def answer(self, received: Received, *, hold: bool) -> Reply | None:
        """Answers a request, with what all replies have in common."""
        name, found = route_of(received)
        try:
            self._authenticate(received)
            reply = self._act(name, received, found, hold=hold)
        except ProblemError as problem:
            return problem.reply()
        if reply is not None:
            left = "599" if name == "create" else "2999"
            reply.headers |= {"ratelimit-remaining": left, "ratelimit-reset": "1"}
        return reply

    def _authenticate(self, received: Received) -> None:
        said = received.headers.get("authorization", "")
        if not said:
            raise unauthenticated("an authentication token")
        if said not in (f"Bearer {self.site.token}", f"Token {self.site.token}"):
            raise unauthenticated("a valid authentication token")

    def _act(
        self, name: str, received: Received, found: tuple[str, ...], *, hold: bool
    ) -> Reply | None:
        if name == "create":
            if found:
                return self._creating.by_model(received, *found, hold=hold)
            return self._creating.by_version(received, hold=hold)
        acts: dict[str, Callable[..., Reply]] = {
            "list": self._list,
            "get": self._get,
            "cancel": self._cancel,
            "model": self._version if len(found) > 1 else self._model,
            "upload": self._show_upload if found else self._upload,
        }
        if name not in acts:
            raise not_found()
        return acts[name](received, *found)

    def _get(self, received: Received, prediction_id: str) -> Reply:
        del received
        with self.site.lock:
            return reply_record(self.engine.find(prediction_id).show(self.site.url))

    def _cancel(self, received: Received, prediction_id: str) -> Reply:
        del received
        with self.site.lock:
            one = self.engine.find(prediction_id)
            canceled = self.engine.cancel(one)
            record = one.show(self.site.url)
        return reply_record({**record, "logs": None} if canceled else record)

    def _list(self, received: Received) -> Reply:
        query = received.query
        with self.site.lock:
            found = _since(self.engine.predictions, query.get("created_after"))[::-1]
            first = int(query.get("cursor", 0))
            page = [one.show(self.site.url) for one in found[first : first + PAGE]]
            more = len(found) > first + PAGE
        return reply_record(
            {
                "next": self._page(query, first + PAGE) if more else None,
                "previous": self._page(query, first - PAGE) if first else None,
                "results": page,
            }
        )

    def _page(self, query: dict[str, str], first: int) -> str:
        return f"{self.site.url}/predictions?{urlencode({**query, 'cursor': first})}"

    def _model(self, received: Received, name: str) -> Reply:
        del received
        return reply_record(models.show(name, self._find_model(name)))

    def _version(self, received: Received, name: str, version: str) -> Reply:
        del received
        model = self._find_model(name)
        if models.version_id(name) != version:
            raise invalid_version()
        return reply_record(models.show_version(name, model))

    def _find_model(self, name: str) -> JSON:
        if name not in self.site.models:
            raise not_found()
        return self.site.models[name]

    def _upload(self, received: Received) -> Reply:
        upload = read_upload(received, limit=self.site.script.upload_limit)
        self.site.uploads.append(upload)
        return reply_record(upload.show(self.site.url), 201)

    def _show_upload(self, received: Received, upload_id: str) -> Reply:
        del received
        for upload in self.site.uploads:
            if upload.id == upload_id:
                return reply_record(upload.show(self.site.url))
        raise not_found()


def _since(predictions: list[Prediction], said: str | None) -> list[Prediction]:
    if said is None:
        return predictions
    try:
        moment = datetime.datetime.fromisoformat(said)
        return [one for one in predictions if _moment(one) >= moment]
    except (ValueError, TypeError) as error:
        raise ProblemError(422, "created_after is no time with its zone.") from error


def _moment(one: Prediction) -> datetime.datetime:
    return datetime.datetime.fromisoformat(one.created_at)
