"""The ComfyUI backend of imagen: what it gives, and nothing that would take time to import."""

from __future__ import annotations

from imagen_core import BackendSpec, CommandSpec, Sample, hookimpl

__version__ = "0.1.0"

_LOCAL = 'url: "http://127.0.0.1:8188"'
_FLUX = f"""\
# ComfyUI on a machine of yours. unreachable_hint is shown when it does not answer.
type: comfyui
{_LOCAL}
workflow: flux1-schnell
unet: flux1-schnell.safetensors
unreachable_hint: start ComfyUI on that machine
"""


@hookimpl
def imagen_backends() -> tuple[BackendSpec, ...]:
    """The type `comfyui`."""
    return (
        BackendSpec(
            type="comfyui",
            summary="a workflow on a ComfyUI server of your own",
            config="imagen_comfyui.config:ComfyConfig",
            create="imagen_comfyui.backend:ComfyBackend",
            samples=(
                Sample(name="flux-schnell-local", block=_FLUX, rank=100),
                _sample("flux2-klein-local", "flux2-klein"),
                _sample("sd35-medium-local", "sd35-medium"),
            ),
        ),
    )


@hookimpl
def imagen_commands() -> tuple[CommandSpec, ...]:
    """`imagen workflow`."""
    return (
        CommandSpec(
            name="workflow",
            help="List, show, check and import ComfyUI workflows.",
            load="imagen_comfyui.commands:workflow",
        ),
    )


def _sample(name: str, workflow: str) -> Sample:
    return Sample(name=name, block=f"{{type: comfyui, {_LOCAL}, workflow: {workflow}}}", rank=50)
