"""Processes beside the bench that answer it: fake servers, and peers that are libraries."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bench.environments import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self


class Dialogue:
    """A process that answers each line of its standard input with a line, until that ends."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, text=True
        )

    def ask(self, line: str) -> str:
        """The answer to this line; empty if the process has ended."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            print(line, file=self._process.stdin, flush=True)
        return self.read()

    def read(self) -> str:
        """The next line that it says by itself."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()


class FakeProcess(Dialogue):
    """A fake server in a process of its own, so that it does not share an interpreter."""

    def __init__(self, module: str, *arguments: str) -> None:
        super().__init__([sys.executable, "-m", module, *arguments])
        self.url = self.read()

    def ask_json(self, line: str) -> dict[str, Any]:
        """The answer to this line, which is a JSON object."""
        found: dict[str, Any] = json.loads(self.ask(line))
        return found
