"""The block of a ComfyUI instance."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from imagen_comfyui.manifest import Positive

Seconds = Annotated[float, Meta(gt=0)]
Text = Annotated[str, Meta(min_length=1)]


class ComfyConfig(Struct, frozen=True, kw_only=True):
    """One server with one workflow. Every placeholder of a workflow can be set here.

    `params` takes what has no key of its own: other parameters of the workflow, or `NODE.INPUT`.
    """

    url: str = "http://127.0.0.1:8188"
    workflow: Text = "flux1-schnell"
    api_key_env: str = ""
    unreachable_hint: str = ""
    timeout: Seconds = 600
    queue_timeout: Seconds = 3600
    preview_method: Literal["", "none", "auto", "latent2rgb", "taesd"] = ""
    size: str = ""
    params: dict[str, Any] = {}

    prompt: str | None = None
    negative: str | None = None
    seed: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None
    steps: Positive | None = None
    cfg: float | None = None
    sampler: str | None = None
    scheduler: str | None = None
    width: Positive | None = None
    height: Positive | None = None
    filename_prefix: str | None = None
    image: str | None = None
    denoise: float | None = None
    unet: str | None = None
    checkpoint: str | None = None
    clip_l: str | None = None
    clip_g: str | None = None
    t5xxl: str | None = None
    text_encoder: str | None = None
    vae: str | None = None

    @property
    def base(self) -> str:
        """The server's address without a slash at its end."""
        return self.url.rstrip("/")
