"""What `imagen batch` does while it is at work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from imagen_core.cli.shared import at_the_keys, cancelled_by_signals, known_ledger
from imagen_core.cli.telling import Telling, spans
from imagen_core.errors import Cancelled, ImagenError, PartialFailure
from imagen_core.making import UNBEGUN
from imagen_core.stock import to_the_end
from imagen_core.types import Note, Progress, Run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from imagen_core.app import App
    from imagen_core.batch import Batch
    from imagen_core.pipeline import Item, Pipeline
    from imagen_core.types import Request


class BatchMaking:
    """One command at work on a batch: what it makes, what it has told, and how it ends."""

    def __init__(
        self,
        app: App,
        batch: Batch,
        flags: Mapping[str, str],
        *,
        max_failures: int,
        relative: bool,
    ) -> None:
        import threading

        from imagen_core.tally import Tally

        self._app = app
        self._batch = batch
        self._flags = flags
        self._pipeline: Pipeline = app.pipeline(flags)
        self._max_failures = max_failures
        self._tally = Tally(len(batch.entries))
        self._drain, self._cancel = threading.Event(), threading.Event()
        self._telling = Telling(app, relative=relative)
        self._runs: list[Run] = []
        self._open: set[str] = set()
        self._failed: dict[tuple[str, str], list[int]] = {}
        self._unnoted: list[ImagenError] = []
        self._gone = False

    def run(self) -> None:
        """Make all that is left, show it, and end with the exit code of it all."""
        try:
            self._run()
        except KeyboardInterrupt:
            raise (self._lost() if self._is_gone() else self._interrupted()) from None

    def _run(self) -> None:
        left = self._batch.sort_out(known_ledger(self._app, self._flags))
        self._tally.skipped = left.skipped
        for warning in left.warnings:
            self._app.console.warn(warning)
        if left.gone:
            told = f"gone or changed, and made again: {len(left.gone)}"
            self._app.console.info(told)
        for run in self._batch.take_up(left, self._pipeline.complete):
            self._take(run, adopted=True)
            self._settle(run)
        if self._batch.unclaimed:
            self._app.console.warn(self._batch.unclaimed)
        self._make(left.requests)
        if self._runs:
            paths = [output.path for run in self._runs for output in run.outputs]
            for note in self._pipeline.show(self._runs, paths):
                self._telling.note(note)
        self._end()

    def _make(self, requests: tuple[Request, ...]) -> None:
        bar = self._app.console.bar(max(len(requests), 1))
        bar.take("", Progress(message="beginning"))  # with many rows it takes seconds
        self._tally.begin()

        def take(request: Request, run: Run) -> None:
            if not self._unfinished(run):
                bar.finish(request.id)
                self._take(run)
                bar.say(self._tally.progress())
            elif run.cost:
                self._tally.spend(run)

        with cancelled_by_signals(self._cancel, at_the_keys(self._app), drain=self._drain):
            items = to_the_end(requests, self._each, self._renewed)
            self._telling.follow(items, bar, take)

    def _each(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Item]]:
        batch = self._batch
        return self._pipeline.each(
            requests, batch.target, self._cancel,
            enough=self._enough, load=batch.load, settled=self._settle,
        )  # fmt: skip

    def _renewed(self, requests: Sequence[Request]) -> Sequence[Request]:
        return () if self._is_gone() else self._batch.renew(requests)

    def _enough(self, failed: int) -> bool:
        full = 0 < self._max_failures <= failed
        return self._drain.is_set() or full or self._is_gone()

    def _is_gone(self) -> bool:
        """Whether what is begun now would be made where the same command does not look."""
        self._gone = self._gone or self._batch.is_gone
        return self._gone

    def _unfinished(self, run: Run) -> bool:
        """Whether nothing came of it since somebody interrupted it, or it was not begun at all."""
        failure = run.failure
        if failure is None or failure.code != Cancelled.code:
            return False
        return failure.message == UNBEGUN or self._cancel.is_set()

    def _take(self, run: Run, *, adopted: bool = False) -> None:
        """A making is over: tell of it."""
        self._open.add(run.id)
        self._tally.take(run, adopted=adopted)
        entry = self._batch.entry(run.request)
        about = {"row": entry.row, "repeat": entry.repeat, "template": entry.template}
        self._telling.run(run, about, place=f"row {entry.row}: ")
        if failure := run.failure:
            self._failed.setdefault((failure.code, failure.message), []).append(entry.row)
        elif run.outputs:
            self._runs.append(run)

    def _settle(self, run: Run) -> None:
        """Note a making that was told of, when its steps are over too."""
        if run.id not in self._open:
            return
        self._open.remove(run.id)
        try:
            self._batch.record(run)
        except ImagenError as error:
            self._unnoted.append(error)
            self._telling.note(Note(step="batch", text=str(error), warning=True))

    def _end(self) -> None:
        tally, console = self._tally, self._app.console
        self._tell_the_same()
        if not console.quiet:
            console.info(tally.summary())
        if self._is_gone():
            raise self._lost()
        if self._unnoted:
            console.error(_unnoted(self._unnoted))
        if tally.left and self._drain.is_set():
            raise self._interrupted()
        if tally.left:
            failures = f"{tally.failed} failure{'s' * (tally.failed != 1)}"
            console.info(f"stopped after {failures}; the same command goes on")
        if tally.failed:
            none = not (tally.done or tally.skipped or tally.adopted)
            code = ImagenError.exit_code if none else PartialFailure.exit_code
            raise click.exceptions.Exit(code)
        if self._unnoted:
            raise click.exceptions.Exit(ImagenError.exit_code)

    def _lost(self) -> ImagenError:
        return self._batch.lost(self._pipeline.rescue)

    def _interrupted(self) -> Cancelled:
        tally = self._tally
        done = tally.done + tally.skipped + tally.adopted
        told = f"interrupted: {done} of {tally.total} are done"
        return Cancelled(told, hint="the same command goes on from there")

    def _tell_the_same(self) -> None:
        """Name the rows of failures that people were told of once; programs had each of them."""
        for (_, message), (first, *more) in self._failed.items():
            rows = {*more} - {first}
            if rows and not self._app.console.as_json:
                told = f"row{'s' * (len(rows) > 1)} {spans(rows)}"
                self._app.console.info(f"{told}: the same as row {first}: {message}")


def _unnoted(errors: Sequence[ImagenError]) -> ImagenError:
    """What to say in the end of makings that are over and are not in the results."""
    number = f"{len(errors)} result{'s are' if len(errors) > 1 else ' is'} not written down"
    hint = "the pictures are there; make room, and the same command notes them"
    return ImagenError(f"{number}: {errors[0]}", hint=hint)
