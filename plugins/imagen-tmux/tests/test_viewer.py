"""`tmux-img --hold` in a pane of tmux: what is seen, and what the keys do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tmux_world import apart

if TYPE_CHECKING:
    from collections.abc import Callable

    from tmux_world import Cell, World

RED, GREEN, BLUE, YELLOW = (200, 10, 20), (10, 180, 30), (20, 30, 190), (220, 210, 20)
HOLD = ("tmux-img", "--hold")


def corners(rows: list[list[Cell]]) -> tuple[Any, ...]:
    """The colours in the middle of each quarter."""
    upper, lower = rows[len(rows) // 4], rows[len(rows) * 3 // 4]
    left, right = len(upper) // 4, len(upper) * 3 // 4
    return upper[left].over, upper[right].under, lower[left].under, lower[right].over


def sidecar(path: str, **facts: object) -> None:
    Path(f"{path}.json").write_text(json.dumps(facts), encoding="utf-8")


def test_a_window_in_the_background_shows_the_colours_of_the_picture(
    world: World, quarters: Callable[..., str]
) -> None:
    window = world.open(*HOLD, quarters())

    world.painted(window, "quarters.png")

    rows = world.blocks(window)
    assert corners(rows) == (RED, GREEN, BLUE, YELLOW)
    assert world.ask("#{window_id}") != window


def test_every_cell_has_the_colours_of_its_place(world: World, tmp_path: Path) -> None:
    from PIL import Image

    wide, high = 440, 220
    data = bytes(
        value
        for y in range(high)
        for x in range(wide)
        for value in (x * 255 // wide, y * 255 // high, (x + y) * 255 // (wide + high))
    )
    picture = Image.frombytes("RGB", (wide, high), data)
    picture.save(tmp_path / "gradient.png")

    window = world.open(*HOLD, str(tmp_path / "gradient.png"))
    world.painted(window, "gradient.png")

    rows = world.blocks(window)
    expected = picture.resize((len(rows[0]), len(rows) * 2), Image.Resampling.BOX)
    for y, row in enumerate(rows):
        assert len(row) == len(rows[0])
        for x, cell in enumerate(row):
            for colour, place in ((cell.over, (x, 2 * y)), (cell.under, (x, 2 * y + 1))):
                wanted = expected.getpixel(place)
                assert apart(colour, wanted) <= 6


@pytest.mark.parametrize(
    ("size", "cells"),
    [
        ((400, 400), (44, 22)),
        ((1600, 400), (80, 10)),
        ((100, 1000), (4, 22)),
        ((10, 10), (44, 22)),
        ((3000, 3), (80, 1)),
        ((3, 3000), (1, 22)),
    ],
)
def test_the_picture_fills_the_pane_and_keeps_its_shape(
    size: tuple[int, int],
    cells: tuple[int, int],
    world: World,
    quarters: Callable[..., str],
) -> None:
    window = world.open(*HOLD, quarters(size=size))

    world.painted(window, "quarters.png")

    rows = world.blocks(window)
    assert (len(rows[0]), len(rows)) == cells


def test_it_is_turned_as_the_camera_was_held(world: World, quarters: Callable[..., str]) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    window = world.open(*HOLD, quarters("turned.jpg", (800, 400), exif=exif, quality=100))

    world.painted(window, "turned.jpg")

    rows = world.blocks(window)
    assert len(rows[0]) == len(rows)  # 400 by 800, in cells that are twice as high
    expected = (BLUE, RED, YELLOW, GREEN)
    for found, wanted in zip(corners(rows), expected, strict=True):
        assert apart(found, wanted) <= 6
    assert "400x800" in world.shown(window)


def test_what_is_transparent_is_seen_through(world: World, tmp_path: Path) -> None:
    from PIL import Image

    picture = Image.new("RGBA", (400, 400), (255, 0, 0, 0))
    picture.paste((0, 0, 255, 255), (0, 0, 200, 400))
    picture.save(tmp_path / "clear.png")

    window = world.open(*HOLD, str(tmp_path / "clear.png"))
    world.painted(window, "clear.png")

    colours: set[Any] = {cell.over for row in world.blocks(window) for cell in row[-10:]}
    assert colours
    assert all(red == green == blue >= 220 for red, green, blue in colours)
    assert world.blocks(window)[5][5].over == (0, 0, 255)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "I;16", "CMYK", "RGBA"])
def test_every_kind_of_pixel_is_shown(mode: str, world: World, tmp_path: Path) -> None:
    from PIL import Image

    grey = Image.new("L", (64, 64), 128)
    deep = Image.frombytes("I;16", (64, 64), b"\x80\x80" * 4096)
    name = "some.jpg" if mode == "CMYK" else "some.png"
    (deep if mode == "I;16" else grey.convert(mode)).save(tmp_path / name)

    window = world.open(*HOLD, str(tmp_path / name))
    world.painted(window, name)

    rows = world.blocks(window)
    assert len(rows) == 22
    if mode != "1":  # that one is dithered
        assert rows[5][5].over == (128, 128, 128)


@pytest.mark.parametrize(("mode", "side", "most"), [("RGBA", 6000, 250), ("L", 8100, 150)])
def test_a_large_picture_is_decoded_once(mode: str, side: int, most: int, tmp_path: Path) -> None:
    from PIL import Image

    Image.new(mode, (side, side), 99).save(tmp_path / "large.png", compress_level=1)
    code = (
        "import sys; from imagen_tmux.viewer.picture import load;"
        "found = load(sys.argv[1], (1200, 760));"
        "status = open('/proc/self/status').read().split();"
        "print(found.size, int(status[status.index('VmHWM:') + 1]) // 1000)"
    )

    command = [sys.executable, "-c", code, str(tmp_path / "large.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    size, _, megabytes = done.stdout.rpartition(" ")
    assert size == f"({side}, {side})"
    assert int(megabytes) < most


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "L", "1", "I;16"])
def test_a_large_picture_in_strips_is_the_same_as_in_one(mode: str, tmp_path: Path) -> None:
    from PIL import Image

    from imagen_tmux.viewer.picture import load

    base = Image.radial_gradient("L").resize((2501, 2003))
    deep = base.convert("I").point(lambda value: value * 256).convert("I;16")
    (deep if mode == "I;16" else base.convert(mode)).save(tmp_path / "x.png", compress_level=1)

    found = load(str(tmp_path / "x.png"), (300, 200)).image

    assert found is not None
    expected = base.convert(mode if mode in "P1" else "L").convert("RGB").reduce(4)
    assert found.size == expected.size
    pairs = zip(found.tobytes(), expected.tobytes(), strict=True)
    assert max(abs(one - other) for one, other in pairs) <= 1


@pytest.mark.parametrize(
    "name", ["some.webp", "some.gif", "some.avif", "some.jpg", "png-within.txt"]
)
def test_every_format_of_imagen_is_shown(
    name: str, world: World, quarters: Callable[..., str]
) -> None:
    path = quarters(name if "txt" not in name else "x.png")
    if "txt" in name:
        path = str(Path(path).rename(Path(path).with_name(name)))

    window = world.open(*HOLD, path)
    world.painted(window, name)

    for found, wanted in zip(
        corners(world.blocks(window)), (RED, GREEN, BLUE, YELLOW), strict=True
    ):
        assert apart(found, wanted) <= 12


def test_the_caption_tells_prompt_backend_seed_and_time(
    world: World, quarters: Callable[..., str]
) -> None:
    path = quarters()
    sidecar(
        path,
        prompt="a cat\nin a 金魚鉢\x1b[31m",
        backend="mock",
        seed=42,
        latency_ms=2345,
        date="2026-05-08",
        time="143015",
    )

    window = world.open(*HOLD, path)
    *_, first, second = world.painted(window, "quarters.png").rstrip().split("\n")

    assert first.strip() == "a cat in a 金魚鉢 [31m"
    assert second.strip() == "mock · seed 42 · 400x400 · 2.3 s · 2026-05-08 14:30 · quarters.png"


def test_a_long_prompt_is_cut_to_the_pane(world: World, quarters: Callable[..., str]) -> None:
    path = quarters()
    sidecar(path, prompt="猫" * 300)

    window = world.open(*HOLD, path)
    *_, first, _ = world.painted(window, "quarters.png").rstrip().split("\n")

    assert first.strip() == "猫" * 39 + "…"


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '"x"', '{"prompt": 5, "seed": "x", "latency_ms": []}', "[" * 100_000, "\xff"],
)
def test_a_sidecar_that_makes_no_sense_is_none(
    content: str, world: World, quarters: Callable[..., str]
) -> None:
    path = quarters()
    Path(f"{path}.json").write_bytes(content.encode("latin-1"))

    window = world.open(*HOLD, path)
    *_, first, second = world.painted(window, "400x400").rstrip().split("\n")

    assert (first.strip(), second.strip()) == ("quarters.png", "400x400")


def test_it_is_drawn_anew_when_the_pane_is_resized(
    world: World, quarters: Callable[..., str]
) -> None:
    window = world.open(*HOLD, quarters())
    world.painted(window, "quarters.png")

    world.tmux("resize-window", "-t", window, "-x", "40", "-y", "12")
    world.wait(lambda: [len(row) for row in world.blocks(window)] == [20] * 10)
    rows = world.blocks(window)

    assert corners(rows) == (RED, GREEN, BLUE, YELLOW)
    world.tmux("resize-window", "-t", window, "-x", "3", "-y", "2")
    world.wait(lambda: [len(row) for row in world.blocks(window)] == [3, 3])
    world.tmux("resize-window", "-t", window, "-x", "120", "-y", "50")
    world.wait(lambda: len(world.blocks(window)) == 48)


def test_keys_page_through_the_pictures(world: World, quarters: Callable[..., str]) -> None:
    paths = [quarters(f"picture-{number}.png") for number in (1, 2, 3)]
    window = world.open(*HOLD, *paths)
    world.painted(window, "1/3")

    steps = {
        "Right": 2, "n": 3, "Space": 3, "Left": 2, "p": 1, "BSpace": 1, "G": 3, "g": 1, "End": 3,
        "Home": 1, "PageDown": 2, "PageUp": 1, "Down": 2, "Up": 1, "j": 2, "k": 1, "l": 2, "h": 1,
    }  # fmt: skip
    for key, number in steps.items():
        world.tmux("send-keys", "-t", window, key)
        world.painted(window, f"{number}/3")
        assert f"picture-{number}.png" in world.shown(window)


@pytest.mark.parametrize("key", ["q", "Enter", "Escape", "x", "C-c", "C-d"])
def test_any_other_key_ends_it(key: str, world: World, quarters: Callable[..., str]) -> None:
    window = world.open(*HOLD, quarters())
    world.painted(window, "quarters.png")

    world.tmux("send-keys", "-t", window, key)

    world.wait(lambda: world.windows() == [])


@pytest.mark.parametrize("key", ["F1", "F5", "F12", "DC", "IC", "S-Left"])
def test_a_key_that_comes_as_a_sequence_does_not_end_it(
    key: str, world: World, quarters: Callable[..., str]
) -> None:
    window = world.open(*HOLD, quarters("one.png"), quarters("two.png"))
    world.painted(window, "one.png")

    world.tmux("send-keys", "-t", window, key, "n")

    world.painted(window, "two.png")


def test_r_shows_what_is_in_the_file_now(world: World, quarters: Callable[..., str]) -> None:
    from PIL import Image

    path = quarters()
    window = world.open(*HOLD, path)
    world.painted(window, "quarters.png")
    Image.new("RGB", (50, 50), YELLOW).save(path)

    world.tmux("send-keys", "-t", window, "r")

    world.painted(window, "50x50")
    assert corners(world.blocks(window)) == (YELLOW,) * 4


def spoiled(path: Path, how: str) -> str:
    if how == "gone":
        path.unlink()
        return "the file is gone"
    if how == "text":
        path.write_text("no picture")
        return "this is no picture that can be shown here"
    if how == "empty":
        path.write_bytes(b"")
        return "this is no picture that can be shown here"
    if how == "cut off":
        path.write_bytes(path.read_bytes()[:200])
        return "the file is damaged"
    if how == "noise":
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + os.urandom(5000))
        return "the file is damaged"
    if how == "folder":
        path.unlink()
        path.mkdir()
        return "this is no regular file"
    if how == "pipe":
        path.unlink()
        os.mkfifo(path)
        return "this is no regular file"
    head = path.read_bytes()
    huge = (100_000).to_bytes(4, "big") * 2
    import zlib

    chunk = b"IHDR" + huge + head[24:29]
    path.write_bytes(head[:12] + chunk + zlib.crc32(chunk).to_bytes(4, "big") + head[33:])
    return "it is too large to be shown here: 100000x100000"


@pytest.mark.parametrize(
    "how", ["gone", "text", "empty", "cut off", "noise", "folder", "pipe", "huge"]
)
def test_what_can_not_be_shown_is_told_in_the_window(
    how: str, world: World, quarters: Callable[..., str]
) -> None:
    path, good = quarters("bad.png"), quarters("good.png")
    told = spoiled(Path(path), how)

    window = world.open(*HOLD, path, good)
    shown = world.painted(window, told)

    assert shown.count("bad.png") == 1
    world.tmux("send-keys", "-t", window, "n")
    world.painted(window, "good.png")
    assert corners(world.blocks(window)) == (RED, GREEN, BLUE, YELLOW)


@pytest.mark.parametrize("name", ["it's $(touch pwned);", "-x.png", "猫 % #(touch pwned)", "a\nb"])
def test_a_path_is_shown_without_steering_the_terminal(
    name: str, world: World, quarters: Callable[..., str], tmp_path: Path
) -> None:
    path = Path(quarters()).rename(tmp_path / name)

    window = world.open(*HOLD, "--", f"{path}".replace(";", "\\;"))
    world.painted(window, name.replace("\n", " "))

    assert corners(world.blocks(window)) == (RED, GREEN, BLUE, YELLOW)
    assert not list(tmp_path.rglob("pwned"))


def test_256_colours_are_the_nearest_ones(world: World, quarters: Callable[..., str]) -> None:
    window = world.open(*HOLD, "--protocol", "blocks-256", quarters())
    world.painted(window, "quarters.png")

    names = corners(world.blocks(window))
    #  (215, 0, 0), (0, 175, 0), (0, 0, 175), (215, 215, 0)
    assert names == ("index 160", "index 34", "index 19", "index 184")


def test_the_variable_says_what_the_flag_says(world: World, quarters: Callable[..., str]) -> None:
    window = world.open("env", "TMUX_IMG_PROTOCOL=blocks-256", *HOLD, quarters())
    world.painted(window, "quarters.png")

    assert str(world.blocks(window)[1][1].over).startswith("index")


def test_a_bad_variable_of_the_environment_of_tmux_is_told_below_the_picture(
    world: World, quarters: Callable[..., str]
) -> None:
    world.tmux("set-environment", "-g", "TMUX_IMG_PROTOCOL", "bogus")
    window = world.open(*HOLD, quarters())

    world.painted(window, "$TMUX_IMG_PROTOCOL: there is no protocol 'bogus'; taking auto")

    assert corners(world.blocks(window)) == (RED, GREEN, BLUE, YELLOW)


def test_a_list_of_paths_is_read(
    world: World, quarters: Callable[..., str], tmp_path: Path
) -> None:
    paths = [quarters(f"{number}\n.png") for number in range(3)]
    (tmp_path / "list").write_text("\0".join([*paths, ""]))

    window = world.open(*HOLD, "--list", str(tmp_path / "list"))

    world.painted(window, "1/3")


def test_in_the_pane_of_a_shell_it_prints_the_picture_and_ends(
    world: World, quarters: Callable[..., str]
) -> None:
    said = world.run(f"tmux-img {quarters()}")

    assert said.split("\n")[-3:] == ["quarters.png", "400x400", "code 0"]
    assert corners(world.blocks("main:0")) == (RED, GREEN, BLUE, YELLOW)


def test_it_works_without_knowing_its_pane(world: World, quarters: Callable[..., str]) -> None:
    window = world.open("env", "-u", "TMUX_PANE", *HOLD, quarters())

    world.painted(window, "quarters.png")

    assert corners(world.blocks(window)) == (RED, GREEN, BLUE, YELLOW)
    assert world.ask("#{pane_title}", window) == world.ask("#{pane_title}", "main:0")
