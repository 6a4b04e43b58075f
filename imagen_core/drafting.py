"""From rows to makings: everything is resolved and checked before the first one runs."""

from __future__ import annotations

import os
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from imagen_core import wildcards
from imagen_core.errors import UsageError, told
from imagen_core.files import Target, check_path, expand_home, is_folder
from imagen_core.resolve import MAX_COUNT
from imagen_core.rows import Problem, RowsError
from imagen_core.types import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from imagen_core.batch_state import Plan, Planned
    from imagen_core.rows import Row, Rows
    from imagen_core.types import Request

MAX_MAKINGS = 100_000
"""How many makings one batch may have: all of them are checked, and held, before the first."""

PLAIN = "?"
"""A prompt that nothing is wrong with, where something else is looked at."""


class Order(NamedTuple):
    """What holds for all rows: defaults by the names of Options, how often, and which choices.

    `backend`: the one that is used where nobody names another.
    """

    defaults: Mapping[str, Any]
    backend: str = ""
    repeat: int = 1
    every: bool = False


class Entry(NamedTuple):
    """One making that is to be. Its input images are checked, and their bytes left on the disk."""

    row: int
    repeat: int
    request: Request
    template: str
    target: Target
    given: Mapping[str, Any]

    @property
    def images(self) -> tuple[str, ...]:
        """The paths of its input images."""
        images: tuple[str, ...] = self.given.get("images", ())
        return images

    @property
    def options(self) -> Options:
        """What its row asks for, with the choices of its prompt made."""
        return Options(**{**self.given, "prompt": self.request.typed_prompt})

    @property
    def place(self) -> tuple[int, int]:
        """Which making of which row it is, whatever its id."""
        return self.row, self.repeat


def draft(
    resolve: Callable[[Options], tuple[Request, ...]],
    rows: Rows,
    order: Order,
    target: Target,
    plan: Plan | None = None,
    *,
    watch: Callable[[], object] = int,
) -> tuple[Entry, ...]:
    """The makings of all rows, with the ids, seeds and choices of a plan if there is one.

    A RowsError says everything that is wrong with any of them. `watch` is called before each row.
    """
    _refuse_too_many(rows, order)
    drafting = _Drafting(resolve, order, target, plan)
    entries: list[Entry] = []
    for row in rows.rows:
        watch()
        entries += drafting.entries(row)
    if problems := [*rows.problems, *drafting.problems]:
        raise RowsError(rows.source, problems)
    return tuple(entries)


def _refuse_too_many(rows: Rows, order: Order) -> None:
    """Count before anything is drafted, which takes its time."""
    total = sum(_makings(row, order) for row in rows.rows)
    if total > MAX_MAKINGS:
        shown = "over " * (total >= wildcards.MANY) + str(min(total, wildcards.MANY))
        told = f"its rows come to {shown} pictures; {MAX_MAKINGS} is the most of a batch"
        raise RowsError(rows.source, [*rows.problems, Problem(0, 0, "", told)])


def _makings(row: Row, order: Order) -> int:
    """How many makings a row comes to; none where that is told of the row itself."""
    options = {**order.defaults, **row.options}
    each: int = options.get("count", 1) * order.repeat
    if not 1 <= each <= MAX_COUNT:
        return 0
    if not order.every:
        return each
    try:
        choices = wildcards.count(wildcards.parse(options.get("prompt", PLAIN)))
    except UsageError:
        return 0
    return each * choices if choices <= MAX_COUNT else 0


class _ColumnError(UsageError):
    """Something is wrong with a column of a row that is not seen in what it leads to."""

    def __init__(self, column: str, message: str) -> None:
        super().__init__(message)
        self.column = column


