"""A worker that is quick to lose its jobs, for tests of what happens then."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from imagen_core.app import App
from imagen_core.errors import UnavailableError
from imagen_core.terminal import Terminal
from imagen_core.worker import Terms, Watcher, Worker

if TYPE_CHECKING:
    from collections.abc import Mapping


def work(
    store: str, resources: Mapping[str, str], *, lease: float, concurrency: int = 1, pace: float = 0
) -> None:
    """Be a worker, called by this process's id, until SIGTERM; for a process of its own.

    Where the queue is out of reach at the beginning it ends with 5, as `imagen worker` does.

    `resources` are the backends that it serves, each with its resource or "". A job is another
    one's `lease` seconds after the last heartbeat, and not a minute. `pace`: the queue's, if it
    is not to be its own.
    """
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    app = App(Terminal())
    _, queue = app.queue(store)
    queue.pace = pace or queue.pace
    worker = Worker(
        app,
        queue,
        resources,
        Terms(str(os.getpid()), lease=lease, pause=lease, concurrency=concurrency),
        pipeline=app.pipeline({}),
        ledger=app.ledger,
        target=app.target(flag=""),
        watcher=Watcher(),
    )
    try:
        worker.run(stop, threading.Event())
    except UnavailableError as error:
        sys.exit(error.exit_code)
    finally:
        queue.close()
        app.close()
