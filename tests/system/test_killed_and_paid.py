"""Killed again and again, batch and compare pay a server once for each making, and lose nothing."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from imagen_core.ledger import Ledger

if TYPE_CHECKING:
    from sites import Site

pytestmark = pytest.mark.system

SHOP = """
import pathlib
import time
from io import BytesIO

import msgspec
from imagen_core import About, Accepted, Backend, BackendSpec, Cost, Image, Progress, hookimpl


class Config(msgspec.Struct, frozen=True, kw_only=True):
    journal: str
    card: str = ""


class Shop(Backend):
    def __init__(self, config, context):
        self.journal = pathlib.Path(config.journal)
        self.resource = config.card or None

    @property
    def about(self):
        return About(model="shop", honours=frozenset({"size", "seed"}))

    def is_full(self):
        most = self.journal.with_name("most")
        return most.exists() and len(list(self.journal.iterdir())) >= int(most.read_text())

    def generate(self, request):
        if not request.resume:
            # As a server does that takes ids: the same one again is the same order.
            order = self.journal / request.id
            while not order.exists() and self.is_full():
                time.sleep(0.01)
            order.touch()
            yield Accepted(remote_id=f"r-{request.id}")
        yield Cost(usd=1.0, basis="price")
        for number in range(2):
            yield Progress(step=number + 1, steps=2)
            time.sleep(0.01)
            yield Image(data=picture(request.seed, number), mime="image/png", seed=request.seed)


def picture(seed, number):
    from PIL import Image as Pillow

    file = BytesIO()
    colour = (seed % 256, seed // 256 % 256, number)
    Pillow.new("RGB", (16, 16), colour).save(file, "PNG")
    return file.getvalue()


@hookimpl
def imagen_backends():
    return [BackendSpec(type="shop", summary="it", config="MODULE:Config", create="MODULE:Shop")]
"""
ROWS = 60


@pytest.fixture
def journal(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What was paid for: a file for each order."""
    folder = tmp_path / "journal"
    folder.mkdir()
    site.install("imagen_shop", SHOP, name="shop")
    block = f"type: shop, journal: {folder}"
    (tmp_path / "c.yaml").write_text(
        "backends:\n"
        f"  shop: {{{block}}}\n"
        f"  one: {{{block}, card: gpu}}\n"
        f"  two: {{{block}, card: gpu}}\n"
        "  slow: {type: mock, delay_ms: 60}\n"
        "  bad: {type: mock, fail: rejected}\n"
    )
    monkeypatch.setenv("IMAGEN_CONFIG", str(tmp_path / "c.yaml"))
    monkeypatch.setenv("PYTHONPATH", str(site.folder))
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    return folder


def start(*args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "imagen_core", *args],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def killed_after(number: int, folder: Path, journal: Path, args: tuple[str, ...]) -> None:
    """Start it, and kill it when so many pictures are there; it can't get far beyond that."""
    most = journal.with_name("most")
    most.write_text(str(number // 2 + 1))
    process = start(*args)
    while len(list(folder.rglob("*-*.png"))) < number:
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    most.unlink()


def ledger_runs() -> dict[str, Any]:
    ledger = Ledger(Path(os.environ["IMAGEN_DATA_DIR"]))
    found = {run.id: run for run in ledger.runs()}
    ledger.close()
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_batch_pays_once_for_each_row_and_gets_both_pictures(
    journal: Path, tmp_path: Path, seed: int
) -> None:
    (tmp_path / "rows.txt").write_text("".join(f"prompt {n}\n" for n in range(ROWS)))
    out = tmp_path / "out"
    args = ("batch", str(tmp_path / "rows.txt"), "--backend", "shop", "--output-dir", str(out))
    dice, there = random.Random(seed), 0
    for _ in range(5):
        there += dice.randint(1, ROWS // 3)
        killed_after(there, out, journal, args)

    process = start(*args)
    _, err = process.communicate(timeout=120)

    assert process.returncode == 0, err
    lines = [json.loads(line) for line in (out / "rows.batch.jsonl").read_text().splitlines()]
    pictures = sorted(str(path) for path in out.glob("*.png"))
    assert [line["status"] for line in lines] == ["done"] * ROWS
    assert sorted(kept["path"] for line in lines for kept in line["outputs"]) == pictures
    assert len(pictures) == 2 * ROWS
    assert {path.name for path in journal.iterdir()} == {line["id"] for line in lines}
    runs = ledger_runs()
    assert {run.id: [o.path for o in run.outputs] for run in runs.values()} == {
        line["id"]: [kept["path"] for kept in line["outputs"]] for line in lines
    }
    assert [run.cost.usd for run in runs.values()] == [1.0] * ROWS
    for path in pictures:
        assert json.loads(Path(f"{path}.json").read_text())["file"] == Path(path).name
    assert all(is_whole(part) for part in out.glob(".imagen-*.part"))


def is_whole(path: Path) -> bool:
    data = path.read_bytes()
    return data.startswith(b"\x89PNG") and data.endswith(b"IEND\xaeB`\x82")


class Data(HTMLParser):
    """The data of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._inside = False
        self.content: dict[str, Any] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag == "script" and ("id", "data") in attrs

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.content = json.loads(data)
            self._inside = False


@pytest.mark.parametrize("seed", [1, 2])
def test_compare_makes_every_cell_once_and_shows_it_after_each_kill(
    journal: Path, tmp_path: Path, seed: int
) -> None:
    """With one that fails, a slow one, and two instances of one resource."""
    models, seeds = ("one", "two", "slow", "bad"), range(1, 7)
    out, dice, there = tmp_path / "out", random.Random(seed), 0
    out.mkdir()
    axes = ("--models", ",".join(models), "--seeds", f"1..{len(seeds)}")
    args: tuple[str, ...] = ("compare", "a cat", *axes, "--size", "32x32", "--output-dir", str(out))
    for _ in range(4):
        there += dice.randint(1, 5)
        killed_after(there, out, journal, args)
        [folder] = out.iterdir()
        args = ("compare", "--resume", str(folder))

    process = start(*args)
    shown, err = process.communicate(timeout=120)

    assert process.returncode == 7, err
    assert shown.splitlines() == [str(folder / "sheet.png"), str(folder / "index.html")]
    found = json.loads((folder / "compare.json").read_text())
    states = {(cell["model"], cell["status"]) for cell in found["cells"]}
    assert states == {("one", "done"), ("two", "done"), ("slow", "done"), ("bad", "failed")}
    names = [name for cell in found["cells"] for name in cell["files"]]
    assert sorted(names) == sorted(
        path.name for path in folder.glob("*-*.png") if path.name != "sheet.png"
    )
    assert len(names) == len(seeds) * (2 + 2 + 1)
    paid = {cell["id"] for cell in found["cells"] if cell["model"] in ("one", "two")}
    assert {path.name for path in journal.iterdir()} == paid
    page = (folder / "index.html").read_text()
    data = Data(page).content
    assert [cell["files"] for cell in data["compare"]["cells"]] == [
        cell["files"] for cell in found["cells"]
    ]
    assert not re.search(r"https?://(?!www\.w3\.org)", page.partition('id="data"')[0])
    with Image.open(folder / "sheet.png") as sheet:
        sheet.load()
        assert sheet.width > len(models) * 100
        assert sheet.height > len(seeds) * 100
    assert all(is_whole(part) for part in folder.glob(".imagen-*.part"))
