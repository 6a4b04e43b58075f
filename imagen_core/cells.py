"""The cells of a comparison as Requests: what each model is asked for, and what is left out."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from imagen_core.comparison import Cell, Comparison
from imagen_core.errors import UsageError

if TYPE_CHECKING:
    from imagen_core.protocols import App
    from imagen_core.types import About, InputImage, Request

FORMATS = ("output_format", "format")
"""Parameters by which a backend may be asked for PNG."""


class Requests:
    """Makes the Requests of a comparison; its cells may change meanwhile, its models may not."""

    def __init__(self, app: App, comparison: Comparison) -> None:
        self._app = app
        self._comparison = comparison
        self._images: dict[str, InputImage] = {}
        self._abouts: dict[str, About] = {}

    def of(self, cell: Cell) -> tuple[Request, tuple[str, ...]]:
        """The Request of a cell with its own id, and what was left out of it."""
        about = self.about(cell.model)
        options = self._comparison.options_of(cell)
        params, notes = self._params(cell.model, options.params, about)
        asked = replace(options, params={**_as_png(about, params), **params})
        [request] = self._app.resolve(asked, lenient=True)
        images = tuple(self._images.setdefault(image.sha256, image) for image in request.images)
        return replace(request, id=cell.id, images=images), notes

    def about(self, model: str) -> About:
        """What the backend of a model says of itself, which is asked once."""
        if model not in self._abouts:
            self._abouts[model] = self._app.instance(model).backend.about
        return self._abouts[model]

    def _params(
        self, model: str, given: Mapping[str, Any], about: About
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The parameters that this backend has, if another one has the others."""
        if about.params is None:
            return dict(given), ()
        own = {param.name for param in about.params}
        left = [name for name in given if name not in own and self._is_known(name)]
        notes = tuple(f"the backend '{model}' has no parameter '{name}'" for name in left)
        return {name: value for name, value in given.items() if name not in left}, notes

    def _is_known(self, name: str) -> bool:
        """Whether any of the models has this parameter, as far as their blocks can be read."""
        for model in self._comparison.models:
            with contextlib.suppress(UsageError):
                params = self.about(model).params
                if params is None or name in {param.name for param in params}:
                    return True
        return False


def _as_png(about: About, given: Mapping[str, Any]) -> dict[str, str]:
    """The parameter that asks for PNG, if there is one and nobody chose a format."""
    for param in about.params or ():
        if param.name in FORMATS and "png" in param.choices and param.name not in given:
            return {param.name: "png"} if param.default != "png" else {}
    return {}
