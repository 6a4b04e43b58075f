"""The cloud: what its two steps add to a picture, beside the bare requests that they stand for."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import httpx

import imagen_supabase
from bench.environments import ROOT, tell
from bench.processes import FakeProcess
from imagen_core import Cost, Done, Output, Request, Run
from imagen_core.testing import isolated_app
from imagen_supabase import cloud, usage
from imagen_supabase.pictures import of_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imagen_core.app import App

FIXTURES = ROOT / "plugins" / "imagen-supabase" / "tests" / "support"
SIZES = (100_000, 1_500_000)
ROUNDS = 30
QUICK_ROUNDS = 5
WARM_UPS = 2
OWNER = str(uuid4())
ONCE = {"Prefer": "return=minimal,resolution=ignore-duplicates"}
RUN_ID = {"on_conflict": "id"}


class Added(NamedTuple):
    """Seconds for one picture of so many bytes.

    With a connection of its own, and on one that is there; with imagen, and with bare requests.
    """

    size: int
    imagen: list[float]
    bare: list[float]
    imagen_again: list[float]
    bare_again: list[float]


class Clouds(NamedTuple):
    """All of it, and how long the client library takes to import, each in a new process."""

    added: list[Added]
    imports: list[float]


class Rig(NamedTuple):
    """All that it takes to measure pictures of one size."""

    folder: Path
    server: FakeProcess
    key: str
    size: int
    seeds: Iterator[int]

    def with_imagen(self, again: bool) -> float:
        """Both steps, in a program of their own; `again`: of its second picture."""
        with contextlib.closing(self._app()) as app:
            if again:
                self._steps(app, self._run())
            return _seconds(lambda run: self._steps(app, run), self._run())

    def with_bare_client(self, again: bool) -> float:
        """The three requests, as few lines as can be."""
        run = self._run()
        started = time.perf_counter()
        with httpx.Client() as client:
            if again:
                self._requests(client, run)
                return _seconds(lambda run: self._requests(client, run), self._run())
            self._requests(client, run)
            return time.perf_counter() - started

    def _steps(self, app: App, run: Run) -> None:
        done = Done(runs=(run,), paths=())
        usage.record(done, app.context)
        [note] = cloud.sync(done, app.context)
        if note.warning:
            raise SystemExit(note.text)

    def _requests(self, client: httpx.Client, run: Run) -> None:
        """What has to be sent: what was spent, the picture, its row."""
        [picture] = of_run(run)
        facts = picture.facts()
        path, (place, _) = picture.path, facts.places
        self._post(client, "/rest/v1/imagen_usage", json=usage.row(run), **_rest("mai"))
        self._post(
            client,
            f"/storage/v1/object/imagen-generated/{place}",
            data={"cacheControl": "31536000", "metadata": json.dumps({"sha256": facts.sha256})},
            files={"file": (path.name, path.read_bytes(), facts.mime)},
            headers={"x-upsert": "false"},
        )
        row = picture.row(facts, owner=OWNER, place=place)
        self._post(client, "/rest/v1/images", json=row, **_rest("imagen"))

    def _post(self, client: httpx.Client, path: str, *, headers: Any, **options: Any) -> None:
        key = {"apikey": self.key, "Authorization": f"Bearer {self.key}"}
        url = f"{self.server.url}{path}"
        client.post(url, headers={**key, **headers}, **options).raise_for_status()

    def _run(self) -> Run:
        """A Run with a picture on disk that nobody has seen yet."""
        seed = next(self.seeds)
        data = seed.to_bytes(8, "big") * (self.size // 8)
        path = self.folder / f"{seed}.png"
        path.write_bytes(data)
        request = Request(
            id=str(uuid4()),
            prompt="a cat",
            typed_prompt="a cat",
            backend="paid",
            width=1024,
            height=1024,
            seed=seed,
        )
        output = Output(
            path=str(path),
            mime="image/png",
            width=1024,
            height=1024,
            sha256=hashlib.sha256(data).hexdigest(),
            size=len(data),
            date="2026-05-08",
            time="120000",
            slug=f"a-cat-of-{self.size}",
            seed=seed,
        )
        return Run(
            id=request.id,
            started_at="2026-05-08T12:00:00.000+00:00",
            request=request,
            backend_type="paid",
            model="paid-1",
            outputs=(output,),
            cost=Cost(usd=0.003, basis="a price"),
        )

    def _app(self) -> App:
        return isolated_app(
            self.folder,
            plugins={"supabase": imagen_supabase},
            environment={
                "SUPABASE_URL": self.server.url,
                "SUPABASE_SERVICE_KEY": self.key,
                "IMAGEN_OWNER_USER_ID": OWNER,
            },
        )


def measure(folder: Path, *, quick: bool) -> Clouds:
    """Measure pictures of each size, imagen and the bare requests in turns."""
    rounds = QUICK_ROUNDS if quick else ROUNDS
    tell("the cloud, on PostgreSQL and PostgREST ...")
    with FakeProcess("bench.cloud") as server:
        key = server.ask_json("key")["key"]
        added = [_measure(folder, server, key, size, rounds) for size in SIZES]
    return Clouds(added, [_import_seconds() for _ in range(QUICK_ROUNDS)])


def _measure(folder: Path, server: FakeProcess, key: str, size: int, rounds: int) -> Added:
    rig = Rig(folder, server, key, size, count(size))
    found = Added(size, [], [], [], [])
    turns: list[tuple[list[float], Callable[[], float]]] = [
        (found.imagen, lambda: rig.with_imagen(again=False)),
        (found.bare, lambda: rig.with_bare_client(again=False)),
        (found.imagen_again, lambda: rig.with_imagen(again=True)),
        (found.bare_again, lambda: rig.with_bare_client(again=True)),
    ]
    for number in range(-WARM_UPS, rounds):
        for seconds, turn in turns if number % 2 else reversed(turns):
            spent = turn()
            if number >= 0:
                seconds.append(spent)
        server.ask("forget")
    return found


def _rest(schema: str) -> dict[str, Any]:
    return {"headers": {**ONCE, "Content-Profile": schema}, "params": RUN_ID}


def _seconds(work: Callable[[Run], None], run: Run) -> float:
    started = time.perf_counter()
    work(run)
    return time.perf_counter() - started


def _import_seconds() -> float:
    script = "import time; t = time.perf_counter(); import supabase; print(time.perf_counter() - t)"
    command = [sys.executable, "-c", script]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def serve() -> None:
    """Be a project until standard input ends.

    Each line asks how many requests came since the last one; `key` asks for the key, too.
    """
    sys.path.insert(0, str(FIXTURES))
    from supabase_programs import system_postgresql
    from supabase_servers import Cluster
    from supabase_storage import ProjectGateway

    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as stack:
        cluster = stack.enter_context(contextlib.closing(Cluster(system_postgresql())))
        gateway = stack.enter_context(ProjectGateway(cluster.project()))
        print(gateway.url, flush=True)
        for line in sys.stdin:
            said: dict[str, Any] = {"key": gateway.service_key} if "key" in line else {}
            said["requests"] = len(gateway.requests)
            gateway.requests.clear()
            print(json.dumps(said), flush=True)


if __name__ == "__main__":
    serve()
