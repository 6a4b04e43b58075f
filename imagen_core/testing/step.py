"""The conformance kit for steps: subclass it, give one fixture, inherit the checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from imagen_core.files import Target, sidecar_path
from imagen_core.protocols import Context
from imagen_core.testing.conformance import Conformance, isolated_app
from imagen_core.types import Done, Note, Options

Step = Callable[[Done, Context], Iterable[Note]]
SIZE = "64x48"


class StepConformance(Conformance):
    """What every step must do, and not do, with a finished Run.

    Subclass it as `TestSomething`, set `module` and `name`, and write a fixture `step`: the
    function that the StepSpec's `run` names. Each check's docstring says how to fix what it
    finds. A step that asks a server needs a fake one; write a fixture that starts it, let
    `step` use it, and name its address in `config` or `environment`.
    """

    name: ClassVar[str]
    """The step's name, as in its StepSpec."""

    @pytest.fixture
    def done(self, tmp_path: Path) -> Done:
        """A finished Run, with a picture and its sidecar in `tmp_path`."""
        return finished(tmp_path)

    @pytest.fixture
    def failed(self, tmp_path: Path) -> Done:
        """A Run that failed, and has no picture."""
        return finished(tmp_path, fail="unavailable")

    def test_notes_are_its_own(self, step: Step, done: Done, context: Context) -> None:
        """All that a step gives back are Notes with its own name and something to say.

        To fix it: `yield Note(step=NAME, text=…)` with the name of the StepSpec; a step that
        has nothing to say returns an empty tuple.
        """
        for note in _run(step, done, context):
            assert isinstance(note, Note), f"it gave {note!r}: yield Notes alone"
            told = f"{note} is not of the step '{self.name}': give it step={self.name!r}"
            assert note.step == self.name, told
            assert note.text, f"{note} says nothing: give it a text, or leave it out"

    def test_picture_and_sidecar_stay_as_they_were(
        self, step: Step, done: Done, context: Context
    ) -> None:
        """A step reads the picture and its sidecar, and leaves both as they are.

        To fix it: write to files of your own. What is worth keeping of the Run goes into a
        Note, which the ledger keeps; marks in the picture itself are the backend's to make.
        """
        before = _contents(done)
        _run(step, done, context)
        after = _contents(done)
        changed = sorted(str(path) for path in before if before[path] != after[path])
        assert not changed, f"it changed {', '.join(changed)}: write to files of its own"

    def test_twice_is_harmless(self, step: Step, done: Done, context: Context) -> None:
        """Done again for the same Run, it leaves the same, and warns of nothing new.

        To fix it: name what you write by the Run's id (and the output's ordinal), and accept
        that it is there already.
        """
        before = _contents(done)
        first = _warnings(_run(step, done, context))
        second = _warnings(_run(step, done, context))
        new = sorted(second - first)
        assert not new, f"the second time it warns: {'; '.join(new)}; accept what is there already"
        assert _contents(done) == before, "twice, it changes the picture or its sidecar"

    def test_run_without_a_picture_is_harmless(
        self, step: Step, failed: Done, context: Context
    ) -> None:
        """A Run that failed may have no outputs; a step then does what is left to do.

        To fix it: loop over `run.outputs`, and don't take the first one for granted.
        """
        try:
            _run(step, failed, context)
        except Exception as error:
            raise AssertionError(
                f"a Run without outputs gave {error!r}: loop over run.outputs"
            ) from error

    def test_nothing_is_printed(
        self, step: Step, done: Done, context: Context, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """A step writes neither to stdout nor to stderr; what it has to say is a Note.

        To fix it: take the print out, and yield a Note, with `warning=True` if need be.
        """
        capfd.readouterr()
        _run(step, done, context)
        out, err = capfd.readouterr()
        assert (out, err) == ("", ""), "it prints: yield a Note instead"


def finished(folder: Path, **params: Any) -> Done:
    """A Run of the mock with these parameters, through the core's own steps alone."""
    app = isolated_app(folder)
    (request,) = app.resolve(
        Options(prompt="a cat in a fishbowl", backend="mock", size=SIZE, seed=1, params=params)
    )
    run = app.pipeline({}).run(request, Target(folder=folder / "pictures"))
    app.close()
    return Done(runs=(run,), paths=tuple(output.path for output in run.outputs))


def _run(step: Step, done: Done, context: Context) -> list[Note]:
    return list(step(done, context) or ())


def _warnings(notes: list[Note]) -> set[str]:
    return {note.text for note in notes if note.warning}


def _contents(done: Done) -> dict[Path, bytes | None]:
    """The pictures and sidecars byte by byte; None for one that is gone."""
    paths = [Path(output.path) for run in done.runs for output in run.outputs]
    files = [*paths, *map(sidecar_path, paths)]
    return {path: path.read_bytes() if path.exists() else None for path in files}
