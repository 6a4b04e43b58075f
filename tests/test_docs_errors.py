"""The messages on the page of errors are real: each is provoked here."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TextIO

import click
import httpx
import msgspec
import pytest
from msgspec import Struct

from imagen_core import (
    About,
    Backend,
    BackendSpec,
    CommandSpec,
    Context,
    Event,
    Image,
    ImagenError,
    Options,
    Progress,
    Request,
    StoreSpec,
    hookimpl,
    http,
)
from imagen_core.app import App
from imagen_core.cli import run
from imagen_core.compare import at_work
from imagen_core.comparison import planned, save
from imagen_core.errors import ERRORS
from imagen_core.files import Moment, Target
from imagen_core.ledger import Ledger
from imagen_core.pipeline import Pipeline
from imagen_core.protocols import Instance
from imagen_core.terminal import Terminal
from imagen_core.testing import FailingServer
from imagen_core.types import Field, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    PreviewCase = Callable[[Path], "Told"]


PAGE = Path(__file__).parent.parent / "docs" / "errors.md"


PNG_HEAD = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1"


class OddConfig(Struct, frozen=True, kw_only=True):
    """The block of a backend that misbehaves."""

    how: str
    folder: Path = Path()

    def __post_init__(self) -> None:
        if self.how == "broken":
            raise ValueError("how: expected anything but broken")


class OddBackend(Backend):
    """A backend that misbehaves as it is told."""

    def __init__(self, config: OddConfig, context: Context) -> None:
        assert config.how != "never"
        self.how = config.how
        self.folder = config.folder
        self.context = context

    @property
    def about(self) -> About:
        takes_images: frozenset[Field] = frozenset({"images"})
        fields = dict.fromkeys(("images", "turning"), takes_images)
        fixed = "64x64" if self.how == "fixed" else ""
        return About(model="odd", size=fixed, honours=fields.get(self.how, frozenset({"seed"})))

    @property
    def resource(self) -> None:  # type: ignore[override]
        """Asked for when the images are checked, and before a making begins."""
        if self.how == "turning":
            with Path("turning.png").open("ab") as image:
                image.write(b".")

    def generate(self, request: Request) -> Generator[Event, None, None]:
        yield Progress(fraction=0.0)
        if self.how == "stop" and request.seed == 1:
            os.kill(os.getpid(), signal.SIGINT)
        if self.how == "nothing" or (self.how == "some" and request.seed % 2):
            return
        if self.how == "vanish":
            shutil.rmtree(self.folder)
        if self.how == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
            yield from http.pause(20.0)
        data = {"empty": b"", "unknown": b"?"}.get(self.how, PNG_HEAD)
        yield Image(data=data, mime="image/png", seed=request.seed)


def odd_backends() -> list[BackendSpec]:
    config, create = f"{__name__}:OddConfig", f"{__name__}:OddBackend"
    return [
        BackendSpec(type="odd", summary="odd", config=config, create=create),
        BackendSpec(type="mock", summary="a thief", config=config, create=create),
        BackendSpec(type="plain", summary="", config=f"{__name__}:Row", create=create),
    ]


def odd_stores() -> list[StoreSpec]:
    return [StoreSpec(name="bad", create=f"{__name__}:no_store")]


def no_store(_: Context) -> None:
    """Fail to make a store."""
    raise RuntimeError("no store")


def odd_commands() -> list[CommandSpec]:
    return [
        CommandSpec(name="none", help="No command.", load=f"{__name__}:no_command"),
        CommandSpec(name="lost", help="Not there.", load="lost_module:command"),
        CommandSpec(name="crash", help="A bug.", load=f"{__name__}:crash"),
    ]


def no_command() -> None:
    """What a plugin gives in place of a command."""


@click.command()
def crash() -> None:
    """Run into a bug."""
    raise RuntimeError("a bug")


def twin_backends() -> list[BackendSpec]:
    return [BackendSpec(type="twin", summary="twin", config="x:y", create="x:y")]


def twin_commands() -> list[CommandSpec]:
    return [CommandSpec(name="both", help="Claimed twice.", load=f"{__name__}:no_command")]


TWIN = SimpleNamespace(
    imagen_backends=hookimpl(twin_backends), imagen_commands=hookimpl(twin_commands)
)
PLUGINS = {
    "odd": SimpleNamespace(
        imagen_backends=hookimpl(odd_backends),
        imagen_commands=hookimpl(odd_commands),
        imagen_stores=hookimpl(odd_stores),
    ),
    "one": TWIN,
    "two": TWIN,
}


class Case(Struct, frozen=True):
    """A command line that provokes a message; `{folder}` in it is the test's own."""

    args: str = "generate cat"
    config: str = ""
    stdin: bytes = b""
    environment: dict[str, str] = {}
    prepare: Callable[[Path], object] = lambda _: None


