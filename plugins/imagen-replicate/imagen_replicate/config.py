"""The block of a Replicate instance."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from msgspec import Meta, Struct

API_URL = "https://api.replicate.com/v1"
TOKEN_ENV = "REPLICATE_API_TOKEN"
LONGEST_HOLD = 60

Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class Reference(NamedTuple):
    """A model as it is named: `owner/name`, or one version of it as `owner/name:version`."""

    owner: str
    name: str
    version: str

    @property
    def model(self) -> str:
        """The name without its version."""
        return f"{self.owner}/{self.name}"

    def __str__(self) -> str:
        return f"{self.model}:{self.version}" if self.version else self.model


class ReplicateConfig(Struct, frozen=True, kw_only=True):
    """One model, with what shall always hold for it.

    `params`: inputs of the model. `secrets`: inputs whose values are in environment variables.
    `wait`: how many seconds the server holds the first reply. `timeout`: None is by the model.
    """

    model: str
    api_token_env: str = TOKEN_ENV
    api_url: str = API_URL
    timeout: Seconds | None = None
    wait: Annotated[int, Meta(ge=0, le=LONGEST_HOLD)] = 1
    size: str = ""
    default_steps: Annotated[int, Meta(ge=1)] | None = None
    params: dict[str, Any] = {}
    secrets: dict[str, str] = {}
    hardware: str = ""

    @property
    def base(self) -> str:
        """The API's address without a slash at its end."""
        return self.api_url.rstrip("/")

    @property
    def reference(self) -> Reference:
        """The model, taken apart."""
        model, _, version = self.model.partition(":")
        owner, _, name = model.partition("/")
        return Reference(owner, name, version)
