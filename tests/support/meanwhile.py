"""A client that is closed in the midst of a call."""

from typing import Any

import httpcore
import httpx


class ClosedMeanwhile(httpcore.NetworkBackend):
    """Connects, and meanwhile somebody closes the client."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._real = httpcore.SyncBackend()
        self.streams: list[Any] = []

    def connect_tcp(self, *args: Any, **options: Any) -> Any:
        self._client.close()
        self.streams.append(self._real.connect_tcp(*args, **options))
        return self.streams[-1]
