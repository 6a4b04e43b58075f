"""What provokes each message of `imagen compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from imagen_core import (
    Options,
)
from imagen_core.app import App
from imagen_core.compare import at_work
from imagen_core.comparison import planned, save
from imagen_core.files import Moment
from imagen_core.types import Run
from odd_plugins import PLUGINS
from provoking import Case, Listener, Told, tell, write

if TYPE_CHECKING:
    from collections.abc import Callable


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


CASES = {
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
}

OTHER_CASES: dict[str, Callable[[Path], Told]] = {
    "another imagen is at work in …": in_a_folder_that_is_taken,
    "'…' has begun it with the model …, and has …": comparison_that_another_model_began,
}
