"""Who may do what, read from the catalog: a migration that opens something fails here.

What is allowed is written out. Whatever else the catalog has, for anybody, is a failure, also a
table, column, function, view or policy that did not exist when this was written.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from supabase_catalog import openings, seen, tables, unguarded
from supabase_servers import image, migrate_all

pytestmark = pytest.mark.system

IMAGES = [
    *("backend", "cost_usd_estimate", "created_at", "height", "id", "latency_ms", "mime", "model"),
    *("owner_user_id", "prompt", "prompt_hash", "run_id", "seed", "sha256", "sidecar", "size"),
    *("steps", "storage_path", "tags", "width"),
]
HISTORY = ["applied_at", "checksum", "name"]
USAGE = [
    *("backend", "caller", "cost_usd_estimate", "created_at", "id", "latency_ms", "model"),
    *("prompt_hash", "seed"),
]
DAILY = ["backend", "caller", "cost_usd", "count", "day", "latency_ms", "model", "unknown"]


def columns(right: str, table: str, names: list[str]) -> list[str]:
    return [f"column {right} {table}.{name}" for name in names]


ALLOWED = {
    "anon": [],
    "authenticated": [
        *columns("SELECT", "imagen.images", IMAGES),
        "column UPDATE imagen.images.tags",
        "schema USAGE imagen",
    ],
    "service_role": [
        *columns("INSERT", "imagen.images", IMAGES),
        *columns("INSERT", "mai.imagen_usage", USAGE),
        *columns("SELECT", "imagen.images", IMAGES),
        *columns("SELECT", "imagen.schema_migrations", HISTORY),
        *columns("SELECT", "mai.imagen_usage", USAGE),
        *columns("SELECT", "mai.imagen_usage_daily", DAILY),
        *columns("UPDATE", "imagen.images", IMAGES),
        "schema USAGE imagen",
        "schema USAGE mai",
        "table DELETE imagen.images",
    ],
    "authenticator": [],
}
OWN_ROWS = "(owner_user_id = ( SELECT auth.uid() AS uid))"
POLICIES = [
    ("imagen", "images", "images_owner_reads", "SELECT", OWN_ROWS, None),
    ("imagen", "images", "images_owner_tags", "UPDATE", OWN_ROWS, OWN_ROWS),
    (
        "storage",
        "objects",
        "imagen_owner_reads",
        "SELECT",
        "((bucket_id = 'imagen-generated'::text) AND (EXISTS ( SELECT FROM imagen.images WHERE"
        " ((images.storage_path = objects.name) AND"
        " (images.owner_user_id = ( SELECT auth.uid() AS uid))))))",
        None,
    ),
]


@pytest.fixture
def migrated(database: Any) -> Any:
    """A database in its newest state, which the test may change."""
    migrate_all(database.url())
    return database


@pytest.mark.parametrize("role", ALLOWED)
def test_role_may_do_what_is_written_here_and_nothing_else(project: Any, role: str) -> None:
    assert openings(project.database, role) == ALLOWED[role]


def test_nothing_goes_round_the_rights(project: Any) -> None:
    assert unguarded(project.database) == []


def test_policies_are_these_and_each_is_for_signed_in_users_alone(project: Any) -> None:
    rows = project.database.run(
        "select schemaname, tablename, policyname, cmd, qual, with_check, roles::text[], permissive"
        " from pg_policies order by 1, 2, 3"
    )

    assert [tuple(" ".join(c.split()) if c else c for c in row[:6]) for row in rows] == POLICIES
    assert {(*row[6], row[7]) for row in rows} == {("authenticated", "PERMISSIVE")}


def test_tables_are_these(project: Any) -> None:
    found = {f"{schema}.{name}": sorted(names) for schema, name, names in tables(project.database)}

    assert found == {
        "imagen.images": IMAGES,
        "imagen.schema_migrations": HISTORY,
        "mai.imagen_usage": USAGE,
        "mai.imagen_usage_daily": DAILY,
    }


def test_functions_and_triggers_are_these(project: Any) -> None:
    found = seen(project.database)

    assert [one.split("'")[1] for one in found["functions"]] == [
        "imagen.images_one_picture_a_path()"
    ]
    assert [one.split()[2] for one in found["triggers"]] == ["images_one_picture_a_path"]
    assert [row for row in found["rights"] if "'default'" in row] == []


def test_path_in_the_bucket_is_one_picture(project: Any) -> None:
    path, digests = f"2026-05-08/{uuid4()}.png", ["1" * 64, "1" * 64, "2" * 64]
    with project.client("service_role") as client:
        rows = [image(uuid4(), storage_path=path, sha256=digest) for digest in digests]
        codes = [client.post("/images", json=row).status_code for row in rows]
        moved = client.patch(
            "/images", params={"id": f"eq.{rows[0]['id']}"}, json={"sha256": "3" * 64}
        )

    assert codes == [201, 201, 409]
    assert moved.status_code == 409


def test_bucket_is_private_and_takes_pictures_alone(project: Any) -> None:
    assert project.database.run(
        "select id, name, public, file_size_limit, allowed_mime_types from storage.buckets"
    ) == [
        (
            "imagen-generated",
            "imagen-generated",
            False,
            None,
            ["image/png", "image/jpeg", "image/webp"],
        )
    ]


def test_bucket_that_was_public_is_shut(database: Any) -> None:
    database.run(
        "insert into storage.buckets (id, name, public) values ('imagen-generated', 'x', true)"
    )

    migrate_all(database.url())

    assert database.run("select public from storage.buckets") == [(False,)]


def test_indexes_are_those_that_the_questions_need(project: Any) -> None:
    found = "\n".join(seen(project.database)["indexes"])

    assert "(owner_user_id, created_at DESC)" in found
    assert "USING gin (tags)" in found
    assert "UNIQUE INDEX images_owner_path_key ON imagen.images USING btree" in found
    assert "imagen_usage USING btree (created_at DESC)" in found
    assert "imagen_usage USING btree (caller)" in found


# That it would be noticed

OPENED = {
    "create table imagen.jobs (id int)": ("unguarded", "row-level security is off: imagen.jobs"),
    "create table imagen.t (a int); grant insert (a) on imagen.t to anon": (
        "anon",
        "column INSERT imagen.t.a",
    ),
    "grant update (prompt) on imagen.images to authenticated": (
        "authenticated",
        "column UPDATE imagen.images.prompt",
    ),
    "alter table imagen.images add secret text": (
        "authenticated",
        "column SELECT imagen.images.secret",
    ),
    "grant delete on imagen.images to public": ("anon", "table DELETE imagen.images"),
    "grant truncate on mai.imagen_usage to authenticated": (
        "authenticated",
        "table TRUNCATE mai.imagen_usage",
    ),
    "grant select (caller) on mai.imagen_usage to anon": (
        "anon",
        "column SELECT mai.imagen_usage.caller",
    ),
    "grant usage on schema mai to authenticated": ("authenticated", "schema USAGE mai"),
    "create function imagen.f(a int) returns int language sql return 1": (
        "anon",
        "function EXECUTE imagen.f(integer)",
    ),
    "create procedure mai.p() language sql as ''": ("authenticated", "function EXECUTE mai.p()"),
    "create function imagen.g() returns int language sql security definer return 1": (
        "unguarded",
        "security definer function: imagen.g()",
    ),
    "create function imagen.h() returns int language sql return 1": (
        "unguarded",
        "function without a fixed search_path: imagen.h()",
    ),
    "create view imagen.v as select * from mai.imagen_usage": (
        "unguarded",
        "view that acts as its owner: imagen.v",
    ),
    "create sequence imagen.s; grant usage on sequence imagen.s to anon": (
        "anon",
        "sequence USAGE imagen.s",
    ),
    "alter table mai.imagen_usage disable row level security": (
        "unguarded",
        "row-level security is off: mai.imagen_usage",
    ),
}


@pytest.mark.parametrize("sql", OPENED)
def test_what_a_later_migration_opens_is_noticed(migrated: Any, sql: str) -> None:
    where, what = OPENED[sql]
    migrated.run(sql)

    found = unguarded(migrated) if where == "unguarded" else openings(migrated, where)

    assert what in found
    assert what not in ALLOWED.get(where, [])


def test_rights_that_the_database_gives_by_default_do_not_open_our_tables(database: Any) -> None:
    for kind in ("tables", "sequences", "functions"):
        database.run(f"alter default privileges grant all on {kind} to public, anon, authenticated")

    migrate_all(database.url())

    assert openings(database, "anon") == []
    assert openings(database, "authenticated") == ALLOWED["authenticated"]
