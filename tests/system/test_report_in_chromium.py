"""The report of a compare in a real browser."""

from __future__ import annotations

import functools
import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from chromium import Chromium, Page
from imagen_core import report

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.system

MODELS = ("mock", "flux")
SEEDS = (1, 2, 10)
PROMPT = "a cat <script>alert(1)</script> <img src=x onerror=alert(2)>"
REFUSED = {
    "code": "unavailable",
    "message": "the server does not answer <b>at all</b>",
    "hint": "start it",
    "retryable": True,
}
IN_VIEW = "document.querySelector('#viewer h2').firstChild.data"


class Quiet(SimpleHTTPRequestHandler):
    timeout = 5

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("chromium") / "home") as chromium:
        yield chromium


@pytest.fixture
def page(chromium: Chromium) -> Iterator[Page]:
    page = Page(chromium)
    page.look(width=1600)
    yield page
    page.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A compare in which flux refuses one seed."""
    cells = [made(tmp_path, model, seed) for model in MODELS for seed in SEEDS]
    cells[3] |= {"status": "failed", "files": [], "document": None, "error": REFUSED}
    cells[3] |= {"latency_ms": 0, "cost_usd_estimate": None}
    return write(tmp_path, cells)


@pytest.fixture
def served(folder: Path) -> Iterator[str]:
    server = Server(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def made(folder: Path, model: str, seed: int, *, name: str = "") -> dict[str, Any]:
    name = name or f"{model}-{seed}.png"
    size = (96, 64) if model == "mock" else (64, 64)
    Image.new("RGB", size, (seed * 20 % 256, 120, 200)).save(folder / name)
    document = {
        "model": f"{model}-large",
        "seed": seed,
        "width": size[0],
        "height": size[1],
        "steps": 4,
        "metadata": {"sampler": "euler" if model == "mock" else "heun", "scheduler": "simple"},
        "sha256": f"{seed:064}",
    }
    return {
        "model": model,
        "seed": seed,
        "status": "done",
        "latency_ms": 12_000 // seed,
        "cost_usd_estimate": 0.003 if model == "mock" else None,
        "files": [name],
        "document": document,
        "error": None,
        "notes": [],
    }


def write(folder: Path, cells: list[dict[str, Any]]) -> Path:
    document = {
        "prompt": PROMPT,
        "date": "2026-11-24",
        "options": {"size": "96x64", "steps": 0},
        "cells": cells,
        "totals": {"cost_usd_estimate": 0.009, "seconds": 83.4},
    }
    (folder / "index.html").write_bytes(report.render(document))
    return folder


def show(page: Page, folder: Path) -> None:
    page.open((folder / "index.html").as_uri())


def texts(page: Page, selector: str) -> list[str]:
    found = f"[...document.querySelectorAll({json.dumps(selector)})]"
    return page.ask(f"{found}.map((node) => node.textContent)")


def column(page: Page, number: int) -> list[str]:
    return texts(page, f".list td:nth-child({number})")


def complaints(page: Page) -> list[dict[str, Any]]:
    kinds = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
    return [*(what for kind in kinds for what in page.saw(kind))]


def requested(page: Page) -> list[str]:
    return [what["request"]["url"] for what in page.saw("Network.requestWillBeSent")]


@pytest.mark.parametrize("way", ["file", "http"])
def test_pictures_load_and_nothing_else_is_asked_for(
    folder: Path, served: str, page: Page, way: str
) -> None:
    base = served if way == "http" else f"{folder.as_uri()}/"

    page.open(f"{base}index.html")
    page.wait("[...document.images].every((image) => image.complete)")

    sizes = "[...document.images].map((image) => [image.naturalWidth, image.naturalHeight])"
    assert sorted(page.ask(sizes)) == [[64, 64]] * 2 + [[96, 64]] * 3
    assert texts(page, ".matrix tbody th b") == ["1", "2", "10"]
    page.click(".open")
    page.press("ArrowRight", "Escape")
    page.click(".matrix tr:nth-child(2) td:nth-of-type(1) .pick")
    page.click(".matrix tr:nth-child(2) td:nth-of-type(2) .pick")
    page.click(".tray .main")
    page.wait("document.querySelectorAll('#pair img').length === 4")
    page.wait("[...document.images].every((image) => image.naturalWidth)")
    names = {"mock-1.png", "mock-2.png", "mock-10.png", "flux-2.png", "flux-10.png"}
    own = {f"{base}{name}" for name in ("index.html", *names)}
    assert {address for address in requested(page) if not address.startswith("data:")} == own
    assert complaints(page) == []


def test_policy_keeps_the_page_from_asking_anybody(folder: Path, served: str, page: Page) -> None:
    show(page, folder)

    page.ask(f"fetch('{served}').catch(() => 'refused')")
    page.ask(
        "new Promise((done) => { const image = new Image(); image.onerror = done;"
        f" image.src = '{served}mock-1.png'; }}).then(() => 'refused')"
    )
    page.ask("document.body.append(Object.assign(document.createElement('script'), { text: 'x' }))")

    refused = [what["entry"]["text"] for what in page.await_events("Log.entryAdded", 3)]
    assert all("Content Security Policy" in text for text in refused)


def test_texts_stay_texts(folder: Path, page: Page) -> None:
    show(page, folder)

    assert texts(page, "h1") == [PROMPT]
    assert page.ask("document.title") == PROMPT
    assert page.saw("Page.javascriptDialogOpening") == []
    assert texts(page, ".panel.failed") == [
        "Failed: unavailablethe server does not answer <b>at all</b>start it"
    ]
    assert page.ask("document.querySelectorAll('body script').length") == 2


def test_totals_call_unknown_what_is_unknown(folder: Path, page: Page) -> None:
    show(page, folder)

    assert texts(page, ".totals div") == [
        "Pictures5 of 6",
        "Failed1",
        "Cost$0.009 and unknown for 2",
        "Time1 min 23 s",
    ]
    assert column(page, 6) == ["$0.003"] * 3 + ["unknown"] * 3


def test_table_sorts_by_click_and_by_key_with_unknown_last(folder: Path, page: Page) -> None:
    show(page, folder)

    page.click(".list th:nth-child(5) button")
    assert column(page, 5) == ["1.2 s", "1.2 s", "6.0 s", "6.0 s", "12.0 s", "unknown"]
    page.press("Enter")
    assert column(page, 5) == ["12.0 s", "6.0 s", "6.0 s", "1.2 s", "1.2 s", "unknown"]
    assert page.ask("document.querySelector('[aria-sort]').ariaSort") == "descending"

    page.ask("document.querySelector('.list th:nth-child(1) button').focus()")
    page.press("Tab", "Enter")
    assert column(page, 2) == ["1", "1", "2", "2", "10", "10"]
    assert page.ask("document.querySelectorAll('[aria-sort]').length") == 1


def test_full_size_goes_on_by_arrow_and_closes_by_escape(folder: Path, page: Page) -> None:
    show(page, folder)

    page.click(".open")
    assert page.ask("document.querySelector('#viewer').open") is True
    assert page.ask(IN_VIEW) == "mock, seed 1"
    assert "euler" in texts(page, "#viewer dd")

    page.press("ArrowLeft")
    assert page.ask(IN_VIEW) == "mock, seed 1"
    page.press("ArrowRight", "ArrowRight", "ArrowRight")
    assert page.ask(IN_VIEW) == "mock, seed 10"
    page.press("ArrowLeft")
    assert page.ask(IN_VIEW) == "flux, seed 2"
    page.press("Escape")
    assert page.ask("document.querySelector('#viewer').open") is False
    assert page.ask("document.activeElement.ariaLabel") == "mock, seed 1: full size"


def test_button_that_goes_on_keeps_the_focus(folder: Path, page: Page) -> None:
    show(page, folder)
    page.click(".open")

    page.click("#viewer [aria-label=Next]")
    page.press("Enter", "Enter")

    assert page.ask(IN_VIEW) == "mock, seed 10"
    assert page.ask("document.activeElement.ariaLabel") == "Next"


def test_two_cells_stand_side_by_side_with_what_differs(folder: Path, page: Page) -> None:
    show(page, folder)
    page.click(".matrix tr:nth-child(1) .pick")
    assert texts(page, ".tray p") == ["mock, seed 1: choose another to compare"]
    page.click(".matrix tr:nth-child(3) td:nth-of-type(2) .pick")
    assert texts(page, ".tray p") == ["mock, seed 1 and flux, seed 10"]

    page.click(".tray .main")

    assert texts(page, "#pair figcaption") == ["mock, seed 1", "flux, seed 10"]
    differing = texts(page, "#pair .differs th")
    assert differing == ["backend", "model", "seed", "size", "time", "cost", "sampler"]
    assert {"steps", "scheduler", "file", "sha256"} <= {*texts(page, "#pair tbody th")}
    page.click("#pair .bar button")
    page.ask("document.querySelector('#pair input').focus()")
    page.press("ArrowLeft")
    cut = "document.querySelector('.wipe').style.getPropertyValue('--cut')"
    assert page.ask(cut) == "49.5%"
    page.press("Escape")
    assert page.ask("document.querySelector('#pair').open") is False


def test_third_choice_takes_the_place_of_the_first(folder: Path, page: Page) -> None:
    show(page, folder)

    for row, cell in ((1, 1), (2, 1), (2, 2)):
        page.click(f".matrix tr:nth-child({row}) td:nth-of-type({cell}) .pick")

    assert texts(page, ".tray p") == ["mock, seed 2 and flux, seed 2"]
    page.click(".tray button:last-child")
    assert page.ask("document.querySelector('.tray').hidden") is True


def test_picture_that_is_not_there_is_named(folder: Path, page: Page) -> None:
    (folder / "mock-2.png").unlink()

    show(page, folder)

    page.wait("document.querySelector('.open .panel')")
    assert texts(page, ".open .panel") == ["Missingmock-2.png is not in this folder."]


def test_file_with_any_name_is_found(tmp_path: Path, page: Page) -> None:
    names = ["a 'b' \"c\".png", "100%25 #1?.png", "猫 🐈.png", "a&b;<i>.png"]
    cells = [made(tmp_path, "mock", seed, name=name) for seed, name in enumerate(names, 1)]

    show(page, write(tmp_path, cells))

    page.wait("[...document.images].every((image) => image.complete)")
    widths = page.ask("[...document.images].map((image) => image.naturalWidth)")
    assert widths == [96] * 4
    assert texts(page, ".list td:last-child") == names


def test_dark_is_dark_and_light_is_light(folder: Path, page: Page) -> None:
    brightness = {}
    for scheme in ("light", "dark"):
        page.look(width=1600, scheme=scheme)
        show(page, folder)
        with Image.open(BytesIO(page.screenshot())) as picture:
            brightness[scheme] = picture.convert("L").tobytes()[0]

    assert brightness["light"] > 230
    assert brightness["dark"] < 40


@pytest.mark.parametrize("width", [360, 800, 1600])
def test_page_is_never_wider_than_the_window(folder: Path, page: Page, width: int) -> None:
    page.look(width=width)

    show(page, folder)

    assert page.ask("document.documentElement.scrollWidth") == width
    page.click(".open")
    assert page.ask("document.querySelector('#viewer').scrollWidth") == width


def test_four_hundred_cells_load_only_what_is_seen(tmp_path: Path, page: Page) -> None:
    cells = [made(tmp_path, f"model-{row}", seed) for row in range(20) for seed in range(1, 21)]

    show(page, write(tmp_path, cells))

    assert page.ask("document.querySelectorAll('.card').length") == 400
    assert 0 < len(requested(page)) < 300
    page.click(".list th:nth-child(2) button")
    page.wait("document.querySelector('.list th:nth-child(2)[aria-sort]')")
    assert column(page, 2)[::20] == [str(seed) for seed in range(1, 21)]
    assert complaints(page) == []


def test_tall_picture_fits_the_window_and_is_whole_in_full_size(tmp_path: Path, page: Page) -> None:
    tall = made(tmp_path, "mock", 1)
    Image.new("RGB", (40, 900)).save(tmp_path / "mock-1.png")
    tall["document"] |= {"width": 40, "height": 900}
    show(page, write(tmp_path, [tall]))

    assert page.ask("document.querySelector('.card img').offsetHeight <= innerHeight")
    page.ask("document.querySelector('.card .open').click()")
    assert page.ask("document.querySelector('#viewer img').naturalHeight") == 900


def test_nothing_to_pay_is_free(tmp_path: Path, page: Page) -> None:
    free = made(tmp_path, "mock", 1) | {"cost_usd_estimate": 0}
    show(page, write(tmp_path, [free]))

    assert column(page, 6) == ["free"]


def test_prompt_as_it_was_sent_is_among_the_facts(tmp_path: Path, page: Page) -> None:
    cells = [made(tmp_path, "mock", 1), made(tmp_path, "flux", 1)]
    cells[0]["document"]["effective_prompt"] = f"{PROMPT}, in ink"
    cells[1]["document"]["effective_prompt"] = PROMPT
    show(page, write(tmp_path, cells))

    page.ask("document.querySelector('.card .open').click()")

    assert f"{PROMPT}, in ink" in texts(page, "#viewer dd")
