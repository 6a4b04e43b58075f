"""The ComfyUI backend: a Request becomes a graph, the graph a prompt, the prompt pictures."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from imagen_comfyui.block import check_server, settings
from imagen_comfyui.checks import check_request
from imagen_comfyui.config import ComfyConfig
from imagen_comfyui.graph import placeholders
from imagen_comfyui.values import declared, image_names, model_name
from imagen_comfyui.workflow import Workflow, find_workflow, user_folder
from imagen_core import (
    About,
    Backend,
    ConfigError,
    ConfigErrors,
    Context,
    Cost,
    CredentialsError,
    Event,
    Request,
    Status,
)

if TYPE_CHECKING:
    from pathlib import Path

    from imagen_comfyui.client import Server
    from imagen_comfyui.needs import Nodes


class Patience(NamedTuple):
    """How long to wait for what, in seconds."""

    poll: float = 1.0
    """Between two looks at the queue and the history."""
    offline: float = 60.0
    """For a server that does not answer any more, in the middle of a run."""
    quiet: float = 5.0
    """For a websocket that was opened again and says nothing: the server may have forgotten it."""
    closing: float = 4.0
    """For ending a prompt at its server: the one who asked waits no longer than ten."""


USUAL = Patience()
PROBE_SECONDS = 3.0
"""How long somebody waits who only wants to know how a server does."""


class ComfyBackend(Backend):
    """One workflow on one server."""

    def __init__(
        self, config: ComfyConfig, context: Context, *, patience: Patience = USUAL
    ) -> None:
        self.config = config
        self.patience = patience
        self.nodes: Nodes = {}
        self.workflow, self.values = _made(config, user_folder(context.paths.config))
        self._key = context.secret(config.api_key_env) if config.api_key_env else None
        self.resource = config.base
        self._about = _about(self.workflow, self.values)

    @property
    def about(self) -> About:
        """The model, and what the workflow takes."""
        return self._about

    def estimate(self, request: Request) -> Cost:  # noqa: ARG002
        """Nothing."""
        return Cost(usd=0, basis="local")

    def check(self, request: Request) -> None:
        """Refuse what the workflow can't take: a size, a number of steps, an image too many."""
        check_request(self.workflow, request, settings=self.values)

    def status(self) -> Status:
        """Whether the variable with the key is set, if there is to be one."""
        variable = self.config.api_key_env
        if variable and self._key is None:
            return Status(ok=False, text=f"not configured (set {variable})")
        return Status(ok=True)

    def probe(self) -> Status:
        """How the server does, and whether it has what the workflow needs."""
        from imagen_comfyui.probe import probe

        with self.connect(seconds=PROBE_SECONDS) as server:
            return probe(server, self.workflow, self.values)

    def connect(self, **options: float) -> Server:
        """A client of the server, for a `with` block; `seconds` is how long a reply may take."""
        from imagen_comfyui.client import Server

        variable = self.config.api_key_env
        if variable and self._key is None:
            raise CredentialsError(f"${variable} is not set", hint=f"set {variable}")
        return Server(self.config, self._key, **options)

    def generate(self, request: Request) -> Generator[Event, None, None]:
        """Make the pictures of this Request, or fetch those of its prompt, if it is there."""
        from imagen_comfyui.running import Running

        with self.connect() as server:
            yield from Running(self, server, request).events()


def _made(config: ComfyConfig, folder: Path) -> tuple[Workflow, dict[str, Any]]:
    """The workflow that a block names, with its values; raises all that is wrong with the block."""
    problems = [*check_server(config)]
    try:
        workflow = find_workflow(config.workflow, folder)
        values = settings(workflow, config)
    except ConfigErrors as errors:
        problems += errors.problems
    except ConfigError as error:
        problems.append(error)
    if problems:
        raise ConfigErrors.of([_placed(problem) for problem in problems])
    return workflow, values


def _placed(problem: ConfigError) -> ConfigError:
    """What is wrong with a workflow, or in one of its files, is so with the key that names it."""
    if problem.key and not problem.file:
        return problem
    return ConfigError(str(problem), key="workflow", hint=problem.hint)


def _about(workflow: Workflow, values: Mapping[str, Any]) -> About:
    used = placeholders(workflow.graph)
    manifest = workflow.manifest
    fields: dict[Any, bool] = {
        "negative": "negative" in used,
        "steps": "steps" in used,
        "size": "width" in used and "height" in used,
        "seed": "seed" in used,
        "images": bool(image_names(workflow.graph)),
    }
    sides = (values.get(name) or manifest.size.side(name) for name in ("width", "height"))
    return About(
        model=model_name(workflow, values),
        honours=frozenset(field for field, there in fields.items() if there),
        size="x".join(map(str, sides)) if fields["size"] else "",
        steps=values.get("steps"),
        seed=values.get("seed"),
        params=tuple(
            replace(param, default=values.get(param.name, param.default))
            for param in declared(workflow)
        ),
    )
