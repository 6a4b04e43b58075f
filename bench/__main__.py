"""`python -m bench` (or `make bench`): measure everything, and print it as ratios."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from bench import (
    batch,
    cloud,
    comfyui,
    commands,
    preview,
    queues,
    replicate,
    report,
    scheduling,
    sheet,
    tail,
    workers,
)
from bench.environments import CACHE, tell

ROUNDS = 30
TAILS = 30
NEW_PROCESSES = 10
QUICK = 5
COMMANDS, TAIL, COMFYUI, REPLICATE = "commands", "tail", "comfyui", "replicate"
SHEET, BATCH, SCHEDULING, CLOUD = "sheet", "batch", "scheduling", "cloud"
QUEUES, WORKERS, PREVIEW = "queues", "workers", "preview"
PARTS = (
    *(COMMANDS, TAIL, COMFYUI, REPLICATE, SHEET, BATCH),
    *(SCHEDULING, CLOUD, QUEUES, WORKERS, PREVIEW),
)


def main() -> None:
    """Run the bench; missed targets are told, and are no failure."""
    given = _arguments()
    CACHE.mkdir(exist_ok=True)
    # In the repository, which is on a disk; a system's folder for temporary files may be in memory.
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="run-") as folder:
        results = _measure(Path(folder), given.rounds or (QUICK if given.quick else ROUNDS), given)
    print(report.as_markdown(results) if given.markdown else report.as_text(results))
    if given.json:
        given.json.write_text(json.dumps(report.as_json(results), indent=1), encoding="utf-8")


def _measure(folder: Path, rounds: int, given: argparse.Namespace) -> report.Results:
    results = report.Results(rounds=rounds)
    if given.only in (None, COMMANDS):
        results.timings = commands.measure(commands.prepare(folder), folder, rounds)
    if given.only in (None, TAIL):
        _measure_tails(folder, results, quick=given.quick)
    if given.only in (None, COMFYUI):
        (folder / "comfyui").mkdir()
        results.overheads = comfyui.measure(folder / "comfyui", quick=given.quick)
    if given.only in (None, REPLICATE):
        (folder / "replicate").mkdir()
        results.lags = replicate.measure(folder / "replicate", quick=given.quick)
    if given.only in (None, SHEET):
        (folder / "sheet").mkdir()
        results.sheets = sheet.measure(folder / "sheet", quick=given.quick)
    if given.only in (None, BATCH):
        (folder / "batch").mkdir()
        results.batches = batch.measure(folder / "batch", quick=given.quick)
    if given.only in (None, SCHEDULING):
        (folder / "scheduling").mkdir()
        results.spread = scheduling.measure(folder / "scheduling", quick=given.quick)
    if given.only in (None, CLOUD):
        (folder / "cloud").mkdir()
        results.clouds = cloud.measure(folder / "cloud", quick=given.quick)
    if given.only in (None, QUEUES):
        (folder / "queues").mkdir()
        results.queues = queues.measure(folder / "queues", quick=given.quick)
    if given.only in (None, WORKERS):
        results.works = workers.measure(folder / "workers", quick=given.quick)
    if given.only in (None, PREVIEW):
        (folder / "preview").mkdir()
        results.previews = preview.measure(folder / "preview", quick=given.quick)
    return results


def _measure_tails(folder: Path, results: report.Results, *, quick: bool) -> None:
    tell("own time after the last byte ...")
    (folder / "tail").mkdir()
    results.tails = tail.measure(folder / "tail", QUICK if quick else TAILS)
    results.new_processes = tail.measure_new_processes(
        folder / "tail", QUICK if quick else NEW_PROCESSES
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, help=f"how many of them  [default: {ROUNDS}]")
    parser.add_argument("--quick", action="store_true", help="few rounds: a first look")
    parser.add_argument("--only", choices=PARTS, help="measure this part alone")
    parser.add_argument("--markdown", action="store_true", help="print it as Markdown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw numbers there")
    return parser.parse_args()


if __name__ == "__main__":
    main()
