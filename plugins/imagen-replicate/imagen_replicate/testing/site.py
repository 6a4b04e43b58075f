"""What the parts of the server share."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imagen_core.testing import ServerThreads
from imagen_replicate.testing.files import Files
from imagen_replicate.testing.models import built_in
from imagen_replicate.testing.pictures import Pictures
from imagen_replicate.testing.script import Script

if TYPE_CHECKING:
    from imagen_replicate.testing.problems import JSON
    from imagen_replicate.testing.uploads import Upload


@dataclass
class Site:
    """One Replicate: what it offers, what it keeps, and what it shall do."""

    token: str
    pictures: Pictures
    script: Script = field(default_factory=Script)
    models: dict[str, JSON] = field(default_factory=built_in)
    uploads: list[Upload] = field(default_factory=list)
    url: str = ""
    files_url: str = ""
    threads: ServerThreads = field(default_factory=lambda: ServerThreads("fake-replicate"))
    lock: threading.Condition = field(default_factory=threading.Condition)
    """Guards everything that changes while the server runs, and is notified of every change."""

    def __post_init__(self) -> None:
        self.files = Files(self)
