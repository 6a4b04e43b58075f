"""`imagen generate`, `compare` and `batch` with the preview, inside tmux and outside."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import imagen_core
from tmux_world import apart

if TYPE_CHECKING:
    from tmux_world import World

CAT = ("generate", "a cat", "--backend", "mock", "--seed", "1", "--size", "64x64")
OUTSIDE = (
    "imagen: preview: this is not inside tmux: $TMUX is not set; "
    "start tmux first, or leave the preview out with --no-preview\n"
)


@pytest.mark.parametrize("config", ["", "auto", "on", "off", "true", "false"])
@pytest.mark.parametrize("variable", ["", "auto", "on", "off"])
@pytest.mark.parametrize("flag", ["", "--preview", "--no-preview"])
def test_the_flag_beats_the_variable_which_beats_the_file(
    config: str,
    variable: str,
    flag: str,
    imagen: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "imagen.yaml"
    file.write_text(f"output: {{preview: {config}}}" if config else "store: auto")
    monkeypatch.setenv("IMAGEN_PREVIEW", variable)
    found = {"--preview": "on", "--no-preview": "off"}.get(flag) or variable or config or "auto"
    by = (flag and f"by {flag}") or (variable and "by $IMAGEN_PREVIEW") or f"by {file}:1"
    said = {
        "auto": "off (not inside tmux)",
        **dict.fromkeys(("on", "true"), f"on (set {by})"),
        **dict.fromkeys(("off", "false"), f"off (set {by})"),
    }[found]

    done = imagen(*CAT, "--config", str(file), "--dry-run", *filter(None, [flag]))

    assert f"preview: {said}\n" in done.out


@pytest.mark.parametrize("value", ["maybe", "1", "yes please"])
def test_another_value_is_an_error(
    value: str, imagen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "imagen.yaml"
    file.write_text(f"output: {{preview: {value}}}")

    told = imagen(*CAT, "--config", str(file))
    monkeypatch.setenv("IMAGEN_PREVIEW", value)

    assert (told.exit_code, "output.preview: expected auto, on or off" in told.err) == (2, True)
    told = imagen(*CAT)
    assert (told.exit_code, "$IMAGEN_PREVIEW: expected auto, on or off" in told.err) == (2, True)


def test_forced_outside_tmux_it_is_a_warning(imagen: Any) -> None:
    done = imagen(*CAT, "--preview")

    assert (done.exit_code, done.paths[0].exists()) == (0, True)
    assert done.err.endswith(OUTSIDE)


def test_outside_tmux_nothing_is_said_by_itself(imagen: Any) -> None:
    assert imagen(*CAT).err == ""


@pytest.mark.parametrize("fail", ["unavailable", "rejected", "credentials", "failed", "usage"])
def test_the_exit_code_is_that_of_the_picture(fail: str, imagen: Any) -> None:
    without = imagen(*CAT, "-p", f"fail={fail}", "--no-preview")
    with_it = imagen(*CAT, "-p", f"fail={fail}", "--preview")

    assert with_it == without
    assert without.exit_code != 0


def test_a_picture_opens_a_window(inside: World, recorder: Any, imagen: Any) -> None:
    done = imagen(*CAT, "--preview")

    inside.wait(recorder.calls)
    assert recorder.calls() == [[f"{recorder.folder}/tmux-img", "--hold", str(done.paths[0])]]
    assert inside.windows() == ["img:a-cat"]
    assert (done.exit_code, done.err) == (0, "")


def test_json_stays_as_it_is(inside: World, recorder: Any, imagen: Any) -> None:
    done = imagen(*CAT, "--preview", "--json")

    inside.wait(recorder.calls)
    assert len(done.json()) == 1
    assert done.err == ""


def test_a_relative_path_opens_the_same_picture(
    inside: World, recorder: Any, imagen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    imagen(*CAT, "--preview", "--output", "../it's;")

    inside.wait(recorder.calls)
    assert recorder.calls()[0][2] == f"{tmp_path}/here/../it's;"


def test_a_path_behind_a_link_opens_the_same_picture(
    inside: World, recorder: Any, imagen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "away")
    monkeypatch.chdir(tmp_path)

    imagen(*CAT, "--preview", "--output", "link/../x.png")

    inside.wait(recorder.calls)
    opened = Path(recorder.calls()[0][2])
    assert opened.exists()
    assert opened.samefile(tmp_path / "far" / "x.png")


def test_several_pictures_are_in_one_window(inside: World, recorder: Any, imagen: Any) -> None:
    done = imagen(*CAT, "--preview", "--count", "3")

    inside.wait(recorder.calls)
    [[_, _, *paths]] = recorder.calls()
    assert sorted(paths) == sorted(map(str, done.paths))
    assert inside.windows() == ["img:a-cat"]


def test_a_comparison_shows_its_sheet(inside: World, recorder: Any, imagen: Any) -> None:
    words = ("compare", "a cat", "--models", "mock", "--seeds", "1..3", "--size", "64x64")
    done = imagen(*words, "--preview")

    inside.wait(recorder.calls)
    [[_, _, sheet]] = recorder.calls()
    assert sheet == str(done.paths[0])
    assert sheet.endswith("/sheet.png")
    assert inside.windows() == ["img:a-cat"]


def test_a_batch_opens_one_window(
    inside: World, recorder: Any, imagen: Any, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.txt"
    rows.write_text("a cat\na dog\n")
    done = imagen("batch", str(rows), "--backend", "mock", "--size", "64x64", "--preview")

    inside.wait(recorder.calls)
    [[_, _, *paths]] = recorder.calls()
    assert sorted(paths) == sorted(map(str, done.paths))
    assert len(inside.windows()) == 1


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("TMUX", "/gone/socket,1,0", "the tmux server of $TMUX is gone: error connecting to"),
        ("PATH", "/gone", "there is no tmux in the PATH"),
        ("IMAGEN_CONFIG", "{config}", "there is no viewer 'no-such' in the PATH"),
    ],
)
def test_what_goes_wrong_is_a_warning(
    variable: str,
    value: str,
    said: str,
    inside: World,
    imagen: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tmp_path / "imagen.yaml"
    config.write_text('default_backend: mock\ntmux: {command: [no-such, "{path}"]}')
    monkeypatch.setenv(variable, value.replace("{config}", str(config)))

    done = imagen(*CAT, "--preview")

    assert (done.exit_code, done.paths[0].exists()) == (0, True)
    assert done.err.startswith(f"imagen: preview: {said}")
    assert len(done.err.splitlines()) == 1
    assert inside.windows() == []


def test_on_a_terminal_inside_tmux_it_comes_by_itself(world: World, tmp_path: Path) -> None:
    command = shlex.join(["imagen", *CAT, "--output", str(tmp_path / "x.png")])

    said = world.run(command)

    assert said == f"{tmp_path}/x.png\ncode 0"
    [window] = world.windows("#{window_id}")
    world.painted(window, "seed 1")
    assert len(world.blocks(window)) == 22
    assert world.ask("#{window_index}") == "0"


def test_the_viewer_paints_the_picture_that_was_made(world: World, tmp_path: Path) -> None:
    from PIL import Image

    world.run(shlex.join(["imagen", *CAT, "--output", str(tmp_path / "x.png")]))
    [window] = world.windows("#{window_id}")
    world.painted(window, "seed 1")

    rows = world.blocks(window)
    with Image.open(tmp_path / "x.png") as picture:
        size = len(rows[0]), len(rows) * 2
        expected = picture.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    found = [cell for row in rows for cell in row]
    wanted = [expected.getpixel((x, 2 * y)) for y in range(len(rows)) for x in range(size[0])]
    off = [apart(cell.over, colour) for cell, colour in zip(found, wanted, strict=True)]
    assert sorted(off)[int(len(off) * 0.95)] <= 8


@pytest.mark.parametrize("more", ["| cat", "--no-preview"])
def test_no_window_comes_where_nobody_asked_for_one(
    more: str, world: World, tmp_path: Path
) -> None:
    command = shlex.join(["imagen", *CAT, "--output", str(tmp_path / "x.png")])

    assert world.run(f"{command} {more}") == f"{tmp_path}/x.png\ncode 0"
    assert world.windows() == []


def test_a_hostile_prompt_and_path_run_nothing(world: World, tmp_path: Path) -> None:
    hostile = 'it\'s "a" $(touch pwned) `touch pwned` #(touch pwned) %s;'
    folder = tmp_path / "100% #{pid}"
    folder.mkdir()
    path = folder / "-it's $(touch pwned) 猫.png;"
    words = ["imagen", "generate", *CAT[2:], "--output", str(path), "--", hostile]

    said = world.run(f"cd {shlex.quote(str(folder))}; {shlex.join(words)}")

    assert said.endswith("code 0")
    [window] = world.windows("#{window_id}")
    assert hostile in world.painted(window, "猫.png;")
    assert world.windows() == ["img:it-s-a-touch-pwned-touch-pwned-touch"]
    assert list(tmp_path.rglob("pwned")) == []


def test_nothing_but_these_commands_shows_pictures() -> None:
    """A worker or a server has nobody to show them to: whoever calls the phase is named here."""
    root = Path(imagen_core.__file__).parent
    asking = re.compile(r"pipeline(\([^)]*\))?\.show\(|_run_steps\(\s*\"show\"")

    found = {
        path.relative_to(root).as_posix()
        for folder in (root, *Path(__file__).parents[2].glob("imagen-*/imagen_*"))
        for path in folder.rglob("*.py")
        if asking.search(path.read_text(encoding="utf-8"))
    }

    commands = {f"cli/{name}.py" for name in ("batch_run", "compare_run", "shared")}
    assert found == {"pipeline.py", *commands}


def test_a_configuration_is_checked(
    imagen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "imagen.yaml"

    def said(block: str) -> tuple[int, str]:
        file.write_text(f"default_backend: mock\ntmux: {block}\n")
        done = imagen("config", "validate", "--config", str(file))
        return done.exit_code, done.err

    monkeypatch.setenv("PATH", os.defpath)
    for fine in ("{protocol: kitty}", '{command: [tmux-img, --hold, "{path}"]}'):
        code, err = said(fine)
        assert (code, "tmux" in err, f"imagen: {file} is fine\n" in err) == (0, False, True)
    assert "tmux.protocol: expected one of auto, kitty, sixel" in said("{protocol: jpeg}")[1]
    assert "tmux.commnd: unknown key" in said("{commnd: [a]}")[1]
    assert "none of its arguments has {path} in it" in said("{command: [tmux-img]}")[1]
    assert "none of its arguments has {path} in it" in said('{command: ["{path}"]}')[1]
    assert said("{command: []}")[0] == 2
    assert said("{command: tmux-img}")[0] == 2
    code, err = said('{command: [no-such, "{path}"]}')
    assert (code, "tmux.command: there is no 'no-such' in the PATH" in err) == (0, True)


def test_several_problems_of_the_block_are_one_line(imagen: Any, tmp_path: Path) -> None:
    file = tmp_path / "imagen.yaml"
    file.write_text("default_backend: mock\ntmux: {command: [1, 2]}\n")

    done = imagen("generate", "a cat", "--size", "8x8", "--preview", "--config", str(file))

    [warning] = [line for line in done.err.splitlines() if "tmux.command" in line]
    assert warning.startswith("imagen: preview: ")
    assert "command[0]: expected str, got int; " in warning
    assert "command[1]: expected str, got int" in warning


def test_the_sample_of_the_configuration_validates(imagen: Any, tmp_path: Path) -> None:
    file = tmp_path / "imagen.yaml"
    sample = imagen("config", "init").out
    assert "# tmux:" in sample
    assert "preview: auto" in sample

    lines = [
        line[2:] if line.startswith(("# tmux:", "#   command:", "#   protocol:")) else line
        for line in sample.splitlines()
    ]
    file.write_text("\n".join(lines))
    assert imagen("config", "validate", "--config", str(file)).exit_code == 0
