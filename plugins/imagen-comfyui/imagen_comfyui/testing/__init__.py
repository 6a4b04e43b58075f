"""A ComfyUI server for tests, which no test has to wait for.

with FakeComfyUI() as server:
    ...  # a client that talks to server.url
"""

from __future__ import annotations

from imagen_comfyui.testing.fake import FakeComfyUI
from imagen_comfyui.testing.site import Submit
from imagen_comfyui.testing.store import Place, Store
from imagen_core.testing import Received

__all__ = ["FakeComfyUI", "Place", "Received", "Store", "Submit"]
