"""Queues: jobs per second and the time of a claim, beside other queues, all in the same run."""

from __future__ import annotations

import contextlib
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench import environments
from bench.environments import ROOT, tell
from bench.processes import Dialogue, FakeProcess
from imagen_core import NewJob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PEER = "procrastinate"
VERSION = "3.10.0"
DRIVER = "psycopg[binary]==3.3.9"
FIXTURES = ROOT / "plugins" / "imagen-supabase" / "tests" / "support"
PROCESSES = (1, 4)
JOBS, ROUNDS = 2000, 5
QUICK_JOBS, QUICK_ROUNDS = 300, 2
PAYLOAD = {"prompt": "a cat in a fishbowl, ink on paper", "width": 1024, "height": 1024, "seed": 7}

SQLITE = "imagen, SQLite"
FUNCTIONS = "imagen, PostgreSQL"
REST = "imagen, PostgreSQL by PostgREST"
SKIP_LOCKED = "PostgreSQL, SKIP LOCKED alone"
MANAGER = f"{PEER} {VERSION}, its job manager"
WORKER = f"{PEER} {VERSION}, its worker"

PLAIN_TABLE = """
    create table jobs (
        id bigint generated always as identity primary key,
        state text not null default 'queued',
        priority smallint not null default 5,
        run_at timestamptz not null default now(),
        attempt integer not null default 0,
        lease_expires_at timestamptz,
        payload jsonb not null,
        result jsonb
    );
    create index jobs_waiting on jobs (priority, run_at, id) where state = 'queued'
"""


class Drained(NamedTuple):
    """One queue, by so many processes: jobs per second in each round, seconds of each claim."""

    name: str
    processes: int
    rates: list[float]
    claims: list[float]


class Rig(NamedTuple):
    """Where the queues of one round are."""

    folder: Path
    server: FakeProcess
    peer: str
    jobs: int

    def project(self) -> dict[str, str]:
        """The addresses and a key of a project with imagen's tables; the same each time."""
        return self.server.ask_json("project")

    def database(self) -> str:
        """The address of a new database."""
        return str(self.server.ask_json("database")["url"])


class NotHereError(Exception):
    """Something that is needed is not there; it was told, or is for later."""


def measure(folder: Path, *, quick: bool) -> list[Drained]:
    """Fill and drain each queue, all of them in turns."""
    jobs, rounds = (QUICK_JOBS, QUICK_ROUNDS) if quick else (JOBS, ROUNDS)
    peer = environments.peer(PEER, VERSION, DRIVER)
    tell("queues, in SQLite and on PostgreSQL ...")
    found = [Drained(name, number, [], []) for number in PROCESSES for name in FILLED]
    with FakeProcess("bench.queues") as server:
        for number in range(rounds):
            for one in found if number % 2 else reversed(found):
                place = folder / f"{number}-{len(one.name)}-{one.processes}"
                rig = Rig(place, server, peer.python if peer else "", jobs)
                with contextlib.suppress(NotHereError):
                    _drain(rig, one)
    return found


def _drain(rig: Rig, found: Drained) -> None:
    command = FILLED[found.name](rig)
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(Dialogue(command)) for _ in range(found.processes)]
        for worker in workers:
            if worker.read() != "ready":
                raise SystemExit(f"a worker of {found.name} did not start")
        with ThreadPoolExecutor(found.processes) as pool:
            told = [json.loads(line) for line in pool.map(lambda one: one.ask("drain"), workers)]
    done = sum(one["jobs"] for one in told)
    if done != rig.jobs:
        raise SystemExit(f"{found.name} did {done} of {rig.jobs} jobs")
    seconds = max(one["ended"] for one in told) - min(one["begun"] for one in told)
    found.rates.append(rig.jobs / seconds)
    found.claims.extend(seconds for one in told for seconds in one["claims"])


def _fill_sqlite(rig: Rig) -> Sequence[str]:
    from imagen_core.jobs import SqliteQueue

    with contextlib.closing(SqliteQueue(rig.folder)) as queue:
        for _ in range(rig.jobs):
            queue.enqueue(NewJob(backend="flux", payload=PAYLOAD))
    return _worker("sqlite", str(rig.folder))


def _fill_project(rig: Rig, way: str) -> Sequence[str]:
    import psycopg

    about = rig.project()
    with psycopg.connect(about["url"], autocommit=True) as connection:
        if connection.execute("select to_regclass('imagen.jobs')").fetchone() == (None,):
            raise NotHereError
        connection.execute("truncate imagen.jobs, imagen.turns")
        connection.execute(
            "select imagen.enqueue(gen_random_uuid(), 'flux', %s::jsonb) "
            "from generate_series(1, %s)",
            [json.dumps(PAYLOAD), rig.jobs],
        )
        connection.execute("vacuum analyze imagen.jobs")
    return _worker(way, about["url"] if way == "functions" else json.dumps(about))


def _fill_plain(rig: Rig) -> Sequence[str]:
    import psycopg

    url = rig.database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(PLAIN_TABLE)
        connection.execute(
            "insert into jobs (payload) select %s::jsonb from generate_series(1, %s)",
            [json.dumps(PAYLOAD), rig.jobs],
        )
        connection.execute("vacuum analyze jobs")
    return _worker("skip_locked", url)


def _fill_peer(rig: Rig, way: str) -> Sequence[str]:
    if not rig.peer:
        raise NotHereError
    script = str(Path(__file__).with_name("queue_peer.py"))
    url = rig.database()
    with Dialogue([rig.peer, script, "fill", url]) as filling:
        if filling.ask(json.dumps({"jobs": rig.jobs, "payload": PAYLOAD})) != "filled":
            raise SystemExit(f"{PEER} could not be filled")
    return [rig.peer, script, way, url]


def _worker(way: str, target: str) -> Sequence[str]:
    return [sys.executable, "-m", "bench.queue_workers", way, target]


FILLED: dict[str, Callable[[Rig], Sequence[str]]] = {
    SQLITE: _fill_sqlite,
    FUNCTIONS: lambda rig: _fill_project(rig, "functions"),
    REST: lambda rig: _fill_project(rig, "rest"),
    SKIP_LOCKED: _fill_plain,
    MANAGER: lambda rig: _fill_peer(rig, "manager"),
    WORKER: lambda rig: _fill_peer(rig, "worker"),
}
"""What fills each queue, and gives the command that drains it."""


def serve() -> None:
    """Be a PostgreSQL that syncs, until standard input ends.

    `database` asks for a new one, `project` for that with imagen's tables and a PostgREST.
    """
    sys.path.insert(0, str(FIXTURES))
    with contextlib.suppress(KeyboardInterrupt), contextlib.closing(_syncing_cluster()) as cluster:
        print("ready", flush=True)
        for line in sys.stdin:
            if line.strip() == "database":
                print(json.dumps({"url": cluster.database().url()}), flush=True)
            else:
                project = cluster.project()
                about = {"url": project.database.url(), "rest": project.rest_url}
                print(json.dumps({**about, "key": project.token("service_role")}), flush=True)


def _syncing_cluster() -> Any:
    """That of the tests, which do without, as a server is that must not lose anything."""
    from supabase_programs import system_postgresql
    from supabase_servers import Cluster

    class Syncing(Cluster):  # type: ignore[misc, valid-type]
        def _as_user(self, command: Sequence[str]) -> Any:
            options = _options() if command[0] == "postgres" else ()
            return super()._as_user([*command, *options])

    return Syncing(system_postgresql())


def _options() -> Iterator[str]:
    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        yield from ("-c", f"{name}=on")


if __name__ == "__main__":
    serve()
