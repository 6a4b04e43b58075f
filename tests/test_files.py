"""Names: slugs, templates, moments, free numbers. See test_placing and test_image_header, too."""

from __future__ import annotations

import errno
import os
import time
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from imagen_core import files
from imagen_core.errors import UsageError
from imagen_core.files import Moment, Target, expand, slugify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VALUES = {
    "date": "2026-05-08",
    "time": "143015",
    "slug": "a-cat",
    "seed": 42,
    "backend": "mock",
    "ext": "png",
}


@pytest.fixture
def zone() -> Iterator[Callable[[str], None]]:
    with pytest.MonkeyPatch.context() as patch:

        def choose(name: str) -> None:
            patch.setenv("TZ", name)
            time.tzset()

        yield choose
    time.tzset()


@pytest.mark.parametrize(
    ("prompt", "slug"),
    [
        ("A Cat in a Fishbowl!", "a-cat-in-a-fishbowl"),
        ("  spaces \t and\nlines  ", "spaces-and-lines"),
        ("Crème brûlée, Ångström", "creme-brulee-angstrom"),
        ("Straße", "strasse"),
        ("\uff26\uff35\uff2c\uff2c\u3000width №5 ½", "full-width-no5-1-2"),
        ("a cat—in “quotes”…and more", "a-cat-in-quotes-and-more"),
        ("it's snake_case", "it-s-snake-case"),
        ("猫が金魚鉢にいる", "image"),
        ("猫 cat 猫", "cat"),
        ("🐱🐟", "image"),
        ("", "image"),
        ("   \n\t", "image"),
        ("!!! ??? ...", "image"),
        ("../../etc/passwd", "etc-passwd"),
        ("a\0b\x1b[31mc\x7f", "a-b-31mc"),
        ("\"'`$(rm -rf ~)`'\"", "rm-rf"),
        ("con", "con"),
        ("\ud800 broken", "broken"),
    ],
)
def test_slug_is_the_prompt_in_lower_case_ascii_words(prompt: str, slug: str) -> None:
    assert slugify(prompt) == slug


@pytest.mark.parametrize(
    ("prompt", "slug"),
    [
        ("x" * 41, "x" * 40),
        ("x" * 100_000, "x" * 40),
        ("word " * 1000, "word-word-word-word-word-word-word-word"),
        ("twelve chars " * 3 + "x", "twelve-chars-twelve-chars-twelve-chars-x"),
        ("twelve chars " * 3 + "xy", "twelve-chars-twelve-chars-twelve-chars"),
        ("\ufdfa" * 1000, "image"),
    ],
)
def test_long_prompt_gives_at_most_40_characters_of_whole_words(prompt: str, slug: str) -> None:
    assert slugify(prompt) == slug
    assert len(slug) <= 40


@pytest.mark.parametrize(
    ("naming", "path"),
    [
        ("{date}-{slug}-{seed}.{ext}", "2026-05-08-a-cat-42.png"),
        ("{date}/{backend}/{time}-{slug}.{ext}", "2026-05-08/mock/143015-a-cat.png"),
        ("{slug}-{artist}-{}.{ext}", "a-cat-{artist}-{}.png"),
        ("../../{slug}.{ext}", "a-cat.png"),
        ("/etc/{slug}.{ext}", "etc/a-cat.png"),
        ("a/./b/../{slug}.{ext}", "a/b/a-cat.png"),
        (".../{slug}.{ext}", "image/a-cat.png"),
        ("C:\\pictures\\{slug}.{ext}", "C__pictures_a-cat.png"),
        ('a<b>c:d"e|f?g*.{ext}', "a_b_c_d_e_f_g_.png"),
        ("a\0b\nc\x7f.{ext}", "a_b_c_.png"),
        ("con.{ext}", "con_.png"),
        ("AUX", "AUX_"),
        ("nul.txt", "nul_.txt"),
        ("lpt1/com9.tar.gz", "lpt1_/com9_.tar.gz"),
        ("console.{ext}", "console.png"),
        ("trailing. . ", "trailing"),
        (".hidden", ".hidden"),
        ("{{slug}}.{ext}", "{a-cat}.png"),
    ],
)
def test_template_becomes_a_relative_path_that_any_system_takes(naming: str, path: str) -> None:
    assert expand(naming, VALUES).as_posix() == path


@pytest.mark.parametrize("naming", ["", "/", ".", "..", "../..", "///./"])
def test_template_that_names_nothing_still_stays_in_the_folder(naming: str) -> None:
    assert expand(naming, VALUES) == Path("image")


@pytest.mark.parametrize(
    "naming",
    [
        "x" * 400 + ".{ext}",
        "日本" * 200 + ".{ext}",
        "🐱" * 100,
        "a." + "b" * 400,
        "é" * 99 + " . " + "é" * 200,
    ],
)
def test_every_name_fits_a_file_system_with_its_number_and_its_sidecar(
    naming: str, tmp_path: Path
) -> None:
    target = Target(folder=tmp_path, naming=naming)
    for path in islice(target.candidates(VALUES), 99):
        sidecar = files.sidecar_path(path)
        sidecar.touch()
        assert len(os.fsencode(sidecar.name)) <= 255
        assert path.stem == path.stem.rstrip(". ")


