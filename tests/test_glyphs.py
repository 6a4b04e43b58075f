"""Text on pictures: no boxes whatever is installed, lines that fit, and the order of writing."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from imagen_core.glyphs import Writer, font_folders
from imagen_core.script import clusters, pieces, visual
from imagen_core.unifont import Unifont

SAMPLES = {
    "latin": "Quick brown fox, àéîõüçñßøÅŁœ“”‘’…–—×€",  # noqa: RUF001
    "cyrillic": "Быстраялисаёїґ",
    "greek": "ΕλληνικάΩώ",
    "han": "一只猫坐在窗边風景",
    "kana": "こんにちはテスト、。「」",
    "hangul": "한국어텍스트",
    "arabic": "مرحبابالعالم",
    "hebrew": "שלוםעולם",
    "thai": "สวสดชาวโลก",
    "devanagari": "नमसतदनय",
    "emoji": "😀🎉🐱🚀👨👩🇫❤☂🦊",
    "mathematical": "∑∫≈√∞𝒜𝔅",  # noqa: RUF001
}


@pytest.fixture
def bare() -> Writer:
    """A writer on a system without any font."""
    return Writer(folders=[])


def drawn(writer: Writer, text: str, size: int = 32) -> Image.Image:
    picture = Image.new("RGB", (max(1, writer.width(text, size)), 2 * size), "white")
    writer.draw(picture, (0, 0), text, size=size, fill=(0, 0, 0))
    return picture


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("installed", [False, True], ids=["no fonts", "installed fonts"])
def test_no_character_is_a_box(name: str, installed: bool) -> None:
    writer = Writer(SAMPLES[name], None if installed else [])
    boxes = [drawn(writer, text).tobytes() for text in ("\ufffd", "\U0010fffd")]

    for character in SAMPLES[name].replace(" ", ""):
        picture = drawn(writer, character)

        assert min(picture.tobytes()) < 128, character
        assert picture.tobytes() not in boxes, character


def test_every_two_letters_differ(bare: Writer) -> None:
    for name, sample in SAMPLES.items():
        distinct = set(sample) - {" "}

        assert len({drawn(bare, letter).tobytes() for letter in distinct}) == len(distinct), name


def test_unifont_has_the_scripts_of_the_basic_plane() -> None:
    unifont = Unifont()
    missing = unifont.glyph("\ufffd").tobytes()
    letters = [chr(code) for code in range(0xA1, 0xD7A4) if unicodedata.name(chr(code), "")]
    own = [c for c in letters if unicodedata.category(c) in ("Lu", "Ll", "Lo", "So", "Sm")]

    lost = [c for c in own if unifont.glyph(c).tobytes() == missing]

    assert len(own) > 40_000
    assert lost == []


def test_what_has_no_glyph_anywhere_is_a_question_mark(bare: Writer) -> None:
    question = drawn(bare, "\ufffd").tobytes()

    for character in ("\U000f0000", "\u0378", "\ud800"):
        assert drawn(bare, character).tobytes() == question


def test_marks_joiners_and_selectors_take_no_room(bare: Writer) -> None:
    for plain, marked in (
        ("x", "x\u0301\u0323"),
        ("❤", "❤\ufe0f"),
        ("👨👩", "👨\u200d👩"),
        ("👍", "👍\U0001f3fd"),
        ("ab", "a\u00adb\u200b\u2060"),
        ("שלום", "שָׁלוֹם"),
    ):
        assert bare.width(marked, 20) == bare.width(plain, 20), plain


def test_a_mark_is_drawn_on_its_letter(bare: Writer) -> None:
    assert drawn(bare, "x\u0301").tobytes() != drawn(bare, "x").tobytes()


def test_control_characters_are_spaces(bare: Writer) -> None:
    assert clusters("a\tb\nc\0d\u2028e\u3000f") == list("a b c d e f")
    assert bare.fitted("a\r\n\t b\x1b[0m", 20, 500) == ["a b [0m"]


def test_text_keeps_to_its_colour_and_its_line(bare: Writer) -> None:
    picture = Image.new("RGB", (400, 60), "white")

    bare.draw(picture, (10, 10), "Ağ猫 gjy", size=30, fill=(200, 0, 0))

    box = picture.convert("L").point(lambda value: 255 * (value < 200)).getbbox()
    assert box is not None
    assert box[0] >= 10
    assert box[1] >= 10
    assert box[2] <= 10 + bare.width("Ağ猫 gjy", 30)
    assert box[3] <= 10 + 30 * 1.32
    assert min(picture.getchannel("R").tobytes()) >= 200


def test_words_wrap_at_spaces_and_keep_together(bare: Writer) -> None:
    width = bare.width("the quick brown", 20)

    assert bare.fitted("the quick brown fox  jumps", 20, width, 3) == [
        "the quick brown",
        "fox jumps",
    ]


def test_long_words_break_anywhere_and_names_at_hyphens(bare: Writer) -> None:
    width = bare.width("replicate-flux", 20)

    assert "".join(bare.fitted("a" * 60, 20, width, 9)) == "a" * 60
    assert bare.fitted("replicate-flux-pro", 20, width, 3) == ["replicate-", "flux-pro"]


def test_han_breaks_anywhere_but_before_a_full_stop(bare: Writer) -> None:
    assert bare.fitted("一只猫坐在。窗边", 20, 100, 3) == ["一只猫坐", "在。窗边"]
    assert pieces("「猫」犬") == [["「", "猫", "」"], ["犬"]]


def test_what_is_too_long_ends_with_an_ellipsis(bare: Writer) -> None:
    lines = bare.fitted("word " * 100, 20, 200, 2)

    assert len(lines) == 2
    assert lines[1].endswith("…")
    assert all(bare.width(line, 20) <= 200 for line in lines)


@pytest.mark.parametrize("width", [1, 5, 17, 60, 300])
@pytest.mark.parametrize("name", SAMPLES)
def test_no_line_is_wider_than_it_may_be(bare: Writer, name: str, width: int) -> None:
    lines = bare.fitted(f"{SAMPLES[name]} " * 9, 16, width, 4)

    assert len(lines) <= 4
    assert all(bare.width(line, 16) <= width for line in lines)


def test_nothing_gives_no_line(bare: Writer) -> None:
    assert bare.fitted("", 20, 100) == []
    assert bare.fitted(" \n ", 20, 100) == []


def test_hebrew_runs_from_right_to_left_and_numbers_do_not() -> None:
    assert "".join(visual("אבג 12 (דה)")) == "(הד) 12 גבא"
    assert "".join(visual("abc אבג 12 def")) == "abc 12 גבא def"
    assert "".join(visual("אבג abc דה")) == "הד abc גבא"


def test_brackets_of_any_script_open_to_their_text() -> None:
    for pair in ("()", "（）", "「」", "《》", "⟨⟩", "«»"):  # noqa: RUF001
        opening, closing = pair
        assert "".join(visual(f"אב {opening}גד{closing}")) == f"{opening}דג{closing} בא"


def test_arabic_letters_are_joined() -> None:
    assert visual("مرحب") == ["\ufe90", "\ufea3", "\ufeae", "\ufee3"]
    assert visual("ب") == ["\ufe8f"]


def test_one_text_has_one_face() -> None:
    faces = [folder for folder in font_folders() if [*folder.rglob("DejaVuSans.ttf")]]
    if not faces:
        pytest.skip("DejaVu Sans is not installed")
    mixed, plain = Writer("naïve café", faces), Writer("naive cafe", faces)

    assert mixed.width("cafe", 40) != plain.width("cafe", 40)
    assert mixed.width("cafe", 40) == Writer("Быстрая", faces).width("cafe", 40)


def test_a_file_that_is_no_font_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "DejaVuSans.ttf").write_bytes(b"no font")
    broken, bare = Writer("é", [tmp_path, tmp_path / "gone"]), Writer("é", [])

    assert drawn(broken, "é").tobytes() == drawn(bare, "é").tobytes()