class Told(NamedTuple):
    """What was said, and the exit code and the codes of the errors that go with it."""

    exit_code: int
    codes: set[str]
    lines: list[str]


class Listener(Terminal):
    """A terminal that keeps the errors that it shows."""

    def __init__(self, out: TextIO | None = None) -> None:
        super().__init__(out or io.StringIO(), io.StringIO(), {})
        self.codes: set[str] = set()

    def error(self, error: ImagenError, about: Mapping[str, Any] | None = None) -> None:
        self.codes.add(error.code)
        super().error(error, about)

    def told(self, exit_code: int) -> Told:
        assert isinstance(self.err, io.StringIO)
        return Told(exit_code, self.codes, self.err.getvalue().splitlines())


def odd(how: str) -> str:
    return f"backends: {{x: {{type: odd, how: {how}, folder: pictures}}}}"


def block(text: str) -> str:
    return f"backends: {{x: {text}}}"


def write(name: str, data: bytes) -> Callable[[Path], object]:
    def prepare(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)

    return prepare


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
    "there is no command '…'": Case("serve"),
    "No such option '…'. Did you mean '…'?": Case("generate cat --siz 1x1"),
    "Missing argument 'PROMPT'.": Case("generate"),
    "the size '…' is not WIDTHxHEIGHT": Case("generate cat --size big"),
    "the size '…' is out of range: 1 to 16384 pixels a side": Case("generate cat --size 1x99999"),
    "the count is 1 to 10000, got …": Case("generate cat --count 0"),
    "the seed is at least 0, got …": Case("generate cat --seed -1"),
    "seeds go up to 9223372036854775807; … is too large": Case(f"generate cat --seed {2**63}"),
    "the number of steps is at least 0, got …": Case("generate cat --steps -1"),
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
    "a prompt is needed": Case("compare --models mock"),
    "name the backends to compare": Case("compare cat"),
    "the model … is named twice": Case("compare cat --models mock,mock"),
    "the seed … is named twice": Case("compare cat --models mock --seeds 1,1"),
    "'…' is no seed": Case("compare cat --models mock --seeds x"),
    "the seeds '…' run backwards": Case("compare cat --models mock --seeds 9..2"),
    "the seeds '…' are out of range": Case("compare cat --models mock --seeds 0"),
    "'…' are … seeds": Case("compare cat --models mock --seeds 1..999"),
    "'…' are too many seeds": Case("compare cat --models mock --seeds 1..300,301..500"),
    "… models with … seeds are … cells, and 400 are the most": Case(
        "compare cat --models mock,a --seeds 1..300",
        config="backends: {a: {type: mock}}",
    ),
    "--columns is 0 to 40, got …": Case("compare cat --models mock --columns 99"),
    "--columns is for one axis": Case(
        "compare cat --models mock,a --seeds 1,2 --columns 2",
        config="backends: {a: {type: mock}}",
    ),
    "… makes no sense": Case(
        "compare --resume {folder}",
        prepare=lambda folder: save(
            folder,
            msgspec.structs.replace(
                planned(Options(prompt="cat"), ["mock"], [1], Moment.now()), cells=()
            ),
        ),
    ),
    "… is no folder": Case(
        "compare cat --models mock --output-dir {folder}/taken", prepare=write("taken", b"")
    ),
    "a comparison that is resumed has its prompt and its options": Case(
        "compare cat --resume {folder}"
    ),
    "… has no compare.json": Case("compare --resume {folder}"),
    "… can't be read: …": Case("compare --resume {folder}", prepare=write("compare.json", b"{")),
    "… is of another kind, or of a newer imagen (schema …)": Case(
        "compare --resume {folder}",
        prepare=lambda folder: save(
            folder,
            msgspec.structs.replace(
                planned(Options(prompt="cat"), ["mock"], [1], Moment.now()), schema=9
            ),
        ),
    ),
    "the backend '…' does not honour --…": Case("generate cat --backend x --steps 9", odd("fine")),
    "cannot read the input image …: …": Case(
        "generate cat --backend x --image none.png", odd("images")
    ),
    "… is no picture that imagen knows": Case(
        "generate cat --backend x --image {folder}/note.txt",
        odd("images"),
        prepare=write("note.txt", b"no picture"),
    ),
    "cannot read the rows of …: …": Case("batch none.txt"),
    "… has no rows": rows("# nothing", name="rows.txt"),
    "… is not UTF-8 (byte …)": rows(b"\xff"),
    "…:1: …: unknown column; …": rows("promt\ncat"),
    "…:1: …: stands twice in the header": rows("prompt,prompt\ncat,cat"),
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
    "…: row 1: its choices come to … prompts; 10000 is the most": rows(
        "{a|b|c}" * 9, "--expand all", name="rows.txt"
    ),
    "…: row 1: more than 50 braces stand inside each other": rows(
        "{a|" * 60 + "}" * 60, name="rows.txt"
    ),
    "the name '…' is no file name": rows("prompt\ncat", "--name a/b"),
    "the batch '…' in … was begun otherwise: …": Case(
        "batch {folder}/rows.txt --seed 5", prepare=batch_before(spoil=lose_pictures)
    ),
    "the plan … can't be read: …": Case(
        "batch {folder}/rows.txt", prepare=batch_before(spoil=spoil_plan)
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
    "interrupted: … of … are done": rows(
        "prompt\ncat", "--backend x --seed 1 --repeat 500", config=odd("stop")
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
    "… of the runs could not be read (written by a newer imagen?)": Case(
        "usage", prepare=newer_run
    ),
}


def ask(url: str, **options: Any) -> httpx.Response:
    with http.open_client(**options) as client:
        return http.check(http.call(client, "GET", url, who="the server"), who="the server")


def ask_twice(url: str) -> httpx.Response:
    """Ask while the only connection of the client is in use."""
    limits = httpx.Limits(max_connections=1)
    timeout = httpx.Timeout(5.0, pool=0.1)
    with httpx.Client(limits=limits, timeout=timeout) as client, client.stream("GET", url):
        return http.call(client, "GET", url, who="the server")


def answered(status: int) -> Callable[[FailingServer], httpx.Response]:
    def case(server: FailingServer) -> httpx.Response:
        server.reply(status)
        return ask(server.url)

    return case


def garbled(server: FailingServer) -> httpx.Response:
    server.reply(200, b"no gzip", {"Content-Encoding": "gzip"})
    return ask(server.url)


def broken_off(server: FailingServer) -> httpx.Response:
    server.drop()
    return ask(server.url)


def silent(server: FailingServer) -> httpx.Response:
    server.hang()
    return ask(server.url, timeout=httpx.Timeout(5.0, read=0.1))


HTTP_CASES: dict[str, Callable[[FailingServer], httpx.Response]] = {
    "the address of … is no http(s) address": lambda _: ask("ftp://127.0.0.1/"),
    "the request to … can't be sent: a header or credential has a bad character": lambda server: (
        ask(server.url, headers={"Authorization": "Bearer a\nb"})
    ),
    "the request to … can't be sent: a text is not valid Unicode": lambda server: ask(
        server.url, params={"prompt": "c\udc80at"}
    ),
    "… answered 401 …": answered(401),
    "… answered 422 …": answered(422),
    "… answered 503 …": answered(503),
    "… answered with something that can't be read": garbled,
    "… did not accept a connection in time": lambda server: ask_twice(server.url),
    "… did not answer in time": silent,
    "… is unreachable: …": lambda server: ask(server.refusing_url),
    "the connection to … broke off": broken_off,
}


class DeafBackend(Backend):
    """A backend that does not react to cancelling."""

    about = About(model="deaf")

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.awake = threading.Event()

    def generate(self, request: Request) -> Generator[Event, None, None]:
        self.begun.set()
        self.awake.wait(20)
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


def told_outside(folder: Path, *args: str, stdout: IO[str] | None = None) -> Told:
    """What a process of its own says."""
    done = subprocess.run(
        [sys.executable, "-m", "imagen_core", *args],
        env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=stdout or subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    return Told(done.returncode, set(), done.stderr.splitlines())


def in_a_folder_that_is_taken(folder: Path) -> Told:
    comparison = planned(Options(prompt="cat"), ["mock"], [1], Moment.now())
    save(folder, comparison)
    with at_work(folder):
        return tell(Case("compare --resume {folder}"), folder)


def comparison_that_another_model_began(folder: Path) -> Told:
    comparison = planned(Options(prompt="cat"), ["mock"], [1], Moment.now())
    save(folder, comparison)
    [cell] = comparison.cells
    app = App.for_test(Listener(), folder, plugins=PLUGINS)
    [asked] = app.resolve(comparison.options_of(cell))
    asked = msgspec.structs.replace(asked, id=cell.id)
    begun = Run(id=cell.id, started_at="2026", request=asked, model="older", remote_id="1")
    app.ledger.record(begun, finished=False)
    app.ledger.close()
    return tell(Case("compare --resume {folder}"), folder)


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


def previewed(*, tmux: str = "", viewer: str = "tmux-img", inside: str = "/s,1,0") -> PreviewCase:
    """A picture with a preview, where tmux is this script."""

    def case(folder: Path) -> Told:
        hooks = pytest.importorskip("imagen_tmux.hooks", reason="imagen-tmux is not installed")
        programs = folder / "programs"
        programs.mkdir()
        if tmux:
            (programs / "tmux").write_text(f"#!/bin/sh\n{tmux}\n")
            (programs / "tmux").chmod(0o755)
        terminal = Listener()
        app = App.for_test(
            terminal,
            folder,
            config=f'tmux: {{command: [{viewer}, "{{path}}"]}}',
            plugins={"tmux": hooks},
            environment={"PATH": str(programs), "TMUX": inside},
        )
        return terminal.told(run(["generate", "cat", "--preview"], terminal=terminal, app=app))

    return case


OTHER_CASES: dict[str, Callable[[Path], Told]] = {
    "preview: this is not inside tmux: $TMUX is not set; …": previewed(inside=""),
    "preview: there is no tmux in the PATH; …": previewed(),
    "preview: there is no viewer '…' in the PATH; …": previewed(tmux="exit", viewer="none"),
    "preview: the tmux server of $TMUX is gone: …; …": previewed(
        tmux="echo 'error connecting to /s (No such file or directory)' >&2; exit 1"
    ),
    "preview: tmux did not answer within … s; …": previewed(tmux="while :; do :; done"),
    "preview: tmux says: …; …": previewed(tmux="echo odd >&2; exit 1"),
    "batch: cannot write …: …": full_results,
    "the batch '…' in … is being made by another process": batch_that_is_taken,
    "another imagen is at work in …": in_a_folder_that_is_taken,
    "'…' has begun it with the model …, and has …": comparison_that_another_model_began,
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


def tell(case: Case, folder: Path) -> Told:
    """Run the command line of the case, with this folder as its world."""
    terminal = Listener()
    case.prepare(folder)
    app = App.for_test(
        terminal, folder, config=case.config, plugins=PLUGINS, environment=case.environment
    )
    args = [part.replace("{folder}", str(folder)) for part in shlex.split(case.args)]
    return terminal.told(run(args, terminal=terminal, app=app))


def ask_server(case: Callable[[FailingServer], object]) -> Told:
    with FailingServer() as server, pytest.raises(ImagenError) as caught:
        case(server)
    error = caught.value
    return Told(error.exit_code, {error.code}, [f"imagen: error: {error}"])


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
