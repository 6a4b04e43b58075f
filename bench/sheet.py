"""Contact sheets: imagen's own, ImageMagick's `montage`, and a plain loop with Pillow."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.environments import ROOT, tell
from imagen_core.glyphs import font_folders

if TYPE_CHECKING:
    from collections.abc import Sequence

IMAGEN, MONTAGE, PILLOW = "imagen", "montage", "pillow"
COUNTS = (4, 16, 100)
KINDS = ("png", "jpg")
ROUNDS, QUICK = 3, 1
SIDE, TILE, GAP = 1024, 384, 8
PHOTOS = 12
"""So many pictures are made; a larger sheet shows them again."""


class Spent(NamedTuple):
    """What a process took: seconds, and bytes of memory at its peak."""

    seconds: float
    memory: int


class Sheets(NamedTuple):
    """Sheets of so many pictures of a kind, by each of the three; empty if it is not there."""

    kind: str
    count: int
    imagen: list[Spent]
    montage: list[Spent]
    pillow: list[Spent]


def measure(folder: Path, *, quick: bool) -> list[Sheets]:
    """Measure each kind and count, all three in turns, as processes of their own."""
    tell("contact sheets ...")
    _own("photos", folder)
    if not shutil.which(MONTAGE):
        tell("there is no montage here (Debian package imagemagick): it is not measured")
    rounds = QUICK if quick else ROUNDS
    return [_measure(folder, kind, count, rounds) for kind in KINDS for count in COUNTS]


def _measure(folder: Path, kind: str, count: int, rounds: int) -> Sheets:
    found = Sheets(kind, count, [], [], [])
    paths = [str(path) for path in _paths(folder, kind, count)]
    montage = shutil.which(MONTAGE)
    for _ in range(rounds):
        found.imagen.append(_own(IMAGEN, folder, kind, str(count)))
        found.pillow.append(_own(PILLOW, folder, kind, str(count)))
        if montage:
            shape = f"{TILE}x{TILE}+{GAP}+{GAP}"
            options = ("-geometry", shape, "-tile", f"{_columns(count)}x")
            out = str(folder / "montage.png")
            labels = ("-label", "%f", *_font_option())
            found.montage.append(_timed([montage, *labels, *paths, *options, out]))
    return found


def _font_option() -> list[str]:
    """The font that ImageMagick asks for by default is of another package."""
    fonts = (path for folder in font_folders() for path in sorted(folder.rglob("*Sans.ttf")))
    return [word for path in islice(fonts, 1) for word in ("-font", str(path))]


def _own(what: str, folder: Path, *arguments: str) -> Spent:
    return _timed([sys.executable, "-m", "bench.sheet", what, str(folder), *arguments])


def _timed(command: Sequence[str]) -> Spent:
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command[:5])} failed with the exit code {process.returncode}")
    return Spent(seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def _columns(count: int) -> int:
    return round(count**0.5)


def _paths(folder: Path, kind: str, count: int) -> list[Path]:
    return [folder / f"photo-{number % PHOTOS}.{kind}" for number in range(count)]


def make_photos(folder: Path) -> None:
    """Large soft shapes and the noise of a sensor: about 2 MB as a PNG, as photographs have."""
    from PIL import Image, ImageChops

    chance = random.Random(1)
    for number in range(PHOTOS):
        bands = []
        for _ in range(3):
            coarse = Image.frombytes("L", (24, 24), chance.randbytes(576))
            fine = Image.frombytes("L", (SIDE, SIDE), chance.randbytes(SIDE * SIDE))
            soft = coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            noise = fine.point([value // 16 for value in range(256)])
            bands.append(ImageChops.add(soft, noise))
        photo = Image.merge("RGB", bands)
        photo.save(folder / f"photo-{number}.png", compress_level=3)
        photo.save(folder / f"photo-{number}.jpg", quality=90)


def draw_with_imagen(folder: Path, kind: str, count: int) -> None:
    """The sheet of `imagen compare`."""
    from imagen_core.sheet import Sheet, Tile, draw_sheet

    tiles = [Tile(path, (path.name,)) for path in _paths(folder, kind, count)]
    columns = _columns(count)
    rows = [tiles[at : at + columns] for at in range(0, count, columns)]
    draw_sheet(Sheet("a bench", "", rows), folder / "imagen.png", tile=TILE)


def draw_with_pillow(folder: Path, kind: str, count: int) -> None:
    """What anybody would write: open, thumbnail, paste, save."""
    from PIL import Image, ImageDraw, ImageFont

    columns, step, label = _columns(count), TILE + 2 * GAP, 24
    size = columns * step, -(-count // columns) * (step + label)
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for number, path in enumerate(_paths(folder, kind, count)):
        x, y = number % columns * step + GAP, number // columns * (step + label) + GAP
        with Image.open(path) as picture:
            picture.thumbnail((TILE, TILE))
            sheet.paste(picture, (x, y))
        pen.text((x, y + TILE), path.name, "black", font)
    sheet.save(folder / "pillow.png")


def _main(what: str, folder: str, kind: str = "", count: str = "0") -> None:
    if what == "photos":
        make_photos(Path(folder))
    else:
        draw = draw_with_imagen if what == IMAGEN else draw_with_pillow
        draw(Path(folder), kind, int(count))


if __name__ == "__main__":
    _main(*sys.argv[1:])
