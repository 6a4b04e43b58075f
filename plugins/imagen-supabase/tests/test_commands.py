"""`imagen supabase migrate`: what it prints, and what it says when something is wrong."""

from __future__ import annotations

import re
import sys
from typing import Any
from urllib.parse import quote

import pytest

from imagen_supabase.scripts import migrations, named, script
from supabase_servers import PASSWORD, kept_port

NAMES = [one.name for one in migrations()]
TIME = r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC"
SECRET = "hunter2%40%2F"
SERVED = "PostgREST serves the schemas public, imagen, mai"
UNLISTED = "the database itself had no list of schemas"


@pytest.fixture
def migrate(imagen: Any) -> Any:
    """Runs the command."""

    def run(*args: str, url: str = "") -> Any:
        return imagen("supabase", "migrate", *(["--db-url", url] if url else []), *args)

    return run


def shows_no_secret(result: Any, *secrets: str) -> bool:
    told = result.out + result.err
    return not any(form in told for s in secrets for form in (s, quote(s, safe="")))


# Printing


def test_print_gives_the_script_of_all(migrate: Any) -> None:
    done = migrate("--print")

    assert (done.exit_code, done.out, done.err) == (0, f"{script(migrations())}\n", "")


def test_print_gives_those_that_are_named(migrate: Any) -> None:
    done = migrate("--print", "0005.down", "0003_imagen_storage_policies")

    assert done.out == f"{script(named(['0005.down', '0003']))}\n"


def test_print_gives_objects_to_programs(migrate: Any) -> None:
    found = migrate("--print", "--json", "0005").json()

    [one] = named(["0005"])
    assert found == [{"migration": one.name, "checksum": one.checksum, "sql": one.sql}]


def test_printing_needs_no_driver(migrate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)

    assert migrate("--print").exit_code == 0


# Applying


@pytest.mark.system
def test_again_makes_anew_what_was_changed(migrate: Any, database: Any) -> None:
    migrate(url=database.url())
    database.run("drop policy images_owner_reads on imagen.images")
    database.run("grant select on imagen.images to anon")

    plain = migrate(url=database.url())
    again = migrate("--again", url=database.url())

    assert "applied" not in plain.out
    assert again.out == "".join(f"{name}: applied\n" for name in NAMES)
    assert database.run(
        "select count(*), has_table_privilege('anon', 'imagen.images', 'select') from pg_policies "
        "where tablename = 'images' and policyname = 'images_owner_reads'"
    ) == [(1, False)]


@pytest.mark.system
def test_what_is_applied_and_what_was_there_is_told(migrate: Any, database: Any) -> None:
    first = migrate(url=database.url())
    second = migrate(url=database.url())

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert first.out == "".join(f"{name}: applied\n" for name in NAMES)
    assert [line.partition(";")[0] for line in first.err.splitlines()] == [
        f"imagen: {UNLISTED}",
        f"imagen: {SERVED}",
    ]
    assert re.fullmatch("".join(rf"{name}: there since {TIME}\n" for name in NAMES), second.out)
    assert second.err == ""


