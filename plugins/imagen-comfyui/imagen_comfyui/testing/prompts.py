"""`POST /prompt`: what is accepted, and under which id."""

from __future__ import annotations

import copy
import time
import uuid
from typing import TYPE_CHECKING

from imagen_comfyui.testing.engine import Engine, Run
from imagen_comfyui.testing.schema import JSON, MalformedError, read_object
from imagen_comfyui.testing.site import Submit
from imagen_comfyui.testing.validation import Verdict, problem, validate
from imagen_core.testing import Received, Reply, reply_json

if TYPE_CHECKING:
    from imagen_comfyui.testing.graph import Graph
    from imagen_comfyui.testing.site import Site

_SECRETS = ("auth_token_comfy_org", "api_key_comfy_org")
_ID_RULE = (
    "prompt_id must be a UUID string in canonical lowercase hyphenated form; "
    "omit it to let the server generate one"
)


class Prompts:
    """The way of a prompt into the queue."""

    def __init__(self, site: Site, engine: Engine) -> None:
        self.site = site
        self.engine = engine

    def post(self, received: Received) -> Reply:
        """Queues a graph, or says why not."""
        body = read_object(received)
        if "prompt" not in body:
            said = "No prompt provided"
            return _refuse(problem("no_prompt", said, details=said))
        prompt_id = self._prompt_id(body)
        if prompt_id is None:
            said = "prompt_id must be a valid UUID"
            return _refuse(problem("invalid_prompt_id", said, details=_ID_RULE))
        graph = copy.deepcopy(_object(body["prompt"]))
        verdict = self._verdict(graph)
        if verdict.error is not None:
            return _refuse(verdict.error, verdict.node_errors)
        run = self._queue(body, prompt_id, graph=graph, outputs=verdict.outputs)
        accepted = {"prompt_id": prompt_id, "number": run.number}
        return reply_json({**accepted, "node_errors": verdict.node_errors})

    def _prompt_id(self, body: JSON) -> str | None:
        if "prompt_id" not in body:
            return str(uuid.uuid4())
        prompt_id = str(body["prompt_id"])
        try:
            canonical = str(uuid.UUID(prompt_id)) == prompt_id
        except ValueError:
            canonical = False
        return prompt_id if canonical or self.site.old else None

    def _verdict(self, graph: Graph) -> Verdict:
        site = self.site
        with site.lock:
            return validate(graph, site.classes, files=site.files, images=site.images, old=site.old)

    def _queue(self, body: JSON, prompt_id: str, *, graph: Graph, outputs: list[str]) -> Run:
        sent = _object(body.get("extra_data") or {})
        extra_data = {key: value for key, value in sent.items() if key not in _SECRETS}
        if "client_id" in body:
            extra_data["client_id"] = body["client_id"]
        if not self.site.old:
            extra_data["create_time"] = int(time.time() * 1000)

        def make(number: int) -> Run:
            wanted = body.get("number", number)
            return Run(
                -wanted if body.get("front") else wanted, prompt_id, graph, extra_data, outputs
            )

        with self.site.lock:
            run = self.engine.submit(make)
            submit = Submit(prompt_id, body["prompt"], sent, run.client_id)
            self.site.log.submits.append(submit)
        return run


def _object(data: object) -> JSON:
    if not isinstance(data, dict):
        raise MalformedError(data)
    return data


def _refuse(error: JSON, node_errors: JSON | None = None) -> Reply:
    return reply_json({"error": error, "node_errors": node_errors or {}}, 400)
