"""A real PostgreSQL, twice, and a real PostgREST, as far as a test asks for them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

import supabase_programs
from supabase_jobs import opened_jobs
from supabase_machine import Machine, wrong
from supabase_servers import Cluster, Project, migrate_all, wait_until
from supabase_storage import ProjectGateway

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PROGRAMS = {
    "system": supabase_programs.system_postgresql,
    "18": supabase_programs.pip_postgresql,
}


@pytest.fixture(scope="session")
def clusters() -> Iterator[Callable[[str], Any]]:
    """Each PostgreSQL by its name, started when it is first asked for."""
    started: dict[str, Any] = {}
    with ExitStack() as stack:

        def cluster(name: str) -> Any:
            if name not in started:
                started[name] = Cluster(PROGRAMS[name]())
                stack.callback(started[name].close)
            return started[name]

        yield cluster


@pytest.fixture(params=PROGRAMS)
def cluster(request: pytest.FixtureRequest, clusters: Callable[[str], Any]) -> Any:
    """A PostgreSQL: the installed one, and 18."""
    return clusters(request.param)


@pytest.fixture
def database(cluster: Any) -> Iterator[Any]:
    """An empty Supabase project's database."""
    found = cluster.database()
    yield found
    cluster.drop(found)


@pytest.fixture
def project(cluster: Any) -> Any:
    """A migrated project with its PostgREST, shared by all tests: a test takes new owners."""
    return cluster.project()


@pytest.fixture
def gateway(project: Any) -> Iterator[Any]:
    """The one address of that project, where faults can be asked for; new for each test."""
    with ProjectGateway(project) as found:
        yield found


@pytest.fixture
def cloud_environment(gateway: Any) -> dict[str, str]:
    """What imagen needs in its environment to use that project."""
    return {"SUPABASE_URL": gateway.url, "SUPABASE_SERVICE_KEY": gateway.service_key}


@pytest.fixture
def jobs(cluster: Any, tmp_path: Path) -> Iterator[Any]:
    """A queue of jobs that nobody else has, empty, with a clock that can be set."""
    with opened_jobs(cluster, tmp_path) as found:
        yield found


@pytest.fixture
def machine(
    imagen: Any,
    imagen_home: Path,
    gateway: Any,
    cloud_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """A machine whose pictures go to that project."""
    for name, value in cloud_environment.items():
        monkeypatch.setenv(name, value)
    return Machine(imagen, imagen_home, gateway)


@pytest.fixture
def empty_machine(
    imagen: Any, imagen_home: Any, cluster: Any, database: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """A machine with a project of its own in which nothing is set up."""
    setting = f"alter role authenticator in database {database.name} set pgrst.db_schemas"
    database.run(f"{setting} = 'public'")
    with ProjectGateway(Project(database, cluster.postgrest(database))) as gateway:
        monkeypatch.setenv("SUPABASE_URL", gateway.url)
        monkeypatch.setenv("SUPABASE_SERVICE_KEY", gateway.service_key)
        monkeypatch.setenv("SUPABASE_DB_URL", database.url())
        yield Machine(imagen, imagen_home, gateway)


@pytest.fixture
def own_machine(empty_machine: Any) -> Any:
    """A machine with a project of its own, all of it set up."""
    migrate_all(empty_machine.gateway.project.database.url())
    wait_until(lambda: wrong(empty_machine) == {"user"})
    return empty_machine