class _Drafting:
    """Takes row after row; `problems` is what was wrong with them."""

    def __init__(
        self,
        resolve: Callable[[Options], tuple[Request, ...]],
        order: Order,
        target: Target,
        plan: Plan | None,
    ) -> None:
        self._resolve = resolve
        self._order = order
        self._target = target
        self._planned = iter(plan.makings if plan else ())
        self._outputs: dict[str, int] = {}
        self.problems: list[Problem] = []

    def entries(self, row: Row) -> list[Entry]:
        place = self._place(row)
        # A prompt that is missing was told already; the rest of the row is looked at all the same.
        options = {"prompt": PLAIN, **self._order.defaults, **row.options}
        options["params"] = {
            **self._order.defaults.get("params", {}),
            **row.options.get("params", {}),
        }
        try:
            text = _parsed(options["prompt"], every=self._order.every)
            made = list(self._requests(row, options, text))
        except _ColumnError as error:
            self.problems.append(Problem(row.line, row.number, error.column, told(error)))
            return []
        except UsageError as error:
            self.problems += self._reasons(row, options, error)
            return []
        template = options["prompt"]
        return [
            Entry(
                row=row.number,
                repeat=index + 1,
                request=_light(request),
                template=template if template != request.typed_prompt else "",
                target=place.nth(index),
                given=options,
            )
            for index, request in enumerate(made)
        ]

    def _requests(
        self, row: Row, options: dict[str, Any], text: wildcards.Text
    ) -> Iterator[Request]:
        count, repeat = options.get("count", 1), self._order.repeat
        if count * repeat > MAX_COUNT and repeat > 1:
            pictures = f"{count * repeat} pictures of one prompt"
            message = f"with --repeat it comes to {pictures}; {MAX_COUNT} is the most"
            raise _ColumnError("count", message)
        options = {**options, "count": count * repeat}
        if wildcards.count(text) > 1 and not self._order.every:
            yield from self._chosen(row, options, text)
            return
        for prompt in wildcards.expand(text):
            for request, _ in self._resolved({**options, "prompt": prompt}):
                yield request

    def _chosen(self, row: Row, options: dict[str, Any], text: wildcards.Text) -> Iterator[Request]:
        """A request for each seed, with choices that follow from it and from its place."""
        for index, (request, planned) in enumerate(self._resolved(options), 1):
            prompt = planned.prompt if planned else ""
            random = Random(f"{request.seed}/{row.number}/{index}")  # no secret depends on it
            chosen = {"prompt": prompt or wildcards.choose(text, random), "count": 1}
            made = Options(**{**options, **chosen, "seed": request.seed})
            kept = {"images": request.images, "seed_asked": request.seed_asked}
            yield replace(self._resolve(made)[0], id=request.id, **kept)

    def _resolved(self, options: dict[str, Any]) -> list[tuple[Request, Planned | None]]:
        planned = list(islice(self._planned, min(max(options["count"], 0), MAX_COUNT)))
        if not planned:
            return [(request, None) for request in self._resolve(Options(**options))]
        made = self._resolve(Options(**{**options, "seed": planned[0].seed}))
        asked = bool(options.get("seed"))
        return [
            (replace(request, id=one.id, seed_asked=asked), one)
            for request, one in zip(made, planned, strict=False)
        ]

    def _place(self, row: Row) -> Target:
        """Where the pictures of a row go. Nothing that is there gives way."""
        if not row.output:
            return self._target
        path = self._target.folder / expand_home(row.output)
        try:
            check_path(path)
        except UsageError as error:
            self.problems.append(Problem(row.line, row.number, "output", told(error)))
            return self._target
        if row.output.endswith(("/", os.sep)) or is_folder(path):
            return replace(self._target, folder=path)
        earlier = self._outputs.setdefault(os.path.abspath(path), row.number)  # noqa: PTH100
        if earlier != row.number:
            message = f"is that of row {earlier}, too"
            self.problems.append(Problem(row.line, row.number, "output", message))
        return replace(self._target, folder=path.parent, path=path)

    def _reasons(self, row: Row, options: dict[str, Any], error: UsageError) -> Iterator[Problem]:
        """Each thing that is wrong with a row: what its columns lead to, taken by themselves."""
        found = False
        for column, alone in _by_themselves(options):
            try:
                self._resolve(Options(**alone))
            except UsageError as problem:
                found = True
                yield from self._placed(row, column, problem)
                if column == "backend":
                    return
        if not found:
            yield from self._placed(row, "", error)

    def _placed(self, row: Row, column: str, error: UsageError) -> Iterator[Problem]:
        message = told(error).replace("\n", "; ")
        name, _, param = column.partition(".")
        set_here = param in row.options.get("params", {}) if param else name in row.options
        if set_here or not column:
            yield Problem(row.line, row.number, column, message)
        elif (problem := Problem(0, 0, _flag(column), message)) not in self.problems:
            # What comes from a flag is wrong with all rows, and told once.
            yield problem


def _parsed(prompt: str, *, every: bool) -> wildcards.Text:
    """The prompt of a row taken apart; a _ColumnError if it stands for what nobody wants."""
    try:
        text = wildcards.parse(prompt)
    except UsageError as error:
        raise _ColumnError("prompt", str(error)) from error
    # Of a prompt that is blank as it stands it is told already that it is missing.
    if prompt.strip() and wildcards.may_be_blank(text):
        raise _ColumnError("prompt", "one of its choices is an empty prompt")
    choices = wildcards.count(text) if every else 1
    if choices > MAX_COUNT:
        shown = "over " * (choices >= wildcards.MANY) + str(choices)
        message = f"its choices come to {shown} prompts; {MAX_COUNT} is the most"
        raise _ColumnError("prompt", message)
    return text


def _by_themselves(options: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each thing that a row says, with the column that says it and with nothing else."""
    base = {"prompt": PLAIN, "backend": options.get("backend", "")}
    yield "backend", base
    for column, value in options.items():
        if column == "params":
            for name, given in value.items():
                yield f"params.{name}", {**base, "params": {name: given}}
        elif column != "backend":
            yield column, {**base, column: value}


def _flag(column: str) -> str:
    if column.startswith("params."):
        return f"-p {column.partition('.')[2]}"
    return f"--{column.removesuffix('s') if column == 'images' else column}"


def _light(request: Request) -> Request:
    """The request without the bytes of its input images."""
    return replace(request, images=tuple(replace(image, data=b"") for image in request.images))
