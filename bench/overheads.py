"""The tables of what imagen adds to a server's own time: ComfyUI, Replicate, Supabase."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import comfyui, replicate
from bench.cells import NONE, Table, middle, milliseconds, quotient, runs, verdict
from bench.commands import PEERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.cloud import Clouds
    from bench.comfyui import Overhead
    from bench.replicate import Lag

OVERHEAD_MS = 25.0
TIMES_COMFY = {0.05: 0.5}
"""What part of the time of `comfy run` imagen may take, by the length of the run."""
BEYOND_BARE_MS = {0.05: 3.0, 0.3: 3.0, 1.2: 100.0, 5: 100.0}
"""How much later than a bare client imagen may have the bytes, by the length of the prediction."""
TIMES_BARE = 1.3
"""How much longer than the bare requests a picture may take on its way to the cloud."""
COMFY = f"{comfyui.PEER} {PEERS[comfyui.PEER]}"
"""The peer that runs workflows too."""
REPLICATE = f"{replicate.PEER} {replicate.VERSION}"
"""The peer that makes predictions too."""


def about_comfyui() -> list[str]:
    """What was compared."""
    return [
        "ComfyUI is the fake server of the tests, in a process of its own, on this machine; all "
        "take turns with the same graph, flux1-schnell at 64x64, with a new seed each time.",
        "imagen fetches and checks the picture, and writes it with its sidecar and the ledger; "
        "comfy run checks the graph against all of the server's nodes, and prints the picture's "
        "address, but fetches nothing.",
    ]


def about_replicate() -> list[str]:
    """What was compared."""
    return [
        "Replicate is the fake server of the tests, in a process of its own, on this machine, with "
        f"pictures of {replicate.FILE_BYTES // 1000} kB; all take turns with the same input, "
        "flux-schnell at 1024x1024, with a new seed and a new client each time. A round adds the "
        "same random time to the predictions of all.",
        f"The bare client is httpx with `Prefer: wait={replicate.HOLD}` and one download. "
        f"{REPLICATE} is its `run()`, which waits in the same way, and `read()`; it has a process "
        "of its own. imagen is its backend with the default `wait: 1`, and checks the picture.",
    ]


def comfyui_tables(overheads: Sequence[Overhead]) -> list[Table]:
    """In one process, then in whole ones, where the run itself is what both have to wait for."""
    own, whole = [], []
    for overhead in overheads:
        length = f"{overhead.run_seconds:g} s"
        spent = middle(overhead.own)
        met = verdict(spent and spent * 1000, OVERHEAD_MS, unit=" ms")
        own.append((f"{length} ({runs(overhead.own)})", *milliseconds(overhead.own), met))
        imagen, peer = middle(overhead.imagen), middle(overhead.peer)
        ratio = quotient(imagen, peer)
        beyond = quotient(imagen, peer, less=overhead.run_seconds)
        whole.append(
            (
                f"{length} ({runs(overhead.imagen)})",
                *milliseconds(overhead.imagen),
                *milliseconds(overhead.peer, "not measured"),
                NONE if ratio is None else f"{ratio:.2f}",
                NONE if beyond is None else f"{beyond:.2f}",
                verdict(ratio, TIMES_COMFY.get(overhead.run_seconds)),
            )
        )
    head = ("run", "imagen, ms", "min..max", f"{COMFY}, ms", "min..max")
    return [
        Table(
            "ComfyUI: own overhead, from the end of the run at the server to the printed path",
            ("run", "ms", "min..max", "target"),
            own,
        ),
        Table(
            "ComfyUI: the whole process, imagen generate and comfy run --wait",
            (*head, "imagen / comfy-cli", "without the run", "target"),
            whole,
        ),
    ]


def replicate_tables(lags: Sequence[Lag]) -> list[Table]:
    """The picture's bytes with each client, then all of imagen."""
    fetched, printed = [], []
    for lag in lags:
        length = f"{_length(lag)} ({runs(lag.imagen)})"
        imagen, peer = _beyond(lag.imagen, lag.bare), _beyond(lag.peer, lag.bare)
        fetched.append(
            (
                length,
                *milliseconds(lag.bare, digits=1),
                *milliseconds(lag.peer, "not measured", digits=1),
                _signed(peer),
                *milliseconds(lag.imagen, digits=1),
                _signed(imagen),
                verdict(imagen, BEYOND_BARE_MS.get(lag.run_seconds), unit=" ms"),
            )
        )
        printed.append((length, *milliseconds(lag.printed, digits=1)))
    head = ("prediction", "bare httpx, ms", "min..max", f"{REPLICATE}, ms", "min..max", "– bare")
    return [
        Table(
            "Replicate: from the end of the prediction at the server to the picture's bytes",
            (*head, "imagen, ms", "min..max", "– bare", "target"),
            fetched,
        ),
        Table(
            "Replicate: all of imagen, from the end of the prediction to the printed path",
            ("prediction", "ms", "min..max"),
            printed,
        ),
    ]


def _length(lag: Lag) -> str:
    least, most = lag.run_seconds * 1000, (lag.run_seconds + lag.spread) * 1000
    return f"{least:.0f}..{most:.0f} ms"


def _beyond(seconds: Sequence[float], base: Sequence[float]) -> float | None:
    """By how many milliseconds the one median is above the other."""
    value, least = middle(seconds), middle(base)
    return None if value is None or least is None else (value - least) * 1000


def _signed(value: float | None) -> str:
    return NONE if value is None else f"{value:+.1f}"


def about_cloud(clouds: Clouds) -> list[str]:
    """What was compared."""
    seconds = middle(clouds.imports) or 0
    return [
        "The project is a real PostgreSQL and PostgREST with a fake Storage, in processes of their "
        "own, on this machine. imagen is its two steps, with a new App each time; the bare client "
        "is httpx with the same three requests and nothing else: it makes no digest. The library "
        "is imported before.",
        f"Importing it (supabase) takes {seconds * 1000:.0f} ms in a new process, once a command, "
        "after the path is printed.",
    ]


def cloud_table(clouds: Clouds) -> Table:
    """A picture on a new connection, and a second one on the same."""
    rows = []
    for added in clouds.added:
        size = f"{added.size / 1_000_000:g} MB"
        for what, ours, bare in (
            ("the first of a command", added.imagen, added.bare),
            ("a further one", added.imagen_again, added.bare_again),
        ):
            ratio = quotient(middle(ours), middle(bare))
            shown = NONE if ratio is None else f"{ratio:.2f}"
            met = verdict(ratio, TIMES_BARE)
            name = f"{size}, {what} ({runs(ours)})"
            rows.append((name, *milliseconds(ours), *milliseconds(bare), shown, met))
    head = ("picture", "imagen, ms", "min..max", "bare, ms", "min..max", "× bare", "target")
    return Table("Usage and cloud sync, beside the bare requests", head, rows)
