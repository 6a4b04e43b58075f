"""The ComfyUI backend: a Request becomes a graph, the graph a prompt, the prompt pictures."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from imagen_comfyui import values
from imagen_comfyui.config import ComfyConfig, prefix_problem
from imagen_comfyui.graph import placeholders
from imagen_comfyui.workflow import Workflow, find_workflow, user_folder
from imagen_core import (
    About,
    Backend,
    ConfigError,
    Context,
    Cost,
    CredentialsError,
    Event,
    Request,
    Status,
    UsageError,
)

if TYPE_CHECKING:
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


USUAL = Patience()


class ComfyBackend(Backend):
    """One workflow on one server."""

    def __init__(
        self, config: ComfyConfig, context: Context, *, patience: Patience = USUAL
    ) -> None:
        self.config = config
        self.patience = patience
        self.nodes: Nodes = {}
        self._key = context.secret(config.api_key_env) if config.api_key_env else None
        try:
            self.workflow = find_workflow(config.workflow, user_folder(context.paths.config))
        except ConfigError as error:
            if error.file:
                raise
            raise ConfigError(error.message, key="workflow", hint=error.hint) from error
        self.values = values.settings(self.workflow, config)
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
        """Refuse a size, a number of steps or of images that the workflow can't take."""
        workflow = self.workflow
        if "size" in self.about.honours:
            values.check_size(workflow, request.width, request.height)
        values.check_steps(workflow, request.steps)
        if problem := prefix_problem(str(request.params.get("filename_prefix", ""))):
            raise UsageError(f"filename_prefix: {problem}", hint="leave out '..' and a first '/'")
        names = values.image_names(workflow.graph)
        if len(request.images) > len(names):
            raise UsageError(
                f"the workflow '{workflow.name}' takes {_count(len(names), 'input image')}, "
                f"got {len(request.images)}"
            )
        given = {**self.values, **request.params}
        if lacking := [name for name in names[len(request.images) :] if name not in given]:
            raise UsageError(
                f"the workflow '{workflow.name}' needs {_count(len(names), 'input image')}",
                hint=f"give {len(lacking)} more with --image PATH",
            )
        if "prompt" not in placeholders(workflow.graph) and not any("." in p for p in given):
            raise UsageError(
                f"the workflow '{workflow.name}' has no place for the prompt",
                hint='write "${prompt}" where it belongs, or set the input with -p NODE.INPUT=TEXT',
            )
        values.build(workflow, self.values, request, dict.fromkeys(names, "image"))

    def status(self) -> Status:
        """Whether the variable with the key is set, if there is to be one."""
        variable = self.config.api_key_env
        if variable and self._key is None:
            return Status(ok=False, text=f"not configured (set {variable})")
        return Status(ok=True)

    def probe(self) -> Status:
        """How the server does, and whether it has what the workflow needs."""
        from imagen_comfyui.probe import probe

        with self.connect() as server:
            return probe(server, self.workflow, self.values)

    def connect(self) -> Server:
        """A client of the server, for a `with` block."""
        from imagen_comfyui.client import Server

        variable = self.config.api_key_env
        if variable and self._key is None:
            raise CredentialsError(f"${variable} is not set", hint=f"set {variable}")
        return Server(self.config, self._key)

    def generate(self, request: Request) -> Generator[Event, None, None]:
        """Make the pictures of this Request, or fetch those of its prompt, if it is there."""
        from imagen_comfyui.running import Running

        yield Cost(usd=0, basis="local")
        with self.connect() as server:
            yield from Running(self, server, request).events()


def _about(workflow: Workflow, settings: Mapping[str, Any]) -> About:
    used = placeholders(workflow.graph)
    manifest = workflow.manifest
    fields: dict[Any, bool] = {
        "negative": "negative" in used if manifest.negative is None else manifest.negative,
        "steps": "steps" in used,
        "size": "width" in used and "height" in used,
        "seed": "seed" in used,
        "images": bool(values.image_names(workflow.graph)),
    }
    size = manifest.size.default.split("x")
    sides = (settings.get("width", size[0]), settings.get("height", size[1]))
    return About(
        model=values.model_name(workflow, settings),
        honours=frozenset(field for field, there in fields.items() if there),
        size="x".join(map(str, sides)) if fields["size"] else "",
        steps=settings.get("steps"),
        seed=settings.get("seed"),
        params=tuple(
            replace(param, default=settings.get(param.name, param.default))
            for param in values.declared(workflow)
        ),
    )


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
