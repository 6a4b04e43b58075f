"""The role of workers: its keys, and where whoever migrates may not do everything."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from imagen_core import CredentialsError
from supabase_catalog import openings
from supabase_machine import Machine
from supabase_servers import JWT_SECRET, migrate_all

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.system

POLICIES = "select policyname from pg_policies"
KEY = ": workers need the service key"


@pytest.fixture
def modest(cluster: Any) -> Iterator[Any]:
    """A database of a user who may make no roles, on a server that has no imagen_worker."""
    cluster.project()  # which other tests have, and which makes the role
    cluster.run("alter role imagen_worker rename to worker_of_others")
    database = cluster.database()
    database.run("create role modest login bypassrls password 'modest'")
    database.run(
        f"""grant anon, authenticated, service_role, supabase_storage_admin to modest;
        grant set on parameter pgrst.db_schemas to modest;
        alter database {database.name} owner to modest;"""
    )
    try:
        yield database
    finally:
        cluster.drop(database)
        cluster.run("drop owned by modest; drop role modest; drop role if exists imagen_worker")
        cluster.run("alter role worker_of_others rename to imagen_worker")


def warnings(database: Any) -> list[str]:
    """What the migrating user is warned of in the end; all of it is applied in any case."""
    outcomes = migrate_all(database.url("modest", "modest"))
    assert all(one.applied for one in outcomes)
    return [remark.text for remark in outcomes[-1].remarks if remark.is_warning]


def test_user_who_may_make_no_role_is_told_and_has_all_the_rest(modest: Any) -> None:
    assert warnings(modest) == [f"this user may not make the role imagen_worker{KEY}"]

    assert "function EXECUTE imagen.stats()" in openings(modest, "service_role")
    assert not any("worker" in policy for (policy,) in modest.run(POLICIES))


def test_user_who_may_not_grant_the_role_is_told(cluster: Any, modest: Any) -> None:
    cluster.run("create role imagen_worker nologin noinherit")

    assert warnings(modest) == [f"this user may not grant imagen_worker to authenticator{KEY}"]

    assert "column SELECT mai.imagen_usage.id" in openings(modest, "imagen_worker")


def test_user_who_may_grant_nothing_of_storage_is_told(cluster: Any, modest: Any) -> None:
    cluster.run("create role imagen_worker nologin noinherit")
    cluster.run("grant imagen_worker to authenticator")
    modest.run("alter schema storage owner to postgres; grant usage on schema storage to modest")

    assert warnings(modest) == [f"this user may not let imagen_worker use Storage{KEY}"]


def test_role_that_was_there_is_granted_what_it_lacks(cluster: Any, modest: Any) -> None:
    cluster.run("create role imagen_worker nologin noinherit")

    outcomes = migrate_all(modest.url())

    assert [remark for remark in outcomes[-1].remarks if remark.is_warning] == []
    member = "select pg_has_role('authenticator', 'imagen_worker', 'MEMBER')"
    assert modest.run(member) == [(True,)]


# Keys


@pytest.fixture
def token(imagen: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command."""
    monkeypatch.setenv("SUPABASE_JWT_SECRET", JWT_SECRET)
    return lambda *args: imagen("supabase", "token", *args)


@pytest.mark.parametrize("cluster", ["system"], indirect=True)
def test_token_opens_what_a_worker_needs(token: Any, jobs: Any) -> None:
    done = token()

    queue = jobs.queue(SUPABASE_SERVICE_KEY=done.out.strip())
    assert queue.rescue() == 0
    with pytest.raises(CredentialsError):
        queue.stats()


@pytest.mark.parametrize("cluster", ["system"], indirect=True)
def test_token_that_has_expired_opens_nothing(jobs: Any) -> None:
    queue = jobs.queue(SUPABASE_SERVICE_KEY=jobs.gateway.token("imagen_worker", seconds=-60))

    with pytest.raises(CredentialsError, match="JWT expired"):
        queue.rescue()


def test_token_is_told_to_programs(token: Any) -> None:
    [found] = token("--expires", "2h", "--json").json()

    assert (found["role"], found["expires_in"]) == ("imagen_worker", 7200)
    claims = Machine.claims(found["token"])
    assert claims["role"] == "imagen_worker"
    assert 7100 < claims["exp"] - time.time() <= 7200


def test_token_without_the_secret_is_told(token: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUPABASE_JWT_SECRET")

    done = token()

    assert done.exit_code == 3
    assert "$SUPABASE_JWT_SECRET is not set" in done.err


def test_token_for_no_time_is_refused(token: Any) -> None:
    assert token("--expires", "never").exit_code == 2
