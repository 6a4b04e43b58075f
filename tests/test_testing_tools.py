"""What the testing package gives beside its kits: fixtures, and a server that fails on demand."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

import imagen_core.testing
from imagen_core import __version__
from imagen_core.app import App
from imagen_core.terminal import Terminal
from imagen_core.testing import FailingServer, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imagen_core.testing.plugin import Imagen

pytest_plugins = ("pytester",)


def test_pytest_plugin_imports_nothing_of_imagen_and_nothing_heavy() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import imagen_core.testing.plugin; "
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    own = ["imagen_core", "imagen_core.testing", "imagen_core.testing.plugin"]
    assert done.stdout.split() == own


def test_public_names_of_the_testing_package_are_there() -> None:
    found = {name: getattr(imagen_core.testing, name) for name in imagen_core.testing.__all__}

    assert {name: value.__name__ for name, value in found.items()} == {name: name for name in found}
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        getattr(imagen_core.testing, "Nothing")  # noqa: B009


def test_home_is_empty_and_all_that_imagen_knows(imagen_home: Path) -> None:
    names = sorted(name for name in os.environ if name.startswith(("IMAGEN_", "XDG_")))

    assert list(imagen_home.iterdir()) == []
    assert Path.home() == imagen_home
    assert all(os.environ[name].startswith(f"{imagen_home}/") for name in names)
    assert names == [
        "IMAGEN_CACHE_DIR",
        "IMAGEN_DATA_DIR",
        "IMAGEN_OUTPUT_DIR",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_STATE_HOME",
    ]


STEERED = """
import os
import pytest

NAMES = {names}

@pytest.mark.{mark}
def test_environment(imagen_home):
    assert [name for name in NAMES if name in os.environ] == {left}
"""


@pytest.mark.parametrize(
    ("mark", "left"), [("plain", []), ("live", ["REPLICATE_API_TOKEN", "http_proxy"])]
)
def test_variables_that_steer_or_spend_are_gone(
    mark: str, left: list[str], pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["IMAGEN_BACKEND", "MAI_FROM_ID", "NO_COLOR", "TMUX", *left]
    names += [] if left else ["REPLICATE_API_TOKEN", "http_proxy"]
    for name in names:
        monkeypatch.setenv(name, "x")
    pytester.makeini("[pytest]\nmarkers =\n  plain\n  live")
    pytester.makepyfile(STEERED.format(names=names, mark=mark, left=left))

    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")

    result.assert_outcomes(passed=1)
    assert [name for name in names if os.environ.get(name) != "x"] == []


def test_command_line_gives_code_output_and_paths(imagen: Imagen, imagen_home: Path) -> None:
    result = imagen("generate", "a cat", "--seed", "1", "--size", "48x32", "--backend", "mock")

    (path,) = result.paths
    assert (result.exit_code, result.out, result.err) == (0, f"{path}\n", "")
    assert path.parent == imagen_home / "output"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_lines_of_json_are_read(imagen: Imagen) -> None:
    result = imagen("generate", "a cat", "--size", "48x32", "--count", "2", "--seed", "7", "--json")

    assert sorted(document["seed"] for document in result.json()) == [7, 8]
    assert [json.loads(line) for line in result.out.splitlines()] == result.json()


@pytest.mark.parametrize("prompt", ["zwölf Boxkämpfer", "zwölf Boxkämpfer".encode()])
def test_input_comes_in_on_stdin(imagen: Imagen, prompt: str | bytes) -> None:
    before = sys.stdin

    (document,) = imagen("generate", "-", "--size", "48x32", "--json", input=prompt).json()

    assert document["prompt"] == "zwölf Boxkämpfer"
    assert sys.stdin is before


def test_help_and_version_are_caught_too(imagen: Imagen) -> None:
    assert imagen("--version") == Result(0, f"imagen {__version__}\n", "")
    assert imagen("generate", "--help").out.startswith("Usage: imagen generate")


def test_errors_are_caught(imagen: Imagen) -> None:
    result = imagen("generate", "a cat", "--backend", "nothing")

    assert (result.exit_code, result.out) == (2, "")
    assert result.err.startswith("imagen: error: there is no backend 'nothing'\n")


def test_app_that_is_given_speaks_to_the_result(imagen: Imagen, tmp_path: Path) -> None:
    app = App.for_test(Terminal(), tmp_path, config="backends: {mine: {type: mock}}")

    result = imagen("generate", "a cat", "--backend", "mine", "--size", "48x32", app=app)

    assert (result.exit_code, result.err) == (0, "")
    assert result.paths[0].parent == tmp_path / "pictures"


IMPORTED = """
from imagen_core import Image, Request
from imagen_core.mock import MockBackend, MockConfig
from imagen_core.testing import events, images, png

