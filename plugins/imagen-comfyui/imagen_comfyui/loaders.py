"""Which folder of a server's models an input takes its file from."""

from __future__ import annotations

_BY_INPUT = {
    "ckpt_name": "checkpoints",
    "unet_name": "diffusion_models",
    "vae_name": "vae",
    "clip_name": "text_encoders",
    "clip_name1": "text_encoders",
    "clip_name2": "text_encoders",
    "clip_name3": "text_encoders",
    "clip_name4": "text_encoders",
    "lora_name": "loras",
    "control_net_name": "controlnet",
    "style_model_name": "style_models",
    "gligen_name": "gligen",
    "hypernetwork_name": "hypernetworks",
}
"""By the name of the input, which custom loaders have in common with ComfyUI's own."""

_BY_CLASS = {
    ("CLIPVisionLoader", "clip_name"): "clip_vision",
    ("UpscaleModelLoader", "model_name"): "upscale_models",
}


def folder_of(kind: str, name: str) -> str:
    """The folder for this input of a class of nodes; empty if it takes no model file."""
    return _BY_CLASS.get((kind, name)) or _BY_INPUT.get(name, "")
