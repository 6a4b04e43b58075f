"""What the server shows of itself and of its runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen_comfyui.testing.schema import JSON

if TYPE_CHECKING:
    from imagen_comfyui.testing.engine import Engine, Run
    from imagen_comfyui.testing.script import Script
    from imagen_comfyui.testing.site import Site

FOLDERS = (
    "checkpoints",
    "configs",
    "loras",
    "vae",
    "text_encoders",
    "diffusion_models",
    "clip_vision",
    "style_models",
    "embeddings",
    "diffusers",
    "vae_approx",
    "controlnet",
    "gligen",
    "upscale_models",
    "latent_upscale_models",
    "custom_nodes",
    "datasets",
    "hypernetworks",
    "photomaker",
    "classifiers",
    "model_patches",
    "audio_encoders",
    "background_removal",
    "frame_interpolation",
    "geometry_estimation",
    "optical_flow",
    "detection",
)
_RAM = {"total": 25276514304, "free": 24049152000}
_VRAM = {"total": 25386352640, "free": 23622320128}
_STATUS = {"success": "completed", "error": "failed", "interrupted": "cancelled"}


def system_stats(site: Site) -> JSON:
    """Shows the machine, which has one large GPU unless it shall have none."""
    system = {
        "os": "posix" if site.old else "linux",
        "ram_total": _RAM["total"],
        "ram_free": _RAM["free"],
        "comfyui_version": site.version,
        "required_frontend_version": "1.27.10" if site.old else "1.49.6",
        "python_version": "3.11.7 (main, May  9 2026, 07:35:25) [GCC 12.2.0]",
        "pytorch_version": "2.13.0+cpu" if site.cpu else "2.13.0+cu130",
        "embedded_python": False,
        "argv": ["main.py", *(["--cpu"] if site.cpu else []), "--listen", "127.0.0.1"],
    }
    name, kind = ("cpu", "cpu") if site.cpu else ("cuda:0 NVIDIA GeForce RTX 4090", "cuda")
    memory = _RAM if site.cpu else _VRAM
    device = {
        "name": name,
        "type": kind,
        "index": None if site.cpu else 0,
        "vram_total": memory["total"],
        "vram_free": memory["free"],
        "torch_vram_total": memory["total"] if site.cpu else 0,
        "torch_vram_free": memory["free"] if site.cpu else 0,
    }
    return {"system": system, "devices": [device]}


def queue(engine: Engine) -> JSON:
    """Shows the queue."""
    running = [engine.running.item] if engine.running else []
    return {"queue_running": running, "queue_pending": [run.item for run in engine.pending]}


def history_entry(run: Run, script: Script) -> JSON:
    """Shows a run that has ended."""
    return {
        "prompt": run.item,
        "outputs": run.results,
        "status": _status(run, script),
        "meta": {node_id: _meta(node_id) for node_id in run.results},
    }


def job(run: Run, status: str) -> JSON:
    """Shows a run as the list of jobs does."""
    return {
        "id": run.prompt_id,
        "status": status,
        "priority": run.number,
        "create_time": run.extra_data.get("create_time"),
        "outputs_count": 0,
        "previewable_outputs_count": 0,
    }


def ended_summary(run: Run) -> JSON:
    """Shows a run that has ended as the list of jobs does."""
    images = [(node, image) for node, shown in run.results.items() for image in shown["images"]]
    summary = {
        **job(run, _STATUS[run.outcome]),
        "execution_start_time": run.messages[0][1]["timestamp"],
        "execution_end_time": run.messages[-1][1]["timestamp"],
        "outputs_count": len(images),
        "previewable_outputs_count": len(images),
    }
    if run.outcome == "error":
        summary["execution_error"] = run.messages[-1][1]
    if images:
        node_id, image = images[-1]
        summary["preview_output"] = {**image, "nodeId": node_id, "mediaType": "images"}
    return summary


def ended_job(run: Run, script: Script) -> JSON:
    """Shows a run that has ended as a job in full."""
    return {
        **ended_summary(run),
        "outputs": run.results,
        "execution_status": _status(run, script),
        "workflow": {"prompt": run.graph, "extra_data": run.extra_data},
    }


def _status(run: Run, script: Script) -> JSON:
    success = run.outcome == "success"
    messages: list[Any] = [list(message) for message in run.messages]
    if script.plain_messages:
        messages = [_plain(event, data) for event, data in run.messages]
    status = "success" if success else "error"
    return {"status_str": status, "completed": success, "messages": messages}


def _plain(event: str, data: JSON) -> str:
    said = data.get("exception_message", "").strip()
    return f"{event}: {said}" if said else event


def _meta(node_id: str) -> JSON:
    return {
        "node_id": node_id,
        "display_node": node_id,
        "parent_node": None,
        "real_node_id": node_id,
    }