def test_pictures(events, images, png):
    asked = {"id": "1", "prompt": "x", "typed_prompt": "x", "backend": "mock"}
    request = Request(**asked, width=64, height=64, seed=1)
    backend = MockBackend(MockConfig())
    [image] = images(backend, request)
    assert image in events(backend, request)
    assert png.startswith(image.data[:8])
"""


def test_fixtures_that_are_imported_drive_a_backend(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(IMPORTED)

    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")

    result.assert_outcomes(passed=1)


def test_result_reads_well() -> None:
    assert repr(Result(2, "a\n", "no\n")) == "exit code 2\n--- stdout\na\n--- stderr\nno\n---"


@pytest.fixture
def server() -> Iterator[FailingServer]:
    with FailingServer() as server:
        yield server


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=60) as client:
        yield client


def test_server_replies_and_keeps_the_request(server: FailingServer, client: httpx.Client) -> None:
    server.reply(503, b"later", {"Retry-After": "1"})

    reply = client.post(f"{server.url}/jobs?a=1", content=b"body", headers={"X-Id": "7"})

    assert (reply.status_code, reply.reason_phrase) == (503, "Service Unavailable")
    assert (reply.content, reply.headers["Retry-After"]) == (b"later", "1")
    (received,) = server.requests
    assert received[:2] == ("POST", "/jobs?a=1")
    assert (received.headers["x-id"], received.body) == ("7", b"body")


def test_server_reads_a_body_in_chunks(server: FailingServer, client: httpx.Client) -> None:
    client.post(server.url, content=iter([b"one ", b"two"]))

    assert server.requests[0].body == b"one two"


def test_server_follows_its_script_and_stays_at_the_end(
    server: FailingServer, client: httpx.Client
) -> None:
    server.reply(500)
    server.reply(299)

    assert [client.get(server.url).status_code for _ in range(3)] == [500, 299, 299]


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (FailingServer.drop, httpx.RemoteProtocolError),
        (FailingServer.truncate, httpx.RemoteProtocolError),
        (FailingServer.reset, httpx.ReadError),
        (lambda server: server.raw(b"no HTTP\r\n\r\n"), httpx.RemoteProtocolError),
    ],
)
def test_server_fails_as_it_is_told(
    act: Callable[[FailingServer], None],
    error: type[Exception],
    server: FailingServer,
    client: httpx.Client,
) -> None:
    act(server)

    with pytest.raises(error):
        client.post(server.url, content=b"body")

    assert [received.body for received in server.requests] == [b"body"]


def test_server_hangs_until_it_is_released(server: FailingServer, client: httpx.Client) -> None:
    server.hang()

    with pytest.raises(httpx.ReadTimeout):
        client.get(server.url, timeout=httpx.Timeout(60, read=0.01))
    server.release()
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(server.url)


def test_slow_server_gives_the_whole_body(server: FailingServer, client: httpx.Client) -> None:
    server.slow(b"slow", pause=0.001)

    assert client.get(server.url).content == b"slow"


def test_nobody_listens_at_the_refusing_address(
    server: FailingServer, client: httpx.Client
) -> None:
    with pytest.raises(httpx.ConnectError):
        client.get(server.refusing_url)


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n\r\n", b"GET / HT", b""])
def test_no_thread_is_left_whatever_hangs(sent: bytes) -> None:
    before = threading.active_count()
    with FailingServer() as server:
        server.hang()
        server.slow(b"slow", pause=3600)
        port = int(server.url.rpartition(":")[2])
        connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
        for connection in connections:
            connection.sendall(sent)

    assert threading.active_count() == before
    for connection in connections:
        connection.close()
