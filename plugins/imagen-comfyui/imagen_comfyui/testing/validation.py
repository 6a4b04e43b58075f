"""What `POST /prompt` says to a graph before it is queued."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imagen_comfyui.testing.graph import Graph, is_link
from imagen_comfyui.testing.schema import (
    JSON,
    MalformedError,
    describe,
    input_specs,
    options,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imagen_comfyui.testing.store import Store

_CASTS = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}
_LONG = 20
"""Above so many options, an error does not list them."""
_LINK_RULE = "Bad linked input, must be a length-2 list of [node_id, slot_index]"


@dataclass
class Verdict:
    """The outcome: an error for which nothing is queued, or the outputs that can run."""

    error: JSON | None = None
    outputs: list[str] = field(default_factory=list)
    node_errors: dict[str, JSON] = field(default_factory=dict)


def problem(kind: str, message: str, *, details: str = "", extra_info: JSON | None = None) -> JSON:
    """Builds an error object as the server writes them, for a whole prompt or for a node."""
    return {
        "type": kind,
        "message": message,
        "details": details,
        "extra_info": extra_info or {},
    }


def validate(
    graph: Graph,
    classes: Mapping[str, JSON],
    *,
    files: Mapping[str, Sequence[str]],
    images: Store,
    old: bool,
) -> Verdict:
    """Checks a graph, and converts its values in place as far as the server is lenient."""
    for node_id, node in graph.items():
        if not isinstance(node, dict):
            raise MalformedError(node_id)
        if str(node.get("class_type")) not in classes:
            return Verdict(_unknown_class(node_id, node, old=old))
    outputs = [key for key, node in graph.items() if classes[node["class_type"]].get("output_node")]
    if not outputs:
        return Verdict(problem("prompt_no_outputs", "Prompt has no outputs"))
    offered = {**files, "input": sorted(name for name in images.input if "/" not in name)}
    return _Check(graph, classes, offered, images, old=old).verdict(outputs)


class _Check:
    def __init__(
        self,
        graph: Graph,
        classes: Mapping[str, JSON],
        files: Mapping[str, Sequence[str]],
        images: Store,
        *,
        old: bool,
    ) -> None:
        self.graph = graph
        self.classes = classes
        self.files = files
        self.images = images
        self.old = old
        self.done: dict[str, tuple[bool, list[JSON]]] = {}
        self.path: list[str] = []
        self.node_errors: dict[str, JSON] = {}

    def verdict(self, outputs: list[str]) -> Verdict:
        good = [output for output in outputs if self._output(output)]
        if good:
            return Verdict(None, good, self.node_errors)
        errors = [error for output in outputs for error in self.done[output][1]]
        details = "\n".join(f"{error['message']}: {error['details']}" for error in errors)
        error = problem(
            "prompt_outputs_failed_validation", "Prompt outputs failed validation", details=details
        )
        return Verdict(error, [], self.node_errors)

    def _output(self, output: str) -> bool:
        try:
            valid = self._node(output)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            self.path.clear()
            valid = False
            self.done[output] = (False, [_crash(error)])
        if not valid:
            self._collect(output)
        return valid

    def _collect(self, output: str) -> None:
        for node_id, (valid, errors) in self.done.items():
            if not valid and errors:
                entry = self.node_errors.setdefault(
                    node_id,
                    {
                        "errors": errors,
                        "dependent_outputs": [],
                        "class_type": self.graph[node_id]["class_type"],
                    },
                )
                entry["dependent_outputs"].append(output)

    def _node(self, node_id: str) -> bool:
        if node_id in self.path:
            self._cycle(self.path[self.path.index(node_id) :])
            return False
        if node_id in self.done:
            return self.done[node_id][0]
        self.path.append(node_id)
        errors, valid = self._inputs(node_id)
        self.path.pop()
        if node_id not in self.done:
            self.done[node_id] = (valid and not errors, errors)
        return self.done[node_id][0]

    def _cycle(self, members: list[str]) -> None:
        names = [f"{one} ({self.graph[one]['class_type']})" for one in [*members, members[0]]]
        for one in members:
            error = problem(
                "dependency_cycle",
                "Dependency cycle detected",
                details=" -> ".join(names),
                extra_info={"node_id": one, "cycle_nodes": members},
            )
            self.done[one] = (False, [] if self.old else [error])

    def _inputs(self, node_id: str) -> tuple[list[JSON], bool]:
        name = self.graph[node_id]["class_type"]
        given = self.graph[node_id]["inputs"]
        schema = describe(name, self.classes[name], files=self.files)
        errors: list[JSON] = []
        valid = True
        for field_name, (spec, required) in input_specs(schema).items():
            if field_name not in given:
                if required:
                    errors.append(_missing(field_name))
            elif isinstance(given[field_name], list):
                error, sound = self._link(field_name, spec, value=given[field_name])
                errors += [error] if error else []
                valid = valid and sound
            elif error := self._value(name, field_name, spec=spec, given=given):
                errors.append(error)
        return errors, valid

    def _link(self, name: str, spec: list[Any], *, value: list[Any]) -> tuple[JSON | None, bool]:
        about = {"input_name": name, "input_config": spec}
        if not is_link(value):
            told = {**about, "received_value": value}
            return problem("bad_linked_input", _LINK_RULE, details=name, extra_info=told), False
        source = value[0]
        outputs = self.classes[self.graph[source]["class_type"]]["output"]
        if not 0 <= value[1] < len(outputs):
            raise IndexError("tuple index out of range")
        received = outputs[value[1]]
        if not _matches(received, spec):
            return _mismatch(about, received, value=value), False
        return None, self._source(source, about, value=value)

    def _source(self, source: str, about: JSON, *, value: list[Any]) -> bool:
        depth = len(self.path)
        try:
            return self._node(source)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            del self.path[depth:]
            crash = _crash(error)
            crash["type"] = "exception_during_inner_validation"
            crash["message"] = "Exception when validating inner node"
            crash["extra_info"] |= {**about, "exception_message": str(error), "linked_node": value}
            self.done[source] = (False, [crash])
            return False

    def _value(self, kind: str, name: str, *, spec: list[Any], given: JSON) -> JSON | None:
        if kind == "LoadImage" and name == "image":
            return self._picture(name, given[name])
        about = {"input_name": name, "input_config": spec, "received_value": given[name]}
        if cast := _CASTS.get(spec[0] if isinstance(spec[0], str) else ""):
            try:
                given[name] = about["received_value"] = cast(given[name])
            except (ValueError, TypeError, OverflowError) as error:
                return _inconvertible(about, error)
        offered = options(spec)
        if offered is not None and given[name] not in offered:
            return _not_in_list(about, offered)
        return _out_of_range(about)

    def _picture(self, name: str, value: object) -> JSON | None:
        if self.images.find(str(value)) is not None:
            return None
        return problem(
            "custom_validation_failed",
            "Custom validation failed for node",
            details=f"{name} - Invalid image file: {value}",
            extra_info={"input_name": name},
        )


def _matches(received: str, spec: list[Any]) -> bool:
    wanted = "COMBO" if isinstance(spec[0], list) else spec[0]
    return wanted == "*" or received in ("*", wanted)


def _unknown_class(node_id: str, node: JSON, *, old: bool) -> JSON:
    name = node.get("class_type")
    if old:
        said = (
            f"node {name} does not exist." if name else "a node is missing the class_type property."
        )
        message, extra = f"Cannot execute because {said}", {}
    else:
        title = node.get("_meta", {}).get("title", name or f"#{node_id}")
        said = (
            "not found. The custom node may not be installed."
            if name
            else "has no class_type. The workflow may be corrupted or a custom node is missing."
        )
        message = f"Node '{title}' {said}"
        extra = {"node_id": node_id, "class_type": name, "node_title": title}
    kind = "invalid_prompt" if old else "missing_node_type"
    return problem(kind, message, details=f"Node ID '#{node_id}'", extra_info=extra)


def _missing(name: str) -> JSON:
    return problem(
        "required_input_missing",
        "Required input is missing",
        details=name,
        extra_info={"input_name": name},
    )


def _mismatch(about: JSON, received: str, *, value: list[Any]) -> JSON:
    wanted = about["input_config"][0]
    return problem(
        "return_type_mismatch",
        "Return type mismatch between linked nodes",
        details=f"{about['input_name']}, received_type({received}) mismatch input_type({wanted})",
        extra_info={**about, "received_type": received, "linked_node": value},
    )


def _inconvertible(about: JSON, error: Exception) -> JSON:
    kind = about["input_config"][0]
    return problem(
        "invalid_input_type",
        f"Failed to convert an input value to a {kind} value",
        details=f"{about['input_name']}, {about['received_value']}, {error}",
        extra_info={**about, "exception_message": str(error)},
    )


def _not_in_list(about: JSON, offered: list[Any]) -> JSON:
    long = len(offered) > _LONG
    listed = f"(list of length {len(offered)})" if long else str(offered)
    return problem(
        "value_not_in_list",
        "Value not in list",
        details=f"{about['input_name']}: '{about['received_value']}' not in {listed}",
        extra_info={**about, "input_config": None if long else about["input_config"]},
    )


def _out_of_range(about: JSON) -> JSON | None:
    spec, value = about["input_config"], about["received_value"]
    limits = spec[1]
    for limit, kind, said in (
        ("min", "value_smaller_than_min", "smaller than min"),
        ("max", "value_bigger_than_max", "bigger than max"),
    ):
        if limit in limits and (value < limits[limit] if limit == "min" else value > limits[limit]):
            message = f"Value {value} {said} of {limits[limit]}"
            return problem(kind, message, details=about["input_name"], extra_info=about)
    return None


def _crash(error: Exception) -> JSON:
    trace = ['  File "/opt/ComfyUI/execution.py", line 1184, in validate_prompt\n']
    return problem(
        "exception_during_validation",
        "Exception when validating node",
        details=str(error),
        extra_info={"exception_type": type(error).__name__, "traceback": trace},
    )