@pytest.mark.system
def test_url_comes_from_the_environment(
    migrate: Any, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPABASE_DB_URL", f" {database.url()}\n")

    assert migrate().exit_code == 0


@pytest.mark.system
def test_programs_are_told_of_each(migrate: Any, database: Any) -> None:
    first = migrate("--json", url=database.url()).json()
    second = migrate("--json", url=database.url()).json()

    assert [one["migration"] for one in first] == NAMES
    assert {one["applied"] for one in first} == {True}
    assert [one["changed"] for one in first] == [False] * len(NAMES)
    assert [len(one["remarks"]) for one in first] == [0, 0, 0, 2, *[0] * (len(NAMES) - 4)]
    assert second == [{**one, "applied": False, "remarks": []} for one in first]


@pytest.mark.system
def test_file_that_changed_is_told(migrate: Any, database: Any) -> None:
    migrate(url=database.url())
    database.run("update imagen.schema_migrations set checksum = 'old' where name ~ '^0002'")

    done = migrate(url=database.url())

    assert done.exit_code == 0
    assert done.err == (
        "imagen: 0002_imagen_schema_grants is another file than that which was applied,"
        " and is not applied again\n"
    )


# Status


@pytest.mark.system
def test_status_tells_how_things_stand_and_changes_nothing(migrate: Any, database: Any) -> None:
    done = migrate("--status", url=database.url())

    rows = ["migration\tstate\tapplied at", *(f"{name}\tmissing\t-" for name in NAMES)]
    assert (done.exit_code, done.out.splitlines()) == (0, rows)
    assert done.err == "imagen: 'imagen supabase migrate' applies what is missing\n"
    assert database.run("select to_regnamespace('imagen')") == [(None,)]


@pytest.mark.system
def test_status_tells_what_is_applied_changed_and_unknown(migrate: Any, database: Any) -> None:
    migrate(url=database.url())
    database.run("update imagen.schema_migrations set checksum = 'old' where name ~ '^0002'")
    database.run("insert into imagen.schema_migrations values ('0099_later', 'x', '2030-01-01Z')")

    done = migrate("--status", url=database.url())

    states = [line.split("\t")[1] for line in done.out.splitlines()[1:]]
    assert states == ["applied", "changed", *["applied"] * (len(NAMES) - 2), "unknown"]
    assert done.out.endswith("0099_later\tunknown\t2030-01-01 00:00:00 UTC\n")
    assert [line.split(":")[1] for line in done.err.splitlines()] == [" changed", " unknown"]


@pytest.mark.system
def test_status_gives_objects_to_programs(migrate: Any, database: Any) -> None:
    database.run(script(migrations()[:1]))

    found = migrate("--status", "--json", url=database.url()).json()

    assert [(one["migration"], one["state"]) for one in found] == [
        (NAMES[0], "applied"),
        *((name, "missing") for name in NAMES[1:]),
    ]
    assert found[0]["applied_at"].endswith("+00:00")
    assert found[1]["applied_at"] is None


# What is typed wrong


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        ((), 3, "no database is named: $SUPABASE_DB_URL is not set"),
        (("--status", "--print"), 2, "--print, --status and --again exclude each other"),
        (("0001",), 2, "only --print takes names: the others are about all migrations"),
        (("--print", "nothing"), 2, "there is no migration 'nothing'"),
        ((f"postgres://u:{SECRET}@h/d",), 2, "a database URL is no name of a migration"),
    ],
)
def test_what_makes_no_sense_is_told(
    migrate: Any, args: tuple[str, ...], code: int, told: str
) -> None:
    done = migrate(*args)

    assert (done.exit_code, done.out) == (code, "")
    assert done.err.startswith(f"imagen: error: {told}\n  hint: " if "exclude" not in told else "")
    assert told in done.err
    assert shows_no_secret(done, SECRET)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (f"https://abc.supabase.co/{SECRET}", "does not begin with postgresql://"),
        (SECRET, "does not begin with postgresql://"),
        ("postgresql://postgres:[YOUR-PASSWORD]@h/db", "has no password yet, but a placeholder"),
        ("postgresql://u:hunter2@again@h:1/db", "can't be read"),
        ("postgresql://u:hunter2/again@h:1/db", "can't be read"),
        ("postgresql://u:hunter2 again@h:1/db", "can't be read"),
        ("postgresql://u:hunter2%again@h:1/db", "can't be read"),
        ("postgresql://u:hunter2", "can't be read"),
        ("postgresql://u:x@h:hunter2/db", "can't be read"),
        ("postgresql://u:x@h/db?hunter2=1", "can't be read"),
        ("postgresql://[hunter2/db", "can't be read"),
    ],
)
@pytest.mark.parametrize("debug", [(), ("--debug",)], ids=["plain", "debug"])
def test_url_that_is_wrong_is_told_without_showing_it(
    imagen: Any, url: str, told: str, debug: tuple[str, ...]
) -> None:
    done = imagen(*debug, "supabase", "migrate", "--db-url", url)

    assert (done.exit_code, done.out) == (2, "")
    assert f"the database URL {told}" in done.err
    assert "hunter2" not in done.err


