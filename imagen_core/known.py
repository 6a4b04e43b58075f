"""Data alone: which distribution brings which first-party command, type, key and flag.

The core uses it for hints ("it comes with imagen-serve") and to find its own commands without
an index. A test holds it against the first-party plugins that are in the tree.
"""

from __future__ import annotations

from typing import NamedTuple

CORE = "imagen-core"


class Known(NamedTuple):
    """Where something first-party comes from, and what it is good for."""

    distribution: str
    help: str


COMMANDS: dict[str, Known] = {
    "generate": Known(CORE, "Make an image, or several, from one prompt."),
    "compare": Known(CORE, "Make one prompt with several backends, side by side."),
    "batch": Known(CORE, "Make the pictures of a file: a prompt, or a row of options, a line."),
    "enqueue": Known(CORE, "Put a prompt, or a file of them, into a queue."),
    "jobs": Known(CORE, "List, show, cancel and retry the jobs of a queue."),
    "worker": Known(CORE, "Make the pictures that wait in a queue."),
    "backends": Known(CORE, "List the configured instances and the types of backend."),
    "config": Known(CORE, "Print, make, check and find the configuration."),
    "usage": Known(CORE, "Show what was spent, on what, by whom."),
    "plugins": Known(CORE, "List the plugins, what they give, and which are broken."),
    "completion": Known(CORE, "Print the completion script of a shell."),
    "version": Known(CORE, "Print the version."),
    "workflow": Known("imagen-comfyui", "List, show, check and import ComfyUI workflows."),
    "replicate": Known(
        "imagen-replicate", "List Replicate's models with their prices, and fetch a picture later."
    ),
    "supabase": Known("imagen-supabase", "Set up and check the Supabase project."),
    "cloud": Known("imagen-supabase", "Push pictures to the cloud."),
    "serve": Known("imagen-serve", "Run the HTTP server."),
}

BACKEND_TYPES: dict[str, str] = {
    "mock": CORE,
    "comfyui": "imagen-comfyui",
    "replicate": "imagen-replicate",
}

SETTINGS: dict[str, str] = {
    "tmux": "imagen-tmux",
    "supabase": "imagen-supabase",
    "serve": "imagen-serve",
}


class KnownSwitch(NamedTuple):
    """A first-party switch: its variable, its flags, and who brings it."""

    distribution: str
    env: str
    on_flag: str
    off_flag: str


SWITCHES: dict[str, KnownSwitch] = {
    "sidecar": KnownSwitch(CORE, "IMAGEN_SIDECAR", "", "--no-sidecar"),
    "ledger": KnownSwitch(CORE, "IMAGEN_LEDGER", "", "--no-ledger"),
    "preview": KnownSwitch("imagen-tmux", "IMAGEN_PREVIEW", "--preview", "--no-preview"),
    "cloud_sync": KnownSwitch("imagen-supabase", "IMAGEN_CLOUD_SYNC", "", "--no-cloud"),
}
