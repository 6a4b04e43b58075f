"""The part of an App that plugins get to see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import structs

from imagen_core.config import Secret
from imagen_core.protocols import Context
from imagen_core.types import Paths

if TYPE_CHECKING:
    from imagen_core.app import App
    from imagen_core.ledger import Ledger


class AppContext(Context):
    """Settings, environment, paths and ledger, and nothing that could run or print."""

    def __init__(self, app: App) -> None:
        self._app = app
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

    def settings(self, plugin: str) -> Any:
        """The plugin's own top-level block, typed."""
        owner, spec = self._app.catalog.block(plugin)
        struct = self._app.catalog.load(owner, spec.config)
        return self._app.settings.block((plugin,), struct)

    def secret(self, variable: str) -> Secret | None:
        """The value of an environment variable as a Secret."""
        value = self.environment.get(variable, "").strip()
        return Secret(value) if value else None