def test_missing_driver_is_told_with_both_ways_out(
    migrate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)

    done = migrate(url="postgresql://h/d")

    assert (done.exit_code, done.out) == (2, "")
    assert done.err == (
        "imagen: error: migrating needs psycopg, which is not installed\n"
        "  hint: pip install 'imagen-supabase[migrate]', or without it: "
        'imagen supabase migrate --print | psql -v ON_ERROR_STOP=1 "$SUPABASE_DB_URL"\n'
    )


# What the server refuses


@pytest.mark.system
@pytest.mark.parametrize("how", ["text", "json", "debug"])
@pytest.mark.parametrize(
    ("change", "code", "told"),
    [
        ({"user": "nobody"}, 3, "refuses the user 'nobody'"),
        ({"password": "hunter2/@"}, 3, "refuses the user 'postgres'"),
        ({"name": "nothing"}, 2, 'says: database "nothing" does not exist'),
        ({"port": 0}, 5, "is unreachable: Connection refused"),
    ],
)
def test_connection_that_fails_is_told_without_the_password(
    imagen: Any, database: Any, how: str, change: dict[str, Any], code: int, told: str
) -> None:
    url = database.url(change.get("user", "postgres"), change.get("password", PASSWORD))
    if "name" in change:
        url = url.replace(f"/{database.name}", "/nothing")
    kept, port = kept_port()
    if "port" in change:
        url = url.replace(f":{database.cluster.port}/", f":{port}/")
    before, after = ["--debug"] if how == "debug" else [], ["--json"] if how == "json" else []

    with kept:
        done = imagen(*before, "supabase", "migrate", "--db-url", url, *after)

    assert done.exit_code == code
    assert told in (done.json()[0]["error"]["message"] if how == "json" else done.err)
    assert shows_no_secret(done, PASSWORD, "hunter2/@")


@pytest.mark.system
def test_error_of_the_database_names_file_and_line(imagen: Any, database: Any) -> None:
    database.run("drop schema storage cascade")

    done = imagen("--debug", "supabase", "migrate", "--db-url", database.url())

    assert done.exit_code == 1
    assert done.out == "".join(f"{name}: applied\n" for name in NAMES[:2])
    told = (
        r"imagen: error: 0003_imagen_storage_policies\.sql:\d+: this database has no schema storage"
    )
    assert re.match(told, done.err)
    assert "  hint: start Supabase's Storage on this database once" in done.err
    assert shows_no_secret(done, PASSWORD)


@pytest.mark.system
def test_user_without_rights_is_told(migrate: Any, database: Any) -> None:
    database.run("create role stranger login password 'stranger'")

    applying = migrate(url=database.url("stranger", "stranger"))
    status = migrate("--status", url=database.url("stranger", "stranger"))

    database.cluster.run("drop role stranger")
    assert (applying.exit_code, status.exit_code) == (3, 0)
    assert "permission denied for schema auth" in applying.err
    assert "hint: SUPABASE_DB_URL needs the user 'postgres'" in applying.err


@pytest.mark.system
def test_user_who_may_not_read_the_history_is_told(migrate: Any, database: Any) -> None:
    migrate(url=database.url())
    database.run("create role stranger login password 'stranger'")

    done = migrate("--status", url=database.url("stranger", "stranger"))

    database.cluster.run("drop role stranger")
    assert (done.exit_code, done.out) == (3, "")
    assert "can't read the history of migrations: permission denied for schema imagen" in done.err


def test_name_that_does_not_resolve_is_told(migrate: Any) -> None:
    done = migrate(url="postgresql://u:hunter2@no-such-host.invalid/db")

    assert (done.exit_code, done.out) == (5, "")
    assert "the database at no-such-host.invalid:5432 is unreachable: " in done.err
    assert "hunter2" not in done.err
