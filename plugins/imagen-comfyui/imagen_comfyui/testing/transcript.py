"""What the server said, written down so that two runs of the same can be compared."""

from __future__ import annotations

import json
import re
import struct
from typing import TYPE_CHECKING, Any

from imagen_comfyui.testing.sockets import IMAGE_WITH_METADATA

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_VARYING = ("traceback", "current_inputs", "create_time", "timestamp")
_VARYING_TIMES = ("execution_start_time", "execution_end_time")
_UNORDERED = ("executed", "current_outputs")


def write_down(messages: Iterable[str | bytes], names: Mapping[str, str]) -> list[Any]:
    """Writes each message of a websocket as `[event, data]`, of pictures only what they are.

    The names replace ids of prompts, and whatever else differs from run to run is left out.
    """
    return [comparable(_read(message), names) for message in messages]


def comparable(data: Any, names: Mapping[str, str]) -> Any:
    """Leaves out of any JSON data what differs from run to run, and names the ids of prompts."""
    if isinstance(data, list):
        return [comparable(value, names) for value in data]
    if isinstance(data, dict):
        return {
            comparable(key, names): _in_order(key, comparable(value, names))
            for key, value in data.items()
            if key not in _VARYING and key not in _VARYING_TIMES
        }
    if isinstance(data, str):
        return re.sub("^ComfyUI_temp_[a-z]{5}_", "ComfyUI_temp_xxxxx_", names.get(data, data))
    return data


def _in_order(key: str, value: Any) -> Any:
    return sorted(value) if key in _UNORDERED else value


def _read(message: str | bytes) -> list[Any]:
    if isinstance(message, bytes):
        return ["binary", _read_frame(message)]
    event = json.loads(message)
    if event["type"] == "progress_state":
        nodes = event["data"]["nodes"].items()
        event["data"]["nodes"] = {
            node_id: [node["value"], node["max"], node["state"]] for node_id, node in nodes
        }
    return [event["type"], event["data"]]


def _read_frame(message: bytes) -> dict[str, Any]:
    kind, word = struct.unpack(">II", message[:8])
    if kind == IMAGE_WITH_METADATA:
        metadata = json.loads(message[8 : 8 + word])
        return {"event_type": kind, "format": None, "metadata": metadata}
    return {"event_type": kind, "format": word, "metadata": None}
