"""What ComfyUI says of a prompt that it refused, or that failed, as imagen's errors.

Tracebacks and the inputs of nodes stay out of them: they hold the server's paths and the prompt.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from imagen_comfyui.graph import Graph, Place, title
from imagen_comfyui.loaders import folder_of
from imagen_comfyui.needs import Missing, lacks_files, listed, nearest, schema
from imagen_core import ImagenError, RejectedError

if TYPE_CHECKING:
    from imagen_comfyui.client import Call, Server
    from imagen_comfyui.workflow import Workflow

UNKNOWN_CLASS = frozenset({"missing_node_type", "invalid_prompt"})
NO_MEMORY = re.compile(r"OutOfMemory|out of memory|allocate .* (GiB|MiB)", re.IGNORECASE)
SENTENCE = 300


class Fault(NamedTuple):
    """One thing that the server finds wrong with one node."""

    node: str
    kind: str
    type: str
    message: str
    details: str
    info: Mapping[str, Any]


class Ending(NamedTuple):
    """How a run ended: its error, if it has one, and the pictures that it left all the same."""

    error: ImagenError | None
    pictures: tuple[Mapping[str, str], ...]


def refusal(reply: Any, graph: Graph, *, who: str, workflow: Workflow) -> RejectedError:
    """The error of a prompt that the server did not accept, or accepted only in part."""
    data = reply if isinstance(reply, dict) else {}
    error = data.get("error")
    error = error if isinstance(error, dict) else {"message": str(error or "")}
    found = list(faults(data.get("node_errors")))
    if str(error.get("type")) in UNKNOWN_CLASS and not found:
        return _unknown_class(error, who, graph)
    missing = [one for fault in found if (one := _missing_file(fault))]
    if missing:
        return lacks_files(missing, graph, who=who, workflow=workflow)
    told = [_told(fault, graph) for fault in found]
    plain = " ".join(str(error[key]) for key in ("message", "details") if error.get(key))
    message = "; ".join(told) or _sentence(plain) or "it does not say why"
    hints = (_hint(fault) for fault in found)
    return RejectedError(
        f"{who} refused the workflow '{workflow.name}': {message}",
        hint="; ".join(dict.fromkeys(filter(None, hints))),
    )


def faults(node_errors: Any) -> Iterator[Fault]:
    """Everything that a reply finds wrong with single nodes."""
    for node, found in node_errors.items() if isinstance(node_errors, dict) else ():
        errors = found.get("errors") if isinstance(found, dict) else None
        for error in errors if isinstance(errors, list) else ():
            if isinstance(error, dict):
                info = error.get("extra_info")
                yield Fault(
                    str(node),
                    str(found.get("class_type") or ""),
                    str(error.get("type")),
                    str(error.get("message") or ""),
                    str(error.get("details") or ""),
                    info if isinstance(info, dict) else {},
                )


def completed(reply: Any, server: Server, graph: Graph) -> Call[Any]:
    """The reply with the lists that the server left out of it since they are long."""
    for fault in faults(reply.get("node_errors") if isinstance(reply, dict) else None):
        info = fault.info
        known = fault.type == "value_not_in_list" and fault.node in graph
        if known and isinstance(info, dict) and info.get("input_config") is None:
            with contextlib.suppress(ImagenError):
                kind = yield from server.node(graph[fault.node]["class_type"])
                info["input_config"] = schema(kind, str(info.get("input_name")))
    return reply


def ending(
    entry: Mapping[str, Any], graph: Graph, *, output: str = "", looks: bool = True
) -> Ending:
    """How a run ended, by its entry in the server's history.

    `output`: the one node that counts. `looks`: whether pictures for a look may count.
    """
    pictures = tuple(_pictures(entry.get("outputs"), output, looks=looks))
    status = entry.get("status")
    status = status if isinstance(status, dict) else {}
    messages = dict(_messages(status.get("messages")))
    if "execution_error" in messages:
        return Ending(_failure(messages["execution_error"], graph), pictures)
    if "execution_interrupted" in messages:
        told = "somebody interrupted it at the server"
        return Ending(ImagenError(told, hint="make it again"), pictures)
    if status.get("status_str") == "error":
        texts = status.get("messages")
        told = "; ".join(m for m in texts if isinstance(m, str)) if isinstance(texts, list) else ""
        return Ending(
            ImagenError(f"the run failed at the server {_sentence(told)}".rstrip()), pictures
        )
    return Ending(None, pictures)


def _messages(messages: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events of a history entry; a fork of ComfyUI has plain texts there."""
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, list) and len(message) == 2 and isinstance(message[1], dict):
            yield str(message[0]), message[1]


