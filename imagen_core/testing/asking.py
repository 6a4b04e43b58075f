"""How the backend kit asks for a picture, and what an author may set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

import pytest

from imagen_core import http
from imagen_core.resolve import DEFAULT_SIZE, parse_size
from imagen_core.testing import server
from imagen_core.testing.conformance import Conformance
from imagen_core.types import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from imagen_core.protocols import Backend

    Script = Callable[[str], dict[str, Any]]
    IsIdle = Callable[[], bool]

FAULTS = frozenset({"slow", "refuse", "deny", "crash"})
SEEDS = (1, 2)


class Asking(Conformance):
    """What the checks of a backend have in common."""

    faults: ClassVar[frozenset[str]] = frozenset()
    """What `script` can act out: "slow", "refuse" (connection, overload), "deny" (the
    credentials), "crash" (nonsense, or a lost connection). Others are not checked."""

    sizes: ClassVar[Sequence[tuple[int, int]]] = ((256, 192), (192, 256))
    """Sizes to ask for, if `about` claims to honour them."""

    stops_within: ClassVar[float] = 2.0
    """Seconds to stop the remote side in."""

    own_threads: ClassVar[tuple[str, ...]] = (server.THREAD_NAME, http.THREAD_NAME)
    """How the names of threads begin that may stay: those of the fake server, and a request in
    flight, which ends by its own time-out."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if unknown := sorted(cls.faults - FAULTS):
            raise TypeError(
                f"{cls.__name__}.faults has {', '.join(unknown)}; there are "
                f"{', '.join(sorted(FAULTS))}"
            )

    @pytest.fixture
    def script(self) -> Script:
        """Makes the fake server act; returns the parameters of the request."""
        return lambda act: {}  # noqa: ARG005

    @pytest.fixture
    def remote_is_idle(self) -> IsIdle:
        """Tells whether the fake server has nothing left to do."""
        return lambda: True

    def ask(self, backend: Backend, script: Script, act: str = "ok", **fields: Any) -> Request:
        """A Request for this backend, once the fake server knows how to act."""
        about = backend.about
        honoured = "size" in about.honours
        width, height = self.sizes[0] if honoured else parse_size(about.size or DEFAULT_SIZE)
        usual = {"width": width, "height": height, "seed": SEEDS[0], "steps": about.steps}
        prompt = "a cat in a fishbowl"
        return Request(
            id=str(uuid4()),
            prompt=prompt,
            typed_prompt=prompt,
            backend="tested",
            params=script(act),
            **{**usual, **fields},
        )

    def needs_claim(self, backend: Backend, field: str) -> None:
        """Leave a check out, and say why, if the backend promises nothing of this field."""
        if field not in backend.about.honours:
            pytest.skip(f"about.honours has no '{field}', so nothing is promised")
