"""Migrations on real databases: twice, from every state, down and up, by two at once."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from imagen_core import CredentialsError, ImagenError, UnavailableError
from imagen_supabase import scripts
from imagen_supabase.migrate import Migrator, migrating
from imagen_supabase.scripts import LOCK, Migration, every_file, migrations
from supabase_catalog import seen
from supabase_servers import PASSWORD, migrate_all, wait_until

pytestmark = pytest.mark.system

COUNT = len(migrations())
ABOVE = {
    "0001": ["0011.down", "0007.down", "0003.down"],
    "0005": ["0011.down", "0006.down"],
    "0008": ["0011.down", "0010.down", "0009.down"],
    "0009": ["0011.down"],
}
"""What has to be taken back before: what stands on it."""
SETTING = "select setting from pg_db_role_setting, unnest(setconfig) as setting"


def run_script(database: Any, *names: str) -> None:
    """As psql would, or whoever pastes it."""
    chosen = scripts.named(names) if names else migrations()
    database.run(scripts.script(chosen))


def apply(database: Any, migration: Migration, **options: Any) -> Any:
    with migrating(database.url()) as migrator:
        return migrator.apply(migration, **options)


def failing(database: Any, sql: str, kind: type[ImagenError] = ImagenError) -> ImagenError:
    with pytest.raises(ImagenError) as caught:
        apply(database, Migration("0009_broken", sql))
    assert type(caught.value) is kind
    return caught.value


# What they leave


def test_versions_are_those_that_are_promised(clusters: Any) -> None:
    assert clusters("18").version == 18
    assert clusters("system").version >= 15


def test_second_run_changes_nothing(database: Any) -> None:
    first = migrate_all(database.url())
    before = seen(database)

    second = migrate_all(database.url())

    assert [one.applied for one in first] == [True] * COUNT
    assert [one.applied for one in second] == [False] * COUNT
    assert [one.since for one in second] == [one.since for one in first]
    assert seen(database) == before


def test_each_file_applied_again_changes_nothing(database: Any) -> None:
    migrate_all(database.url())
    before = seen(database)

    for one in migrations():
        database.run(one.sql)
        assert seen(database) == before, one.name


def test_rows_and_what_the_user_set_survive_a_second_run(database: Any) -> None:
    migrate_all(database.url())
    database.run("update storage.buckets set file_size_limit = 1000, allowed_mime_types = '{a/b}'")
    database.run("insert into storage.objects (bucket_id, name) values ('imagen-generated', 'x')")

    for one in migrations():
        database.run(one.sql)

    assert (
        database.run("select public, file_size_limit, allowed_mime_types from storage.buckets")
        == [(False, 1000, ["a/b"])] * 2
    )
    assert database.run("select name from storage.objects") == [("x",)]


@pytest.mark.parametrize("number", range(COUNT))
def test_every_earlier_state_comes_to_the_same_as_nothing(cluster: Any, number: int) -> None:
    fresh, earlier = cluster.database(), cluster.database()
    migrate_all(fresh.url())
    wanted = seen(fresh)
    fresh.run("alter role authenticator reset all")
    for one in migrations()[:number]:
        apply(earlier, one)

    outcomes = migrate_all(earlier.url())

    assert [one.applied for one in outcomes] == [False] * number + [True] * (COUNT - number)
    assert seen(earlier) == wanted
    cluster.drop(fresh)
    cluster.drop(earlier)


def test_down_and_up_again_comes_to_the_same(database: Any) -> None:
    migrate_all(database.url())
    before = seen(database)
    downs = [f"{one.name}.down" for one in reversed(migrations())]

    run_script(database, *downs)

    below = seen(database)
    assert [row for row in below["relations"] if "migrations" not in row] == []
    assert below["policies"] == below["functions"] == []
    roles = ("authenticated", "service_role", "imagen_worker")
    assert not any(role in row for row in below["rights"][:-1] for role in roles)
    assert below["settings"] == ["(True, 'pgrst.db_schemas=public')"]
    with migrating(database.url()) as migrator:
        assert {one.state for one in migrator.standings(migrations())} == {"missing"}
    migrate_all(database.url())
    assert seen(database) == before


@pytest.mark.parametrize("name", [name for name in every_file() if name.endswith(".down")])
def test_single_down_and_up_again_comes_to_the_same(database: Any, name: str) -> None:
    migrate_all(database.url())
    before = seen(database)
    if above := ABOVE.get(name[:4]):
        run_script(database, *above)

    run_script(database, name)
    run_script(database, name)
    outcomes = migrate_all(database.url())

    assert not all(one.applied for one in outcomes)
    assert f"{next(one.name for one in outcomes if one.applied)}.down" == name
    if name.startswith("0001"):
        run_script(database, "0002")  # the new table has no rights yet
    assert seen(database) == before


@pytest.mark.parametrize(
    ("name", "table", "row"),
    [
        (
            "0005.down",
            "mai.imagen_usage",
            "(id, backend, model, prompt_hash) values (%s, '', '', %s)",
        ),
        (
            "0001.down",
            "imagen.images",
            "(id, owner_user_id, run_id, prompt, prompt_hash, backend, model, seed, width, height,"
            " storage_path, sha256, mime, size, sidecar) select id, id, id, hash, hash, '', '', 1,"
            " 1, 1, '', '', '', 1, '{}' from (select %s::uuid as id, %s as hash) as one",
        ),
        (
            "0008.down",
            "imagen.jobs",
            "(id, key, backend, payload, payload_version, priority, max_attempts, run_at,"
            " created_at) values (%s, %s, 'mock', '{}', 1, 5, 3, now(), now())",
        ),
    ],
)
def test_down_refuses_to_lose_rows(database: Any, name: str, table: str, row: str) -> None:
    migrate_all(database.url())
    id = "00000000-0000-0000-0000-000000000001"
    database.run(f"insert into {table} {row}", id, "0" * 64)

    with pytest.raises(Exception, match=f"{table} has rows, and is not dropped"):
        run_script(database, "0003.down", name)

    assert len(database.run(f"select 1 from {table}")) == 1
    assert (
        len(database.run("select 1 from pg_policies where policyname = 'imagen_owner_reads'")) == 1
    )


def test_pasted_script_comes_to_the_same_as_the_command(cluster: Any) -> None:
    one, other = cluster.database(), cluster.database()
    migrate_all(one.url())
    wanted = seen(one)
    one.run("alter role authenticator reset all")

    run_script(other)

    assert seen(other) == wanted
    assert [done.applied for done in migrate_all(other.url())] == [False] * COUNT
    run_script(other)
    assert seen(other) == wanted
    cluster.drop(one)
    cluster.drop(other)


def test_owner_of_the_database_who_is_no_superuser_can_migrate(cluster: Any) -> None:
    database = cluster.database()
    database.run("create role hosted login createrole bypassrls password 'hosted'")
    database.run(
        f"""grant anon, authenticated, service_role, authenticator to hosted with admin option;
        grant supabase_storage_admin to hosted with admin option;
        grant set on parameter pgrst.db_schemas to hosted;
        alter database {database.name} owner to hosted;"""
    )
    try:
        outcomes = migrate_all(database.url("hosted", "hosted"))

        assert [one.applied for one in outcomes] == [True] * COUNT
        assert outcomes[3].remarks[-1].text == "PostgREST serves the schemas public, imagen, mai"
    finally:
        cluster.drop(database)
        cluster.run("drop owned by hosted; drop role hosted")


# History


def test_standings_tell_applied_changed_missing_and_unknown(database: Any) -> None:
    for one in migrations()[:2]:
        apply(database, one)
    database.run("update imagen.schema_migrations set checksum = 'old' where name ~ '^0002'")
    database.run("insert into imagen.schema_migrations values ('0099_later', 'x', '2030-01-01Z')")

    with migrating(database.url()) as migrator:
        found = migrator.standings(migrations())

    assert [(one.name, one.state) for one in found] == [
        ("0001_imagen_schema_init", "applied"),
        ("0002_imagen_schema_grants", "changed"),
        ("0003_imagen_storage_policies", "missing"),
        ("0004_imagen_pgrst_expose", "missing"),
        ("0005_mai_usage", "missing"),
        ("0006_mai_usage_daily", "missing"),
        ("0007_images_one_picture_a_path", "missing"),
        ("0008_jobs", "missing"),
        ("0009_jobs_work", "missing"),
        ("0010_jobs_requests", "missing"),
        ("0011_jobs_worker", "missing"),
        ("0099_later", "unknown"),
    ]
    assert found[2].applied_at is None
    assert found[-1].applied_at == datetime(2030, 1, 1, tzinfo=UTC)
    assert found[0].applied_at
    assert timedelta() < datetime.now(UTC) - found[0].applied_at < timedelta(minutes=5)


def test_changed_file_is_told_and_not_applied_again(database: Any) -> None:
    one = Migration("0008_x", "create table public.x ();")
    apply(database, migrations()[0])
    apply(database, one)

    again = apply(database, Migration("0008_x", "drop table public.x;"))

    assert (again.applied, again.changed) == (False, True)
    assert database.run("select to_regclass('public.x')::text") == [("x",)]


# Exposing


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "public, imagen, mai"),
        ("public, graphql_public, api", "public, graphql_public, api, imagen, mai"),
        ("public,mai", "public,mai, imagen"),
        ("mai ,imagen", "mai ,imagen"),
        ("", "public, imagen, mai"),
    ],
)
@pytest.mark.parametrize("scope", ["", "in database {}"])
def test_what_is_served_already_stays_served(
    database: Any, before: str | None, after: str, scope: str
) -> None:
    where = scope.format(database.name)
    if before is not None:
        database.run(f"alter role authenticator {where} set pgrst.db_schemas = '{before}'")
    found = migrate_all(database.url())[3].remarks

    settings = database.run(
        f"{SETTING} where setrole = 'authenticator'::regrole and setdatabase in "
        "(0, (select oid from pg_database where datname = current_database()))"
    )

    assert settings == [(f"pgrst.db_schemas={after}",)]
    assert found[-1].text == f"PostgREST serves the schemas {after}"
    assert any(remark.is_warning for remark in found) == (before is None)


def test_hosted_default_is_kept(database: Any) -> None:
    database.run("create schema graphql_public")

    remarks = migrate_all(database.url())[3].remarks

    assert remarks[-1].text == "PostgREST serves the schemas public, graphql_public, imagen, mai"


def test_user_who_may_not_alter_the_authenticator_is_told(cluster: Any) -> None:
    database = cluster.database()
    database.run("create role modest login password 'modest'")
    database.run(f"grant create on database {database.name} to modest")
    try:
        apply(database, migrations()[0])
        database.run("alter schema imagen owner to modest")
        database.run("alter table imagen.schema_migrations owner to modest")
        with migrating(database.url("modest", "modest")) as migrator:
            outcome = migrator.apply(migrations()[3])

        [remark] = outcome.remarks
        assert remark.is_warning
        assert remark.text.startswith("this user may not alter the role authenticator")
    finally:
        cluster.drop(database)
        cluster.run("drop role modest")


# Failing


def test_failing_migration_leaves_nothing_and_names_file_line_and_message(database: Any) -> None:
    apply(database, migrations()[0])

    error = failing(
        database, "create table public.x (a int);\n\n\ncreate table public.x (b int);\n"
    )

    assert str(error) == '0009_broken.sql:4: relation "x" already exists'
    assert database.run("select to_regclass('public.x')") == [(None,)]
    assert "0009_broken" not in [
        name for (name,) in database.run("select name from imagen.schema_migrations")
    ]


@pytest.mark.parametrize(
    ("sql", "line"),
    [
        ("select 1;\n\nselect\n  nothing\nfrom pg_class;", 4),
        ("select 1;\nselct 1;", 2),
        ("-- x\n\nselect 1/0;", 3),
        ("do $$\nbegin\n\n  raise exception 'no';\nend\n$$;", 4),
        ("select 1;\ndo $$ begin\n  perform 1/0;\nend $$;", 3),
        ("do $$\nbegin\n  nonsense;\nend $$;", 3),
        ("select 1;\nselect 'open", 2),
    ],
)
def test_line_of_the_error_is_that_of_the_file(database: Any, sql: str, line: int) -> None:
    apply(database, migrations()[0])

    assert str(failing(database, sql)).startswith(f"0009_broken.sql:{line}: ")


def test_details_of_an_error_with_their_rows_are_not_told(database: Any) -> None:
    apply(database, migrations()[0])
    sql = (
        "create table t (p text not null, q int check (q > 0)); insert into t values ('prompt', 0);"
    )

    error = failing(database, sql)

    assert "prompt" not in f"{error} {error.hint} {error.__cause__} {error.__context__}"


def test_database_without_storage_is_told_and_keeps_what_it_has(database: Any) -> None:
    database.run("drop schema storage cascade")

    with pytest.raises(ImagenError) as caught:
        migrate_all(database.url())

    assert re.fullmatch(
        r"0003_imagen_storage_policies\.sql:\d+: this database has no schema storage .*",
        str(caught.value),
    )
    assert caught.value.hint.startswith("start Supabase's Storage")
    assert len(database.run("select 1 from imagen.schema_migrations")) == 2


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("drop schema auth cascade", "this database has no function auth.uid()"),
        ("alter role anon rename to nobody_here", "this database lacks one of the roles"),
    ],
)
def test_database_that_is_no_project_of_supabase_is_told(
    database: Any, sql: str, told: str
) -> None:
    database.run(sql)
    try:
        with pytest.raises(ImagenError, match=re.escape(told)):
            migrate_all(database.url())
        assert database.run("select to_regnamespace('imagen')") == [(None,)]
    finally:
        if "rename" in sql:
            database.run("alter role nobody_here rename to anon")


def test_user_without_rights_is_told(cluster: Any, database: Any) -> None:
    cluster.run("create role outsider login password 'outsider'")
    try:
        with (
            pytest.raises(CredentialsError) as caught,
            migrating(database.url("outsider", "outsider")) as migrator,
        ):
            migrator.apply(migrations()[0])
        assert re.match(r"0001_imagen_schema_init\.sql:\d+: permission denied", str(caught.value))
    finally:
        cluster.run("drop role outsider")


def test_connection_that_is_lost_is_told_and_leaves_nothing(database: Any) -> None:
    apply(database, migrations()[0])
    sql = "create table public.x ();\nselect pg_terminate_backend(pg_backend_pid());"

    error = failing(database, sql, UnavailableError)

    assert str(error).startswith("0009_broken.sql:2: ")
    assert database.run("select to_regclass('public.x')") == [(None,)]


# Two at once


def test_other_one_waits_and_nothing_is_applied_twice(database: Any) -> None:
    command = [
        sys.executable,
        "-m",
        "imagen_core",
        "supabase",
        "migrate",
        "--db-url",
        database.url(),
    ]
    waiting = (
        "select count(*) from pg_locks join pg_database d on d.oid = database"
        " where locktype = 'advisory' and not granted and datname = current_database()"
    )
    with database.connect() as holder:
        holder.execute(f"select pg_advisory_lock({LOCK})")
        both = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        wait_until(lambda: database.run(waiting) == [(2,)])
        holder.execute(f"select pg_advisory_unlock({LOCK})")
        told = [process.communicate(timeout=60) for process in both]

    assert [process.returncode for process in both] == [0, 0]
    lines = [line for out, _ in told for line in out.splitlines()]
    assert sum(line.endswith(": applied") for line in lines) == COUNT
    assert sum(": there since " in line for line in lines) == COUNT
    assert all("somebody else is migrating this database: waiting" in err for _, err in told)


def test_who_waits_too_long_is_told(database: Any) -> None:
    told: list[str] = []
    with database.connect() as holder:
        holder.execute(f"select pg_advisory_lock({LOCK})")

        with pytest.raises(UnavailableError) as caught:
            apply(database, migrations()[0], wait=0.1, tell=told.append)

    assert (
        str(caught.value)
        == "0001_imagen_schema_init.sql:1: canceling statement due to lock timeout"
    )
    assert told == ["somebody else is migrating this database: waiting"]
    assert database.run("select to_regnamespace('imagen')") == [(None,)]


def test_password_is_in_no_message_of_the_database(database: Any) -> None:
    apply(database, migrations()[0])

    error = failing(
        database, f"do $$ begin raise exception '{PASSWORD.replace('%', '%%')}'; end $$;"
    )

    assert str(error) == "0009_broken.sql:1: ***"


def test_migrator_is_what_opening_gives(database: Any) -> None:
    with migrating(database.url()) as migrator:
        assert isinstance(migrator, Migrator)
        assert migrator.history() == {}