def _pictures(outputs: Any, output: str, *, looks: bool) -> Iterator[Mapping[str, str]]:
    """The files that the nodes saved; those for a look alone only where there are no others."""
    found: list[Mapping[str, str]] = []
    for node, result in outputs.items() if isinstance(outputs, dict) else ():
        images = result.get("images") if isinstance(result, dict) else None
        if output and str(node) != output:
            continue
        listed_images = images if isinstance(images, list) else ()
        found += [
            image for image in listed_images if isinstance(image, dict) and "filename" in image
        ]
    saved = [image for image in found if image.get("type", "output") != "temp"]
    yield from saved or (found if looks else ())


def _failure(error: Mapping[str, Any], graph: Graph) -> ImagenError:
    node = str(error.get("node_id"))
    named = title(graph, node) if node in graph else node
    kind = str(error.get("exception_type") or "")
    text = _sentence(str(error.get("exception_message") or ""))
    where = f"node {node} '{named}' ({error.get('node_type')})"
    if NO_MEMORY.search(f"{kind} {text}"):
        return ImagenError(
            f"the GPU ran out of memory in {where}: {text}",
            hint="take a smaller --size, a smaller model file such as an fp8 one, or make room: "
            "another program may hold the GPU's memory",
        )
    return ImagenError(f"{where} failed: {kind}: {text}")


def _unknown_class(error: Mapping[str, Any], who: str, graph: Graph) -> RejectedError:
    """Both shapes: newer servers name the node and its class, older ones have it in a sentence."""
    text = f"{error.get('message') or ''} {error.get('details') or ''}"
    info = error.get("extra_info")
    node = str(info.get("node_id") or "") if isinstance(info, dict) else ""
    if not node and (match := re.search(r"#(\S+?)'", text)):
        node = match[1]
    kind = graph[node]["class_type"] if node in graph else ""
    kind = kind or (str(info.get("class_type") or "") if isinstance(info, dict) else "")
    if not kind:
        return RejectedError(f"{who} refused the prompt: {_sentence(text)}")
    where = f" (node {node} '{title(graph, node)}')" if node in graph else ""
    return RejectedError(
        f"{who} has no nodes of the class {kind}{where}",
        hint="update ComfyUI, or install the custom nodes that bring it",
    )


def _missing_file(fault: Fault) -> Missing | None:
    name = str(fault.info.get("input_name") or "")
    folder = folder_of(fault.kind, name)
    if fault.type != "value_not_in_list" or not folder:
        return None
    offered = listed(fault.info.get("input_config"))
    value = str(fault.info.get("received_value"))
    return Missing(Place(fault.node, name), value, folder, offered or ())


def _told(fault: Fault, graph: Graph) -> str:
    named = title(graph, fault.node) if fault.node in graph else "?"
    details = fault.details if fault.type != "exception_during_validation" else ""
    return f"node {fault.node} '{named}': {_sentence(f'{fault.message}: {details}'.rstrip(': '))}"


def _hint(fault: Fault) -> str:
    """What a list input takes instead."""
    offered = listed(fault.info.get("input_config"))
    if fault.type != "value_not_in_list" or not offered:
        return ""
    near = nearest(str(fault.info.get("received_value")), offered)
    return f"{fault.info.get('input_name')} takes {', '.join(near)} …"


def _sentence(text: str) -> str:
    """The first lines of a text, in one."""
    plain = " ".join(text.split())
    return plain if len(plain) <= SENTENCE else f"{plain[:SENTENCE]}…"
