"""ComfyUI: what imagen adds to a run of a server, beside `comfy run` on the same server."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench import environments
from bench.commands import PEERS, clean_environment, run_timed
from bench.environments import tell
from bench.processes import FakeProcess
from bench.tail import TimedTerminal
from imagen_core.app import App
from imagen_core.cli import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PEER = "comfy-cli"
PROMPT = "a cat"
SIZE = "64x64"
WARM_UPS = 2
CONFIG = "comfyui.yaml"
SAMPLER = "8"
"""The node of the graph that takes the seed."""


class Length(NamedTuple):
    """How long a run of the server lasts, and how often it is measured."""

    seconds: float
    rounds: int
    quick: int


LENGTHS = (Length(0.05, 15, 3), Length(1, 8, 3), Length(10, 3, 1))


class Overhead(NamedTuple):
    """Seconds for runs of one length: own ones in this process, and those of whole processes."""

    run_seconds: float
    own: list[float]
    imagen: list[float]
    peer: list[float]


class Programs(NamedTuple):
    """The two programs; the peer's is empty if it could not be installed."""

    imagen: str
    peer: str


class FakeServer(FakeProcess):
    """The fake server, for runs of one length."""

    def __init__(self, run_seconds: float) -> None:
        super().__init__("bench.comfyui", str(run_seconds))
        self.port = self.url.rpartition(":")[2]

    def last_run(self) -> dict[str, Any]:
        """The graph and the end of its last run; then it forgets what ran and what it holds."""
        return self.ask_json("last")


class Rig(NamedTuple):
    """All that it takes to measure runs of one length."""

    folder: Path
    server: FakeServer
    programs: Programs
    graph: dict[str, Any]
    seeds: Iterator[int]

    def in_process(self) -> float:
        """From the moment at which the history has the run until the path is printed."""
        terminal = generate(self.folder, self.server, next(self.seeds))
        # Both processes look at the same clock: on Linux it counts from the start of the machine.
        return float(terminal.printed - self.server.last_run()["finished"])

    def imagen(self) -> float | None:
        """`imagen generate`, from its start to its end; None if it failed."""
        command = (self.programs.imagen, *_arguments(self.folder, next(self.seeds)))
        return self._whole_process(command)

    def peer(self) -> float | None:
        """`comfy run`, from its start to its end; None if it failed."""
        seed = next(self.seeds)
        self.graph[SAMPLER]["inputs"]["seed"] = seed
        file = self.folder / f"graph-{seed}.json"
        file.write_text(json.dumps(self.graph), encoding="utf-8")
        address = ("--host", "127.0.0.1", "--port", self.server.port)
        return self._whole_process(
            (self.programs.peer, "run", "--workflow", str(file), *address, "--wait")
        )

    def _whole_process(self, command: Sequence[str]) -> float | None:
        variables = {"IMAGEN_CONFIG": str(self.folder / CONFIG)}
        seconds, code = run_timed(command, clean_environment(self.folder, variables))
        if code:
            tell(f"{Path(command[0]).name} failed with the exit code {code}")
            return None
        self.server.last_run()
        return seconds


def measure(folder: Path, *, quick: bool) -> list[Overhead]:
    """Measure each length of run, imagen and the peer in turns."""
    own = environments.imagen(sleepy=False)
    peer = environments.peer(PEER, PEERS[PEER])
    if own is None:
        raise SystemExit("imagen itself could not be installed")
    programs = Programs(own.script("imagen"), peer.script("comfy") if peer else "")
    return [_measure(folder, length, programs, quick=quick) for length in LENGTHS]


def generate(folder: Path, server: FakeServer, seed: int) -> TimedTerminal:
    """Make a picture in this process, as `imagen generate` does."""
    import imagen_comfyui

    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        terminal = TimedTerminal(out=nowhere, err=sys.stderr, environment={})
        plugins = {"comfyui": imagen_comfyui}
        app = App.for_test(terminal, folder, config=_config(server), plugins=plugins)
        code = run(_arguments(folder, seed), terminal=terminal, app=app)
    if code:
        raise SystemExit(f"the run in this process failed with the exit code {code}")
    return terminal


def _measure(folder: Path, length: Length, programs: Programs, *, quick: bool) -> Overhead:
    rounds = length.quick if quick else length.rounds
    warm_ups = WARM_UPS if length == LENGTHS[0] else 0
    found = Overhead(length.seconds, [], [], [])
    tell(f"ComfyUI, {rounds} rounds with runs of {length.seconds:g} s ...")
    with FakeServer(length.seconds) as server:
        rig = _rig(folder, server, programs)
        turns: list[tuple[list[float], Callable[[], float | None]]] = [
            (found.own, rig.in_process),
            (found.imagen, rig.imagen),
        ]
        turns += [(found.peer, rig.peer)] if programs.peer else []
        for number in range(-warm_ups, rounds):
            # Whoever comes next finds the machine as the one before left it.
            for seconds, turn in turns if number % 2 else reversed(turns):
                spent = turn()
                if number >= 0 and spent is not None:
                    seconds.append(spent)
    return found


def _rig(folder: Path, server: FakeServer, programs: Programs) -> Rig:
    (folder / CONFIG).write_text(_config(server), encoding="utf-8")
    seeds = count(1)
    generate(folder, server, next(seeds))
    # What imagen sends is what the peer gets as its file.
    return Rig(folder, server, programs, server.last_run()["graph"], seeds)


def _arguments(folder: Path, seed: int) -> list[str]:
    output = str(folder / "cat.png")
    words = ["generate", PROMPT, "--backend", "flux", "--size", SIZE]
    return [*words, "--seed", str(seed), "--output", output]


def _config(server: FakeServer) -> str:
    return f"backends:\n  flux: {{type: comfyui, url: '{server.url}', workflow: flux1-schnell}}\n"


def serve(run_seconds: float) -> None:
    """Be the fake server until standard input ends; each line asks for the last run."""
    from imagen_comfyui.testing import FakeComfyUI

    with contextlib.suppress(KeyboardInterrupt), FakeComfyUI(run_seconds=run_seconds) as server:
        print(server.url, flush=True)
        for _ in sys.stdin:
            last = server.submits[-1]
            finished = server.finished_at(last.prompt_id)
            print(json.dumps({"graph": last.graph, "finished": finished}), flush=True)
            # Its history would grow from round to round, and `comfy run` asks for all of it.
            server.restart()


if __name__ == "__main__":
    serve(float(sys.argv[1]))
