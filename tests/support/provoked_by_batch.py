"""What provokes each message of `imagen batch`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from odd_plugins import PNG_HEAD
from provoking import Case, Told, block, odd, tell, write
from scripted import png

if TYPE_CHECKING:
    from collections.abc import Callable


def rows(text: str | bytes, args: str = "", *, name: str = "rows.csv", config: str = "") -> Case:
    """A batch of these rows."""
    data = text.encode() if isinstance(text, str) else text
    return Case(f"batch {{folder}}/{name} {args}", config, prepare=write(name, data))


def batch_before(*, spoil: Callable[[Path], object]) -> Callable[[Path], object]:
    """A batch of one row is made, and then something happens to it."""

    def prepare(folder: Path) -> None:
        (folder / "rows.txt").write_text("cat", encoding="utf-8")
        assert tell(Case(f"batch {folder}/rows.txt"), folder).exit_code == 0
        spoil(folder)

    return prepare


def lose_pictures(folder: Path) -> None:
    for path in (folder / "pictures").glob("*.png"):
        path.unlink()


def spoil_plan(folder: Path) -> None:
    (folder / "pictures" / "rows.batch.json").write_text("{}", encoding="utf-8")


def leave_a_part(folder: Path) -> None:
    (folder / "pictures" / ".imagen-99999999-aa.part").write_bytes(png())


def lose_plan(folder: Path) -> None:
    (folder / "pictures" / "rows.batch.json").unlink()


def batch_that_is_taken(folder: Path) -> Told:
    fcntl = pytest.importorskip("fcntl")
    (folder / "pictures").mkdir()
    (folder / "rows.txt").write_text("cat", encoding="utf-8")
    with (folder / "pictures" / "rows.batch.jsonl").open("a", encoding="utf-8") as taken:
        fcntl.flock(taken, fcntl.LOCK_EX)
        return tell(Case(f"batch {folder}/rows.txt"), folder)


def full_results(folder: Path) -> Told:
    """The results of a batch may grow no more."""
    resource = pytest.importorskip("resource")
    batch_before(spoil=lose_pictures)(folder)
    with (folder / "pictures" / "rows.batch.jsonl").open("a", encoding="utf-8") as results:
        results.write("\n" * 2**21)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))
    try:
        return tell(Case(f"batch {folder}/rows.txt"), folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


CASES = {
    "cannot read the rows of …: …": Case("batch none.txt"),
    "…: a … file is none that imagen reads rows from": rows("prompt\ncat", name="rows.tsv"),
    "… has no rows": rows("# nothing", name="rows.txt"),
    "… is not UTF-8 (byte …)": rows(b"\xff"),
    "…:1: …: unknown column; …": rows("promt\ncat"),
    "…:1: …: stands twice in the header": rows("prompt,prompt\ncat,cat"),
    "…:1: …: stands twice in the header; it is the same as '…'": rows(
        "prompt,p.seed,param.seed\ncat,1,2"
    ),
    "…:1: row 1, …: stands twice": rows('{"prompt": "a", "prompt": "b"}', name="rows.jsonl"),
    "…:1: row 1, …: the parameter '…' is set by another column, too": rows(
        '{"prompt": "a", "p.x": 1, "param.x": 2}', name="rows.jsonl"
    ),
    "…:1: row 1: nested too deeply": rows('{"prompt": ' + "[" * 9999, name="rows.jsonl"),
    "…:1: …: the columns of a CSV are separated by commas, not by ';'": rows("prompt;seed\ncat;1"),
    "…:2: row 1: has … cells, where the header has …": rows("prompt\na cat, asleep"),
    "…:…: not CSV: …": rows('prompt\n"cat'),
    "…:1: row 1: not JSON: …": rows("{", name="rows.jsonl"),
    "…:1: row 1: expected an object or a text, got …": rows("5", name="rows.jsonl"),
    "…:1: expected a list": rows("prompt: cat", name="rows.yaml"),
    "…:1: row 1, prompt: is missing": rows('{"seed": 1}', name="rows.jsonl"),
    "…:1: row 1, …: expected …, got …": rows('{"prompt": "a", "seed": "b"}', name="rows.jsonl"),
    "…:1: row 1, images: 'image' and 'images' are the same; give one of them": rows(
        '{"prompt": "a", "image": "b", "images": "b"}', name="rows.jsonl"
    ),
    "…:1: row 1, …: …; …": rows('{"prompt": "a", "size": "big"}', name="rows.jsonl"),
    "…:2: row 2, output: is that of row 1, too": rows(
        '{"prompt": "a", "output": "x"}\n{"prompt": "b", "output": "x"}', name="rows.jsonl"
    ),
    "…: row 1, prompt: one of its choices is an empty prompt": rows("{|}", name="rows.txt"),
    "…: row 1, count: with --repeat it comes to … pictures of one prompt; 10000 is the most": rows(
        '{"prompt": "cat", "count": 2}', "--repeat 9999", name="rows.jsonl"
    ),
    "…: its rows come to … pictures; 100000 is the most of a batch": rows(
        "cat\n" * 11, "--repeat 10000", name="rows.txt"
    ),
    "…: row 1, prompt: its choices come to … prompts; 10000 is the most": rows(
        "{a|b|c}" * 9, "--expand all", name="rows.txt"
    ),
    "…: row 1, prompt: more than 50 braces stand inside each other": rows(
        "{a|" * 60 + "}" * 60, name="rows.txt"
    ),
    "the name '…' is no file name": rows("prompt\ncat", "--name a/b"),
    "the batch '…' in … was begun otherwise: …": Case(
        "batch {folder}/rows.txt --seed 5", prepare=batch_before(spoil=lose_pictures)
    ),
    "the plan … can't be read: …": Case(
        "batch {folder}/rows.txt", prepare=batch_before(spoil=spoil_plan)
    ),
    "… has results, and their plan … is gone": Case(
        "batch {folder}/rows.txt", prepare=batch_before(spoil=lose_plan)
    ),
    "pictures that nobody claims: …": Case(
        "batch {folder}/rows.txt", prepare=batch_before(spoil=leave_a_part)
    ),
    "gone or changed, and made again: …": Case(
        "batch {folder}/rows.txt", prepare=batch_before(spoil=lose_pictures)
    ),
    "row …: an input image has changed since it was checked": Case(
        "batch {folder}/rows.jsonl",
        odd("turning"),
        prepare=lambda folder: (
            (folder / "turning.png").write_bytes(PNG_HEAD),
            (folder / "rows.jsonl").write_text(
                '{"prompt": "a", "backend": "x", "image": "turning.png"}'
            ),
        ),
    ),
    "the folder … went away, and nothing was begun after that": rows(
        "prompt\ncat", "--backend x", config=odd("vanish")
    ),
    "the plan … went away, and nothing was begun after that": rows(
        "prompt\ncat",
        "--backend x",
        config=block("{type: odd, how: vanish, folder: pictures/rows.batch.json}"),
    ),
    "interrupted: … of … are done": rows(
        "prompt\ncat", "--backend x --seed 1 --repeat 500", config=odd("stop")
    ),
}

OTHER_CASES: dict[str, Callable[[Path], Told]] = {
    "1 result is not written down: …": full_results,
    "the batch '…' in … is being made by another process": batch_that_is_taken,
}
