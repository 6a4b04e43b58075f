"""Replicate: how soon after its end imagen has a prediction's picture, beside other clients."""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx

from bench import environments
from bench.commands import clean_environment
from bench.environments import tell
from bench.processes import Dialogue, FakeProcess
from bench.tail import TimedTerminal
from imagen_core import Request
from imagen_core.app import App
from imagen_core.cli import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.environments import Environment
    from imagen_replicate.backend import ReplicateBackend

PEER = "replicate"
VERSION = "1.0.7"
MODEL = "black-forest-labs/flux-schnell"
TOKEN_ENV = "REPLICATE_API_TOKEN"
TOKEN = "r8_bench"
PROMPT = "a cat"
SIDE = 1024
FILE_BYTES = 300_000
HOLD = 60
WARM_UPS = 2


class Length(NamedTuple):
    """How long predictions last, by how much more at random, and how often it is measured."""

    seconds: float
    spread: float
    rounds: int
    quick: int


LENGTHS = (
    Length(0.05, 0.1, 15, 3),
    Length(0.3, 0.5, 15, 3),
    Length(1.2, 0.5, 8, 2),
    Length(5, 0.5, 4, 1),
)


class Lag(NamedTuple):
    """Seconds after the end of predictions of one length.

    To the bytes of the picture: with imagen's backend, a bare client, the peer. To the printed
    path: with all of imagen.
    """

    run_seconds: float
    spread: float
    imagen: list[float]
    bare: list[float]
    peer: list[float]
    printed: list[float]


class Rig(NamedTuple):
    """All that it takes to measure."""

    app: App
    folder: Path
    server: FakeProcess
    peer: Dialogue | None
    given: dict[str, Any]
    seeds: Iterator[int]

    def with_imagen(self) -> float:
        """The backend alone, with its connections opened and closed."""
        seed = next(self.seeds)
        request = Request(
            id=f"bench-{seed}",
            prompt=PROMPT,
            typed_prompt=PROMPT,
            backend="flux",
            width=SIDE,
            height=SIDE,
            seed=seed,
        )
        list(_backend(self.app, self.server).generate(request))
        return self._since_end(time.monotonic())

    def with_bare_client(self) -> float:
        """What cannot be done with less: a create that waits, and a download."""
        with httpx.Client() as client:
            created = client.post(
                f"{self.server.url}/models/{MODEL}/predictions",
                json={"input": {**self.given, "seed": next(self.seeds)}},
                headers={"Authorization": f"Bearer {TOKEN}", "Prefer": f"wait={HOLD}"},
                timeout=HOLD + 5,
            )
            client.get(created.raise_for_status().json()["output"][0]).raise_for_status()
        return self._since_end(time.monotonic())

    def with_peer(self) -> float | None:
        """`run` of the peer and `read` of its file; None if it failed."""
        assert self.peer is not None
        moment = self.peer.ask(json.dumps({**self.given, "seed": next(self.seeds)}))
        if not moment:
            tell(f"{PEER} {VERSION} failed")
            return None
        return self._since_end(float(moment))

    def printed(self) -> float:
        """All of imagen: the picture, its sidecar and its record are written too."""
        terminal = generate(self.folder, self.server, seed=next(self.seeds))
        return self._since_end(terminal.printed)

    def _since_end(self, moment: float) -> float:
        # All processes look at the same clock: on Linux it counts from the start of the machine.
        return moment - float(self.server.ask_json("last")["finished"])


def measure(folder: Path, *, quick: bool) -> list[Lag]:
    """Measure predictions of each length, all clients in turns."""
    peer = environments.peer(PEER, VERSION)
    if peer is None:
        tell(f"{PEER} {VERSION} could not be installed: the rest is measured without it")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(FakeProcess("bench.replicate"))
        dialogue = stack.enter_context(_dialogue(peer, server, folder=folder)) if peer else None
        terminal = TimedTerminal(out=sys.stderr, err=sys.stderr, environment={})
        app = _app(terminal, server, folder=folder)
        stack.callback(app.close)
        # What imagen sends is what the others send.
        generate(folder, server, seed=0)
        given = server.ask_json("last")["input"]
        rig = Rig(app, folder, server, dialogue, given, count(1))
        return [_measure(rig, length, quick=quick) for length in LENGTHS]


