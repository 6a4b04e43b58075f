"""How a server does: its version, its queue, its graphics card, and what a workflow lacks there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from imagen_comfyui import needs, values
from imagen_core import ImagenError, Request, Status, http

if TYPE_CHECKING:
    from imagen_comfyui.client import Call, Server
    from imagen_comfyui.graph import Graph
    from imagen_comfyui.workflow import Workflow

MIB = 2**20
GIB = 2**30
STATS_SECONDS = 2.0


class System(NamedTuple):
    """What a server says of itself; memory in bytes, None where it says nothing."""

    version: str
    device: str
    total: int | None
    free: int | None

    @property
    def used_mib(self) -> int | None:
        """The graphics memory that is taken, by whomever."""
        if not self.total or self.free is None:
            return None
        return round((self.total - self.free) / MIB)


def system_of(server: Server) -> Call[System | None]:
    """What the server says of itself; None if it does not, which is no reason to fail."""
    try:
        response = yield from server.send("GET", "/system_stats", timeout=STATS_SECONDS)
        return _system(server.decoded(server.checked(response)))
    except ImagenError:
        return None


def probe(server: Server, workflow: Workflow, settings: Mapping[str, Any]) -> Status:
    """Ask a server how it does, and for what this workflow needs."""
    system = _system(http.finish(server.read("/system_stats")))
    queue = http.finish(server.queue())
    lacking = http.finish(needs.look(server, plain_graph(workflow, settings)))
    waiting = len(queue.running) + len(queue.pending)
    told = [
        f"ComfyUI {system.version}",
        f"{waiting} in the queue" if waiting else "the queue is empty",
        _memory(system),
        f"the workflow {workflow.name} {told_needs(lacking)}",
    ]
    return Status(ok=not (lacking.nodes or lacking.files), text=", ".join(filter(None, told)))


def told_needs(lacking: needs.Needs) -> str:
    """What is lacking, in a few words."""
    files = [f"{missing.name} in {missing.folder}" for missing in lacking.files]
    nodes = [f"nodes of the class {kind}" for kind in lacking.nodes]
    return f"lacks {'; '.join([*nodes, *files])}" if nodes or files else "has all it needs"


def plain_graph(workflow: Workflow, settings: Mapping[str, Any]) -> Graph:
    """The graph as it would be sent for some prompt, to look at what it names."""
    names = dict.fromkeys(values.image_names(workflow.graph), "image.png")
    given = {**dict.fromkeys(_unset(workflow, settings), 0), **settings}
    request = Request(id="probe", prompt="", typed_prompt="", backend="", width=0, height=0, seed=0)
    return values.build(workflow, request, values=given, images=names)


def _unset(workflow: Workflow, settings: Mapping[str, Any]) -> list[str]:
    from imagen_comfyui.graph import placeholders

    return [name for name in placeholders(workflow.graph) if name not in settings]


def _system(stats: Any) -> System:
    data = stats if isinstance(stats, dict) else {}
    system, devices = data.get("system"), data.get("devices")
    version = system.get("comfyui_version") if isinstance(system, dict) else None
    device = devices[0] if isinstance(devices, list) and devices else {}
    device = device if isinstance(device, dict) else {}
    total, free = device.get("vram_total"), device.get("vram_free")
    return System(
        version=str(version or "unknown"),
        device=str(device.get("name") or ""),
        total=total if isinstance(total, int) else None,
        free=free if isinstance(free, int) else None,
    )


def _memory(system: System) -> str:
    """The card and its memory; ComfyUI's own name has number and allocator about it."""
    name = re.sub(r"^\w+:\d+ ", "", system.device.split(" : ")[0])
    if not system.total or system.free is None:
        return name
    return f"{name}, {system.free / GIB:.1f} of {system.total / GIB:.1f} GiB free".removeprefix(
        ", "
    )
