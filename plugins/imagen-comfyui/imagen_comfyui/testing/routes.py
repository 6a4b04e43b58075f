"""What each route replies."""

from __future__ import annotations

import contextlib
import re
import uuid
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from imagen_comfyui.testing import uploads, views
from imagen_comfyui.testing.jobs import Jobs
from imagen_comfyui.testing.prompts import Prompts
from imagen_comfyui.testing.schema import MalformedError, describe, read_object
from imagen_comfyui.testing.sockets import Socket
from imagen_core.testing import Received, Reply, reply_json

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from imagen_comfyui.testing.engine import Engine
    from imagen_comfyui.testing.script import Answer
    from imagen_comfyui.testing.site import Site


class Routes:
    """The routes of a server process."""

    def __init__(self, site: Site, engine: Engine) -> None:
        self.site = site
        self.engine = engine
        self._table = _table(self, old=site.old)

    def answer(self, received: Received, path: str) -> Answer:
        """Answers a request for a path from which all prefixes are taken."""
        if _is_cross_origin(received):
            return Reply(403)
        known = False
        method = "GET" if received.method == "HEAD" else received.method
        for wanted, pattern, act in self._table:
            if match := re.fullmatch(pattern, path):
                known = True
                if wanted == method:
                    return self._act(act, received, match.groups())
        return Reply(405) if known else Reply(404, content_type="application/octet-stream")

    def post_queue(self, received: Received) -> Reply:
        """Deletes runs that wait, or all of them."""
        body = read_object(received)
        if body.get("clear"):
            self.engine.clear()
        for prompt_id in body.get("delete", ()):
            self.site.log.deletes.append(prompt_id)
            self.engine.delete([prompt_id])
        return Reply()

    def post_interrupt(self, received: Received) -> Reply:
        """Interrupts the run that is named, or whatever runs."""
        prompt_id = None
        with contextlib.suppress(MalformedError):
            prompt_id = read_object(received).get("prompt_id") or None
        self.site.log.interrupts.append(prompt_id)
        self.engine.interrupt(prompt_id)
        return Reply()

    def history(self, received: Received, prompt_id: str = "") -> Reply:
        """Shows what has ended, as far as it is not muted."""
        with self.site.lock:
            limit = int(received.query.get("max_items", 0))
            found = [self.engine.look(prompt_id)] if prompt_id else self.engine.ended.values()
            runs = [run for run in found if run is not None][-limit:]
            script = self.site.script
            return reply_json({run.prompt_id: views.history_entry(run, script) for run in runs})

    def object_info(self, received: Received, name: str = "") -> Reply:
        """Shows one node class, or all."""
        del received
        site = self.site
        pictures = sorted(path for path in list(site.images.input) if "/" not in path)
        files = {**site.files, "input": pictures}
        names = [name] if name in site.classes else [] if name else list(site.classes)
        return reply_json({one: describe(one, site.classes[one], files=files) for one in names})

    def models(self, received: Received, folder: str = "") -> Reply:
        """Lists the model folders, or the files of one."""
        del received
        if not folder:
            return reply_json(list(dict.fromkeys([*views.FOLDERS, *self.site.files])))
        if folder in self.site.files:
            return reply_json(self.site.files[folder])
        return reply_json([]) if folder in views.FOLDERS else Reply(404)

    def websocket(self, received: Received) -> Answer:
        """Opens a websocket, under an id of its own if the client has none."""
        if self.site.script.refuse_sockets:
            return Reply(self.site.script.refuse_sockets)
        if received.headers.get("upgrade", "").lower() != "websocket":
            return Reply(400)
        client_id = received.query.get("clientId") or uuid.uuid4().hex

        def take_over(connection: socket.socket) -> None:
            new = Socket(received.path, received.headers)
            self.site.hub.serve(connection, client_id, new=new)

        return take_over

    def view(self, received: Received) -> Reply:
        """Serves a picture, unless the test has something against it."""
        reply = uploads.view(received, self.site.images)
        if reply.status == 200 and self.site.script.views:
            half = len(reply.body) // 2
            reply.missing = len(reply.body) - half
            reply.body = reply.body[:half]
            if self.site.script.views.pop(0) == "corrupt":
                reply.missing = 0
        return reply

    def _act(
        self, act: Callable[..., Answer], received: Received, found: tuple[str, ...]
    ) -> Answer:
        try:
            return act(received, *found)
        except MalformedError:
            return uploads.TROUBLE


def _table(routes: Routes, *, old: bool) -> list[tuple[str, str, Callable[..., Answer]]]:
    site, engine = routes.site, routes.engine
    table: list[tuple[str, str, Callable[..., Answer]]] = [
        ("POST", "/prompt", Prompts(site, engine).post),
        ("GET", "/prompt", lambda _: reply_json(engine.status()["status"])),
        ("GET", "/queue", lambda _: _locked(site, lambda: reply_json(views.queue(engine)))),
        ("POST", "/queue", routes.post_queue),
        ("POST", "/interrupt", routes.post_interrupt),
        ("GET", "/history", routes.history),
        ("GET", "/history/([^/]+)", routes.history),
        ("GET", "/view", routes.view),
        ("POST", "/upload/image", lambda received: uploads.upload(received, site.images)),
        ("GET", "/object_info", routes.object_info),
        ("GET", "/object_info/([^/]+)", routes.object_info),
        ("GET", "/models", routes.models),
        ("GET", "/models/([^/]+)", routes.models),
        ("GET", "/system_stats", lambda _: reply_json(views.system_stats(site))),
        ("GET", "/features", lambda _: reply_json(site.features)),
        ("GET", "/embeddings", lambda _: reply_json([])),
        ("POST", "/free", lambda _: Reply()),
        ("GET", "/ws", routes.websocket),
    ]
    if not old:
        jobs = Jobs(site, engine)
        table += [
            ("GET", "/api/jobs", jobs.index),
            ("GET", "/api/jobs/([^/]+)", jobs.show),
            ("POST", "/api/jobs/([^/]+)/cancel", jobs.cancel),
        ]
    return table


def _locked(site: Site, act: Callable[[], Reply]) -> Reply:
    with site.lock:
        return act()


def _is_cross_origin(received: Received) -> bool:
    if received.headers.get("sec-fetch-site") == "cross-site":
        return True
    origin = received.headers.get("origin", "")
    return bool(origin) and urlsplit(origin).netloc != received.headers.get("host", "")
