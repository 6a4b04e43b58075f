"""The contact sheet: where its pictures are, what it says of the others, and its limits."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image, ImageDraw

from imagen_core.png import chunks
from imagen_core.png_stream import PngStream
from imagen_core.sheet import BACKING, PAPER, RED, ROSE, Sheet, Tile, draw_sheet
from imagen_core.sheet_plan import LONGEST_SIDE
from imagen_core.thumbnail import Reducer, fit

if TYPE_CHECKING:
    from collections.abc import Sequence

BLUE, GREEN = (20, 60, 200), (30, 160, 60)


def picture(path: Path, size: tuple[int, int] = (64, 64), colour: Any = BLUE) -> Path:
    Image.new("RGB", size, colour).save(path)
    return path


def sheet_of(*rows: Sequence[Tile | None], title: str = "", **more: Any) -> Sheet:
    return Sheet(title, "", rows, **more)


def draw(sheet: Sheet, folder: Path, **options: Any) -> Image.Image:
    """The sheet, read back by another reader than its writer."""
    path = folder / "sheet.png"
    size = draw_sheet(sheet, path, **options)
    assert b"".join(kind for kind, _ in chunks(path.read_bytes()))
    with Image.open(path) as found:
        found.load()
    assert (found.size, found.mode) == (size, "RGB")
    return found


def boxes(found: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int] | None:
    """The rectangle around all pixels of about this colour."""
    red, green, blue = found.split()
    mask = Image.new("L", found.size, 255)
    for band, value in zip((red, green, blue), colour, strict=True):
        near = band.point([255 * (abs(level - value) < 6) for level in range(256)])
        mask = Image.composite(mask, near, near)
    return mask.getbbox()


def count(found: Image.Image, colour: tuple[int, int, int]) -> int:
    return sum(number for number, value in found.getcolors(1 << 24) or () if value == colour)


def test_pictures_are_in_rows_and_columns(tmp_path: Path) -> None:
    blue = Tile(picture(tmp_path / "blue.png"))
    green = Tile(picture(tmp_path / "green.png", colour=GREEN))

    found = draw(sheet_of([blue, None], [None, green]), tmp_path, tile=200)

    left, right = boxes(found, BLUE), boxes(found, GREEN)
    assert left is not None
    assert right is not None
    assert (left[2] - left[0], left[3] - left[1]) == pytest.approx((200, 200), abs=3)
    assert right[0] > left[2]
    assert right[1] > left[3]
    empty = found.getpixel(((right[0] + right[2]) // 2, (left[1] + left[3]) // 2))
    assert empty == PAPER


def test_other_shapes_are_letterboxed(tmp_path: Path) -> None:
    wide = Tile(picture(tmp_path / "wide.png", (160, 40)))
    high = Tile(picture(tmp_path / "high.png", (40, 160), GREEN))

    found = draw(sheet_of([wide, high]), tmp_path, tile=200)

    left, right = boxes(found, BLUE), boxes(found, GREEN)
    assert left is not None
    assert right is not None
    assert (left[2] - left[0], left[3] - left[1]) == pytest.approx((200, 50), abs=3)
    assert (right[2] - right[0], right[3] - right[1]) == pytest.approx((50, 200), abs=3)
    assert found.getpixel(((left[0] + left[2]) // 2, left[1] - 20)) == BACKING
    assert found.getpixel((right[0] - 20, (right[1] + right[3]) // 2)) == BACKING


def test_tiles_are_wide_where_all_pictures_are(tmp_path: Path) -> None:
    tile = Tile(picture(tmp_path / "wide.png", (160, 90)))

    found = draw(sheet_of([tile, tile], [tile, tile]), tmp_path, tile=200)

    assert count(found, BACKING) == 0
    assert found.height < 2 * 200


def test_a_failed_cell_says_so(tmp_path: Path) -> None:
    failed = Tile(None, ("flux",), "the server said no, " * 30)

    found = draw(sheet_of([failed]), tmp_path, tile=300)

    assert count(found, ROSE) > 50_000
    assert count(found, RED) > 20
    assert count(draw(sheet_of([failed._replace(problem="")]), tmp_path, tile=300), ROSE) > 80_000


def odd_files(folder: Path) -> dict[str, Path]:
    good = Image.effect_noise((300, 300), 90)
    good.save(folder / "good.png")
    good.convert("RGB").save(folder / "good.jpg")
    for name in ("png", "jpg"):
        data = (folder / f"good.{name}").read_bytes()
        (folder / f"cut.{name}").write_bytes(data[: len(data) // 2])
    corrupt = bytearray((folder / "good.png").read_bytes())
    corrupt[len(corrupt) // 2] ^= 255
    (folder / "corrupt.png").write_bytes(corrupt)
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("no picture")
    Image.new("1", (10_000, 10_000)).save(folder / "bomb.png")
    (folder / "folder.png").mkdir()
    names = ("cut.png", "cut.jpg", "corrupt.png", "empty.png", "text.png", "bomb.png", "folder.png")
    return {name: folder / name for name in (*names, "gone.png")}


def test_what_can_not_be_shown_has_a_reason(tmp_path: Path) -> None:
    reducer = Reducer((100, 100))

    problems = {n: reducer.thumbnail(path).problem for n, path in odd_files(tmp_path).items()}

    assert problems == {
        "cut.png": "the file is damaged",
        "cut.jpg": "the file is damaged",
        "corrupt.png": "the file is damaged",
        "empty.png": "it is no picture that can be shown here",
        "text.png": "it is no picture that can be shown here",
        "bomb.png": "it is too large to be shown here: 10000x10000",
        "folder.png": "Is a directory",
        "gone.png": "the file is gone",
    }


def test_odd_files_are_tiles_and_no_errors(tmp_path: Path) -> None:
    tiles: list[Tile | None] = [Tile(path, (name,)) for name, path in odd_files(tmp_path).items()]

    found = draw(sheet_of(tiles), tmp_path, tile=200)

    assert count(found, BACKING) > 8 * 200 * 150


@pytest.mark.parametrize("kind", ["gif", "png", "webp"])
def test_an_animation_shows_its_first_frame_and_says_so(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"moving.{kind}"
    more = Image.new("RGB", (64, 64), GREEN)
    Image.new("RGB", (64, 64), BLUE).save(path, save_all=True, append_images=[more])

    found = Reducer((100, 100)).thumbnail(path)

    assert found.note == "animated"
    assert found.image is not None
    assert found.image.getpixel((50, 50)) == pytest.approx(BLUE, abs=8)
    assert draw(sheet_of([Tile(path)]), tmp_path).height > 0


def test_a_picture_on_its_side_is_set_upright(tmp_path: Path) -> None:
    lying = Image.new("RGB", (200, 100), BLUE)
    ImageDraw.Draw(lying).rectangle((0, 0, 99, 99), GREEN)
    exif = Image.Exif()
    exif[0x0112] = 6
    lying.save(tmp_path / "lying.jpg", exif=exif, quality=95)

    image = Reducer((100, 100)).thumbnail(tmp_path / "lying.jpg").image

    assert image is not None
    assert image.size == (50, 100)
    assert image.getpixel((25, 20)) == pytest.approx(GREEN, abs=12)
    assert image.getpixel((25, 80)) == pytest.approx(BLUE, abs=12)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "I;16", "CMYK", "RGBA"])
def test_every_kind_of_pixels_looks_right(tmp_path: Path, mode: str) -> None:
    white = Image.new("RGB", (80, 80), (250, 250, 250))
    ImageDraw.Draw(white).rectangle((0, 0, 79, 39), (0, 0, 0))
    if mode == "I;16":
        odd = white.convert("L").convert("I").point(lambda value: value * 257).convert("I;16")
    else:
        odd = white.convert(mode)
    path = tmp_path / ("odd.jpg" if mode == "CMYK" else "odd.png")
    odd.save(path)

    image = Reducer((40, 40)).thumbnail(path).image

    assert image is not None
    assert image.mode == "RGB"
    assert image.getpixel((20, 8)) == pytest.approx((0, 0, 0), abs=8)
    assert image.getpixel((20, 32)) == pytest.approx((250, 250, 250), abs=8)


def test_what_is_transparent_lies_on_a_checkerboard(tmp_path: Path) -> None:
    Image.new("RGBA", (64, 64), (0, 0, 0, 0)).save(tmp_path / "clear.png")

    image = Reducer((64, 64)).thumbnail(tmp_path / "clear.png").image

    assert image is not None
    assert image.getpixel((2, 2)) == (255, 255, 255)
    assert image.getpixel((10, 2)) == (226, 226, 226)


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (1, 1)], ids=str)
def test_any_shape_fits(tmp_path: Path, size: tuple[int, int]) -> None:
    tile = Tile(picture(tmp_path / "odd.png", size))

    assert draw(sheet_of([tile]), tmp_path, tile=100).width > 0
    assert fit(size, (100, 100)) in {(100, 1), (1, 100), (100, 100)}


@pytest.mark.parametrize(("rows", "columns"), [(1, 400), (400, 1), (20, 20), (2, 200)], ids=str)
def test_400_cells_keep_the_limits(tmp_path: Path, rows: int, columns: int) -> None:
    tile = Tile(picture(tmp_path / "blue.png", (16, 16)), ("猫 naïve", "seed 42", "1.2 s"))
    labels: dict[str, Any] = {
        "row_labels": [f"row {row}" for row in range(rows)],
        "column_labels": [f"column {column}" for column in range(columns)],
    }

    found = draw(sheet_of(*[[tile] * columns] * rows, title="400", **labels), tmp_path)

    assert max(found.size) <= LONGEST_SIDE
    assert found.width * found.height <= 24_000_000
    assert count(found, BLUE) > 400 * 16


@pytest.mark.parametrize("largest", [300_000, 1_000_000, 5_000_000])
def test_tiles_shrink_as_little_as_the_limit_asks_for(tmp_path: Path, largest: int) -> None:
    tile = Tile(picture(tmp_path / "blue.png"), ("mock",))

    found = draw(sheet_of(*[[tile] * 6] * 6, title="a cat"), tmp_path, largest=largest)

    assert largest * 0.8 < found.width * found.height <= largest


def test_captions_go_where_there_is_no_room_for_them(tmp_path: Path) -> None:
    path = picture(tmp_path / "blue.png")
    long = sheet_of([Tile(path, ("model", "seed 1", "1.2 s", "$0.04"))])
    plain = sheet_of([Tile(path)])

    heights = {
        side: draw(long, tmp_path, tile=side).height - draw(plain, tmp_path, tile=side).height
        for side in (300, 100, 40)
    }

    assert heights[40] == 0
    assert 25 < heights[100] < 50
    assert heights[300] > 70


def test_long_texts_are_cut_and_nothing_touches_the_edge(tmp_path: Path) -> None:
    path = picture(tmp_path / "blue.png")
    tile = Tile(path, ("a-very-long-name-" * 20, "一只猫坐在窗边" * 20))
    labels: dict[str, Any] = {"row_labels": ["label " * 50], "column_labels": ["wide " * 50] * 2}

    found = draw(sheet_of([tile, tile], title="prompt " * 900, **labels), tmp_path, tile=200)

    width, height = found.size
    for edge in (
        (0, 0, width, 18),
        (0, 0, 18, height),
        (width - 18, 0, width, height),
        (0, height - 18, width, height),
    ):
        assert found.crop(edge).getcolors() == [((edge[2] - edge[0]) * (edge[3] - edge[1]), PAPER)]
    assert height < 800


def test_the_same_sheet_gives_the_same_bytes(tmp_path: Path) -> None:
    for number in range(9):
        Image.effect_mandelbrot((99, 99), (-2, -1, 1, 1 + number / 9), 50).save(
            tmp_path / f"{number}.png"
        )
    tiles: list[Tile | None] = [Tile(tmp_path / f"{n}.png", (f"猫 {n}",)) for n in range(9)]
    sheet = sheet_of(tiles[:3], tiles[3:6], tiles[6:], title="Ünïcode 😀")

    first, second = tmp_path / "first.png", tmp_path / "second.png"
    draw_sheet(sheet, first)
    draw_sheet(sheet, second)

    assert first.read_bytes() == second.read_bytes()


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    tile = Tile(picture(tmp_path / "blue.png", (300, 300)), ("mock",))

    def peak(rows: int) -> int:
        tracemalloc.start()
        draw_sheet(sheet_of(*[[tile] * 3] * rows), tmp_path / "sheet.png", tile=200)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(2)
    assert peak(20) < 1.3 * peak(2)


def test_nothing_is_left_where_the_sheet_could_not_be_written(tmp_path: Path) -> None:
    old = picture(tmp_path / "sheet.png")
    before = old.read_bytes()
    tile = Tile(picture(tmp_path / "blue.png"), problem="")
    broken: Any = sheet_of([tile], [Tile(3, ())])  # type: ignore[arg-type]

    with pytest.raises(AttributeError):
        draw_sheet(broken, old)

    assert old.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blue.png", "sheet.png"]


def test_an_empty_sheet_has_its_title(tmp_path: Path) -> None:
    assert draw(Sheet("nothing", "at all", []), tmp_path).width == 560


def test_ragged_rows_and_too_many_labels_are_taken(tmp_path: Path) -> None:
    tile = Tile(picture(tmp_path / "blue.png"))
    labels: dict[str, Any] = {"row_labels": ["one"], "column_labels": ["a", "b", "c", "d"]}

    assert draw(sheet_of([tile], [tile, tile], [], **labels), tmp_path, tile=100).height > 300


def test_a_stream_takes_what_was_announced(tmp_path: Path) -> None:
    with (tmp_path / "band.png").open("wb") as file:
        stream = PngStream(file, 10, 5)
        stream.add(Image.effect_noise((10, 3), 50).convert("RGB"))
        with pytest.raises(ValueError, match="2 lines are missing"):
            stream.close()
        with pytest.raises(ValueError, match="a band of 9x2 does not fit"):
            stream.add(Image.new("RGB", (9, 2)))
