"""One run: its nodes in order, where it stops, and the pictures it saves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from imagen_comfyui.testing.events import Events
from imagen_comfyui.testing.graph import Reading, execution_order
from imagen_comfyui.testing.pictures import draw_png, measure, preview_jpeg
from imagen_comfyui.testing.schema import JSON
from imagen_comfyui.testing.script import END, Gate
from imagen_comfyui.testing.store import OutsideError, Place

if TYPE_CHECKING:
    from imagen_comfyui.testing.engine import Engine, Run
    from imagen_comfyui.testing.sockets import Frame

_TRACE = [
    '  File "/opt/ComfyUI/execution.py", line 545, in execute\n',
    '  File "/opt/ComfyUI/execution.py", line 306, in process_inputs\n',
]
_OOM_ADVICE = (
    "This error means you ran out of memory on your GPU.\n\nTIPS: If the workflow worked before "
    "you might have accidentally set the batch_size to a large number."
)
_OUTSIDE = (
    "**** ERROR: Saving image outside the output folder is not allowed.\n"
    " full_output_folder: /srv/comfyui\n         output_dir: /srv/comfyui/output"
)
_PREVIEW_METHODS = ("auto", "latent2rgb", "taesd")


class AbandonedError(Exception):
    """The server process is gone in the middle of a run."""


class _StoppedError(Exception):
    pass


class _NodeError(Exception):
    def __init__(self, exception_type: str, message: str) -> None:
        super().__init__(message)
        self.exception_type = exception_type


class Execution:
    """The course of one run."""

    def __init__(self, engine: Engine, run: Run) -> None:
        self.engine = engine
        self.site = engine.site
        self.script = engine.site.script
        self.run = run
        self.reading = Reading(run.graph, self.site.classes, images=self.site.images)
        self.events = Events(engine, run)
        self._executed: list[str] = []
        self._pace = self.script.step_seconds

    def play(self) -> None:
        """Plays the run from its start to its history entry."""
        self.events.note("execution_start", {})
        cached = self._adopt_cache()
        self.events.note("execution_cached", {"nodes": cached})
        order = execution_order(self.reading, self.run.outputs, cached=cached)
        self._set_pace(order)
        event, data = self._outcome(order)
        self.events.note(event, data)
        if Gate(END, 0) in self.script.gates and not self.run.released:
            self.engine.hold(self.run)
        self.engine.finish(self.run)

    def _outcome(self, order: list[str]) -> tuple[str, JSON]:
        node_id = ""
        try:
            for node_id in order:
                self._play_node(node_id)
        except _StoppedError:
            return "execution_interrupted", self._place(node_id)
        except _NodeError as error:
            return "execution_error", {**self._place(node_id), **self._exception(node_id, error)}
        return "execution_success", {}

    def _adopt_cache(self) -> list[str]:
        keys = {node_id: self.reading.key(node_id) for node_id in self.run.graph}
        cache = self.engine.cache
        self.engine.cache = {key: cache[key] for key in keys.values() if key in cache}
        return [node_id for node_id, key in keys.items() if key in cache]

    def _set_pace(self, order: list[str]) -> None:
        if self.script.run_seconds:
            steps = sum(self.reading.steps(node_id) for node_id in order)
            self._pace = self.script.run_seconds / max(steps, 1)
            if not steps:
                self.engine.pause(self.script.run_seconds)

    def _play_node(self, node_id: str) -> None:
        key = self.reading.key(node_id)
        if key in self.engine.cache:
            shown = self.engine.cache[key]
            self.events.executed(node_id, shown)
        else:
            self._enter(node_id)
            shown = self._work(node_id)
            if self.reading.class_type(node_id) != "SaveImageWebsocket":
                self.engine.cache[key] = shown
            if shown is not None:
                self.events.executed(node_id, shown)
            self._executed.append(node_id)
        if shown is not None:
            self.run.results[node_id] = shown
        self.events.finished(node_id)

    def _enter(self, node_id: str) -> None:
        self.events.executing(node_id)
        if self.run.stops and not self.run.released:
            self.engine.hold(self.run)
        self._stop_at(node_id, 0)
        wanted = self.script.exception(self.reading.class_type(node_id))
        if wanted is not None:
            raise _NodeError(wanted.exception_type, wanted.message)

    def _work(self, node_id: str) -> JSON | None:
        kind = self.reading.class_type(node_id)
        steps = self.reading.steps(node_id)
        for step in range(1, steps + 1):
            self._sample(node_id, step, steps=steps)
        if not steps:
            self._stop_at(node_id, 1)
        if kind == "LoadImage":
            self._check_picture(node_id)
        elif "Loader" in kind:
            self.engine.pause(self.script.load_seconds)
            self._check_interrupt()
        elif kind == "SaveImageWebsocket":
            self._stream(node_id)
        elif kind in ("SaveImage", "PreviewImage"):
            return self._save(node_id, temp=kind == "PreviewImage")
        return None

    def _sample(self, node_id: str, step: int, *, steps: int) -> None:
        self.engine.pause(self._pace)
        frame: Frame | None = None
        if self._previewing:
            picture = preview_jpeg(f"{self.run.prompt_id} {node_id} {step}")
            frame = self.events.frame(node_id, picture, image_type="image/jpeg")
        self.events.progress(node_id, step, limit=steps, frame=frame)
        self._stop_at(node_id, step)

    @property
    def _previewing(self) -> bool:
        wanted = self.run.extra_data.get("preview_method")
        return wanted in _PREVIEW_METHODS or (self.script.previews and wanted != "none")

    def _stream(self, node_id: str) -> None:
        drawn = self._draw(node_id, texts={})
        for number, picture in enumerate(drawn):
            frame = self.events.frame(node_id, picture, image_type="image/png")
            self.events.progress(node_id, number, limit=len(drawn), frame=frame)

    def _save(self, node_id: str, *, temp: bool) -> JSON:
        drawn = self._draw(node_id, texts=self._texts())
        with self.site.lock:
            self.engine.check()
            places = self._places(node_id, len(drawn), temp=temp)
            for place, picture in zip(places, drawn, strict=True):
                self.site.images.put(place, picture)
        return {"images": [place._asdict() for place in places]}

    def _places(self, node_id: str, count: int, *, temp: bool) -> list[Place]:
        prefix = str(self.reading.value(node_id, "filename_prefix"))
        if temp:
            letters = str.maketrans("0123456789", "ghijkmnpqr")
            prefix = f"ComfyUI_temp_{self.reading.key(node_id)[:5].translate(letters)}"
        size = self.reading.size(node_id)[:2]
        kind = "temp" if temp else "output"
        try:
            return self.site.images.next_places(prefix, count=count, size=size, kind=kind)
        except OutsideError:
            raise _NodeError("Exception", _OUTSIDE) from None

    def _draw(self, node_id: str, *, texts: dict[str, str]) -> list[bytes]:
        source, slot = self.reading.inputs(node_id)["images"]
        width, height, batch = self.reading.size(node_id)
        seeds = [f"{self.reading.key(source)} {slot} {number}" for number in range(batch)]
        black = self.script.black
        return [draw_png(width, height, seed=seed, texts=texts, black=black) for seed in seeds]

    def _texts(self) -> dict[str, str]:
        chunks = {"prompt": self.run.graph, **(self.run.extra_data.get("extra_pnginfo") or {})}
        return {name: json.dumps(value) for name, value in chunks.items()}

    def _check_picture(self, node_id: str) -> None:
        name = str(self.reading.value(node_id, "image"))
        data = self.site.images.find(name)
        path = f"/srv/comfyui/input/{name}"
        if data is None:
            raise _NodeError("FileNotFoundError", f"[Errno 2] No such file or directory: '{path}'")
        if measure(data) is None:
            raise _NodeError("PIL.UnidentifiedImageError", f"cannot identify image file '{path}'")

    def _stop_at(self, node_id: str, step: int) -> None:
        names = {self.reading.class_type(node_id)}
        if self.reading.steps(node_id):
            names.add("")
        if not self.run.released and any(Gate(one, step) in self.script.gates for one in names):
            self.engine.hold(self.run)
        self._check_interrupt()

    def _check_interrupt(self) -> None:
        self.engine.check()
        if self.run.interrupted:
            raise _StoppedError

    def _place(self, node_id: str) -> JSON:
        kind = self.reading.class_type(node_id)
        return {"node_id": node_id, "node_type": kind, "executed": list(self._executed)}

    def _exception(self, node_id: str, error: _NodeError) -> JSON:
        advice = _OOM_ADVICE if "OutOfMemoryError" in error.exception_type else ""
        return {
            "exception_message": f"{error}\n{advice}",
            "exception_type": error.exception_type,
            "traceback": list(_TRACE),
            "current_inputs": self._current_inputs(node_id),
            "current_outputs": list(self.run.graph),
        }

    def _current_inputs(self, node_id: str) -> dict[str, list[Any]]:
        shown = {name: [self._shown(node_id, name)] for name in self.reading.inputs(node_id)}
        hidden = self.site.classes[self.reading.class_type(node_id)]["input"].get("hidden", {})
        pnginfo = self.run.extra_data.get("extra_pnginfo")
        extra = {
            "prompt": str(self.run.graph),
            "extra_pnginfo": None if pnginfo is None else str(pnginfo),
        }
        return {**shown, **{name: [extra[name]] for name in hidden if name in extra}}

    def _shown(self, node_id: str, name: str) -> Any:
        value = self.reading.value(node_id, name)
        if value is not None:
            return value
        source, slot = self.reading.inputs(node_id)[name]
        kind = self.site.classes[self.reading.class_type(source)]["output"][slot]
        return "tensor([[[[0.0000, 0.0000, 0.0118]]]])" if kind == "IMAGE" else f"<{kind} object>"
