"""Distributions on disk, as pip would leave them, and the command run on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

GOOD = """
from imagen_core import About, Backend, BackendSpec, Cost, Image, hookimpl
import msgspec

class Config(msgspec.Struct, frozen=True, kw_only=True):
    color: str = "teal"

class Toy(Backend):
    def __init__(self, config, context):
        self.config = config

    @property
    def about(self):
        return About(model="toy", honours=frozenset({"size", "seed"}))

    def generate(self, request):
        from io import BytesIO
        from PIL import Image as Pillow
        file = BytesIO()
        Pillow.new("RGB", (request.width, request.height), self.config.color).save(file, "PNG")
        yield Cost(usd=0, basis="local")
        yield Image(data=file.getvalue(), mime="image/png", seed=request.seed)

@hookimpl
def imagen_backends():
    return [BackendSpec(type="TYPE", summary="toy", config="MODULE:Config", create="MODULE:Toy")]
"""

SWITCHED = """
from imagen_core import SettingsSpec, StepSpec, Switch, hookimpl
import msgspec

class Config(msgspec.Struct, frozen=True, kw_only=True):
    color: str = "teal"

def run(done, context):
    return []

@hookimpl
def imagen_post_generate():
    switch = Switch(key="KEY", env="KEY_ON".upper(), help="it", off_flag="FLAG")
    spec = {"run": "MODULE:run", "settings": SettingsSpec(config="MODULE:Config")}
    return [StepSpec(name="MODULE", phase="show", switch=switch, **spec)]
""".replace("KEY", "zz")
LAZY = """
import pathlib, sys, types

class Lazy(types.ModuleType):
    def __getattr__(self, name):
        raise RuntimeError(name)

sys.modules["lazy_one"] = Lazy("lazy_one")
sys.modules["path_one"] = types.ModuleType("path_one")
sys.modules["path_one"].__file__ = pathlib.Path("somewhere")
"""


class Site:
    """A folder of distributions that Python finds, as pip would leave them."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.home = home
        folder.mkdir()

    def install(self, module: str, source: str, *, name: str = "", metadata: str = "") -> None:
        source = textwrap.dedent(source).replace("MODULE", module)
        (self.folder / f"{module}.py").write_text(source)
        info = self.folder / f"{module}-1.0.dist-info"
        info.mkdir()
        distribution = module.replace("_", "-")
        text = metadata or f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
        (info / "METADATA").write_text(text)
        (info / "entry_points.txt").write_text(f"[imagen]\n{name or module} = {module}\n")

    def run(self, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "imagen_core", *args],
            env={**os.environ, "PYTHONPATH": str(self.folder), **environment},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            cwd=self.home,
            check=False,
        )

    def plugins(self, *args: str, **environment: str) -> dict[str, dict[str, Any]]:
        listed = json.loads(self.run("plugins", "--json", *args, **environment).stdout)
        return {plugin["name"]: plugin for plugin in listed}
