"""Wildcards: a prompt with `{a|b|c}` in it stands for several prompts."""

from __future__ import annotations

from itertools import pairwise, product
from typing import TYPE_CHECKING, NamedTuple

from imagen_core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

MAX_DEPTH = 50
"""How many braces may stand inside each other."""

MANY = 10**9
"""How far prompts are counted."""

SPECIAL = "{|}"
ESCAPE = "\\"


class Choice(NamedTuple):
    """One of these texts, each of which may have choices of its own."""

    texts: tuple[Text, ...]


Text = tuple[str | Choice, ...]


def parse(prompt: str) -> Text:
    """The prompt taken apart. Braces without a `|`, or without a partner, are plain text."""
    if "{" not in prompt and ESCAPE not in prompt:
        return (prompt,)
    tokens = list(_tokens(prompt))
    return _parse(tokens, 0, len(tokens), _choices(tokens), 0)


def choose(text: Text, random: Random) -> str:
    """One of the prompts that it stands for."""
    return "".join(
        part if isinstance(part, str) else choose(random.choice(part.texts), random)
        for part in text
    )


def expand(text: Text) -> Iterator[str]:
    """All of the prompts that it stands for; the last choice changes quickest."""
    parts = [
        [part] if isinstance(part, str) else [one for text in part.texts for one in expand(text)]
        for part in text
    ]
    return map("".join, product(*parts))


def count(text: Text) -> int:
    """How many prompts it stands for, as far as MANY."""
    found = 1
    for part in text:
        if isinstance(part, Choice):
            found = min(MANY, found * sum(map(count, part.texts)))
            if found == MANY:
                break
    return found


def may_be_blank(text: Text) -> bool:
    """Whether one of the prompts that it stands for has nothing in it."""
    return all(
        not part.strip() if isinstance(part, str) else any(map(may_be_blank, part.texts))
        for part in text
    )


def _tokens(prompt: str) -> Iterator[str]:
    """Its characters; one whose meaning is taken away comes with its backslash."""
    characters = iter(prompt)
    for character in characters:
        if character != ESCAPE:
            yield character
            continue
        after = next(characters, "")
        if after in SPECIAL:
            yield ESCAPE + after
        else:
            yield from (character, after)


def _choices(tokens: list[str]) -> dict[int, list[int]]:
    """Where each pair of braces with a `|` begins: the places of its bars, and of its end."""
    found, stack = {}, []
    for place, token in enumerate(tokens):
        if token == "{":
            stack.append([place])
        elif token == "|" and stack:
            stack[-1].append(place)
        elif token == "}" and stack:
            start, *bars = stack.pop()
            if bars:
                found[start] = [*bars, place]
    return found


def _parse(
    tokens: list[str], start: int, end: int, choices: dict[int, list[int]], depth: int
) -> Text:
    if depth > MAX_DEPTH:
        raise UsageError(f"more than {MAX_DEPTH} braces stand inside each other")
    parts: list[str | Choice] = []
    place = start
    while place < end:
        if place not in choices:
            parts.append(tokens[place].removeprefix(ESCAPE) or ESCAPE)
            place += 1
            continue
        limits = [place, *choices[place]]
        texts = tuple(_parse(tokens, a + 1, b, choices, depth + 1) for a, b in pairwise(limits))
        parts.append(Choice(texts))
        place = limits[-1] + 1
    return tuple(parts)
