"""A Replicate for tests, which nobody has to pay and no test has to wait for.

with FakeReplicate() as server:
    ...  # a client that talks to server.url with server.token
"""

from __future__ import annotations

from imagen_core.testing import Received
from imagen_replicate.testing.fake import FakeReplicate
from imagen_replicate.testing.prediction import Prediction
from imagen_replicate.testing.uploads import Upload

__all__ = ["FakeReplicate", "Prediction", "Received", "Upload"]
