"""The index of all plugins: it is fresh whenever something was installed, and harms nobody."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagen_core import index
from imagen_core.plugins import Catalog, Plugin
from sites import GOOD, Site

COUNTING = """
import pathlib
with open(pathlib.Path(__file__).with_name("imports"), "a") as file:
    file.write("x")
"""


def imports(site: Site) -> int:
    file = site.folder / "imports"
    return len(file.read_text()) if file.exists() else 0


def test_index_saves_the_import_until_something_changes(site: Site) -> None:
    site.install("imagen_counts", COUNTING + GOOD.replace("TYPE", "counts"), name="counts")

    site.run("--help")
    site.run("--help")
    site.run("generate", "a cat", "--backend", "mock", "--dry-run")
    assert imports(site) == 1

    (site.folder / "imagen_counts.py").write_text(COUNTING)
    assert site.plugins()["counts"]["gives"] == []
    assert imports(site) == 2

    site.install("imagen_new", GOOD.replace("TYPE", "new"), name="new")
    assert site.plugins()["new"]["gives"] == ["backend type new"]


@pytest.mark.parametrize("damage", [b"garbage", b"{}", b"", b'{"key":"\xff"}'])
def test_corrupt_index_is_made_anew(site: Site, damage: bytes) -> None:
    site.install("imagen_counts", COUNTING, name="counts")
    site.run("--help")
    cache = Path(os.environ["IMAGEN_CACHE_DIR"])
    (file,) = cache.glob("index-*.json")
    file.write_bytes(damage)

    assert site.run("--help").returncode == 0
    assert imports(site) == 2
    assert site.run("--help").returncode == 0
    assert imports(site) == 2


def test_cache_that_cannot_be_written_does_no_harm(site: Site, tmp_path: Path) -> None:
    site.install("imagen_good", GOOD.replace("TYPE", "good"), name="good")
    (tmp_path / "file").touch()

    done = site.run("plugins", IMAGEN_CACHE_DIR=str(tmp_path / "file" / "cache"))

    assert (done.returncode, "backend type good" in done.stdout) == (0, True)


def test_completion_never_imports_a_plugin(site: Site) -> None:
    site.install("imagen_counts", COUNTING + GOOD.replace("TYPE", "counts"), name="counts")

    done = site.run(_IMAGEN_COMPLETE="bash_complete", COMP_WORDS="imagen gen", COMP_CWORD="1")

    assert done.stdout == "plain,generate\n"
    assert imports(site) == 0


def test_run_with_one_backend_imports_only_its_plugin(site: Site, tmp_path: Path) -> None:
    site.install("imagen_good", GOOD.replace("TYPE", "good"), name="good")
    site.install("imagen_counts", COUNTING + GOOD.replace("TYPE", "counts"), name="counts")
    config = tmp_path / "c.yaml"
    config.write_text("backends: {g: {type: good}, c: {type: counts}}\n")
    site.run("--help")
    before = imports(site)

    done = site.run("generate", "a cat", "--backend", "g", "--config", str(config))

    assert (done.returncode, imports(site)) == (0, before)


def test_first_plugin_in_an_empty_folder_is_seen(site: Site) -> None:
    assert "counts" not in site.plugins()

    site.install("imagen_counts", COUNTING, name="counts")

    assert "counts" in site.plugins()


def test_picture_in_the_working_folder_does_not_invalidate(site: Site) -> None:
    site.install("imagen_counts", COUNTING, name="counts")
    site.run("--help")

    (site.home / "cat.png").touch()
    site.run("--help")

    assert imports(site) == 1


def test_changed_entry_points_are_seen(site: Site) -> None:
    site.install("imagen_counts", COUNTING, name="counts")
    site.run("--help")

    points = site.folder / "imagen_counts-1.0.dist-info" / "entry_points.txt"
    points.write_text("[imagen]\nrenamed = imagen_counts\n")

    assert "renamed" in site.plugins()


def test_what_cannot_be_encoded_is_no_index(tmp_path: Path) -> None:
    plugin = Plugin(name="bad", distribution="bad", files=("bad\udcff",))

    index._write(tmp_path / "index.json", index.Index(key="", stamps={}, plugins=(plugin,)))

    assert not (tmp_path / "index.json").exists()


def test_plugin_that_hangs_costs_its_time_once_in_ten_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def discover(*_: object, **__: object) -> tuple[Plugin, ...]:
        tries.append(1)
        return (Plugin(name="slow", distribution="slow", hangs=len(tries) == 1),)

    now = 1000.0
    monkeypatch.setattr("imagen_core.discovery.discover", discover)
    monkeypatch.setattr("imagen_core.index.time.time", lambda: now)

    def open_catalog() -> Catalog:
        return index.open_catalog({}, tmp_path)

    open_catalog()
    assert (open_catalog().plugins[0].hangs, len(tries)) == (True, 1)

    now += index.RETRY_SECONDS
    assert (open_catalog().plugins[0].hangs, len(tries)) == (False, 2)
    now += 10 * index.RETRY_SECONDS
    assert (open_catalog().plugins[0].hangs, len(tries)) == (False, 2)
