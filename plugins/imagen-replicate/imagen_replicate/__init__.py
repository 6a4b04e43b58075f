"""The Replicate backend of imagen: what it gives, and nothing that would take time to import."""

from __future__ import annotations

from imagen_core import BackendSpec, CommandSpec, Sample, hookimpl

__version__ = "0.1.0"


@hookimpl
def imagen_backends() -> tuple[BackendSpec, ...]:
    """The type `replicate`."""
    return (
        BackendSpec(
            type="replicate",
            summary="a model in the cloud of replicate.com, billed by the picture",
            config="imagen_replicate.config:ReplicateConfig",
            create="imagen_replicate.backend:ReplicateBackend",
            samples=(
                _sample("flux-schnell-replicate", "black-forest-labs/flux-schnell"),
                _sample("flux-dev-replicate", "black-forest-labs/flux-dev"),
            ),
        ),
    )


@hookimpl
def imagen_commands() -> tuple[CommandSpec, ...]:
    """`imagen replicate`."""
    return (
        CommandSpec(
            name="replicate",
            help="List Replicate's models with their prices, and fetch a picture later.",
            load="imagen_replicate.commands:replicate",
        ),
    )


def _sample(name: str, model: str) -> Sample:
    block = f"{{type: replicate, model: {model}, api_token_env: REPLICATE_API_TOKEN}}"
    return Sample(name=name, block=block, rank=10)
