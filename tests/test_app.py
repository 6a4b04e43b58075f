"""What a plugin's command can do with the App that it gets."""

from __future__ import annotations

import json
from pathlib import Path

from imagen_core import Options
from imagen_core.app import App
from imagen_core.terminal import Terminal


def test_command_makes_a_picture_as_generate_does(tmp_path: Path) -> None:
    app = App.for_test(Terminal(), tmp_path)

    (request,) = app.resolve(Options(prompt="a cat", size="32x32", seed=3))
    run = app.pipeline({}).run(request, app.target())

    assert run.failure is None
    path = Path(run.outputs[0].path)
    assert path.parent == tmp_path / "pictures"
    assert json.loads(Path(f"{path}.json").read_text())["id"] == run.id
    assert app.ledger.get(run.id) == run
    app.close()


def test_flags_decide_on_the_steps(tmp_path: Path) -> None:
    app = App.for_test(Terminal(), tmp_path)

    (request,) = app.resolve(Options(prompt="a cat", size="32x32"))
    run = app.pipeline({"sidecar": "off", "ledger": "off"}).run(request, app.target())

    assert not Path(f"{run.outputs[0].path}.json").exists()
    assert not (tmp_path / "data").exists()