def test_long_name_keeps_its_suffix_and_whole_characters() -> None:
    name = expand("日" * 200 + ".{ext}", VALUES).name

    assert name == "日" * 65 + ".png"


def test_bytes_that_are_not_text_in_a_template_do_no_harm() -> None:
    assert expand(os.fsdecode(b"abc\xe9-{slug}.{ext}"), VALUES) == Path("abc-a-cat.png")


@pytest.mark.parametrize(
    ("zone_name", "date", "clock"),
    [
        ("UTC", "2026-12-31", "233000"),
        ("Asia/Tokyo", "2027-01-01", "083000"),
        ("America/Los_Angeles", "2026-12-31", "153000"),
        ("Asia/Kathmandu", "2027-01-01", "051500"),
    ],
)
def test_moment_has_the_date_and_time_of_here_and_the_instant_in_utc(
    zone: Callable[[str], None], zone_name: str, date: str, clock: str
) -> None:
    zone(zone_name)

    moment = Moment.of(datetime(2026, 12, 31, 23, 30, tzinfo=UTC))

    assert moment == Moment(utc="2026-12-31T23:30:00.000+00:00", date=date, time=clock)


def test_moment_now_tells_one_instant_on_both_clocks(zone: Callable[[str], None]) -> None:
    zone("Pacific/Kiritimati")

    moment = Moment.now()

    local = datetime.fromisoformat(moment.utc).astimezone()
    assert local.strftime("%Y-%m-%d %H%M%S") == f"{moment.date} {moment.time}"


def test_taken_names_are_counted_up_before_the_suffix(tmp_path: Path) -> None:
    target = Target(folder=tmp_path, naming="{slug}.{ext}")
    (tmp_path / "a-cat.png").touch()
    (tmp_path / "a-cat-2.png").mkdir()
    (tmp_path / "a-cat-3.png").symlink_to("nowhere")
    (tmp_path / "a-cat-4.png.json").touch()

    assert target.free(VALUES) == tmp_path / "a-cat-5.png"


def test_explicit_path_is_kept_although_it_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "my pic.tar.png"
    path.touch()
    target = Target(folder=tmp_path, path=path, replace=True)

    assert target.free(VALUES) == path


def test_later_pictures_of_an_explicit_path_are_numbered_and_replace_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.png"
    (tmp_path / "x-2.png").touch()
    target = Target(folder=tmp_path, path=path, replace=True)

    found = [target.nth(index).free(VALUES).name for index in range(3)]

    assert found == ["x.png", "x-3.png", "x-3.png"]


def test_sidecar_lies_beside_its_picture() -> None:
    assert files.sidecar_path(Path("a/b.c.png")) == Path("a/b.c.png.json")


def test_what_a_disk_does_not_tell_is_not_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert files.is_gone(tmp_path / "none")
    assert files.is_gone(Path(__file__) / "below-a-file")
    assert not files.is_gone(tmp_path)

    monkeypatch.setattr(Path, "stat", mock.Mock(side_effect=OSError(errno.ESTALE, "stale")))
    assert not files.is_gone(tmp_path / "none")


def test_folder_is_made_before_anything_is_spent(tmp_path: Path) -> None:
    files.prepare(Target(folder=tmp_path / "a" / "b"))

    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize(
    ("flag", "hint"),
    [
        ("--output", "choose another with --output, or set output.dir"),
        ("", "set output.dir"),
    ],
)
def test_file_where_the_folder_should_be_is_refused(flag: str, hint: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(UsageError) as caught:
        files.prepare(Target(folder=tmp_path / "file" / "sub", flag=flag))

    expected = f"cannot make the folder {tmp_path / 'file' / 'sub'}: Not a directory"
    assert caught.value.message == expected
    assert caught.value.hint == hint


def test_read_only_folder_is_refused(read_only_folder: Path) -> None:
    with pytest.raises(UsageError, match="Permission denied"):
        files.prepare(Target(folder=read_only_folder))


def test_folder_with_a_nul_is_refused() -> None:
    with pytest.raises(UsageError, match=r"null (byte|character)"):
        files.prepare(Target(folder=Path("a\0b")))


def test_explicit_path_that_is_a_folder_or_a_device_is_refused(tmp_path: Path) -> None:
    for path, told in ((tmp_path, "is a folder"), (Path(os.devnull), "is not a regular file")):
        with pytest.raises(UsageError, match=told):
            files.prepare(Target(folder=path.parent, path=path, replace=True))


def test_digest_is_sha256_in_hex() -> None:
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

    assert files.digest(b"abc") == expected


def test_paths_of_a_template_never_leave_the_folder(tmp_path: Path) -> None:
    hostile = {**VALUES, "backend": "../../x", "slug": "..", "ext": "/../../y"}

    path = expand("{backend}/{slug}/{ext}", hostile)

    assert not path.is_absolute()
    assert ".." not in PurePosixPath(path.as_posix()).parts
    assert (tmp_path / path).resolve().is_relative_to(tmp_path.resolve())
