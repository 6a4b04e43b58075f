"""The messages on the page of errors are real: each is provoked here."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sqlite3
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import provoked_by_batch
import provoked_by_compare
import provoked_by_preview
import provoked_by_queues
from imagen_core import (
    About,
    Backend,
    Event,
    Image,
    Request,
)
from imagen_core.errors import ERRORS
from imagen_core.files import Target
from imagen_core.ledger import Ledger
from imagen_core.pipeline import Pipeline
from imagen_core.protocols import Instance
from odd_plugins import PNG_HEAD
from provoked_by_servers import HTTP_CASES, ask_server
from provoking import Case, Told, block, odd, tell, told_outside, write

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

PAGE = Path(__file__).parent.parent / "docs" / "errors.md"


def sidecar_in_the_way(folder: Path) -> None:
    (folder / "pictures" / "x.png.json").mkdir(parents=True)


def newer_ledger(folder: Path) -> None:
    (folder / "data").mkdir()
    with contextlib.closing(sqlite3.connect(folder / "data" / "ledger.db")) as connection:
        connection.execute("pragma user_version=99")


def newer_run(folder: Path) -> None:
    ledger = Ledger(folder / "data")
    with ledger.database.write() as connection:
        connection.execute("insert into runs values ('r', '2026-05-09', 1, '', 1, '{}')")
    ledger.close()


def working_folder_gone(folder: Path) -> None:
    (folder / "gone").mkdir()
    os.chdir(folder / "gone")
    (folder / "gone").rmdir()


def nowhere_to_go(folder: Path) -> None:
    (folder / "data").write_text("a file where a folder should be")
    tempfile.tempdir = str(folder / "data")


CASES = {
    **provoked_by_compare.CASES,
    **provoked_by_batch.CASES,
    **provoked_by_queues.CASES,
    "there is no command '…'": Case("serve"),
    "No such option '…'. Did you mean '…'?": Case("generate cat --siz 1x1"),
    "Missing argument 'PROMPT'.": Case("generate"),
    "the size '…' is not WIDTHxHEIGHT": Case("generate cat --size big"),
    "the size '…' is out of range: 1 to 16384 pixels a side": Case("generate cat --size 1x99999"),
    "the count is 1 to 10000, got …": Case("generate cat --count 0"),
    "the seed is at least 0, got …": Case("generate cat --seed -1"),
    "seeds go up to 9223372036854775807; … is too large": Case(f"generate cat --seed {2**63}"),
    "the number of steps is at least 0, got …": Case("generate cat --steps -1"),
    "the mock takes 1 to 10000 steps, got …": Case("generate cat --steps 10001"),
    "there is no backend '…'": Case("generate cat --backend flux"),
    "there is no style '…'": Case("generate cat --style noir"),
    "the prompt has a control character (U+…) at position …": Case("generate c\x07at"),
    "the prompt is not valid UTF-8 at position …": Case("generate c\udc80at"),
    "the prompt of the style '…' has a control character (U+…) at position …": Case(
        "generate cat --style red", 'styles: {red: {prompt: "\\e[31m{prompt}"}}'
    ),
    "standard input has no prompt": Case("generate -"),
    "standard input is not UTF-8 (byte …)": Case("generate -", stdin=b"\xff"),
    "'…' is not KEY=VALUE": Case("generate cat -p format"),
    "the backend '…' has no parameter '…'": Case("generate cat -p size=1"),
    "the parameter … is int, got '…'": Case("generate cat -p delay_ms=soon"),
    "the parameter … is one of …; got '…'": Case("generate cat -p format=gif"),
    "the parameter … is at least …; got …": Case("generate cat -p delay_ms=-1"),
    "the backend '…' takes no input images": Case("generate cat --image cat.png"),
    "the backend '…' does not honour --…": Case("generate cat --backend x --steps 9", odd("fine")),
    "cannot read the input image …: …": Case(
        "generate cat --backend x --image none.png", odd("images")
    ),
    "… is no picture that imagen knows": Case(
        "generate cat --backend x --image {folder}/note.txt",
        odd("images"),
        prepare=write("note.txt", b"no picture"),
    ),
    "the input image … is not a regular file": Case(
        "generate cat --backend x --image {folder}", odd("images")
    ),
    "the input image … is over 50 MiB": Case(
        "generate cat --backend x --image {folder}/big.png",
        odd("images"),
        prepare=write("big.png", PNG_HEAD + bytes(50 * 2**20)),
    ),
    "imagen writes pictures to files, not to standard output": Case("generate cat --output -"),
    "cannot write to …: the working folder is gone": Case(
        "generate cat --output x.png", prepare=working_folder_gone
    ),
    "the path … has a control character (U+…)": Case("generate cat --output q\x1bb.png"),
    "the name '…' is longer than … bytes": Case(f"generate cat --output {'n' * 300}.png"),
    "cannot make the folder …: …": Case(
        "generate cat --output {folder}/file/x.png", prepare=write("file", b"")
    ),
    "… is not a regular file": Case(
        "generate cat --output {folder}/pipe.png",
        prepare=lambda folder: os.mkfifo(folder / "pipe.png"),
    ),
    "… comes with …, which is not installed": Case("generate cat --preview"),
    "the configuration … (…) does not exist": Case("generate cat --config none.yaml"),
    "… exists already": Case("config init --write", "store: auto"),
    "cannot write …: …": Case(
        "config init --write --config {folder}/file/below/x.yaml", prepare=write("file", b"")
    ),
    "'…' is not a date": Case("usage --since yesterday"),
    "'…' is not YYYY-MM-DD": Case("usage --since 20260508"),
    "there is no store '…'": Case("usage --store bank"),
    "the mock was told to fail with 'usage'": Case("generate cat -p fail=usage"),
    "…:1: …: unknown key": Case(config="defualt_backend: mock"),
    "…:1: …: expected int, got str": Case(
        "generate cat --backend x", block("{type: mock, steps: a}")
    ),
    "…:1: …: expected auto, on or off, got …": Case(config="output: {sidecar: maybe}"),
    "$…: expected auto, on or off, got '…'": Case(environment={"IMAGEN_SIDECAR": "maybe"}),
    "…:1: …: expected one of …": Case(
        "generate cat --backend x", block("{type: mock, format: gif}")
    ),
    "…:1: …: expected keys and values, got …": Case(config="backends: [mock]"),
    "…:1: …: expected text, got …": Case(config="default_backend: 5"),
    "…:2: …: stands twice: on line 1 and line 2": Case(config="store: auto\nstore: local"),
    "…:1: …: is missing": Case("generate cat --backend x", block("{steps: 4}")),
    "…:1: …: unknown type '…'": Case("generate cat --backend x", block("{type: mcok}")),
    "the type of the backend '…' comes with …, which is not installed": Case(
        "generate cat --backend x", block("{type: comfyui}")
    ),
    "…:1: …: the prompt of a style must have {prompt} in it": Case(
        "generate cat --style a", "styles: {a: {prompt: noir}}"
    ),
    "…:1: …: the size '…' is out of range: 1 to 16384 pixels a side": Case(
        "config validate", "backends: {x: {type: mock, size: 0x0}}"
    ),
    "…:1: …: a name has letters, digits, '.', '_' and '-' alone": Case(
        "config validate", "backends: {my mock: {type: mock}}"
    ),
    "default_backend: there is no backend '…' (…)": Case(
        "config validate", "default_backend: flux"
    ),
    '…:1: expected text as key; quote it: "…"': Case(config="on: auto"),
    "…:1: …: an alias may not contain itself": Case(config="styles: &a {a: *a}"),
    "…:1: …: tags such as … mean nothing here": Case(config="store: !env STORE"),
    "…:1: expected keys and values": Case(config="- a list"),
    "…:1: …: nested too deeply": Case(config=1000 * "[" + 1000 * "]"),
    "…:2: not YAML: …": Case(config="store: [a\nb: c"),
    "…: it is not UTF-8 (byte …)": Case(prepare=write("imagen.yaml", b"\xff")),
    "…: cannot read it: …": Case("generate cat --config {folder}"),
    "… and … both give the … '…'": Case("both"),
    "the plugin … cannot load …: …": Case("lost"),
    "the plugin … cannot make a backend of type '…': …": Case(
        "generate cat --backend x", odd("never")
    ),
    "the plugin … cannot make the store '…': …": Case("usage --store bad"),
    "the block '…' can't be read: …": Case("generate cat --backend x", block("{type: plain}")),
    "the mock was told to fail with 'credentials'": Case("generate cat -p fail=credentials"),
    "the mock was told to fail with 'rejected'": Case("generate cat -p fail=rejected"),
    "a webp has at most 16383 pixels a side": Case("generate cat -p format=webp --size 16384x1"),
    "the mock was told to fail with 'unavailable'": Case("generate cat -p fail=unavailable"),
    "the mock was told to fail with 'failed'": Case("generate cat -p fail=failed"),
    "the backend '…' (…) failed: …": Case("generate cat -p fail=crash"),
    "the backend '…' ended without a picture": Case("generate cat --backend x", odd("nothing")),
    "the backend '…' gave an empty picture": Case("generate cat --backend x", odd("empty")),
    "could not write …: …; the picture is safe in …": Case(
        "generate cat --backend x --output {folder}/pictures/x.png", odd("vanish")
    ),
    "could not write …: …; nor to any other folder": Case(
        "generate cat --backend x --output {folder}/pictures/x.png",
        odd("vanish"),
        prepare=nowhere_to_go,
    ),
    "…: file is not a database": Case("usage", prepare=write("data/ledger.db", bytes(4096))),
    "… was written by a newer imagen (schema …, this one knows …)": Case(
        "usage", prepare=newer_ledger
    ),
    "this is a fault in …: …": Case("crash"),
    "… of … failed": Case("generate cat --backend x --seed 1 --count 3", odd("some")),
    "cancelled": Case("generate cat --backend x", odd("interrupt")),
    "the mock was told to fail with 'cancelled'": Case("generate cat -p fail=cancelled"),
    "there is no configuration: using the built-in backend 'mock' (…)": Case(),
    "… names no default_backend: using 'mock'": Case(config="store: auto"),
    "the prompt is empty": Case("generate ' '"),
    "the backend '…' ignores the negative prompt": Case("generate cat --negative dog"),
    "the backend '…' ignores the seed: the picture can't be made again": Case(
        "generate cat --backend x", odd("images")
    ),
    "… holds …, whatever its suffix says": Case("generate cat --output x.jpg"),
    "its picture (…) is of no type that imagen knows": Case(
        "generate cat --backend x", odd("unknown")
    ),
    "plugins: … and … both give the … '…'; the built-in one is used": Case(),
    "sidecar: …": Case("generate cat --output {folder}/pictures/x.png", prepare=sidecar_in_the_way),
    "ledger: …; nothing is recorded from here on": Case(
        prepare=write("data/ledger.db", bytes(4096))
    ),
    "warning: …: this looks like a token; …": Case(
        "config validate", "default_backend: mock\nowner_user_id: r8_" + 20 * "x"
    ),
    "warning: …: imagen knows no such variable; …": Case(
        "config validate", environment={"IMAGEN_SIDECARS": "off"}
    ),
    "warning: …: comes with …, which is not installed; it is ignored; …": Case(
        "config validate", "output: {preview: on}"
    ),
    "…: comes with …, which is not installed; it is ignored; …": Case(
        config="output: {preview: on}"
    ),
    "store …: …": Case("usage"),
    "$…: there is no plugin '…'; …": Case(environment={"IMAGEN_LOAD_PLUGINS": "typo"}),
    "… of the runs could not be read (written by a newer imagen?)": Case(
        "usage", prepare=newer_run
    ),
}


class DeafBackend(Backend):
    """A backend that does not react to cancelling."""

    about = About(model="deaf")

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.awake = threading.Event()

    def generate(self, request: Request) -> Generator[Event, None, None]:
        self.begun.set()
        self.awake.wait(60)
        yield Image(data=PNG_HEAD, mime="image/png", seed=request.seed)


def cancelled(backend: Backend, folder: Path, *, wait: Callable[[], object]) -> Told:
    """What becomes of a making that is cancelled once `wait` returns."""
    cancel = threading.Event()
    request = Request(
        id="1", prompt="cat", typed_prompt="cat", backend="x", seed=1, width=1, height=1
    )
    pipeline = Pipeline(
        instance=lambda name: Instance(name, "odd", backend),
        ledger=None,
        data=folder / "data",
        grace=0.1,
    )

    def cancel_later() -> None:
        wait()
        cancel.set()

    thread = threading.Thread(target=cancel_later)
    thread.start()
    if wait is at_once:
        thread.join()
    failure = pipeline.run(request, Target(folder=folder), cancel).failure
    thread.join()
    assert failure
    return Told(failure.error().exit_code, {failure.code}, [f"imagen: {failure.message}"])


def at_once() -> None:
    """Cancel at once."""


def cancelled_before(folder: Path) -> Told:
    return cancelled(DeafBackend(), folder, wait=at_once)


def cancelled_in_vain(folder: Path) -> Told:
    backend = DeafBackend()
    try:
        return cancelled(backend, folder, wait=backend.begun.wait)
    finally:
        backend.awake.set()


def locked_folder(folder: Path) -> Told:
    pictures = folder / "pictures"
    pictures.mkdir(mode=0o500)
    with pytest.MonkeyPatch.context() as patch:
        if os.geteuid() == 0:
            patch.setattr(os, "access", lambda *_, **__: False)  # nothing is locked for root
        return tell(Case(), folder)


def full_disk(folder: Path) -> Told:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("w", encoding="utf-8") as out:
        return told_outside(folder, "version", stdout=out)


def broken_plugin(folder: Path) -> Told:
    (folder / "imagen_bad.py").write_text("1 / 0", encoding="utf-8")
    metadata = folder / "imagen_bad-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: imagen-bad\nVersion: 1\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text("[imagen]\nbad = imagen_bad\n", encoding="utf-8")
    return told_outside(folder, "plugins")


OTHER_CASES: dict[str, Callable[[Path], Told]] = {
    **provoked_by_compare.OTHER_CASES,
    **provoked_by_batch.OTHER_CASES,
    **provoked_by_preview.OTHER_CASES,
    **provoked_by_queues.OTHER_CASES,
    "could not write to standard output: …": full_disk,
    "cannot write to the folder …: Permission denied": locked_folder,
    "cancelled before it began": cancelled_before,
    "cancelled; the backend '…' did not react within … s and may still be at work": (
        cancelled_in_vain
    ),
    "… is broken: …": broken_plugin,
}


class Row(NamedTuple):
    """A row of the tables of messages, under the heading of its code."""

    code: str
    message: str


def message_rows() -> list[Row]:
    found, code = [], ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            code = line[3:].strip()
        elif code and line.startswith("| `"):
            found.append(Row(code, line.split("`")[1]))
    return found


@pytest.mark.parametrize("row", message_rows(), ids=lambda row: row.message)
def test_every_message_of_the_errors_page_is_provoked(
    row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", tempfile.gettempdir())
    if row.message in CASES:
        case = CASES[row.message]
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(case.stdin)))
        told = tell(case, tmp_path)
    elif row.message in OTHER_CASES:
        told = OTHER_CASES[row.message](tmp_path)
    else:
        told = ask_server(HTTP_CASES[row.message])

    pattern = "imagen: (error: )?" + ".+".join(map(re.escape, row.message.split("…")))
    assert [line for line in told.lines if re.fullmatch(pattern, line)], told
    exit_code = 0 if row.code == "Warnings" else ERRORS[row.code].exit_code
    assert told.exit_code == exit_code
    assert told.codes <= {row.code} or row.code == "partial"


def test_every_provoked_message_is_on_the_errors_page() -> None:
    provoked = {*CASES, *OTHER_CASES, *HTTP_CASES}

    assert provoked == {row.message for row in message_rows()}