def generate(folder: Path, server: FakeProcess, *, seed: int) -> TimedTerminal:
    """Make a picture in this process, as `imagen generate` does."""
    words = ["generate", PROMPT, "--backend", "flux", "--size", f"{SIDE}x{SIDE}"]
    output = str(folder / "cat.png")
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        terminal = TimedTerminal(out=nowhere, err=sys.stderr, environment={})
        app = _app(terminal, server, folder=folder)
        code = run([*words, "--seed", str(seed), "--output", output], terminal=terminal, app=app)
    if code:
        raise SystemExit(f"the run in this process failed with the exit code {code}")
    return terminal


def _measure(rig: Rig, length: Length, *, quick: bool) -> Lag:
    rounds = length.quick if quick else length.rounds
    warm_ups = WARM_UPS if length == LENGTHS[0] else 0
    found = Lag(length.seconds, length.spread, [], [], [], [])
    tell(f"Replicate, {rounds} rounds with predictions of {length.seconds:g} s ...")
    turns: list[tuple[list[float], Callable[[], float | None]]] = [
        (found.bare, rig.with_bare_client),
        (found.imagen, rig.with_imagen),
        (found.printed, rig.printed),
    ]
    turns += [(found.peer, rig.with_peer)] if rig.peer else []
    for number in range(-warm_ups, rounds):
        # Else whoever looks at the prediction every so often could be in step with its end.
        extra = random.Random(number).uniform(0, length.spread)
        rig.server.ask(str(length.seconds + extra))
        # Whoever comes next finds the machine as the one before left it.
        for seconds, turn in turns if number % 2 else reversed(turns):
            spent = turn()
            if number >= 0 and spent is not None:
                seconds.append(spent)
    return found


def _dialogue(peer: Environment, server: FakeProcess, *, folder: Path) -> Dialogue:
    script = Path(__file__).with_name("replicate_peer.py")
    address = server.url.removesuffix("/v1")
    # Without -P, `replicate` would be this module.
    command = [peer.python, "-P", str(script), address, TOKEN, MODEL]
    return Dialogue(command, clean_environment(folder))


def _app(terminal: TimedTerminal, server: FakeProcess, *, folder: Path) -> App:
    import imagen_replicate

    block = f"{{type: replicate, model: {MODEL}, api_url: '{server.url}'}}"
    return App.for_test(
        terminal,
        folder,
        config=f"backends:\n  flux: {block}\n",
        plugins={"replicate": imagen_replicate},
        environment={TOKEN_ENV: TOKEN},
    )


def _backend(app: App, server: FakeProcess) -> ReplicateBackend:
    from imagen_replicate.backend import ReplicateBackend
    from imagen_replicate.config import ReplicateConfig

    return ReplicateBackend(ReplicateConfig(model=MODEL, api_url=server.url), app.context)


def serve() -> None:
    """Be the fake server until standard input ends.

    A number is how many seconds the next predictions last; `last` asks for the last one.
    """
    from imagen_replicate.testing import FakeReplicate

    fake = FakeReplicate(token=TOKEN, file_bytes=FILE_BYTES)
    with contextlib.suppress(KeyboardInterrupt), fake as server:
        print(server.url, flush=True)
        for line in sys.stdin:
            if line.strip() != "last":
                server.models[MODEL]["seconds"] = float(line)
                print("{}", flush=True)
                continue
            last = server.predictions[-1]
            finished = server.finished_at(last.id)
            print(json.dumps({"input": last.input, "finished": finished}), flush=True)


if __name__ == "__main__":
    serve()
