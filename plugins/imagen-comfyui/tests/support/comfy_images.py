"""Pictures to start from."""

from __future__ import annotations

from hashlib import sha256

from imagen_core import InputImage


def image_of(data: bytes, name: str = "ref.png") -> InputImage:
    digest = sha256(data).hexdigest()
    return InputImage(name=name, mime="image/png", sha256=digest, size=len(data), data=data)
