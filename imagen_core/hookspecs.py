"""The five hooks. Each takes nothing and returns specs: plain data that names its code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    from imagen_core.specs import BackendSpec, CallerSpec, CommandSpec, StepSpec, StoreSpec

    Hook = TypeVar("Hook", bound=Callable[[], Iterable[Any]])
    hookspec: Callable[[Hook], Hook]
    hookimpl: Callable[[Hook], Hook]

PROJECT = "imagen"
"""The name of the entry-point group and of the hooks' prefix."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def imagen_backends() -> Iterable[BackendSpec]:
    """Types of backend that can be configured under `backends:`."""
    return ()


@hookspec
def imagen_post_generate() -> Iterable[StepSpec]:
    """Steps that work on a finished Run, after its pictures are on disk."""
    return ()


@hookspec
def imagen_stores() -> Iterable[StoreSpec]:
    """Places that answer for usage."""
    return ()


@hookspec
def imagen_callers() -> Iterable[CallerSpec]:
    """Ways to learn who is asking."""
    return ()


@hookspec
def imagen_commands() -> Iterable[CommandSpec]:
    """Subcommands of `imagen`."""
    return ()
