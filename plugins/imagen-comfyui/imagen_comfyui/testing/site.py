"""One installation of ComfyUI: what it offers, what it keeps, and what it shall do."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from imagen_comfyui.testing.schema import FILES, JSON, load_classes
from imagen_comfyui.testing.script import Script
from imagen_comfyui.testing.sockets import Hub
from imagen_comfyui.testing.store import Store
from imagen_core.testing import ServerThreads

if TYPE_CHECKING:
    from imagen_comfyui.testing.graph import Graph

OLD, NEW = "0.3.64", "0.33.0"


class Submit(NamedTuple):
    """A prompt that was accepted, as the client sent it."""

    prompt_id: str
    graph: Graph
    extra_data: JSON
    client_id: str | None

    def inputs_of(self, class_type: str) -> list[JSON]:
        """The inputs of every node of a class, in the order of the graph."""
        nodes = self.graph.values()
        return [node["inputs"] for node in nodes if node["class_type"] == class_type]


@dataclass
class Log:
    """What clients asked for."""

    submits: list[Submit] = field(default_factory=list)
    interrupts: list[str | None] = field(default_factory=list)
    deletes: list[str] = field(default_factory=list)


@dataclass
class Site:
    """What the parts of the server share; a restart replaces none of it."""

    version: str = NEW
    cpu: bool = False
    script: Script = field(default_factory=Script)
    log: Log = field(default_factory=Log)
    images: Store = field(default_factory=Store)
    files: dict[str, list[str]] = field(
        default_factory=lambda: {folder: list(names) for folder, names in FILES.items()}
    )
    lock: threading.Condition = field(default_factory=threading.Condition)
    """Guards everything that changes while the server runs, and is notified of every change."""
    threads: ServerThreads = field(default_factory=lambda: ServerThreads("fake-comfyui"))

    def __post_init__(self) -> None:
        self.old = self.version == OLD
        self.classes: dict[str, JSON] = load_classes(old=self.old)
        self.hub = Hub(self.lock)
        self.hub.features = self.features

    @property
    def features(self) -> JSON:
        """The feature flags of this version."""
        both = {"supports_preview_metadata": True, "max_upload_size": 104857600}
        if self.old:
            return both
        return {
            **both,
            "supports_model_type_tags": True,
            "extension": {"manager": {"supports_v4": True}},
            "node_replacements": True,
            "assets": False,
        }
