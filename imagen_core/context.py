"""The part of an App that plugins get to see."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import structs

from imagen_core.config import Secret
from imagen_core.protocols import Context
from imagen_core.types import Paths

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen_core.app import App
    from imagen_core.ledger import Ledger

T = TypeVar("T")


class AppContext(Context):
    """Settings, environment, paths and ledger, and nothing that could run or print."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._lock = threading.RLock()
        self._opened: dict[object, Any] = {}
        self._closing = ExitStack()
        self.environment = app.environment

    @property
    def paths(self) -> Paths:
        """This user's folders, with the configuration that is active now."""
        return structs.replace(self._app.paths, config=self._app.config_path)

    @property
    def owner_user_id(self) -> str:
        """The configured owner, or an empty string."""
        return self._app.settings.knob("owner_user_id").text

    @property
    def ledger(self) -> Ledger:
        """The local record of every Run."""
        return self._app.ledger

    def setting(self, key: str) -> str:
        """How the switch of this key is set without a flag."""
        switch = next(switch for switch in self._app.switches() if switch.key == key)
        return self._app.settings.decide(switch).setting

    def once(self, make: Callable[[Context], AbstractContextManager[T]]) -> T:
        """What `make` opens for this program, by whomever it is asked for first."""
        with self._lock:
            if make not in self._opened:
                self._opened[make] = self._closing.enter_context(make(self))
            found: T = self._opened[make]
            return found

    def close(self) -> None:
        """Close what was opened once."""
        with self._lock:
            self._opened.clear()
            self._closing.close()

    def settings(self, plugin: str) -> Any:
        """The plugin's own top-level block, typed."""
        owner, spec = self._app.catalog.block(plugin)
        struct = self._app.catalog.load(owner, spec.config)
        return self._app.settings.block((plugin,), struct)

    def secret(self, variable: str) -> Secret | None:
        """The value of an environment variable as a Secret."""
        value = self.environment.get(variable, "").strip()
        return Secret(value) if value else None
