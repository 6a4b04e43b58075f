"""procrastinate, in an environment of its own: fills its queue, or drains it in one of two ways.

`worker` is what its users run; `manager` only takes jobs and finishes them, as the other queues
do here. Nothing of imagen's is imported, nor of the bench's.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from typing import Any

from procrastinate import App, PsycopgConnector
from procrastinate.jobs import Status


class Done:
    """How many jobs were done, and when the last one was."""

    jobs = 0
    last = 0.0

    def add(self) -> None:
        """One more, now."""
        self.jobs, self.last = self.jobs + 1, time.monotonic()


async def main(way: str, url: str) -> None:
    """Do one of the three, when a line comes."""
    done = Done()
    app = App(connector=PsycopgConnector(conninfo=url, min_size=1))

    @app.task(name="nothing")
    async def nothing(**_: Any) -> None:
        done.add()

    async with app.open_async():
        if way != "fill":
            print("ready", flush=True)
        line = await asyncio.to_thread(sys.stdin.readline)
        if way == "fill":
            given = json.loads(line)
            await app.schema_manager.apply_schema_async()
            await nothing.batch_defer_async(*([given["payload"]] * given["jobs"]))
            await app.connector.execute_query_async("analyze")
            print("filled", flush=True)
        else:
            drain = {"worker": with_worker, "manager": with_manager}[way]
            begun = time.monotonic()
            claims = await drain(app, done)
            told = {"begun": begun, "ended": done.last, "jobs": done.jobs, "claims": claims}
            print(json.dumps(told), flush=True)


async def with_worker(app: App, _: Done) -> list[float]:
    """Its worker, until there is nothing left."""
    await app.run_worker_async(wait=False, listen_notify=False, install_signal_handlers=False)
    return []


async def with_manager(app: App, done: Done) -> list[float]:
    """Its fetch and its finish, and nothing in between; how long each fetch took."""
    claims = []
    worker = await app.job_manager.register_worker()
    while True:
        started = time.perf_counter()
        job = await app.job_manager.fetch_job(None, worker)
        if not job:
            break
        claims.append(time.perf_counter() - started)
        await app.job_manager.finish_job(job, Status.SUCCEEDED, delete_job=False)
        done.add()
    return claims


if __name__ == "__main__":
    logging.disable()
    asyncio.run(main(*sys.argv[1:]))
