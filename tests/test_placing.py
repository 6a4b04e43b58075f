"""Placing a picture: whole or not at all, and never over another one."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from imagen_core import files
from imagen_core.files import Target

VALUES = {"date": "2026-05-08", "slug": "a-cat", "seed": 42, "ext": "png"}


def ignore(path: Path) -> None:
    del path


def full(*arguments: object, **options: object) -> None:
    del arguments, options
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_bytes_are_placed_under_the_first_free_name_and_nothing_else_is_left(
    tmp_path: Path,
) -> None:
    target = Target(folder=tmp_path, naming="{date}/{slug}.{ext}")

    paths = [files.place(data, target, VALUES, claim=ignore) for data in (b"one", b"two")]

    folder = tmp_path / "2026-05-08"
    assert paths == [folder / "a-cat.png", folder / "a-cat-2.png"]
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {
        "a-cat.png": b"one",
        "a-cat-2.png": b"two",
    }


def test_claim_comes_before_the_file_appears(tmp_path: Path) -> None:
    seen: list[tuple[str, bool]] = []
    target = Target(folder=tmp_path, naming="{slug}.{ext}")

    files.place(b"x", target, VALUES, claim=lambda path: seen.append((path.name, path.exists())))

    assert seen == [("a-cat.png", False)]


def refuse_links(*paths: object, **options: object) -> None:
    del paths, options
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize("links", [True, False])
def test_name_that_another_process_takes_meanwhile_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", refuse_links)
    claimed: list[str] = []

    def claim(path: Path) -> None:
        claimed.append(path.name)
        if len(claimed) < 3:
            path.write_bytes(b"somebody else's")

    target = Target(folder=tmp_path, naming="{slug}.{ext}")
    path = files.place(b"mine", target, VALUES, claim=claim)

    assert path.name == "a-cat-3.png"
    assert claimed == ["a-cat.png", "a-cat-2.png", "a-cat-3.png"]
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {
        "a-cat.png": b"somebody else's",
        "a-cat-2.png": b"somebody else's",
        "a-cat-3.png": b"mine",
    }


def test_replacing_takes_the_old_picture_and_its_sidecar_away(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"old")
    files.sidecar_path(path).write_text("about the old one")

    files.place(b"new", Target(folder=tmp_path, path=path, replace=True), VALUES, claim=ignore)

    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"x.png": b"new"}


def test_replacing_a_symlink_leaves_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "precious.png").write_bytes(b"precious")
    path = tmp_path / "x.png"
    path.symlink_to("precious.png")

    files.place(b"new", Target(folder=tmp_path, path=path, replace=True), VALUES, claim=ignore)

    assert path.read_bytes() == b"new"
    assert (tmp_path / "precious.png").read_bytes() == b"precious"


def test_exception_in_claim_leaves_nothing_behind(tmp_path: Path) -> None:
    def claim(path: Path) -> None:
        raise KeyboardInterrupt(path)

    with pytest.raises(KeyboardInterrupt):
        files.place(b"x", Target(folder=tmp_path), VALUES, claim=claim)

    assert list(tmp_path.iterdir()) == []


def test_failing_disk_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="No space left"):
        files.place(b"x", Target(folder=tmp_path), VALUES, claim=ignore)

    assert list(tmp_path.iterdir()) == []


def test_disk_that_fills_up_at_the_last_step_leaves_no_empty_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", refuse_links)
    monkeypatch.setattr(os, "replace", full)

    with pytest.raises(OSError, match="No space left"):
        files.place(b"x", Target(folder=tmp_path), VALUES, claim=ignore)

    assert list(tmp_path.iterdir()) == []


def test_folder_that_vanished_is_an_error_and_is_not_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "gone"

    with pytest.raises(FileNotFoundError):
        files.place(b"x", Target(folder=folder, naming="a/{slug}"), VALUES, claim=ignore)

    assert not folder.exists()


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        path = files.place(b"x", Target(folder=tmp_path), VALUES, claim=ignore)
        files.write_atomically(files.sidecar_path(path), b"{}")
    finally:
        os.umask(before)

    assert [oct(p.stat().st_mode & 0o777) for p in sorted(tmp_path.iterdir())] == ["0o640"] * 2


def test_atomic_write_that_fails_keeps_the_old_content(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b"old")
    script = f"""
        import resource, signal
        from pathlib import Path
        from imagen_core.files import write_atomically
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            write_atomically(Path({str(path)!r}), b"x" * 5000)
        except OSError as error:
            print(error.strerror)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )

    assert done.stdout == "File too large\n"
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"x.json": b"old"}


def test_many_processes_that_want_one_name_all_keep_their_picture(tmp_path: Path) -> None:
    script = f"""
        import os
        from pathlib import Path
        from imagen_core.files import Target, place
        target = Target(folder=Path({str(tmp_path)!r}), naming="x.png")
        for number in range(25):
            data = f"{{os.getpid()}} {{number}}".encode()
            place(data, target, {{}}, claim=lambda path: None)
    """
    crowd = [subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)]) for _ in range(4)]

    assert [process.wait() for process in crowd] == [0] * 4
    names = {"x.png", *(f"x-{number}.png" for number in range(2, 101))}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 100
